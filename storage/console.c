#include "storage/console.h"

#include <inttypes.h>
#include <stdio.h>

/* The view has what a row shows; the page is cut out of the table, where the indexes are. */
#define COLUMNS                                                                                    \
    "SELECT q.id, iso_time(q.event_time) AS event_time, q.card, q.tx_id, q.amount, "               \
    "round(q.score::numeric, 4) AS score, round(q.expected_loss::numeric, 2) AS expected_loss, "   \
    "q.outcome, q.state, q.claimed_by, iso_time(q.due) AS due, q.verdict, "                        \
    "q.resolved_by, iso_time(q.resolved_at) AS resolved_at, q.body ->> 'merchant' AS merchant, "   \
    "q.body ->> 'country' AS country, q.body ->> 'channel' AS channel, "                           \
    "q.body -> 'reasons' -> 0 ->> 'text' AS reason, p.key::text AS key "                           \
    "FROM page p JOIN queue q ON q.id = p.id ORDER BY p.key DESC, p.id DESC"

#define ALERTS_OF "SELECT a.id, c.priority AS key FROM cases c JOIN alerts a ON a.case_id = c.id "
/* $1, $2: key and id of the row before; $3: rows. */
#define CUT                                                                                        \
    "AND c.priority <= $1::float8 AND (c.priority, a.id) < ($1::float8, $2::text) "                \
    "ORDER BY c.priority DESC, a.id DESC LIMIT $3::bigint"

/* A lease or snooze that is over makes a case open before anybody has written so. */
static const char SQL_OPEN[] =
    "WITH page AS (SELECT id, key FROM ((" ALERTS_OF
    "WHERE c.state = 'open' AND a.verdict IS NULL " CUT ") UNION ALL (" ALERTS_OF
    "WHERE c.due <= now() AND a.verdict IS NULL " CUT ")) both_kinds "
    "ORDER BY key DESC, id DESC LIMIT $3::bigint) " COLUMNS;
static const char SQL_CLAIMED[] =
    "WITH page AS (" ALERTS_OF "WHERE c.state = 'claimed' AND c.due > now() "
    "AND a.verdict IS NULL AND ($4::text IS NULL OR c.claimed_by = $4) " CUT ") " COLUMNS;
static const char SQL_RESOLVED[] =
    "WITH page AS (SELECT id, resolved_at AS key FROM alerts WHERE verdict IS NOT NULL "
    "AND (resolved_at, id) < ($1::timestamptz, $2::text) "
    "ORDER BY resolved_at DESC, id DESC LIMIT $3::bigint) " COLUMNS;
static const char SQL_FOUND[] =
    "WITH page AS (" ALERTS_OF "WHERE (a.card = $4 OR a.tx_id = $4) " CUT ") " COLUMNS;

enum err console_queue(struct db *d, const struct console_page *p, struct db_rows **out,
                       struct errmsg *e)
{
    static const char *const SQL[] = {[CONSOLE_OPEN] = SQL_OPEN,
                                      [CONSOLE_CLAIMED] = SQL_CLAIMED,
                                      [CONSOLE_RESOLVED] = SQL_RESOLVED,
                                      [CONSOLE_FOUND] = SQL_FOUND};
    char limit[24];
    snprintf(limit, sizeof limit, "%" PRId64, p->limit);
    const char *const params[] = {p->after_key != NULL ? p->after_key : "infinity",
                                  p->after_id != NULL ? p->after_id : "", limit,
                                  p->list == CONSOLE_FOUND ? p->find : p->who};
    const int n = p->list == CONSOLE_CLAIMED || p->list == CONSOLE_FOUND ? 4 : 3;
    return db_exec(d, SQL[p->list], n, params, out, e);
}

enum err console_act_for(struct db *d, const char *who, struct errmsg *e)
{
    const char *const params[] = {who};
    return db_exec(d, "SELECT set_config('fraudd.analyst', $1, false)", 1, params, NULL, e);
}

static const char SQL_PAYMENTS[] =
    "SELECT iso_time(p.event_time) AS event_time, p.amount, p.value, p.merchant, p.mcc, p.country, "
    "p.channel, p.entry, p.type, p.outcome, p.score, p.verdict, p.alert_id AS alert, "
    "coalesce(p.alert_id = $1, false) AS this "
    "FROM queue_payments($1, $2::bigint, $3::bigint) p ORDER BY p.event_time DESC";

