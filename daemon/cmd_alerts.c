/* fraudd alerts: the analysts' queue from the shell. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"
#include "daemon/actions.h"
#include "daemon/card_number.h"
#include "daemon/cmd.h"
#include "storage/queue.h"

#define ID                                                                                         \
    {                                                                                              \
        "id", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                                 \
            "the alert, as `fraudd alerts list` names it"                                          \
    }
#define CASE                                                                                       \
    {                                                                                              \
        "id", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,                                 \
            "an alert or its case, as `fraudd alerts list` names them"                             \
    }
#define NOTE                                                                                       \
    {                                                                                              \
        "note", CONF_TEXT, 0, NULL, 0, 0, "a sentence for those who look later"                    \
    }
#define LEASE                                                                                      \
    {                                                                                              \
        "lease", CONF_DURATION, 0, "15m", 1, 604800, "time after which others may take it"         \
    }

static const char *const SHOWN[] = {"database", NULL};

/* Cases have numbers, alerts slashes. */
static const char *kind(const char *id)
{
    return strchr(id, '/') == NULL ? "case" : "alert";
}

static enum err open_database(const struct conf *c, struct db **out, struct errmsg *e)
{
    return db_open(conf_text(c, "database"), out, e);
}

static const struct conf_option LIST_OPTIONS[] = {
    {"state", CONF_TEXT, 0, "open", 0, 0, "open, claimed, snoozed, resolved or all"},
    {"case", CONF_INT, 0, NULL, 1, 1e18, "only this case's"},
    {"card", CONF_TEXT, 0, NULL, 0, 0, "only this card's"},
    {"tx", CONF_TEXT, 0, NULL, 0, 0, "only this transaction's"},
    {"limit", CONF_INT, 0, "20", 1, 1e6, "rows at most"},
    ACTION_JSON,
    ACTION_END};

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    static const char *const STATES[] = {"open", "claimed", "snoozed", "resolved", "all"};
    struct queue_filter f = {conf_text(c, "state"), conf_text(c, "case"), conf_text(c, "card"),
                             conf_text(c, "tx"), conf_int(c, "limit")};
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    (void)exit_code;
    size_t i = 0;
    while (i < 5 && strcmp(f.state, STATES[i]) != 0) {
        i++;
    }
    if (i == 5) {
        return err_set(
            e, ERR_INVALID,
            "--state = \"%s\" is not allowed; give open, claimed, snoozed, resolved or all",
            f.state);
    }
    f.state = i == 4 ? NULL : f.state;
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
    {"id", CONF_TEXT, CONF_OPERAND, NULL, 0, 0,
     "this alert's case, or this case; without it the most urgent ones"},
    {"count", CONF_INT, 0, "1", 1, 1000, "cases at most"},
    LEASE,
    {"wait", CONF_DURATION, 0, "0", 0, 86400, "where none is open, wait so long for one"},
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
                         : queue_claim_wait(db, who, conf_int(c, "count"), lease,
                                            conf_duration_us(c, "wait"), &rows, e);
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

static const struct conf_option RELEASE_OPTIONS[] = {CASE, ACTION_AS, ACTION_END};

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
        printf("%s %s is open\n", kind(conf_text(c, "id")), conf_text(c, "id"));
    }
    db_close(db);
    return err;
}

static enum err check_note(const char *note, struct errmsg *e)
{
    return note != NULL && card_number_in((struct slice){note, strlen(note)})
               ? err_set(e, ERR_INVALID, "--note holds a full card number; its last four digits do")
               : ERR_OK;
}

static const struct conf_option SNOOZE_OPTIONS[] = {
    CASE,
    {"for", CONF_DURATION, 0, NULL, 1, 31536000, "how long"},
    {"until", CONF_DATE, 0, NULL, 0, 0, "or until this time, UTC"},
    NOTE,
    ACTION_AS,
    ACTION_END};

