/* The analysts' queue against a real PostgreSQL: several connections at a time, leases, refusals,
 * and the labels that verdicts become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/decode.h"
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

static void test_claim_takes_the_largest_loss_first_and_age_counts(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, -1, 1, "2026-04-02T00:00:00Z"); /* no score, as certain: loss 100 */
    alert_add(db, 2, .5, 8, "2026-04-02T00:00:00Z"); /* loss 400 */
    alert_add(db, 3, .9, 1, "2026-04-02T00:00:00Z"); /* loss 90 */
    alert_add(db, 4, .5, 1, "2026-03-31T00:00:00Z"); /* loss 50, but two days older: as 200 */
    database_must(queue_claim(db, "ada", 3, LEASE, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 3);
    assert_string_equal(db_rows_text(rows, 0, 0), "log-1/0/2");
    assert_string_equal(db_rows_text(rows, 1, 0), "log-1/0/4");
    assert_string_equal(db_rows_text(rows, 2, 0), "log-1/0/1");
    db_rows_free(rows);
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'open'"), 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case claim' "
                                        "AND who = 'ada' AND role = 'fraudd'"),
                     3);
}

#define CLAIMANTS 4
#define CLAIM_ALERTS 600

struct claimant {
    struct db *db;
    char who[8];
    int taken[CLAIM_ALERTS]; /* times each alert was ours */
    bool failed;
};

static void *claim_all(void *arg)
{
    struct claimant *c = arg;
    for (int n = 1; n > 0;) {
        struct db_rows *rows = NULL;
        if (queue_claim(c->db, c->who, 3, LEASE, &rows, NULL) != ERR_OK) {
            c->failed = true;
            return NULL;
        }
        n = db_rows_count(rows);
        for (int i = 0; i < n; i++) {
            const char *slash = strrchr(db_rows_text(rows, i, 0), '/');
            c->taken[strtol(slash + 1, NULL, 10)]++;
        }
        db_rows_free(rows);
    }
    return NULL;
}

static void test_claim_by_several_gives_no_alert_twice_and_loses_none(void **state)
{
    (void)state;
    static struct claimant c[CLAIMANTS];
    pthread_t thread[CLAIMANTS];
    for (int i = 0; i < CLAIM_ALERTS; i++) {
        alert_add(db, i, (i % 97 + 1) / 100.0, 1, "2026-04-02T00:00:00Z");
    }
    for (int i = 0; i < CLAIMANTS; i++) {
        c[i].db = database_connect(&server);
        snprintf(c[i].who, sizeof c[i].who, "a%d", i);
        assert_int_equal(pthread_create(&thread[i], NULL, claim_all, &c[i]), 0);
    }
    for (int i = 0; i < CLAIMANTS; i++) {
        pthread_join(thread[i], NULL);
        db_close(c[i].db);
        assert_false(c[i].failed);
    }
    for (int k = 0; k < CLAIM_ALERTS; k++) {
        int times = 0;
        for (int i = 0; i < CLAIMANTS; i++) {
            times += c[i].taken[k];
        }
        assert_int_equal(times, 1);
    }
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'claimed'"),
                     CLAIM_ALERTS);
    assert_int_equal(database_count(db, "SELECT count(DISTINCT object) FROM audit"), CLAIM_ALERTS);
}

static void test_claim_after_the_lease_gives_the_alert_to_another(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_claim(db, "ada", 1, LEASE, &rows, &e), &e);
    db_rows_free(rows);
    database_must(queue_claim(db, "bob", 1, LEASE, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 0);
    db_rows_free(rows);
    database_run(db, "UPDATE cases SET due = now() - interval '1 s'");
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'open'"), 1);
    database_must(queue_claim(db, "bob", 1, LEASE, &rows, &e), &e);
    assert_int_equal(db_rows_count(rows), 1);
    db_rows_free(rows);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case expire' "
                                        "AND who = 'ada'"),
                     1);
    assert_int_equal(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), ERR_REFUSED);
    assert_non_null(strstr(e.text, "is claimed by bob until 20"));
}

static void test_claim_one_renews_its_own_lease_and_respects_others(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_claim_one(db, "log-1/0/1", "ada", TIME_MIN, &rows, &e), &e);
    assert_string_equal(db_rows_text(rows, 0, 0), "log-1/0/1");
    db_rows_free(rows);
    database_must(queue_claim_one(db, "log-1/0/1", "ada", LEASE, &rows, &e), &e);
    db_rows_free(rows);
    assert_int_equal(
        database_count(db, "SELECT count(*) FROM cases WHERE due > now() + interval '5 m'"), 1);
    assert_int_equal(queue_claim_one(db, "log-1/0/1", "bob", LEASE, &rows, &e), ERR_REFUSED);
    assert_int_equal(queue_claim_one(db, "log-1/0/9", "bob", LEASE, &rows, &e), ERR_NOTFOUND);
    assert_string_equal(e.text, "there is no alert log-1/0/9");
}

