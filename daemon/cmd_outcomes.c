/* fraudd outcomes: what stored decisions turned out to be worth. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "daemon/outcomes.h"
#include "daemon/past_db.h"
#include "daemon/settings.h"
#include "storage/audit.h"

#define STRETCH_US (7 * TIME_DAY)

static const struct conf_option OWN[] = {
    {"from", CONF_DATE, 0, NULL, 0, 0,
     "first UTC time of the payments (default: 7 days before --to)"},
    {"to", CONF_DATE, 0, NULL, 0, 0,
     "end of it, not included (default: now less train.maturity; nothing later is judged)"},
    {"segment", CONF_TEXT, 0, "channel", 0, 0, "channel, country, mcc, type or amount"},
    {"top-cards", CONF_INT, 0, "100", 1, 1e9, "cards examined a day, for card precision (CP@k)"},
    {"bootstrap", CONF_INT, 0, "200", 0, EVALUATE_RESAMPLES_MAX,
     "resamples of cards that the intervals come from; 0: no intervals"},
    ACTION_AS,
    ACTION_JSON,
    ACTION_END};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static const struct verb VERB = {
    "outcomes", "fraudd outcomes [--config FILE] [--from DATE] [--to DATE] [OPTIONS]",
    "Judges the decisions in PostgreSQL by the verdicts that have come in since: precision, "
    "recall,\n"
    "fraud value found and calibration of each model version, by band of score and by segment.\n"
    "What lists and rules decided is counted apart.  A payment that was declined and has no "
    "verdict\n"
    "is left out.  Where a model misses a bound (settings outcomes.*), that is in the log and the\n"
    "audit, and the exit code is 1: run it weekly from a timer, and be told of failures.",
    "fraudd outcomes --config /etc/fraudd/fraudd.conf --segment country"};

struct judging {
    struct outcomes *outcomes;
    const struct rates *rates;
    const struct rate *reference;
    struct progress progress;
    size_t n;
};

static bool says(const struct payment_row *row, enum payment_column c, const char *word)
{
    return row->text[c] != NULL && strcmp(row->text[c], word) == 0;
}

static enum err on_row(void *ctx, const struct payment_row *row, struct errmsg *e)
{
    struct judging *j = ctx;
    struct tx t;
    enum err err = past_db_tx(j->rates, j->reference, row, &t, e);
    if (err != ERR_OK) {
        return err;
    }
    const char *control = row->text[PAYMENT_CONTROL];
    const bool observed = row->text[PAYMENT_WOULD] != NULL;
    const enum payment_column outcome = observed ? PAYMENT_WOULD : PAYMENT_OUTCOME;
    const struct outcome_row r = {
        .tx = &t,
        .model = row->text[PAYMENT_MODEL],
        .probability =
            row->text[PAYMENT_SCORE] != NULL ? strtod(row->text[PAYMENT_SCORE], NULL) : (double)NAN,
        .alerted = !says(row, outcome, "approve"),
        .controlled = control != NULL && strncmp(control, "observe@", 8) != 0,
        .has_verdict = row->text[PAYMENT_VERDICT] != NULL,
        .fraud = says(row, PAYMENT_VERDICT, "fraud"),
        .declined = says(row, PAYMENT_DECLINED, "t")};
    if (++j->n % 4096 == 0) {
        const struct outcomes_conf *c = &j->outcomes->conf;
        progress_update(&j->progress,
                        (double)(t.event_us - c->from_us) / (double)(c->to_us - c->from_us), NULL);
    }
    return outcomes_add(j->outcomes, &r, e);
}

static enum err read_decisions(struct db *db, struct outcomes *o, struct errmsg *e)
{
    struct rates *rates = NULL;
    enum err err = rates_create_default(&rates, e);
    if (err != ERR_OK) {
        return err;
    }
    struct judging j = {
        .outcomes = o, .rates = rates, .reference = rates_find(rates, rates_reference(rates))};
    progress_begin(&j.progress, "reading decisions", 1);
    err = payments_read_decided(db, o->conf.from_us, o->conf.to_us, on_row, &j, e);
    if (err == ERR_OK) {
        progress_end(&j.progress, 1);
    }
    rates_free(rates);
    return err;
}

/* Into the log and, together, the audit. */
static enum err tell_breaches(const struct outcomes *o, struct db *db, const char *who,
                              struct errmsg *e)
{
    enum err err = db_script(db, "BEGIN", e);
    for (size_t v = 0; v < o->versions; v++) {
        const struct outcomes_version *version = &o->version[v];
        for (int b = 0; b < OUTCOMES_BOUNDS && err == ERR_OK; b++) {
            char text[OUTCOMES_TEXT_MAX];
            char quoted[2 * OUTCOMES_TEXT_MAX];
            char model[2 * OUTCOMES_VERSION_MAX];
            if (version->breach[b] != NULL) {
                outcomes_breach_text(o, version, (enum outcomes_bound)b, text);
                log_line(FD_LOG_WARN, "outcomes_missed", "model=%s text=%s",
                         log_quote(model, sizeof model, version->name),
                         log_quote(quoted, sizeof quoted, text));
                err = audit_words(db, who, "outcomes missed", version->name, text, e);
            }
        }
    }
    return err == ERR_OK ? db_script(db, "COMMIT", e) : err;
}

