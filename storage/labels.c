#include "storage/labels.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "storage/sink_writer.h"

#define TEXT_MAX 128 /* bytes of an id */

enum err label_import_begin(struct db *d, struct errmsg *e)
{
    enum err err =
        db_script(d,
                  "BEGIN; CREATE TEMP TABLE label_file (line bigint, tx_id text, card text, "
                  "verdict text, known timestamptz, known_last timestamptz) ON COMMIT DROP",
                  e);
    return err == ERR_OK ? db_copy_begin(d, "COPY label_file FROM STDIN", e) : err;
}

enum err label_import_add(struct db *d, const struct label_line *l, struct errmsg *e)
{
    char line[4 * TEXT_MAX + 200];
    char number[24];
    char at[TIME_TEXT_MAX];
    if (l->tx_len > TEXT_MAX || l->card_len > TEXT_MAX) {
        return err_set(e, ERR_INVALID, "line %" PRIu64 ": an id has more than %d bytes", l->line,
                       TEXT_MAX);
    }
    int n = snprintf(number, sizeof number, "%" PRIu64, l->line);
    size_t len = copy_text(line, 0, number, (size_t)n);
    len = copy_text(line, len, l->tx, l->tx_len);
    len = copy_text(line, len, l->card, l->card_len);
    len = copy_text(line, len, l->verdict, strlen(l->verdict));
    len = copy_text(line, len, at, time_format(at, l->known_us));
    len = copy_text(line, len, at, time_format(at, l->known_last_us));
    line[len++] = '\n';
    return db_copy_put(d, line, len, e);
}

static enum err match(struct db *d, const char *source, const char *who, const char *file,
                      struct label_import_counts *out, struct db_rows **unmatched, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    const char *const params[] = {source, who, file};
    enum err err = db_script(d, "ANALYZE label_file; SELECT label_match_file()", e);
    if (err == ERR_OK) {
        err =
            db_exec(d, "SELECT sent, unmatched FROM label_import($1, $2, $3)", 3, params, &rows, e);
    }
    if (err == ERR_OK) {
        out->sent = strtoll(db_rows_text(rows, 0, 0), NULL, 10);
        out->unmatched = strtoll(db_rows_text(rows, 0, 1), NULL, 10);
        err = db_exec(d,
                      "SELECT line, tx_id, card AS card_id, verdict, iso_time(known) AS known, "
                      "reason FROM label_match WHERE reason IS NOT NULL ORDER BY line",
                      0, NULL, unmatched, e);
    }
    db_rows_free(rows);
    return err;
}

enum err label_import_run(struct db *d, const char *source, const char *who, const char *file,
                          struct label_import_counts *out, struct db_rows **out_unmatched,
                          struct errmsg *e)
{
    struct label_import_counts counts = {0, 0};
    struct db_rows *unmatched = NULL;
    enum err err = db_copy_end(d, e);
    if (err == ERR_OK) {
        err = match(d, source, who, file, &counts, &unmatched, e);
    }
    if (err == ERR_OK) {
        err = db_script(d, "COMMIT", e);
    }
    if (err != ERR_OK) {
        db_rows_free(unmatched);
        return err;
    }
    *out = counts;
    *out_unmatched = unmatched;
    return ERR_OK;
}

void label_import_abandon(struct db *d)
{
    enum err err = db_copy_cancel(d);
    enum err undone = db_script(d, "ROLLBACK", NULL);
    (void)err; /* nothing was to be copied any more, or the connection is gone */
    (void)undone;
}

enum err labels_list(struct db *d, const struct label_filter *f, struct db_rows **out,
                     struct errmsg *e)
{
    char limit[24];
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    const char *const params[] = {f->source, f->tx, f->card, f->verdict, f->state, limit};
    return db_exec(d,
                   "SELECT source, number, tx_id, card, verdict, iso_time(known_time) AS known, "
                   "state FROM label_list WHERE ($1::text IS NULL OR source = $1) "
                   "AND ($2::text IS NULL OR tx_id = $2) AND ($3::text IS NULL OR card = $3) "
                   "AND ($4::text IS NULL OR verdict = $4) AND ($5::text IS NULL OR state = $5) "
                   "ORDER BY known_time DESC, source, number DESC LIMIT $6::bigint",
                   6, params, out, e);
}
