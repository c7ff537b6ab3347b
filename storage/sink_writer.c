#include "storage/sink_writer.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

static const char *const COLUMNS[SINK_TABLES] = {
    "event_time, log, part, log_offset, tx_id, card, type, amount_minor, currency, exponent, "
    "amount_ref, merchant, terminal, mcc, country, channel, entry, device, ip, lat, lon",
    "event_time, log, part, log_offset, tx_id, score, threshold, outcome, model, schema_hash, "
    "revision, repeated, amount_ratio, journal_offset, labels_next, notices_next, features, "
    "control, "
    "would",
    "log, part, log_offset, event_time, tx_id, card, amount_minor, currency, exponent, amount_ref, "
    "score, outcome, model, body",
    "source, number, tx_id, verdict, event_time, known_time, card, body",
};

static const char *const NAMES[SINK_TABLES] = {"transactions", "decisions", "alerts", "labels"};

const char *sink_columns(enum sink_table t)
{
    return COLUMNS[t];
}

size_t copy_text(char *line, size_t at, const char *text, size_t len)
{
    if (at > 0) {
        line[at++] = '\t';
    }
    if (text == NULL) {
        line[at++] = '\\';
        line[at++] = 'N';
        return at;
    }
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        char escaped = c == '\\' ? '\\' : c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : 0;
        if (escaped != 0) {
            line[at++] = '\\';
        }
        line[at++] = escaped != 0 ? escaped : c;
    }
    return at;
}

