/* fraudd migrate: brings the database to this program's schema. */
#include <stdio.h>

#include "daemon/cmd.h"
#include "daemon/settings.h"
#include "storage/migrate.h"

static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};
/* what --help shows of them */
static const struct conf_option USED[] = {
    {"database", CONF_TEXT, CONF_SECRET, "dbname=fraudd", 0, 0,
     "PostgreSQL, as libpq's connection string or URI"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const SHOWN[] = {SETTINGS_FILE, USED, NULL};

static const struct verb VERB = {
    "migrate", "fraudd migrate [--config FILE] [--database CONNINFO]",
    "Applies the numbered SQL files built into this program that the database does not have yet,\n"
    "each in one transaction.  Running it again changes nothing.",
    "fraudd migrate --database 'host=localhost dbname=fraudd user=fraudd'"};

int cmd_migrate(int argc, char **argv)
{
    struct conf *c = NULL;
    struct db *db = NULL;
    struct errmsg e = {""};
    int applied = 0;
    int code = settings_begin(&VERB, TABLES, SHOWN, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    enum err err = db_open(conf_text(c, "database"), &db, &e);
    if (err == ERR_OK) {
        err = migrate(db, &applied, &e);
    }
    if (err == ERR_OK) {
        printf("%d migration%s applied; the database is up to date\n", applied,
               applied == 1 ? "" : "s");
    }
    code = err == ERR_OK ? EXIT_OK : cmd_fail(VERB.name, err, &e);
    db_close(db);
    conf_free(c);
    return code;
}
