#include "storage/evidence_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* its columns come last */
enum { JOURNAL = 11, LABELS, NOTICES, COUNT, FEATURES };
static const char FIELDS[] =
    "SELECT tx_id AS transaction, to_char(event_time AT TIME ZONE 'UTC', "
    "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS event_time, score, threshold, outcome, "
    "control, would, model, schema_hash AS schema, revision, repeated AS repeat, journal_offset, "
    "labels_next, "
    "notices_next, cardinality(features), array_to_string(features, ' ') "
    "FROM decisions WHERE log = $1 AND part = $2::integer AND log_offset = $3::bigint LIMIT 1";
static const char REASONS[] =
    "SELECT r.value ->> 'group' AS \"group\", r.value ->> 'weight' AS weight, "
    "r.value ->> 'text' AS text FROM alerts a, "
    "jsonb_array_elements(a.body -> 'reasons') WITH ORDINALITY AS r(value, at) "
    "WHERE a.log = $1 AND a.part = $2::integer AND a.log_offset = $3::bigint ORDER BY r.at";

static enum err read_columns(struct evidence_row *r, struct errmsg *e)
{
    const char *at = db_rows_text(r->fields, 0, FEATURES);
    if (at == NULL) {
        return ERR_OK;
    }
    r->x_count = strtoul(db_rows_text(r->fields, 0, COUNT), NULL, 10);
    r->x = calloc(r->x_count + 1, sizeof *r->x);
    if (r->x == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu columns: no memory", r->x_count);
    }
    for (size_t i = 0; i < r->x_count; i++) {
        char *end = NULL;
        r->x[i] = strtof(at, &end);
        if (end == at) {
            return err_set(e, ERR_CORRUPT, "column %zu of the stored decision is no number: %.20s",
                           i, at);
        }
        at = end;
    }
    r->journal = strtoll(db_rows_text(r->fields, 0, JOURNAL), NULL, 10);
    r->labels_next = strtoll(db_rows_text(r->fields, 0, LABELS), NULL, 10);
    r->notices_next = strtoll(db_rows_text(r->fields, 0, NOTICES), NULL, 10);
    r->has_evidence = true;
    return ERR_OK;
}

enum err evidence_row_read(struct db *d, const char *log, int32_t partition, int64_t offset,
                           struct evidence_row *out, struct errmsg *e)
{
    char part[16];
    char at[24];
    snprintf(part, sizeof part, "%" PRId32, partition);
    snprintf(at, sizeof at, "%" PRId64, offset);
    const char *const params[] = {log, part, at};
    struct evidence_row r = {.fields = NULL};
    enum err err = db_exec(d, FIELDS, 3, params, &r.fields, e);
    if (err == ERR_OK && db_rows_count(r.fields) == 0) {
        err = err_set(e, ERR_NOTFOUND, "PostgreSQL holds no decision %s/%s/%s", log, part, at);
    }
    if (err == ERR_OK) {
        err = db_exec(d, REASONS, 3, params, &r.reasons, e);
    }
    if (err == ERR_OK) {
        err = read_columns(&r, e);
    }
    if (err != ERR_OK) {
        evidence_row_done(&r);
        return err;
    }
    *out = r;
    return ERR_OK;
}

void evidence_row_done(struct evidence_row *r)
{
    db_rows_free(r->fields);
    db_rows_free(r->reasons);
    free(r->x);
    *r = (struct evidence_row){.fields = NULL};
}