static void test_release_opens_only_ones_own(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(queue_release(db, "log-1/0/1", "ada", &e), ERR_REFUSED);
    database_must(queue_claim(db, "ada", 1, LEASE, &rows, &e), &e);
    db_rows_free(rows);
    assert_int_equal(queue_release(db, "log-1/0/1", "bob", &e), ERR_REFUSED);
    assert_string_equal(e.text, "alert log-1/0/1 is claimed by ada, not claimed by bob");
    database_must(queue_release(db, "log-1/0/1", "ada", &e), &e);
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'open'"), 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'case release'"),
                     1);
}

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static void test_resolve_writes_a_label_complete_and_valid(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct rates *rates = NULL;
    struct decoder *decoder = NULL;
    struct label l;
    struct label_strings s;
    int64_t event = 0;
    alert_add(db, 1, .5, 3, "2026-04-02T08:09:10.123456Z");
    database_must(queue_resolve(db, "log-1/0/1", "ada", "fraud", "called her", false, &e), &e);
    database_must(rates_create_default(&rates, &e), &e);
    database_must(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), &e);
    char *body = database_text(db, "SELECT body FROM label_outbox");
    enum dead_reason reason = decode_label(decoder, body, strlen(body), 0, -1, &l, &s);
    if (reason != DEAD_NONE) {
        fail_msg("%s: %s", decode_detail(decoder), body);
    }
    assert_int_equal(time_parse("2026-04-02T08:09:10.123456Z", 27, &event), ERR_OK);
    assert_true(same(s.source, "analysts") && same(s.tx, "tx1") && same(s.card, "card \"1\""));
    assert_true(same(s.merchant, "m000017") && same(s.terminal, "t003156"));
    assert_true(same(s.device, "d8f3") && same(s.ip, "203.0.113.9"));
    assert_int_equal(l.verdict, LABEL_FRAUD);
    assert_int_equal(l.event_us, event);
    assert_true(l.known_us > event);
    assert_int_equal(l.mcc, 742);
    assert_int_equal(l.country, 'D' * 256 + 'E');
    assert_int_equal(s.amount_minor, 30000);
    assert_string_equal(s.currency, "USD");
    assert_int_equal(s.exponent, 2);
    assert_float_equal(l.usual_ratio, 5.25F, 0);
    assert_true((long)l.number == database_count(db,
                                                 "SELECT number FROM verdicts WHERE tx_id = "
                                                 "'tx1' AND who = 'ada' AND verdict = 'fraud'"));
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit WHERE what = 'alert resolve' "
                                        "AND detail ->> 'note' = 'called her'"),
                     1);
    free(body);
    decoder_free(decoder);
    rates_free(rates);
}

static void test_resolve_again_needs_change_and_takes_the_old_one_back(void **state)
{
    (void)state;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), &e);
    assert_int_equal(queue_resolve(db, "log-1/0/1", "bob", "legitimate", NULL, false, &e),
                     ERR_REFUSED);
    assert_non_null(strstr(e.text, "was resolved as fraud by ada at "));
    assert_int_equal(queue_resolve(db, "log-1/0/1", "bob", "fraud", NULL, true, &e), ERR_REFUSED);
    database_must(queue_resolve(db, "log-1/0/1", "bob", "legitimate", NULL, true, &e), &e);
    database_must(queue_resolve(db, "log-1/0/1", "bob", "unsure", NULL, true, &e), &e);
    char *said = database_text(
        db, "SELECT string_agg(body ->> 'verdict', ' ' ORDER BY number) FROM label_outbox");
    assert_string_equal(said, "fraud legitimate withdrawn");
    free(said);
}

static void test_resolve_as_unsure_says_nothing(void **state)
{
    (void)state;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_resolve(db, "log-1/0/1", "ada", "unsure", NULL, false, &e), &e);
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox"), 0);
    assert_int_equal(database_count(db, "SELECT count(*) FROM alerts WHERE verdict = 'unsure'"), 1);
}

