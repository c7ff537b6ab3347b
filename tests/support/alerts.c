#include "tests/support/alerts.h"

#include <math.h>
#include <stdio.h>

#include "base/timefmt.h"
#include "storage/queue.h"
#include "tests/support/database.h"

void alerts_empty(struct db *db)
{
    database_empty_audit(db);
    database_run(db, "TRUNCATE alerts, cases, team_routes, verdicts, label_outbox, label_sources");
}

void alert_add_of(struct db *db, const char *card, long offset, double score, int amount,
                  const char *when)
{
    char minor[24];
    char number[24];
    char real[40];
    struct errmsg e = {""};
    snprintf(minor, sizeof minor, "%d", 10000 * amount);
    snprintf(number, sizeof number, "%ld", offset);
    snprintf(real, sizeof real, "%.9g", score < 0 ? (double)NAN : score);
    const char *const params[] = {number, real, minor, when, card};
    database_must(
        db_exec(db,
                "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
                "currency, exponent, amount_ref, score, outcome, model, body) "
                "SELECT 'log-1', 0, $1::bigint, $4::timestamptz, 'tx' || $1, $5, "
                "$3::bigint, 'USD', 2, $3::bigint, nullif($2::float8, 'NaN'), 'review', 'm1', "
                "jsonb_build_object("
                "'id', 'log-1/0/' || $1, 'tx', 'tx' || $1, 'ts', $4, 'score', nullif($2::float8, "
                "'NaN'), "
                "'card', $5::text, 'type', 'purchase', 'amount', $3::bigint, 'currency', 'USD', "
                "'exponent', 2, 'merchant', 'm000017', 'terminal', 't003156', 'mcc', '0742', "
                "'country', 'DE', 'device', 'd8f3', 'ip', '203.0.113.9', 'amount_ratio', 5.25, "
                "'lat', 52.5, 'reasons', '[{\"group\": \"usual\", \"weight\": 2.5, \"text\": "
                "\"much\"}]'::jsonb)",
                5, params, NULL, &e),
        &e);
}

void alert_add(struct db *db, long offset, double score, int amount, const char *when)
{
    char card[32];
    snprintf(card, sizeof card, "card \"%ld\"", offset);
    alert_add_of(db, card, offset, score, amount, when);
}

int alert_claim(struct db *db, const char *who, int count, char out[32])
{
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    database_must(queue_claim(db, who, count, 15 * TIME_MIN, &rows, &e), &e);
    int n = db_rows_count(rows);
    snprintf(out, 32, "%s", n > 0 ? db_rows_text(rows, 0, 0) : "");
    db_rows_free(rows);
    return n;
}
