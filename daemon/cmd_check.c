/* fraudd check: what would keep the daemons from working, and how to mend it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "daemon/bus_admin.h"
#include "daemon/card_guard.h"
#include "daemon/check.h"
#include "daemon/cmd.h"
#include "daemon/notice.h"
#include "daemon/pipeline.h"
#include "daemon/rates.h"
#include "daemon/schemas.h"
#include "daemon/service.h"
#include "daemon/settings.h"
#include "storage/inspect.h"
#include "storage/migrate.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)
#define ANSWER_MS 5000

static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};

static const struct verb VERB = {
    "check", "fraudd check [--config FILE] [OPTIONS]",
    "Looks at the settings, the model file, the database and the topics, changing nothing.  One\n"
    "line each, `ok` or `wrong`, and `remedy` lines with what to run or write.  The exit code is "
    "0\n"
    "where all is well, otherwise that of the first thing wrong: 78 settings, 66 a model, "
    "database,\n"
    "table or topic that is not there, 65 a model that does not fit, 69 no broker or database\n"
    "answers, 77 a password, certificate or privilege, 1 a topic is made otherwise than it must "
    "be.",
    "fraudd check --config /etc/fraudd/fraudd.conf"};

static void tell_settings(struct check *c, const struct conf *conf)
{
    const char *path = conf_text(conf, "config");
    check_ok(c, "settings: %s", path != NULL && path[0] != '\0' ? path : "no file, defaults");
}

static enum err load_model(const struct conf *conf, struct model **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(conf_text(conf, "model"), MODEL_MAX_BYTES, &bytes, &len, e);
    err = err == ERR_OK ? notice_fits("model", len, e) : err;
    err = err == ERR_OK ? model_load(bytes, len, out, e) : err;
    free(bytes);
    return err;
}

static void check_model(struct check *c, const struct conf *conf)
{
    struct errmsg e = {""};
    struct model *m = NULL;
    struct rates *rates = NULL;
    const char *path = conf_text(conf, "model");
    if (path == NULL || path[0] == '\0') {
        check_wrong(c, EXIT_CONFIG, "model: none is named");
        check_remedy(c, "train one (`fraudd train --help`) and set model = \"FILE\";");
        return;
    }
    enum err err = load_model(conf, &m, &e);
    if (err == ERR_OK) {
        err = rates_create_default(&rates, &e);
    }
    if (err == ERR_OK) {
        const struct model_lineage *l = model_lineage(m);
        const struct feature_params params = {l->maturity_us, l->blame_ratio, l->blame_tail,
                                              rates_version(rates)};
        err = pipeline_check_model(m, &params, &e);
    }
    if (err == ERR_OK) {
        check_ok(c, "model: %s is version %s, feature schema %016" PRIx64, path,
                 model_lineage(m)->version, model_lineage(m)->schema_hash);
    } else {
        check_wrong(c, service_exit_code(err), "model: %s: %s", path, e.text);
    }
    rates_free(rates);
    model_free(m);
}

static void check_cards(struct check *c, const struct conf *conf)
{
    struct errmsg e = {""};
    struct card_rules rules = {.key = NULL};
    char text[128];
    enum err err = card_rules_read(conf, &rules, &e);
    if (err != ERR_OK) {
        check_wrong(c, service_exit_code(err), "card numbers: %s", e.text);
        check_remedy(c,
                     "(umask 077; openssl rand -hex 32 >FILE) and set card.key-file = \"FILE\";");
        return;
    }
    card_rules_tell(&rules, text, sizeof text);
    check_ok(c, "card numbers: %s", text);
    card_rules_done(&rules);
}

/* A line for each row of (what, remedy); returns how many. */
static int tell_each(struct check *c, const char *what, const struct db_rows *rows)
{
    int n = db_rows_count(rows);
    for (int i = 0; i < n; i++) {
        check_wrong(c, EXIT_REFUSED, "privileges: the user %s %s", what, db_rows_text(rows, i, 0));
        check_remedy(c, "%s;", db_rows_text(rows, i, 1));
    }
    return n;
}

/* Of a user that has some of the roles. */
static enum err check_roles(struct check *c, struct db *db, const char *roles, struct errmsg *e)
{
    struct db_rows *lacks = NULL;
    struct db_rows *superfluous = NULL;
    enum err err = inspect_lacks(db, &lacks, e);
    if (err == ERR_OK) {
        err = inspect_superfluous(db, &superfluous, e);
    }
    if (err == ERR_OK &&
        tell_each(c, "lacks", lacks) + tell_each(c, "needs no", superfluous) == 0) {
        check_ok(c, "privileges: those of %s, no more", roles);
    }
    db_rows_free(lacks);
    db_rows_free(superfluous);
    return err;
}

static void check_privileges(struct check *c, struct db *db)
{
    struct errmsg e = {""};
    struct db_rows *user = NULL;
    enum err err = inspect_roles(db, &user, &e);
    const char *roles = err == ERR_OK ? db_rows_text(user, 0, 1) : NULL;
    if (err == ERR_OK && db_rows_text(user, 0, 0)[0] == 't') {
        check_ok(c, "privileges: all that the verbs need, and more than a daemon needs: the user "
                    "owns the tables (sql/README.md has a role for each)");
    } else if (err == ERR_OK && roles == NULL) {
        check_wrong(c, EXIT_REFUSED,
                    "privileges: the user has none of the roles fraudd_sink, "
                    "fraudd_train and so on (sql/README.md)");
        check_remedy(c, "%s;", db_rows_text(user, 0, 2));
    } else if (err == ERR_OK) {
        err = check_roles(c, db, roles, &e);
    }
    if (err != ERR_OK) {
        check_wrong(c, service_exit_code(err), "privileges: %s", e.text);
    }
    db_rows_free(user);
}