static enum err set_up(const struct conf *c, struct outcomes_conf *out, struct errmsg *e)
{
    struct timespec now;
    const int segment = segment_find(conf_text(c, "segment"));
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t matured_us = (int64_t)now.tv_sec * TIME_S - conf_duration_us(c, "train.maturity");
    *out = (struct outcomes_conf){.segment = (enum segment_kind)segment,
                                  .evaluate = {.top_cards = (size_t)conf_int(c, "top-cards"),
                                               .resamples = (size_t)conf_int(c, "bootstrap"),
                                               .seed = 1}};
    out->to_us = conf_given(c, "to") ? conf_date_us(c, "to") : matured_us;
    out->from_us = conf_given(c, "from") ? conf_date_us(c, "from") : out->to_us - STRETCH_US;
    outcomes_bounds(c, out);
    if (segment < 0) {
        return err_set(e, ERR_INVALID,
                       "--segment %s is not one of channel, country, mcc, type, amount",
                       conf_text(c, "segment"));
    }
    if (out->to_us > matured_us) {
        return err_set(e, ERR_INVALID,
                       "--to %s: verdicts on payments are complete train.maturity after them, so "
                       "it must be so long ago",
                       conf_text(c, "to"));
    }
    return out->from_us < out->to_us ? ERR_OK
                                     : err_set(e, ERR_INVALID, "--from is not before --to");
}

static enum err run(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct outcomes_conf oc;
    struct outcomes o = {.n = 0};
    struct db *db = NULL;
    const char *who = NULL;
    enum err err = set_up(c, &oc, e);
    if (err == ERR_OK) {
        err = actions_who(c, &who, e);
    }
    if (err == ERR_OK) {
        err = outcomes_init(&o, &oc, e);
    }
    if (err == ERR_OK) {
        err = db_open(conf_text(c, "database"), &db, e);
    }
    if (err == ERR_OK) {
        err = read_decisions(db, &o, e);
    }
    if (err == ERR_OK) {
        err = outcomes_measure(&o, e);
    }
    if (err == ERR_OK) {
        (conf_bool(c, "json") ? outcomes_print_json : outcomes_print)(&o, stdout);
        *exit_code = outcomes_breaches(&o) > 0 ? EXIT_FAILED : EXIT_OK;
    }
    if (err == ERR_OK && outcomes_breaches(&o) > 0) {
        err = tell_breaches(&o, db, who, e);
    }
    db_close(db);
    outcomes_done(&o);
    return err;
}

int cmd_outcomes(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    int code = settings_begin(&VERB, TABLES, TABLES, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    enum err err = run(c, &code, &e);
    conf_free(c);
    if (err == ERR_OK && fflush(stdout) != 0) {
        err = err_set(&e, ERR_IO, "cannot write to standard output");
    }
    return err == ERR_OK ? code : cmd_fail(VERB.name, err, &e);
}
