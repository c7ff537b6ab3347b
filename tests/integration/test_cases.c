/* Cases against a real PostgreSQL: alerts of one card together, snooze, the head of the queue, the
 * hint that an alert has come, teams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/timefmt.h"
#include "storage/migrate.h"
#include "storage/queue.h"
#include "tests/support/alerts.h"
#include "tests/support/database.h"

#define LEASE (15 * TIME_MIN)

static struct database server;
static struct db *db;

static int start(void **state)
{
    (void)state;
    database_start(&server);
    db = server.db;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    database_stop(&server);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    alerts_empty(db);
    return 0;
}

static char *case_of(const char *alert)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT case_id FROM alerts WHERE id = '%s'", alert);
    return database_text(db, sql);
}

static void test_alerts_of_a_card_are_one_case(void **state)
{
    (void)state;
    char first[32];
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add_of(db, "a", 1, .5, 1, "2026-04-02T00:00:00Z"); /* loss 50 */
    alert_add_of(db, "b", 2, .9, 1, "2026-04-02T00:00:00Z"); /* loss 90 */
    alert_add_of(db, "a", 3, .6, 1, "2026-04-02T00:00:00Z"); /* loss 60: both of a's are 110 */
    assert_int_equal(database_count(db, "SELECT count(*) FROM cases"), 2);
    assert_int_equal(database_count(db, "SELECT round((2 ^ (priority + extract(epoch FROM "
                                        "timestamptz '2026-04-02+00' - '2000-01-01+00') / "
                                        "86400))::numeric) FROM cases WHERE card = 'a'"),
                     110);
    assert_int_equal(alert_claim(db, "ada", 1, first), 2);
    assert_string_equal(first, "log-1/0/3"); /* the larger loss first */
    assert_int_equal(alert_claim(db, "bob", 2, first), 1);
    /* a third one joins while ada has it; with all resolved the next one is another case */
    alert_add_of(db, "a", 4, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(alert_claim(db, "bob", 1, first), 0);
    assert_int_equal(queue_claim_one(db, "log-1/0/4", "bob", LEASE, &rows, &e), ERR_REFUSED);
    database_must(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), &e);
    char *number = case_of("log-1/0/1");
    database_must(queue_claim_one(db, number, "ada", LEASE, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 2);
    db_rows_free(rows);
    assert_int_equal(queue_resolve(db, number, "bob", "fraud", NULL, false, &e), ERR_REFUSED);
    database_must(queue_resolve(db, number, "ada", "legitimate", NULL, false, &e), &e);
    assert_int_equal(queue_resolve(db, number, "ada", "legitimate", NULL, false, &e), ERR_REFUSED);
    assert_int_equal(queue_resolve(db, number, "ada", "fraud", NULL, true, &e), ERR_REFUSED);
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox"), 3);
    assert_int_equal(database_count(db, "SELECT count(*) FROM cases WHERE state = 'closed'"), 1);
    alert_add_of(db, "a", 5, .5, 1, "2026-04-02T00:00:00Z");
    char *next = case_of("log-1/0/5");
    assert_string_not_equal(next, number);
    free(next);
    free(number);
}

static void test_an_alert_that_comes_again_changes_nothing(void **state)
{
    (void)state;
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    char *before = database_text(db, "SELECT row_to_json(cases) FROM cases");
    database_run(db, "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, "
                     "amount_minor, currency, exponent, amount_ref, score, outcome, model, body) "
                     "SELECT log, part, log_offset, event_time, tx_id, card, amount_minor, "
                     "currency, exponent, amount_ref, score, outcome, model, body FROM alerts "
                     "ON CONFLICT DO NOTHING");
    char *after = database_text(db, "SELECT row_to_json(cases) FROM cases");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static int64_t from_now(int64_t us)
{
    char *text = database_text(db, "SELECT (extract(epoch FROM now()) * 1000000)::bigint");
    int64_t now = strtoll(text, NULL, 10);
    free(text);
    return now + us;
}

static void test_snooze_hides_a_case_until_its_time(void **state)
{
    (void)state;
    char first[32];
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(alert_claim(db, "ada", 1, first), 1);
    assert_int_equal(queue_snooze(db, first, "bob", from_now(TIME_HOUR), NULL, &e), ERR_REFUSED);
    assert_int_equal(queue_snooze(db, first, "ada", from_now(-TIME_S), NULL, &e), ERR_REFUSED);
    database_must(queue_snooze(db, first, "ada", from_now(TIME_HOUR), "rings back", &e), &e);
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'snoozed' AND "
                                        "due > now() + interval '59 m'"),
                     1);
    assert_int_equal(alert_claim(db, "ada", 1, first), 0);
    database_run(db, "UPDATE cases SET due = now() - interval '1 s'");
    assert_int_equal(alert_claim(db, "bob", 1, first), 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case snooze' AND "
                                        "who = 'ada' AND detail ->> 'note' = 'rings back'"),
                     1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case wake'"), 1);
}