static void test_resolve_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    assert_int_equal(queue_resolve(db, "log-1/0/1", "ada", "perhaps", NULL, false, &e),
                     ERR_INVALID);
    database_run(db, "ALTER TABLE label_outbox ADD CHECK (source <> 'analysts')");
    assert_int_equal(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), ERR_INVALID);
    database_run(db, "ALTER TABLE label_outbox DROP CONSTRAINT label_outbox_source_check");
    assert_int_equal(database_count(db, "SELECT count(*) FROM queue WHERE state = 'open'"), 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM audit"), 0);
    assert_int_equal(database_count(db, "SELECT count(*) FROM verdicts"), 0);
}

/* Else a label could become visible after one with a higher number, and readers would drop it. */
static void test_resolve_gives_numbers_in_order_of_commit(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct db *other = database_connect(&server);
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    alert_add(db, 2, .5, 1, "2026-04-02T00:00:00Z");
    database_run(other, "SET lock_timeout = '50ms'");
    database_run(db, "BEGIN");
    database_must(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), &e);
    assert_int_equal(queue_resolve(other, "log-1/0/2", "bob", "fraud", NULL, false, &e),
                     ERR_INVALID);
    assert_string_equal(db_sqlstate(other), "55P03"); /* it had to wait */
    database_run(db, "COMMIT");
    database_must(queue_resolve(other, "log-1/0/2", "bob", "fraud", NULL, false, &e), &e);
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox a JOIN label_outbox b "
                                        "ON a.id < b.id AND a.number < b.number"),
                     1);
    db_close(other);
}

static void test_show_has_fields_reasons_and_history(void **state)
{
    (void)state;
    struct db_rows *fields = NULL;
    struct db_rows *reasons = NULL;
    struct db_rows *history = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    database_must(queue_resolve(db, "log-1/0/1", "ada", "fraud", NULL, false, &e), &e);
    database_must(queue_show(db, "log-1/0/1", &fields, &reasons, &history, &e), &e);
    assert_string_equal(db_rows_text(fields, 0, 5), "100.00 USD");
    assert_string_equal(db_rows_text(reasons, 0, 2), "much");
    assert_string_equal(db_rows_text(history, 0, 2), "alert resolve");
    db_rows_free(fields);
    db_rows_free(reasons);
    db_rows_free(history);
    assert_int_equal(queue_show(db, "log-1/0/2", &fields, &reasons, &history, &e), ERR_NOTFOUND);
}

static void test_list_filters(void **state)
{
    (void)state;
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    alert_add(db, 1, .5, 1, "2026-04-02T00:00:00Z");
    alert_add(db, 2, .6, 1, "2026-04-02T00:00:00Z");
    alert_add(db, 3, .7, 1, "2026-04-02T00:00:00Z");
    database_must(queue_resolve(db, "log-1/0/3", "ada", "unsure", NULL, false, &e), &e);
    const struct {
        struct queue_filter filter;
        int count;
    } cases[] = {
        {{NULL, NULL, NULL, NULL, 10}, 3},          {{NULL, NULL, NULL, NULL, 2}, 2},
        {{"open", NULL, NULL, NULL, 10}, 2},        {{"resolved", NULL, NULL, NULL, 10}, 1},
        {{NULL, NULL, "card \"2\"", "tx2", 10}, 1}, {{NULL, NULL, "card \"2\"", "tx3", 10}, 0},
        {{NULL, "999999", NULL, NULL, 10}, 0},      {{NULL, NULL, "card 8", NULL, 10}, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        database_must(queue_list(db, &cases[i].filter, &rows, &e), &e);
        assert_int_equal(db_rows_count(rows), cases[i].count);
        db_rows_free(rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_claim_takes_the_largest_loss_first_and_age_counts, empty),
        cmocka_unit_test_setup(test_claim_by_several_gives_no_alert_twice_and_loses_none, empty),
        cmocka_unit_test_setup(test_claim_after_the_lease_gives_the_alert_to_another, empty),
        cmocka_unit_test_setup(test_claim_one_renews_its_own_lease_and_respects_others, empty),
        cmocka_unit_test_setup(test_release_opens_only_ones_own, empty),
        cmocka_unit_test_setup(test_resolve_writes_a_label_complete_and_valid, empty),
        cmocka_unit_test_setup(test_resolve_again_needs_change_and_takes_the_old_one_back, empty),
        cmocka_unit_test_setup(test_resolve_as_unsure_says_nothing, empty),
        cmocka_unit_test_setup(test_resolve_that_fails_changes_nothing, empty),
        cmocka_unit_test_setup(test_resolve_gives_numbers_in_order_of_commit, empty),
        cmocka_unit_test_setup(test_show_has_fields_reasons_and_history, empty),
        cmocka_unit_test_setup(test_list_filters, empty),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
