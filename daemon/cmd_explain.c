/* fraudd explain: a past decision and what it came from. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/explain.h"
#include "daemon/settings.h"
#include "storage/evidence_row.h"

static const struct conf_option OWN[] = {
    {"decision", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0,
     "the decision's id, log/partition/offset, as messages, tables and the queue have it"},
    {"stored", CONF_BOOL, 0, "false", 0, 0, "what PostgreSQL holds of it; nothing is derived"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};

static const struct verb VERB = {
    "explain", "fraudd explain --decision ID [--config FILE] [OPTIONS]",
    "Derives a past decision again from the logs and their recorded order, and prints features,\n"
    "score, threshold, reasons and model.  It begins with the newest state in state.dir that is\n"
    "older, or else at the journal's beginning.  It compares them with the decision that was sent\n"
    "and with what PostgreSQL holds.  Where the logs do not reach back, it prints what is stored: "
    "the\n"
    "columns of every alert and of a sample of the others (explain.sample).  It says which of the\n"
    "two it used.  Settings and models are those that the notices tell; nothing is written "
    "anywhere.\n"
    "Exit code 1: something differs.",
    "fraudd explain --config /etc/fraudd/fraudd.conf --decision transactions-1/3/918273"};

static void print_line(const char *name, const char *fmt, ...) FD_PRINTF(2, 3);
static void print_line(const char *name, const char *fmt, ...)
{
    va_list args;
    printf("%-12s ", name);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

static void print_real(const char *name, double v)
{
    if (isfinite(v)) {
        print_line(name, "%.9g", v);
    } else {
        print_line(name, "none");
    }
}

static void print_columns(const float *x)
{
    puts("features");
    for (size_t i = 0; i < FEAT_DIM; i++) {
        printf("  %-28s %.9g\n", feature_info(i)->name, (double)x[i]);
    }
}

/* ---- derived again ---- */

static void print_reasons(const struct decision *d)
{
    puts(d->reason_count > 0 ? "reasons" : "reasons      none");
    for (uint32_t i = 0; i < d->reason_count; i++) {
        const struct reason *r = &d->reasons[i];
        printf("  %-14s %9.6f  %s\n", decision_group_name(r->group), (double)r->weight, r->text);
    }
}

static void print_decision(const struct explanation *x)
{
    char when[TIME_TEXT_MAX];
    const struct decision *d = &x->decision;
    time_format(when, d->event_us);
    print_line("transaction", "%.*s", (int)d->tx.len, d->tx.at);
    print_line("event_time", "%s", when);
    print_real("score", d->probability);
    print_real("threshold", d->threshold);
    print_line("outcome", "%s%s", decision_outcome_name(d->outcome),
               d->repeat ? " (a repeat: the first answer again)" : "");
    if (d->control.len > 0) {
        print_line("control", "%.*s", (int)d->control.len, d->control.at);
    }
    if (d->observed) {
        print_line("would", "%s", decision_outcome_name(d->would));
    }
    print_line("model", "%.*s", (int)d->model.len, d->model.at);
    if (x->settings_notice >= 0) {
        print_line("settings", "%016" PRIx64 ", told by notice %" PRId64, x->settings_hash,
                   x->settings_notice);
    } else {
        print_line("settings", "%016" PRIx64 ", those given: no notice tells any",
                   x->settings_hash);
    }
    print_line("schema", "%016" PRIx64, d->schema_hash);
    print_line("revision", "%" PRIu32, d->revision);
    print_line("amount_ratio", "%.9g", (double)d->amount_ratio);
    print_reasons(d);
    if (x->has_x) {
        print_columns(x->x);
    }
}

/* Against the decisions topic; false: it differs. */
static bool tell_emitted(const struct explanation *x)
{
    switch (x->emitted) {
    case EMITTED_NOTHING:
        print_line("sent", "not compared: the decisions topic does not hold it");
        return true;
    case EMITTED_SAME:
        print_line("sent", "the same bytes");
        return true;
    case EMITTED_OTHER:
        break;
    }
    print_line("sent", "DIFFERS: %.*s", (int)x->emitted_len, x->emitted_json);
    print_line("derived", "%.*s", (int)x->json_len, x->json);
    return false;
}

/* Whether two columns are the same bits: -0 is not 0 here. */
static bool same_bits(float a, float b)
{
    uint32_t x = 0;
    uint32_t y = 0;
    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    return x == y;
}

static bool same_columns(const struct evidence_row *row, const float *x)
{
    bool same = row->x_count == FEAT_DIM;
    for (size_t i = 0; i < FEAT_DIM && same; i++) {
        same = same_bits(row->x[i], x[i]);
    }
    return same;
}

/* Against PostgreSQL; false: it differs. */
static bool tell_stored(const struct explanation *x, const struct evidence_row *row, enum err err,
                        const struct errmsg *e)
{
    if (err != ERR_OK) {
        print_line("stored", "not compared: %s", e->text);
        return true;
    }
    if (!row->has_evidence || !x->has_x) {
        print_line("stored", "without columns: it is no alert and not of the sample");
        return true;
    }
    if (same_columns(row, x->x) && row->journal == x->at.journal &&
        row->labels_next == x->at.labels_next && row->notices_next == x->at.notices_next) {
        print_line("stored", "the same columns and places");
        return true;
    }
    print_line("stored",
               "DIFFERS: journal entry %" PRId64 ", labels below %" PRId64
               ", notices below %" PRId64,
               row->journal, row->labels_next, row->notices_next);
    for (size_t i = 0; i < FEAT_DIM && i < row->x_count; i++) {
        if (!same_bits(row->x[i], x->x[i])) {
            printf("  %-28s stored %.9g, derived %.9g\n", feature_info(i)->name, (double)row->x[i],
                   (double)x->x[i]);
        }
    }
    return false;
}