static void test_a_new_alert_wakes_a_snoozed_case(void **state)
{
    (void)state;
    char first[32];
    struct errmsg e = {""};
    alert_add_of(db, "a", 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_snooze(db, "log-1/0/1", "ada", from_now(TIME_HOUR), NULL, &e), &e);
    alert_add_of(db, "b", 2, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(alert_claim(db, "bob", 2, first), 1); /* another card's wakes nothing */
    alert_add_of(db, "a", 3, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(alert_claim(db, "bob", 1, first), 2);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case wake'"), 1);
}

/* The head of the queue (sql/0006_cases.sql) moves down with the claims; whatever opens above it
 * must be taken first all the same. */
static void test_what_opens_above_the_head_is_taken_first(void **state)
{
    (void)state;
    char first[32];
    struct errmsg e = {""};
    for (int i = 1; i <= 20; i++) {
        alert_add(db, i, .5, 40 - i, "2026-04-02T00:00:00Z");
    }
    for (int round = 0; round < 4; round++) {
        char top[32];
        assert_int_equal(alert_claim(db, "ada", 1, top), 1);
        assert_int_equal(alert_claim(db, "ada", 1, first), 1);
        database_run(db, "SELECT queue_lower(false)");
        assert_int_equal(database_count(db, "SELECT count(*) FROM queue_head, (SELECT max(priority)"
                                            " AS p FROM cases WHERE state = 'open') c WHERE "
                                            "abs(last_value / 1e6 - p) < 2e-6"),
                         1);
        switch (round) { /* each way by which a case becomes open */
        case 0:
            database_must(queue_release(db, top, "ada", &e), &e);
            break;
        case 1:
            database_must(queue_snooze(db, top, "ada", from_now(TIME_HOUR), NULL, &e), &e);
            database_run(db, "UPDATE cases SET due = now() WHERE state = 'snoozed'; "
                             "SELECT queue_expire()");
            break;
        case 2:
            alert_add(db, 100, .9, 1000, "2026-04-02T00:00:00Z");
            snprintf(top, sizeof top, "log-1/0/100");
            break;
        default:
            alert_add_of(db, "card \"20\"", 101, .9, 5000, "2026-04-02T00:00:00Z");
            snprintf(top, sizeof top, "log-1/0/101");
            break;
        }
        alert_claim(db, "bob", 1, first);
        assert_string_equal(first, top);
    }
}

/* An alert whose transaction is under way keeps the head where it is. */
static void test_the_head_is_not_lowered_past_what_is_being_opened(void **state)
{
    (void)state;
    char first[32];
    database_run(db, "SELECT setval('queue_head', -9000000000000000000)");
    alert_add(db, 1, .5, 2, "2026-04-02T00:00:00Z");
    alert_add(db, 2, .5, 1, "2026-04-02T00:00:00Z");
    struct db *other = database_connect(&server);
    database_run(other, "BEGIN");
    alert_add(other, 3, .5, 3, "2026-04-02T00:00:00Z");
    database_run(db, "SELECT queue_lower(true)");
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue_head WHERE last_value > 0"), 1);
    assert_int_equal(alert_claim(db, "ada", 1, first), 1);
    assert_string_equal(first, "log-1/0/1");
    database_run(other, "COMMIT");
    db_close(other);
    alert_claim(db, "ada", 1, first);
    assert_string_equal(first, "log-1/0/3");
}

static void test_a_new_alert_ends_the_wait_for_one(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct db *other = database_connect(&server);
    struct db_rows *rows = NULL;
    database_must(queue_claim_wait(other, "ada", 1, LEASE, 0, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 0);
    db_rows_free(rows);
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z"); /* is told to `other`, which listens since */
    database_run(db, "UPDATE cases SET state = 'claimed', claimed_by = 'bob', "
                     "due = now() + interval '1 h'");
    database_must(db_wait(other, TIME_HOUR, &e), &e); /* returns at once, or the test hangs */
    database_must(queue_claim_wait(other, "ada", 1, LEASE, TIME_S / 10, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 0);
    db_rows_free(rows);
    db_close(other);
}

static void test_routes_give_a_case_to_its_team(void **state)
{
    (void)state;
    database_run(db, "INSERT INTO team_routes VALUES (1, 'decline', NULL, 'DE', NULL, 'x'), "
                     "(2, NULL, NULL, 'DE', 'USD', 'german')");
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_run(db, "UPDATE team_routes SET country = 'FR'");
    alert_add(db, 2, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE team = 'german' AND "
                                        "tx_id = 'tx1'"),
                     1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE team = '' AND "
                                        "tx_id = 'tx2'"),
                     1);
}

static void old_schema(struct db *old)
{
    static const char *const FILES[] = {"0001_schema.sql", "0002_queue.sql", "0003_labels.sql",
                                        "0004_models.sql", "0005_history.sql"};
    struct errmsg e = {""};
    database_run(old, "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT NULL, "
                      "checksum text NOT NULL, at timestamptz NOT NULL DEFAULT now())");
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        char path[64];
        char number[16];
        char sum[20];
        uint8_t *text = NULL;
        size_t len = 0;
        snprintf(path, sizeof path, "sql/%s", FILES[i]);
        database_must(file_read(path, 1 << 20, &text, &len, &e), &e);
        database_run(old, (const char *)text);
        snprintf(number, sizeof number, "%zu", i + 1);
        snprintf(sum, sizeof sum, "%016" PRIx64, hash_bytes(text, len, 0));
        const char *const params[] = {number, FILES[i], sum};
        database_must(
            db_exec(old, "INSERT INTO migrations VALUES ($1, $2, $3)", 3, params, NULL, &e), &e);
        free(text);
    }
}

/* A database that was used before there were cases. */
static void test_alerts_of_an_older_schema_become_cases(void **state)
{
    (void)state;
    char conninfo[320];
    struct errmsg e = {""};
    struct db *old = NULL;
    int applied = 0;
    database_run(db, "CREATE DATABASE old");
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=fraudd dbname=old",
             server.server.port);
    database_must(db_open(conninfo, &old, &e), &e);
    old_schema(old);
    alert_add_of(old, "a", 1, .5, 1, "2026-04-02T00:00:00Z");
    alert_add_of(old, "a", 2, .5, 1, "2026-04-02T00:00:00Z");
    alert_add_of(old, "a", 3, .5, 1, "2026-04-02T00:00:00Z");
    alert_add_of(old, "b", 4, .5, 1, "2026-04-02T00:00:00Z");
    database_run(old, "SELECT queue_resolve('log-1/0/1', 'ada', 'fraud', NULL); "
                      "SELECT queue_resolve('log-1/0/4', 'ada', 'unsure', NULL); "
                      "SELECT queue_claim_one('log-1/0/2', 'ada', '1 h')");
    database_must(migrate(old, &applied, &e), &e);
    assert_true(applied > 0);
    char *said = database_text(old, "SELECT string_agg(tx_id || ' ' || state, ', ' ORDER BY id) "
                                    "FROM queue");
    assert_string_equal(said, "tx1 resolved, tx2 open, tx3 open, tx4 resolved");
    free(said);
    char first[32];
    assert_int_equal(alert_claim(old, "bob", 9, first), 2);
    assert_int_equal(database_count(old, "SELECT count(*) FROM cases WHERE state = 'closed'"), 2);
    db_close(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_alerts_of_a_card_are_one_case, empty),
        cmocka_unit_test_setup(test_an_alert_that_comes_again_changes_nothing, empty),
        cmocka_unit_test_setup(test_snooze_hides_a_case_until_its_time, empty),
        cmocka_unit_test_setup(test_a_new_alert_wakes_a_snoozed_case, empty),
        cmocka_unit_test_setup(test_what_opens_above_the_head_is_taken_first, empty),
        cmocka_unit_test_setup(test_the_head_is_not_lowered_past_what_is_being_opened, empty),
        cmocka_unit_test_setup(test_a_new_alert_ends_the_wait_for_one, empty),
        cmocka_unit_test_setup(test_routes_give_a_case_to_its_team, empty),
        cmocka_unit_test_setup(test_alerts_of_an_older_schema_become_cases, empty),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