static enum err snooze(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *id = conf_text(c, "id");
    const char *note = conf_text(c, "note");
    const char *who = NULL;
    char at[TIME_TEXT_MAX];
    struct timespec now;
    struct db *db = NULL;
    (void)exit_code;
    if (conf_given(c, "for") == conf_given(c, "until")) {
        return err_set(e, ERR_INVALID, "give --for or --until");
    }
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t until_us = conf_given(c, "until")
                           ? conf_date_us(c, "until")
                           : now.tv_sec * TIME_S + now.tv_nsec / 1000 + conf_duration_us(c, "for");
    enum err err = check_note(note, e);
    if (err == ERR_OK) {
        err = actions_who(c, &who, e);
    }
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        err = queue_snooze(db, id, who, until_us, note, e);
    }
    if (err == ERR_OK) {
        time_format(at, until_us);
        printf("%s %s is snoozed until %s\n", kind(id), id, at);
    }
    db_close(db);
    return err;
}

static const struct conf_option RESOLVE_OPTIONS[] = {
    CASE,
    {"verdict", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0, "fraud, legitimate or unsure"},
    NOTE,
    {"change", CONF_BOOL, 0, "false", 0, 0, "it has another verdict already: take that back"},
    ACTION_AS,
    ACTION_END};

static enum err resolve(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *verdict = conf_text(c, "verdict");
    const char *note = conf_text(c, "note");
    const char *who = NULL;
    struct db *db = NULL;
    (void)exit_code;
    if (strcmp(verdict, "fraud") != 0 && strcmp(verdict, "legitimate") != 0 &&
        strcmp(verdict, "unsure") != 0) {
        return err_set(e, ERR_INVALID,
                       "--verdict = \"%s\" is not allowed; give fraud, legitimate or unsure",
                       verdict);
    }
    enum err err = check_note(note, e);
    if (err == ERR_OK) {
        err = actions_who(c, &who, e);
    }
    if (err == ERR_OK) {
        err = open_database(c, &db, e);
    }
    if (err == ERR_OK) {
        err = queue_resolve(db, conf_text(c, "id"), who, verdict, note, conf_bool(c, "change"), e);
    }
    if (err == ERR_OK) {
        printf("%s %s is resolved as %s\n", kind(conf_text(c, "id")), conf_text(c, "id"), verdict);
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
    {"claim", "takes the most urgent cases, or one by its name", "[ID] [OPTIONS]",
     "Takes cases for one analyst until they are resolved, released, snoozed, or the lease runs "
     "out.\n"
     "A case is what is open of one card, one line an alert.  No alert goes to two analysts.\n"
     "Claiming one's own case again renews its lease; a new alert of the card joins it.  Exit "
     "code\n"
     "1: no alert is open.",
     "fraudd alerts claim --count 5 --as ada", CLAIM_OPTIONS, SHOWN, claim},
    {"resolve", "says what an alert was, or all open ones of a case", "ID VERDICT [OPTIONS]",
     "Writes the verdict; the last one closes the case.  fraud and legitimate become a label that "
     "`fraudd sink` publishes, so\n"
     "that `score` and the next training know; unsure says nothing.",
     "fraudd alerts resolve transactions-1/3/918273 fraud --note 'card holder called' --as ada",
     RESOLVE_OPTIONS, SHOWN, resolve},
    {"snooze", "puts a case aside until a time", "ID --for DURATION|--until TIME [OPTIONS]",
     "The case is open again at that time, or when a new alert of the card arrives.",
     "fraudd alerts snooze transactions-1/3/918273 --for 2h --note 'calls back' --as ada",
     SNOOZE_OPTIONS, SHOWN, snooze},
    {"release", "gives a claimed case back", "ID [OPTIONS]", NULL,
     "fraudd alerts release transactions-1/3/918273 --as ada", RELEASE_OPTIONS, SHOWN, release},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_alerts(int argc, char **argv)
{
    return actions_run("The analysts' queue in PostgreSQL.  Every action is audited.", ACTIONS,
                       argc, argv);
}