static void check_database(struct check *c, const struct conf *conf)
{
    struct errmsg e = {""};
    struct db *db = NULL;
    char line[256];
    enum err err = db_open(conf_text(conf, "database"), &db, &e);
    if (err == ERR_OK) {
        err = inspect_server(db, line, sizeof line, &e);
    }
    if (err != ERR_OK) {
        check_wrong(c, service_exit_code(err), "database: %s", e.text);
        db_close(db);
        return;
    }
    check_ok(c, "database: %s", line);
    err = migrate_check(db, &e);
    if (err == ERR_OK) {
        check_ok(c, "schema: up to this program");
        check_privileges(c, db);
    } else {
        check_wrong(c, service_exit_code(err), "schema: %s", e.text);
        const char *path = conf_text(conf, "config");
        if (path != NULL && path[0] != '\0') {
            check_remedy(c, "fraudd migrate --config '%s'", path);
        } else { /* the connection string may hold a password */
            check_remedy(c, "fraudd migrate --database CONNINFO");
        }
    }
    db_close(db);
}

static void check_brokers(struct check *c, const struct conf *conf)
{
    struct errmsg e = {""};
    struct bus_admin *admin = NULL;
    struct bus_topic_facts facts[TOPIC_COUNT];
    const char *names[TOPIC_COUNT];
    for (int i = 0; i < TOPIC_COUNT; i++) {
        names[i] = settings_topic(conf, (enum bus_topic)i);
    }
    enum err err = bus_admin_open(conf, &admin, &e);
    if (err == ERR_OK) {
        err = bus_admin_facts(admin, names, TOPIC_COUNT, facts, ANSWER_MS, &e);
    }
    if (err == ERR_OK) {
        check_ok(c, "brokers: %s answer", conf_text(conf, "brokers"));
        check_topics(c, conf, facts);
    } else {
        check_wrong(c, service_exit_code(err), "brokers: %s: %s", conf_text(conf, "brokers"),
                    e.text);
    }
    bus_admin_close(admin);
}

/* With the payments' format: whether the registry answers, and what it says of the topic. */
static void check_registry(struct check *c, const struct conf *conf)
{
    struct errmsg e = {""};
    struct schemas *s = NULL;
    char subject[SCHEMAS_SUBJECT_MAX];
    uint32_t id = 0;
    const char *url = conf_text(conf, "registry.url");
    const char *format = conf_text(conf, "transactions.format");
    const bool avro = strcmp(format, "avro") == 0;
    const char *ours = avro ? "transaction.avsc" : "transaction.proto";
    schemas_subject(settings_topic(conf, TOPIC_TRANSACTIONS), subject);
    enum err err = schemas_create(conf, progress_now_us, &s, &e);
    if (err == ERR_OK && s == NULL) {
        check_ok(c, "format: transactions are JSON");
        return;
    }
    if (err == ERR_OK) {
        err = schemas_latest(s, subject, &id, &e);
    }
    if (err == ERR_OK) {
        check_ok(c, "format: %s; the latest schema of %s at %s has id %" PRIu32 " and fits", format,
                 subject, url, id);
    } else if (err == ERR_MISMATCH) {
        check_wrong(c, EXIT_DATA, "format: the latest schema of %s, id %" PRIu32 ": %s", subject,
                    id, e.text);
        check_remedy(c, "register one in which that field is as in share/fraudd/wire/%s", ours);
    } else {
        check_wrong(c, service_exit_code(err), "format: %s", e.text);
    }
    if (err == ERR_NOTFOUND) {
        check_remedy(c,
                     "jq -Rs '{schema: ., schemaType: \"%s\"}' share/fraudd/wire/%s | curl -d @- "
                     "-H 'Content-Type: application/vnd.schemaregistry.v1+json' "
                     "'%s/subjects/%s/versions'",
                     avro ? "AVRO" : "PROTOBUF", ours, url, subject);
    } else if (err == ERR_UNAVAILABLE) {
        check_remedy(c, "start the registry, or set registry.url (with /apis/ccompat/v7 for "
                        "Apicurio)");
    }
    schemas_free(s);
}

int cmd_check(int argc, char **argv)
{
    struct conf *conf = NULL;
    struct errmsg e = {""};
    struct check c = {.out = stdout};
    bool usage = false;
    enum err err = settings_load(TABLES, argc, argv, &conf, &usage, &e);
    if (err == ERR_END) {
        options_print_help(&VERB, TABLES);
        return EXIT_OK;
    }
    if (err != ERR_OK && usage) {
        return settings_fail(VERB.name, err, usage, &e);
    }
    if (err != ERR_OK) {
        check_wrong(&c, service_exit_code(err), "settings: %s", e.text);
        return c.code;
    }
    tell_settings(&c, conf);
    check_model(&c, conf);
    check_cards(&c, conf);
    check_registry(&c, conf);
    check_database(&c, conf);
    check_brokers(&c, conf);
    conf_free(conf);
    return fflush(stdout) == 0 ? c.code : EXIT_IO;
}
