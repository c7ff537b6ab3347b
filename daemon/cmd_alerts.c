/* fraudd alerts: the analysts' queue from the shell. */
#include <stdio.h>
#include <string.h>

#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "storage/queue.h"

#define ID                                                                                         \
    {                                                                                              \
        "id", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                                 \
            "the alert, as `fraudd alerts list` names it"                                          \
    }
#define LEASE                                                                                      \
    {                                                                                              \
        "lease", CONF_DURATION, 0, "15m", 1, 604800, "time after which others may take it"         \
    }

static const char *const SHOWN[] = {"database", NULL};

static enum err open_database(const struct conf *c, struct db **out, struct errmsg *e)
{
    return db_open(conf_text(c, "database"), out, e);
}

static const struct conf_option LIST_OPTIONS[] = {
    {"state", CONF_TEXT, 0, "open", 0, 0, "open, claimed, resolved or all"},
    {"card", CONF_TEXT, 0, NULL, 0, 0, "only this card's"},
    {"tx", CONF_TEXT, 0, NULL, 0, 0, "only this transaction's"},
    {"limit", CONF_INT, 0, "20", 1, 1e6, "rows at most"},
    ACTION_JSON,
    ACTION_END};

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    static const char *const STATES[] = {"open", "claimed", "resolved", "all"};
    struct queue_filter f = {conf_text(c, "state"), conf_text(c, "card"), conf_text(c, "tx"),
                             conf_int(c, "limit")};
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    (void)exit_code;
    size_t i = 0;
    while (i < 4 && strcmp(f.state, STATES[i]) != 0) {
        i++;
    }
    if (i == 4) {
        return err_set(e, ERR_INVALID,
                       "--state = \"%s\" is not allowed; give open, claimed, resolved or all",
                       f.state);
    }
    f.state = i == 3 ? NULL : f.state;
    enum err err = open_database(c, &db, e);
    if (err == ERR_OK) {
        err = queue_list(db, &f, &rows, e);
    }
    if (err == ERR_OK) {
        table_print(stdout, rows, actions_form(c));
    }
    db_rows_free(rows);
    db_close(db);
    return err;
}

static const struct conf_option SHOW_OPTIONS[] = {ID, ACTION_JSON, ACTION_END};

static void print_section(const char *title, const struct db_rows *rows, enum table_form form)
{
    if (form == TABLE_JSON) {
        fputs(",\n ", stdout);
        table_print_json(stdout, title);
        fputs(": ", stdout);
        table_print(stdout, rows, form);
    } else if (db_rows_count(rows) > 0) {
        printf("\n%s\n", title);
        table_print(stdout, rows, form);
    }
}

static enum err show(const struct conf *c, int *exit_code, struct errmsg *e)
{
    enum table_form form = actions_form(c);
    struct db *db = NULL;
    struct db_rows *fields = NULL;
    struct db_rows *reasons = NULL;
    struct db_rows *history = NULL;
    (void)exit_code;
    enum err err = open_database(c, &db, e);
    if (err == ERR_OK) {
        err = queue_show(db, conf_text(c, "id"), &fields, &reasons, &history, e);
    }
    if (err == ERR_OK) {
        table_print_row(stdout, fields, 0, form, true);
        print_section("reasons", reasons, form);
        print_section("history", history, form);
        fputs(form == TABLE_JSON ? "}\n" : "", stdout);
    }
    db_rows_free(fields);
    db_rows_free(reasons);
    db_rows_free(history);
    db_close(db);
    return err;
}

static const struct conf_option CLAIM_OPTIONS[] = {
    {"id", CONF_TEXT, CONF_OPERAND, NULL, 0, 0, "this alert; without it the most urgent ones"},
    {"count", CONF_INT, 0, "1", 1, 1000, "alerts at most"},
    LEASE,
    ACTION_AS,
    ACTION_JSON,
    ACTION_END};

