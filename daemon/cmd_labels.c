/* fraudd labels: verdicts from files, and a look at what is known. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/progress.h"
#include "daemon/actions.h"
#include "daemon/card_guard.h"
#include "daemon/card_number.h"
#include "daemon/cmd.h"
#include "daemon/label_file.h"
#include "daemon/wire.h"
#include "storage/labels.h"

#define SHOWN_FIRST 5 /* unmatched lines told on standard error */

static const char *const SETTINGS_SHOWN[] = {"database", NULL};
static const char *const IMPORT_SETTINGS[] = {"database", "card.numbers", "card.key-file",
                                              "card.digits", NULL};

static const struct conf_option IMPORT_OPTIONS[] = {
    {"input", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "verdicts in CSV, plain or .gz, .xz, .zst"},
    {"source", CONF_TEXT, 0, "chargebacks", 0, 0, "who says so; part of each label"},
    {"unmatched", CONF_TEXT, 0, NULL, 0, 0, "file for the lines that match no payment"},
    ACTION_AS,
    ACTION_END};

static enum err read_lines(const struct conf *c, struct db *db, uint64_t *out_lines,
                           struct errmsg *e)
{
    struct csv *csv = NULL;
    struct label_file f;
    struct label_line line;
    struct progress progress;
    struct card_rules cards = {.key = NULL};
    struct card_guard *guard = NULL;
    uint64_t n = 0;
    enum err err = card_rules_read(c, &cards, e);
    if (err == ERR_OK) {
        err = card_guard_create(&cards, &guard, e);
    }
    if (err == ERR_OK) {
        err = csv_open(conf_text(c, "input"), &csv, e);
    }
    if (err == ERR_OK) {
        err = label_file_init(&f, csv, e);
        f.guard = guard;
    }
    if (err == ERR_OK) {
        err = label_import_begin(db, e);
    }
    progress_begin(&progress, "reading verdicts", 1);
    while (err == ERR_OK && (err = label_file_next(&f, &line, e)) == ERR_OK) {
        err = label_import_add(db, &line, e);
        if (++n % 4096 == 0) {
            progress_update(&progress, csv_share(csv), NULL);
        }
    }
    csv_close(csv);
    card_guard_free(guard);
    card_rules_done(&cards);
    *out_lines = n;
    if (err != ERR_END) {
        return err;
    }
    progress_end(&progress, 1);
    return ERR_OK;
}

static void print_csv(FILE *f, const char *text)
{
    if (text == NULL || strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text != NULL ? text : "", f);
        return;
    }
    fputc('"', f);
    for (const char *p = text; *p != '\0'; p++) {
        fputs(*p == '"' ? "\"" : "", f);
        fputc(*p, f);
    }
    fputc('"', f);
}

/* In the importer's own format, so that it can be given to it again. */
static enum err write_unmatched(const char *path, const struct db_rows *rows, struct errmsg *e)
{
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        return file_errno(e, errno, "write", path);
    }
    for (int i = -1; i < db_rows_count(rows); i++) {
        for (int c = 0; c < db_rows_columns(rows); c++) {
            fputs(c > 0 ? "," : "", f);
            print_csv(f, i < 0 ? db_rows_name(rows, c) : db_rows_text(rows, i, c));
        }
        fputc('\n', f);
    }
    return (ferror(f) | fclose(f)) == 0 ? ERR_OK : file_errno(e, errno, "write", path);
}

static void tell(const struct conf *c, uint64_t lines, const struct label_import_counts *n,
                 const struct db_rows *unmatched)
{
    printf("%" PRIu64 " lines: %" PRId64 " labels on their way as source %s, %" PRId64
           " known already, %" PRId64 " match no payment\n",
           lines, n->sent, conf_text(c, "source"), (int64_t)lines - n->sent - n->unmatched,
           n->unmatched);
    for (int i = 0; i < db_rows_count(unmatched) && i < SHOWN_FIRST; i++) {
        fprintf(stderr, "line %s: tx_id %s: %s\n", db_rows_text(unmatched, i, 0),
                db_rows_text(unmatched, i, 1), db_rows_text(unmatched, i, 5));
    }
    if (n->unmatched > SHOWN_FIRST) {
        fprintf(stderr, "and %" PRId64 " more%s\n", n->unmatched - SHOWN_FIRST,
                conf_text(c, "unmatched") == NULL ? "; --unmatched FILE keeps them" : "");
    }
}

