#include "tests/support/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/migrate.h"

static struct database *running;

static void stop_running(void)
{
    if (running != NULL) {
        database_stop(running);
    }
}

void database_must(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fprintf(stderr, "%s: %s\n", err_name(err), e->text);
        exit(1);
    }
}

void database_start(struct database *d)
{
    struct errmsg e = {""};
    int applied = 0;
    memset(d, 0, sizeof *d);
    database_must(throwaway_start(&d->server, "/tmp", &e), &e);
    running = d;
    atexit(stop_running);
    database_must(db_open(d->server.conninfo, &d->db, &e), &e);
    database_must(migrate(d->db, &applied, &e), &e);
}

void database_stop(struct database *d)
{
    running = NULL;
    db_close(d->db);
    d->db = NULL;
    throwaway_stop(&d->server);
}

struct db *database_connect(const struct database *d)
{
    struct errmsg e = {""};
    struct db *db = NULL;
    database_must(db_open(d->server.conninfo, &db, &e), &e);
    return db;
}

void database_run(struct db *db, const char *sql)
{
    struct errmsg e = {""};
    database_must(db_script(db, sql, &e), &e);
}

void database_empty_audit(struct db *db)
{
    database_run(db, "ALTER TABLE audit DISABLE TRIGGER audit_grows; "
                     "ALTER TABLE audit_chain DISABLE TRIGGER audit_grows; "
                     "TRUNCATE audit, audit_chain, audit_pending; "
                     "ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_grows; "
                     "ALTER TABLE audit_chain ENABLE ALWAYS TRIGGER audit_grows");
}

char *database_text(struct db *db, const char *sql)
{
    struct errmsg e = {""};
    struct db_rows *rows = NULL;
    database_must(db_exec(db, sql, 0, NULL, &rows, &e), &e);
    const char *text = db_rows_count(rows) > 0 ? db_rows_text(rows, 0, 0) : NULL;
    char *copy = strdup(text != NULL ? text : "");
    db_rows_free(rows);
    return copy;
}

long database_count(struct db *db, const char *sql)
{
    char *text = database_text(db, sql);
    long n = strtol(text, NULL, 10);
    free(text);
    return n;
}