static enum err claim(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *id = conf_text(c, "id");
    const char *who = NULL;
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        int64_t lease = conf_duration_us(c, "lease");
        err = id != NULL ? queue_claim_one(db, id, who, lease, &rows, e)
                         : queue_claim(db, who, conf_int(c, "count"), lease, &rows, e);
    }
    if (err == ERR_OK) {
        table_print(stdout, rows, actions_form(c));
        *exit_code = db_rows_count(rows) > 0 ? EXIT_OK : EXIT_FAILED;
    }
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        fputs("no alert is open\n", stderr);
    }
    db_rows_free(rows);
    db_close(db);
    return err;
}

static const struct conf_option RELEASE_OPTIONS[] = {ID, ACTION_AS, ACTION_END};

static enum err release(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *who = NULL;
    struct db *db = NULL;
    (void)exit_code;
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        err = queue_release(db, conf_text(c, "id"), who, e);
    }
    if (err == ERR_OK) {
        printf("alert %s is open\n", conf_text(c, "id"));
    }
    db_close(db);
    return err;
}

static const struct conf_option RESOLVE_OPTIONS[] = {
    ID,
    {"verdict", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "fraud, legitimate or unsure"},
    {"note", CONF_TEXT, 0, NULL, 0, 0, "a sentence for those who look later"},
    {"change", CONF_BOOL, 0, "false", 0, 0, "it has another verdict already: take that back"},
    ACTION_AS,
    ACTION_END};

static enum err resolve(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *verdict = conf_text(c, "verdict");
    const char *who = NULL;
    struct db *db = NULL;
    (void)exit_code;
    if (strcmp(verdict, "fraud") != 0 && strcmp(verdict, "legitimate") != 0 &&
        strcmp(verdict, "unsure") != 0) {
        return err_set(e, ERR_INVALID,
                       "--verdict = \"%s\" is not allowed; give fraud, legitimate or unsure",
                       verdict);
    }
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        err = queue_resolve(db, conf_text(c, "id"), who, verdict, conf_text(c, "note"),
                            conf_bool(c, "change"), e);
    }
    if (err == ERR_OK) {
        printf("alert %s is resolved as %s\n", conf_text(c, "id"), verdict);
    }
    db_close(db);
    return err;
}

static const struct action ACTIONS[] = {
    {"list", "the queue, the most urgent first", "[OPTIONS]", NULL,
     "fraudd alerts list --state open --limit 50 --database 'host=localhost dbname=fraudd'",
     LIST_OPTIONS, SHOWN, list},
    {"show", "one alert with its reasons and what was done to it", "ID [OPTIONS]", NULL,
     "fraudd alerts show transactions-1/3/918273", SHOW_OPTIONS, SHOWN, show},
    {"claim", "takes the most urgent alerts, or one by its name", "[ID] [OPTIONS]",
     "Takes alerts for one analyst until they are resolved, released, or the lease runs out.  No\n"
     "alert goes to two analysts.  Claiming one's own alert again renews its lease.  Exit code 1:\n"
     "no alert is open.",
     "fraudd alerts claim --count 5 --as ada", CLAIM_OPTIONS, SHOWN, claim},
    {"resolve", "says what an alert was", "ID VERDICT [OPTIONS]",
     "Writes the verdict.  fraud and legitimate become a label that `fraudd sink` publishes, so\n"
     "that `score` and the next training know; unsure says nothing.",
     "fraudd alerts resolve transactions-1/3/918273 fraud --note 'card holder called' --as ada",
     RESOLVE_OPTIONS, SHOWN, resolve},
    {"release", "gives a claimed alert back", "ID [OPTIONS]", NULL,
     "fraudd alerts release transactions-1/3/918273 --as ada", RELEASE_OPTIONS, SHOWN, release},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_alerts(int argc, char **argv)
{
    return actions_run("The analysts' queue in PostgreSQL.  Every action is audited.", ACTIONS,
                       argc, argv);
}