static int print_derived(const char *id, const struct explanation *x,
                         const struct evidence_row *row, enum err row_err,
                         const struct errmsg *row_e)
{
    print_line("decision", "%s", id);
    if (x->state_from > 0) {
        print_line("source",
                   "derived again from the logs and their recorded order, from the state before "
                   "journal entry %" PRId64,
                   x->state_from);
    } else {
        print_line("source", "derived again from the logs and their recorded order");
    }
    if (x->dead) {
        print_line("dead letter", "%s: %s", x->reason, x->detail);
        return EXIT_OK;
    }
    print_line("places",
               "journal entry %" PRId64 ", labels below %" PRId64 ", notices below %" PRId64,
               x->at.journal, x->at.labels_next, x->at.notices_next);
    bool same = tell_emitted(x);
    same = tell_stored(x, row, row_err, row_e) && same;
    print_decision(x);
    return same ? EXIT_OK : EXIT_FAILED;
}

/* ---- stored ---- */

static const char *or_none(const char *text)
{
    return text != NULL ? text : "none";
}

static void print_stored(const char *id, const char *why, const struct evidence_row *row)
{
    print_line("decision", "%s", id);
    print_line("source", "stored in PostgreSQL%s%s", why[0] != '\0' ? "; not derived again: " : "",
               why);
    if (row->has_evidence) {
        print_line("places",
                   "journal entry %" PRId64 ", labels below %" PRId64 ", notices below %" PRId64,
                   row->journal, row->labels_next, row->notices_next);
    }
    for (int i = 0; i < db_rows_columns(row->fields) &&
                    strcmp(db_rows_name(row->fields, i), "journal_offset") != 0;
         i++) {
        print_line(db_rows_name(row->fields, i), "%s", or_none(db_rows_text(row->fields, 0, i)));
    }
    puts(db_rows_count(row->reasons) > 0 ? "reasons" : "reasons      none stored: no alert");
    for (int i = 0; i < db_rows_count(row->reasons); i++) {
        printf("  %-14s %9s  %s\n", or_none(db_rows_text(row->reasons, i, 0)),
               or_none(db_rows_text(row->reasons, i, 1)),
               or_none(db_rows_text(row->reasons, i, 2)));
    }
    if (row->x_count == FEAT_DIM) {
        print_columns(row->x);
    } else {
        puts("features     none stored: it is no alert and not of the sample");
    }
}

static enum err read_row(const struct conf *c, const struct decision_id *id,
                         struct evidence_row *out, struct errmsg *e)
{
    struct db *db = NULL;
    enum err err = db_open(conf_text(c, "database"), &db, e);
    if (err == ERR_OK) {
        err = evidence_row_read(db, id->log, id->partition, id->offset, out, e);
    }
    db_close(db);
    return err;
}

/* ---- the verb ---- */

static enum err run(const struct conf *c, const struct decision_id *id, int *out_code,
                    struct errmsg *e)
{
    struct explanation *x = calloc(1, sizeof *x);
    struct evidence_row row = {.fields = NULL};
    struct errmsg row_e = {""};
    const char *text = conf_text(c, "decision");
    if (x == NULL) {
        return err_set(e, ERR_NOMEM, "cannot explain: no memory");
    }
    enum err row_err = read_row(c, id, &row, &row_e);
    enum err err = ERR_OK;
    e->text[0] = '\0';
    if (conf_bool(c, "stored")) {
        err = ERR_NOTFOUND;
    } else if (strcmp(id->log, conf_text(c, "log")) != 0) {
        err = err_set(e, ERR_NOTFOUND, "the logs are those of \"%s\"", conf_text(c, "log"));
    } else {
        err = explain_again(c, id, x, e);
    }
    if (err == ERR_OK) {
        *out_code = print_derived(text, x, &row, row_err, &row_e);
    } else if (err == ERR_NOTFOUND && row_err == ERR_OK) {
        print_stored(text, e->text, &row);
        err = ERR_OK;
    } else if (err == ERR_NOTFOUND) {
        err = e->text[0] == '\0' ? err_set(e, row_err, "%s", row_e.text)
                                 : err_set(e, ERR_NOTFOUND, "%s; %s", e->text, row_e.text);
    }
    evidence_row_done(&row);
    free(x);
    return err;
}

int cmd_explain(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    struct decision_id id;
    int code = settings_begin(&VERB, TABLES, TABLES, argc, argv, &c);
    if (code >= 0) {
        return code;
    }
    code = EXIT_OK;
    enum err err = decision_id_parse(conf_text(c, "decision"), &id)
                       ? run(c, &id, &code, &e)
                       : err_set(&e, ERR_INVALID,
                                 "--decision \"%.80s\" is no id; give log/partition/offset, such "
                                 "as transactions-1/3/918273",
                                 conf_text(c, "decision"));
    conf_free(c);
    if (err == ERR_OK && fflush(stdout) != 0) {
        err = err_set(&e, ERR_IO, "cannot write to standard output");
    }
    return err == ERR_OK ? code : cmd_fail(VERB.name, err, &e);
}