/* Staging tables live as long as the connection and lose their rows at each commit. */
static enum err make_staging(struct db *d, struct errmsg *e)
{
    char sql[1024];
    for (int t = 0; t < SINK_TABLES; t++) {
        snprintf(sql, sizeof sql,
                 "CREATE TEMP TABLE IF NOT EXISTS staging_%s ON COMMIT DELETE ROWS AS "
                 "SELECT %s FROM %s WITH NO DATA",
                 NAMES[t], COLUMNS[t], NAMES[t]);
        enum err err = db_script(d, sql, e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err ensure_months(struct db *d, const struct sink_row *rows, size_t n, struct errmsg *e)
{
    int64_t first = INT64_MAX;
    int64_t last = INT64_MIN;
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    for (size_t i = 0; i < n; i++) {
        if (rows[i].table == SINK_TRANSACTIONS || rows[i].table == SINK_DECISIONS) {
            first = rows[i].event_us < first ? rows[i].event_us : first;
            last = rows[i].event_us > last ? rows[i].event_us : last;
        }
    }
    if (first > last || last - first > 366 * TIME_DAY) {
        return ERR_OK; /* hostile dates do not make hundreds of partitions: the default takes them
                        */
    }
    time_format(from, first);
    time_format(to, last);
    const char *const params[] = {from, to};
    return db_exec(d, "SELECT ensure_partitions($1::timestamptz, $2::timestamptz)", 2, params, NULL,
                   e);
}

static enum err copy_rows(struct db *d, enum sink_table t, const struct sink_row *rows, size_t n,
                          bool *out_any, struct errmsg *e)
{
    char sql[1024];
    bool begun = false;
    enum err err = ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        if (rows[i].table != t) {
            continue;
        }
        if (!begun) {
            snprintf(sql, sizeof sql, "COPY staging_%s (%s) FROM STDIN", NAMES[t], COLUMNS[t]);
            err = db_copy_begin(d, sql, e);
            begun = err == ERR_OK;
        }
        if (err == ERR_OK) {
            err = db_copy_put(d, rows[i].line, rows[i].line_len, e);
        }
        if (err == ERR_OK) {
            err = db_copy_put(d, "\n", 1, e);
        }
    }
    *out_any = begun;
    return begun && err == ERR_OK ? db_copy_end(d, e) : err;
}

static enum err insert_rows(struct db *d, const struct sink_row *rows, size_t n, struct errmsg *e)
{
    char sql[1024];
    for (int t = 0; t < SINK_TABLES; t++) {
        bool any = false;
        enum err err = copy_rows(d, (enum sink_table)t, rows, n, &any, e);
        if (err == ERR_OK && any) {
            snprintf(sql, sizeof sql,
                     "INSERT INTO %s (%s) SELECT %s FROM staging_%s ON CONFLICT DO NOTHING; "
                     "TRUNCATE staging_%s",
                     NAMES[t], COLUMNS[t], COLUMNS[t], NAMES[t], NAMES[t]);
            err = db_script(d, sql, e);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err reject(struct db *d, const struct sink_row *r, const char *state, const char *said,
                       struct errmsg *e)
{
    char partition[16];
    char offset[24];
    snprintf(partition, sizeof partition, "%" PRId32, r->partition);
    snprintf(offset, sizeof offset, "%" PRId64, r->offset);
    const char *const params[] = {r->topic, partition, offset, state, said, NULL};
    return db_exec_bytes(d,
                         "INSERT INTO rejects (topic, part, log_offset, sqlstate, message, raw) "
                         "VALUES ($1, $2::integer, $3::bigint, $4, $5, $6) ON CONFLICT DO NOTHING",
                         6, params, 5, r->raw, r->raw_len, e);
}

static bool is_row_error(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0;
}

/* Inserts rows[0..n) inside the open transaction; halves on a refused row. */
static enum err insert_halving(struct db *d, const struct sink_row *rows, size_t n,
                               size_t *rejected, struct errmsg *e)
{
    enum err err = db_script(d, "SAVEPOINT part", e);
    if (err != ERR_OK || n == 0) {
        return err;
    }
    err = insert_rows(d, rows, n, e);
    if (err == ERR_OK) {
        return db_script(d, "RELEASE SAVEPOINT part", e);
    }
    char state[8];
    snprintf(state, sizeof state, "%s", db_sqlstate(d));
    if (err == ERR_UNAVAILABLE || !is_row_error(state)) {
        return err;
    }
    struct errmsg said = *e;
    err = db_script(d, "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part", e);
    if (err != ERR_OK) {
        return err;
    }
    if (n == 1) {
        ++*rejected;
        return reject(d, rows, state, said.text, e);
    }
    err = insert_halving(d, rows, n / 2, rejected, e);
    return err == ERR_OK ? insert_halving(d, rows + n / 2, n - n / 2, rejected, e) : err;
}

static enum err save_position(struct db *d, const struct sink_position *p, struct errmsg *e)
{
    char partition[16];
    char offset[24];
    char known[24];
    struct db_rows *rows = NULL;
    snprintf(partition, sizeof partition, "%" PRId32, p->partition);
    snprintf(offset, sizeof offset, "%" PRId64, p->next_offset);
    snprintf(known, sizeof known, "%" PRId64, p->known);
    const char *const params[] = {p->topic, partition, offset, known};
    if (p->known < 0) {
        return db_exec(d,
                       "INSERT INTO sink_offsets AS o VALUES ($1, $2::integer, $3::bigint) "
                       "ON CONFLICT (topic, part) DO UPDATE SET next_offset = "
                       "greatest(o.next_offset, excluded.next_offset)",
                       3, params, NULL, e);
    }
    enum err err =
        db_exec(d,
                "UPDATE sink_offsets SET next_offset = greatest(next_offset, $3::bigint) "
                "WHERE topic = $1 AND part = $2::integer AND next_offset >= $4::bigint "
                "RETURNING 1",
                4, params, &rows, e);
    if (err == ERR_OK && db_rows_count(rows) == 0) {
        err = err_set(e, ERR_MISMATCH,
                      "PostgreSQL has less of topic \"%s\" partition %" PRId32
                      " than offset %" PRId64 ", up to which it was written: it has lost rows",
                      p->topic, p->partition, p->known);
    }
    db_rows_free(rows);
    return err;
}

static enum err save_positions(struct db *d, const struct sink_position *p, size_t n,
                               struct errmsg *e)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = save_position(d, &p[i], e);
    }
    return err;
}

enum err sink_write(struct db *d, const struct sink_row *rows, size_t n,
                    const struct sink_position *positions, size_t position_count,
                    size_t *out_rejected, struct errmsg *e)
{
    size_t rejected = 0;
    enum err err = make_staging(d, e);
    if (err == ERR_OK) {
        err = ensure_months(d, rows, n, e);
    }
    if (err == ERR_OK) {
        err = db_script(d, "BEGIN", e);
    }
    if (err == ERR_OK) {
        err = insert_halving(d, rows, n, &rejected, e);
    }
    if (err == ERR_OK) {
        err = save_positions(d, positions, position_count, e);
    }
    if (err == ERR_OK) {
        err = db_script(d, "COMMIT", e);
    }
    if (err != ERR_OK) {
        enum err undone = db_script(d, "ROLLBACK", NULL);
        (void)undone; /* a lost connection rolls back by itself */
        return err;
    }
    *out_rejected = rejected;
    return ERR_OK;
}

enum err sink_offset(struct db *d, const char *topic, int32_t partition, int64_t *out_next,
                     struct errmsg *e)
{
    char number[16];
    struct db_rows *rows = NULL;
    snprintf(number, sizeof number, "%" PRId32, partition);
    const char *const params[] = {topic, number};
    enum err err =
        db_exec(d, "SELECT next_offset FROM sink_offsets WHERE topic = $1 AND part = $2::integer",
                2, params, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    *out_next = db_rows_count(rows) == 1 ? strtoll(db_rows_text(rows, 0, 0), NULL, 10) : -1;
    db_rows_free(rows);
    return ERR_OK;
}