static enum err import(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const char *source = conf_text(c, "source");
    const char *path = conf_text(c, "unmatched");
    const char *who = NULL;
    struct db *db = NULL;
    struct db_rows *unmatched = NULL;
    struct label_import_counts n;
    uint64_t lines = 0;
    (void)exit_code;
    if (source[0] == '\0' || strlen(source) > WIRE_ID_MAX) {
        return err_set(e, ERR_INVALID, "--source needs 1 to %d bytes", WIRE_ID_MAX);
    }
    if (card_number_in((struct slice){source, strlen(source)})) {
        return err_set(e, ERR_INVALID, "--source holds a full card number");
    }
    enum err err = actions_who(c, &who, e);
    if (err == ERR_OK) {
        err = db_open(conf_text(c, "database"), &db, e);
    }
    if (err == ERR_OK) {
        err = read_lines(c, db, &lines, e);
        if (err == ERR_OK) {
            err = label_import_run(db, source, who, conf_text(c, "input"), &n, &unmatched, e);
        }
        if (err != ERR_OK) {
            label_import_abandon(db);
        }
    }
    if (err == ERR_OK) {
        tell(c, lines, &n, unmatched);
        err = path != NULL ? write_unmatched(path, unmatched, e) : ERR_OK;
    }
    db_rows_free(unmatched);
    db_close(db);
    return err;
}

static const struct conf_option LIST_OPTIONS[] = {
    {"source", CONF_TEXT, 0, NULL, 0, 0, "only of this source"},
    {"tx", CONF_TEXT, 0, NULL, 0, 0, "only of this transaction"},
    {"card", CONF_TEXT, 0, NULL, 0, 0, "only of this card"},
    {"verdict", CONF_TEXT, 0, NULL, 0, 0, "only fraud, legitimate or withdrawn"},
    {"state", CONF_TEXT, 0, NULL, 0, 0,
     "only waiting (for `fraudd sink`), sent (on the topic) or stored (come back from it)"},
    {"limit", CONF_INT, 0, "20", 1, 1e6, "rows at most"},
    ACTION_JSON,
    ACTION_END};

static enum err list(const struct conf *c, int *exit_code, struct errmsg *e)
{
    const struct label_filter f = {conf_text(c, "source"), conf_text(c, "tx"),
                                   conf_text(c, "card"),   conf_text(c, "verdict"),
                                   conf_text(c, "state"),  conf_int(c, "limit")};
    struct db *db = NULL;
    struct db_rows *rows = NULL;
    (void)exit_code;
    enum err err = db_open(conf_text(c, "database"), &db, e);
    if (err == ERR_OK) {
        err = labels_list(db, &f, &rows, e);
    }
    if (err == ERR_OK) {
        table_print(stdout, rows, actions_form(c));
    }
    db_rows_free(rows);
    db_close(db);
    return err;
}

static const struct action ACTIONS[] = {
    {"import", "completes chargebacks of a CSV file and sends them as labels", "FILE [OPTIONS]",
     "Reads columns tx_id, verdict (fraud, legitimate, withdrawn) and known (or known_time,\n"
     "label_ts, date), optionally card_id; finds each payment in PostgreSQL and queues its "
     "complete\n"
     "label for the labels topic, where `fraudd sink` brings it.  A bad line refuses the file;\n"
     "lines that match no payment are told.  The same file again adds nothing.",
     "fraudd labels import chargebacks.csv --source visa --unmatched left-over.csv", IMPORT_OPTIONS,
     IMPORT_SETTINGS, import},
    {"list", "labels, the newest known first", "[OPTIONS]", NULL,
     "fraudd labels list --source analysts --limit 50", LIST_OPTIONS, SETTINGS_SHOWN, list},
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

int cmd_labels(int argc, char **argv)
{
    return actions_run("Verdicts about payments: from files, and what is known.", ACTIONS, argc,
                       argv);
}
