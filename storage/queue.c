#include "storage/queue.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/progress.h"
#include "base/timefmt.h"

#define LOOK_EVERY_US (5 * TIME_S) /* what ends by time tells nobody */

/* Of view queue or of what queue_claim returns. */
#define COLUMNS                                                                                    \
    "id, case_id AS \"case\", iso_time(event_time) AS event_time, card, tx_id, amount, "           \
    "round(score::numeric, 4) AS score, round(expected_loss::numeric, 2) AS expected_loss, "       \
    "outcome, state, claimed_by, iso_time(due) AS due, verdict, resolved_by"

enum err queue_list(struct db *d, const struct queue_filter *f, struct db_rows **out,
                    struct errmsg *e)
{
    char limit[24];
    snprintf(limit, sizeof limit, "%" PRId64, f->limit);
    const char *const params[] = {f->state, f->card, f->tx, limit, f->case_id};
    return db_exec(d,
                   "SELECT " COLUMNS " FROM queue WHERE ($1::text IS NULL OR state = $1) "
                   "AND ($2::text IS NULL OR card = $2) AND ($3::text IS NULL OR tx_id = $3) "
                   "AND ($5::bigint IS NULL OR case_id = $5::bigint) "
                   "ORDER BY priority DESC, expected_loss DESC, id LIMIT $4::bigint",
                   5, params, out, e);
}

static enum err show_fields(struct db *d, const char *alert, struct db_rows **out, struct errmsg *e)
{
    const char *const params[] = {alert};
    enum err err =
        db_exec(d,
                "SELECT " COLUMNS ", iso_time(resolved_at) AS resolved_at, note, model, "
                "body ->> 'type' AS type, body ->> 'merchant' AS merchant, "
                "body ->> 'terminal' AS terminal, body ->> 'mcc' AS mcc, "
                "body ->> 'country' AS country, body ->> 'channel' AS channel, "
                "body ->> 'entry' AS entry, body ->> 'device' AS device, body ->> 'ip' AS ip, "
                "body -> 'amount_ratio' AS amount_ratio, body -> 'threshold' AS threshold "
                "FROM queue WHERE id = $1",
                1, params, out, e);
    if (err == ERR_OK && db_rows_count(*out) == 0) {
        db_rows_free(*out);
        *out = NULL;
        return err_set(e, ERR_NOTFOUND, "there is no alert %s", alert);
    }
    return err;
}

enum err queue_show(struct db *d, const char *alert, struct db_rows **out,
                    struct db_rows **out_reasons, struct db_rows **out_history, struct errmsg *e)
{
    struct db_rows *fields = NULL;
    struct db_rows *reasons = NULL;
    struct db_rows *history = NULL;
    const char *const params[] = {alert};
    enum err err = show_fields(d, alert, &fields, e);
    if (err == ERR_OK) {
        err = db_exec(d,
                      "SELECT r ->> 'group' AS \"group\", round((r ->> 'weight')::numeric, 2) AS "
                      "weight, r ->> 'text' AS text FROM alerts a, "
                      "jsonb_array_elements(a.body -> 'reasons') WITH ORDINALITY AS x (r, nth) "
                      "WHERE a.id = $1 ORDER BY nth",
                      1, params, &reasons, e);
    }
    if (err == ERR_OK) {
        err = db_exec(d, "SELECT iso_time(at) AS at, who, what, detail FROM queue_history($1)", 1,
                      params, &history, e);
    }
    if (err != ERR_OK) {
        db_rows_free(fields);
        db_rows_free(reasons);
        return err;
    }
    *out = fields;
    *out_reasons = reasons;
    *out_history = history;
    return ERR_OK;
}

enum err queue_claim(struct db *d, const char *who, int64_t count, int64_t lease_us,
                     struct db_rows **out, struct errmsg *e)
{
    char many[24];
    char lease[40];
    snprintf(many, sizeof many, "%" PRId64, count);
    snprintf(lease, sizeof lease, "%" PRId64 " microseconds", lease_us);
    const char *const params[] = {who, many, lease};
    static const char CLAIM[] =
        "SELECT " COLUMNS " FROM queue_claim($1, $2::integer, $3::interval)";
    return db_exec_often(d, CLAIM, 3, params, out, e);
}

enum err queue_claim_wait(struct db *d, const char *who, int64_t count, int64_t lease_us,
                          int64_t wait_us, struct db_rows **out, struct errmsg *e)
{
    int64_t end_us = progress_now_us() + wait_us;
    struct db_rows *rows = NULL;
    /* listening comes first: what arrives after the claim has looked is told */
    enum err err = db_script(d, "LISTEN fraudd_alerts", e);
    while (err == ERR_OK) {
        err = queue_claim(d, who, count, lease_us, &rows, e);
        int64_t left_us = end_us - progress_now_us();
        if (err != ERR_OK || db_rows_count(rows) > 0 || left_us <= 0) {
            break;
        }
        db_rows_free(rows);
        rows = NULL;
        err = db_wait(d, left_us < LOOK_EVERY_US ? left_us : LOOK_EVERY_US, e);
    }
    if (err == ERR_OK) {
        *out = rows;
    }
    return err;
}

enum err queue_claim_one(struct db *d, const char *what, const char *who, int64_t lease_us,
                         struct db_rows **out, struct errmsg *e)
{
    char lease[40];
    snprintf(lease, sizeof lease, "%" PRId64 " microseconds", lease_us);
    const char *const params[] = {what, who, lease};
    return db_exec(d, "SELECT " COLUMNS " FROM queue_claim_one($1, $2, $3::interval)", 3, params,
                   out, e);
}

enum err queue_release(struct db *d, const char *what, const char *who, struct errmsg *e)
{
    const char *const params[] = {what, who};
    return db_exec(d, "SELECT queue_release($1, $2)", 2, params, NULL, e);
}

enum err queue_snooze(struct db *d, const char *what, const char *who, int64_t until_us,
                      const char *note, struct errmsg *e)
{
    char until[TIME_TEXT_MAX];
    time_format(until, until_us);
    const char *const params[] = {what, who, until, note};
    return db_exec(d, "SELECT queue_snooze($1, $2, $3::timestamptz, $4)", 4, params, NULL, e);
}

enum err queue_tend(struct db *d, struct errmsg *e)
{
    return db_script(d, "SELECT queue_tend()", e);
}

enum err queue_resolve(struct db *d, const char *what, const char *who, const char *verdict,
                       const char *note, bool change, struct errmsg *e)
{
    const char *const params[] = {what, who, verdict, note, change ? "true" : "false"};
    return db_exec(d, "SELECT queue_resolve($1, $2, $3, $4, $5::boolean)", 5, params, NULL, e);
}