enum err console_payments(struct db *d, const char *alert, int64_t days, int64_t limit,
                          struct db_rows **out, struct errmsg *e)
{
    char many[24];
    char back[24];
    struct db_rows *of = NULL;
    const char *const named[] = {alert};
    snprintf(many, sizeof many, "%" PRId64, limit);
    snprintf(back, sizeof back, "%" PRId64, days);
    enum err err = db_exec(d, "SELECT FROM alerts WHERE id = $1", 1, named, &of, e);
    if (err == ERR_OK && db_rows_count(of) == 0) {
        err = err_set(e, ERR_NOTFOUND, "there is no alert %s", alert);
    }
    if (err == ERR_OK) {
        const char *const params[] = {alert, back, many};
        err = db_exec(d, SQL_PAYMENTS, 3, params, out, e);
    }
    db_rows_free(of);
    return err;
}

#define DAY "WITH day AS (SELECT date_trunc('day', now() - $1::interval) + $1::interval AS begun) "

static const char SQL_TODAY[] = DAY
    ", judged AS (SELECT verdict, amount_ref, resolved_at >= begun AS today FROM alerts, day "
    "WHERE verdict IS NOT NULL AND resolved_at >= begun - interval '6 days') "
    "SELECT iso_time(begun) AS day, "
    "(SELECT count(*) FROM alerts WHERE event_time >= begun AND outcome <> 'decline') AS alerts, "
    "(SELECT count(*) FROM alerts WHERE event_time >= begun AND outcome = 'decline') AS declined, "
    "(SELECT count(*) FROM alerts a JOIN cases c ON c.id = a.case_id WHERE a.verdict IS NULL "
    "AND (c.state = 'open' OR c.due <= now())) AS open, "
    "(SELECT count(*) FROM alerts a JOIN cases c ON c.id = a.case_id WHERE a.verdict IS NULL "
    "AND c.state = 'claimed' AND c.due > now()) AS claimed, "
    "j.fraud, j.legitimate, j.unsure, j.value, j.week_fraud, j.week_legitimate "
    "FROM day, (SELECT count(*) FILTER (WHERE today AND verdict = 'fraud') AS fraud, "
    "count(*) FILTER (WHERE today AND verdict = 'legitimate') AS legitimate, "
    "count(*) FILTER (WHERE today AND verdict = 'unsure') AS unsure, "
    "coalesce(round(sum(amount_ref) FILTER (WHERE today AND verdict = 'fraud') / 100, 2), 0) "
    "AS value, "
    "count(*) FILTER (WHERE verdict = 'fraud') AS week_fraud, "
    "count(*) FILTER (WHERE verdict = 'legitimate') AS week_legitimate FROM judged) j";

static const char SQL_MODELS[] = DAY
    ", raised AS (SELECT model, count(*) AS alerts FROM alerts, day "
    "WHERE event_time >= begun GROUP BY model) "
    "SELECT coalesce(m.version, r.model) AS version, m.state, iso_time(m.promoted) AS promoted, "
    "m.lineage ->> 'data_until' AS data_until, round((m.metrics ->> 'ap')::numeric, 4) AS ap, "
    "coalesce(r.alerts, 0) AS alerts "
    "FROM models m FULL JOIN raised r ON r.model = m.version "
    "WHERE m.state = 'champion' OR r.model IS NOT NULL "
    "ORDER BY m.state = 'champion' DESC NULLS LAST, r.alerts DESC NULLS LAST, 1";

static enum err of_day(struct db *d, const char *sql, int64_t day_offset_us, struct db_rows **out,
                       struct errmsg *e)
{
    char offset[40];
    snprintf(offset, sizeof offset, "%" PRId64 " microseconds", day_offset_us);
    const char *const params[] = {offset};
    return db_exec(d, sql, 1, params, out, e);
}

enum err console_today(struct db *d, int64_t day_offset_us, struct db_rows **out, struct errmsg *e)
{
    return of_day(d, SQL_TODAY, day_offset_us, out, e);
}

enum err console_models(struct db *d, int64_t day_offset_us, struct db_rows **out, struct errmsg *e)
{
    return of_day(d, SQL_MODELS, day_offset_us, out, e);
}
