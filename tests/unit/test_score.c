/* The scoring loop over a log in memory: nothing is committed before it is acknowledged, nothing is
 * decided before what it depends on is read, and whatever happens the decisions are those of an
 * undisturbed run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/support/random_model.h"
#include "tests/support/scorer.h"

#define N SCORER_N
#define PARTITIONS SCORER_PARTITIONS
#define BATCH SCORER_BATCH

static void test_each_message_is_decided_once(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_undisturbed(0);
    size_t decided = 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        decided += bus_mem_size(m, TOPIC_DECISIONS, p);
    }
    assert_int_equal(decided + scorer_dead_letters(m), N);
    assert_true(scorer_dead_letters(m) > 5);
    bus_mem_free(m);
}

static void test_what_was_decided_before_is_learnt_without_a_word(void **state)
{
    (void)state;
    struct bus_mem *wanted = scorer_undisturbed(20);
    struct bus_mem *m = scorer_filled(20);
    struct process p;
    struct score_stats t;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 150);
    scorer_start(&p, m);
    scorer_assign_all(&p);
    (void)score_turn(p.score);
    score_stats(p.score, &t);
    assert_false(t.ready);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.ready);
    assert_string_equal(t.why, "");
    assert_int_equal(t.warmed, 150);
    for (int64_t i = 0; i < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0); i++) {
        size_t n = 0;
        size_t before = 0;
        const struct mem_record *now = scorer_decision(m, 0, i, &n);
        const struct mem_record *then = scorer_decision(wanted, 0, i, &before);
        assert_int_equal(n, i < 150 ? 0 : before);
        assert_true(now == NULL || strcmp(now->value, then->value) == 0);
    }
    scorer_end(&p);
    bus_mem_free(m);
    bus_mem_free(wanted);
}

static void test_learning_begins_warm_us_ago(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    struct score_stats t;
    const int64_t end0 = (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0);
    const struct mem_record *from = bus_mem_record(m, TOPIC_TRANSACTIONS, 0, 100);
    int64_t first = 100; /* of those with the same or a later time, as the broker finds it */
    while (first > 0 && bus_mem_record(m, TOPIC_TRANSACTIONS, 0, (size_t)first - 1)->timestamp_us >=
                            from->timestamp_us) {
        first--;
    }
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, end0);
    scorer_start_warm(&p, m, SCORER_WALL_US - from->timestamp_us);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.warmed >= (uint64_t)(end0 - 100) && t.warmed < (uint64_t)end0);
    scorer_end(&p);
    /* never after what is to be decided */
    bus_mem_free(m);
    m = scorer_filled(0);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 30);
    scorer_start_warm(&p, m, 1);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_int_equal(t.warmed, 0);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), end0);
    scorer_end(&p);
    bus_mem_free(m);
}

static void expect_held_by(enum bus_topic topic, const char *why)
{
    struct bus_mem *m = scorer_filled(20);
    struct process p;
    struct score_stats t;
    scorer_start(&p, m);
    bus_mem_hold_topic(&p.bus, topic, true);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_false(t.ready);
    assert_non_null(strstr(t.why, why));
    assert_int_equal(t.pipeline.received, 0);
    assert_true(bus_mem_paused(&p.bus, TOPIC_TRANSACTIONS, 0));
    bus_mem_hold_topic(&p.bus, topic, false);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.ready);
    assert_int_equal(t.pipeline.received, N);
    assert_int_equal(scorer_expect_as_recorded(m), 0);
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_nothing_is_decided_before_labels_and_notices_are_read(void **state)
{
    (void)state;
    expect_held_by(TOPIC_LABELS, "reading labels");
    expect_held_by(TOPIC_NOTICES, "reading notices");
    expect_held_by(TOPIC_JOURNAL, "reading the journal");
}

static void test_a_partition_that_comes_later_knows_the_labels(void **state)
{
    (void)state;
    struct bus_mem *plain = scorer_undisturbed(0);
    struct bus_mem *m = scorer_filled(40);
    struct process p;
    size_t differ = 0;
    scorer_start(&p, m);
    scorer_run_dry(&p); /* the labels are read while no partition is ours */
    scorer_assign(&p, 1);
    scorer_run_dry(&p);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    (void)scorer_expect_as_recorded(m);
    for (int64_t i = 0; i < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0); i++) {
        size_t n = 0;
        const struct mem_record *a = scorer_decision(plain, 0, i, &n);
        const struct mem_record *b = scorer_decision(m, 0, i, &n);
        differ += a != NULL && strcmp(a->value, b->value) != 0;
    }
    assert_true(differ > 10); /* the labels mattered */
    scorer_end(&p);
    bus_mem_free(m);
    bus_mem_free(plain);
}

static void test_a_model_by_notice_is_in_force_from_the_start(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    struct score_stats t;
    scorer_append_model(m, 21, "noticed", 0);
    scorer_append_model(m, 22, "alien",
                        4711); /* of another schema: refused, the one before stays */
    scorer_start(&p, m);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_int_equal(t.model_switches, 1);
    assert_int_equal(t.notices_refused, 1);
    assert_string_equal(model_lineage(score_model(p.score))->version, "noticed");
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, 0) > N / 3);
    for (size_t i = 0; i < bus_mem_size(m, TOPIC_DECISIONS, 0); i++) {
        assert_non_null(
            strstr(bus_mem_record(m, TOPIC_DECISIONS, 0, i)->value, "\"model\":\"noticed\""));
    }
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_bad_labels_are_dead_letters_of_one_process(void **state)
{
    (void)state;
    struct bus_mem *m = bus_mem_create();
    struct process first, second;
    scorer_append_label(m, 0, 1, ""); /* before the start: somebody told already */
    scorer_start(&first, m);
    scorer_start(&second, m);
    scorer_assign(&first, 0);
    scorer_assign(&second, 1);
    scorer_run_dry(&first);
    scorer_run_dry(&second);
    assert_int_equal(scorer_dead_letters(m), 0);
    scorer_append_label(m, 0, 2, "");
    scorer_run_dry(&first);
    scorer_run_dry(&second);
    assert_int_equal(scorer_dead_letters(m), 1);
    scorer_end(&first);
    scorer_end(&second);
    bus_mem_free(m);
}

static void test_labels_of_two_partitions_are_refused(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_run_dry(&p);
    assert_false(score_failed(p.score));
    const struct bus_events events = score_events(p.score);
    (void)events.assigned(events.ctx, TOPIC_LABELS, 1, -1, 0, 0);
    assert_true(score_failed(p.score));
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_a_commit_outside_the_log_is_refused(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 100000); /* the topic was made anew */
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    scorer_end(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 5); /* deleted before it was decided */
    bus_mem_trim(m, TOPIC_TRANSACTIONS, 0, 50);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    scorer_end(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 50);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    assert_false(score_failed(p.score));
    scorer_end(&p);
    bus_mem_free(m);
}

/* A commit may lie within an entry's part, and retention may go up to it. */
static void test_what_retention_took_of_an_entry_is_passed(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_undisturbed(20);
    const size_t decided = bus_mem_size(m, TOPIC_DECISIONS, 0);
    struct process p;
    struct score_stats t;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, BATCH + 5);
    bus_mem_trim(m, TOPIC_TRANSACTIONS, 0, BATCH + 3);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    score_stats(p.score, &t);
    assert_false(score_failed(p.score));
    assert_true(t.ready);
    assert_int_equal(t.missing, 0);
    assert_true(t.unlearnt > BATCH / 2 && t.unlearnt <= BATCH + 3);
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, 0) > decided + decided / 2);
    scorer_end(&p);
    bus_mem_free(m);
}

/* What a process knew of the logs' beginnings when it started is old when partitions come later. */
static void test_a_partition_that_comes_later_finds_logs_that_begin_later(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    struct process p;
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    bus_mem_trim(m, TOPIC_TRANSACTIONS, 0, 3 * BATCH + 1);
    bus_mem_trim(m, TOPIC_JOURNAL, 0, 2);
    scorer_assign(&p, 1);
    scorer_run_dry(&p);
    assert_false(score_failed(p.score));
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, i),
                         (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, i));
    }
    scorer_end(&p);
    bus_mem_free(m);
}

/* Messages in the journal that nobody had decided when all processes ended: however old the entries
 * are, they are not passed over. */
static void test_entries_older_than_warm_us_are_read_where_they_are_needed(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_undisturbed(0); /* its entries bear time 0: long ago */
    struct process p;
    bus_mem_now(m, SCORER_WALL_US);
    scorer_start(&p, m); /* claims both today */
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    scorer_end(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 40);
    const size_t decided = bus_mem_size(m, TOPIC_DECISIONS, 0);
    scorer_start_warm(&p, m, TIME_DAY);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    assert_false(score_failed(p.score));
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, 0) > decided + decided / 2);
    (void)scorer_expect_as_recorded(m);
    scorer_end(&p);
    /* gone altogether: that is told */
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 40);
    bus_mem_trim(m, TOPIC_JOURNAL, 0, (int64_t)bus_mem_size(m, TOPIC_JOURNAL, 0) - 2);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    assert_true(score_failed(p.score));
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), 40);
    scorer_end(&p);
    bus_mem_free(m);
}

/* A process claimed and died; until the next one comes retention has taken what it was to begin at.
 */
static void test_a_claim_older_than_the_log(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    for (int i = 0; i < 10 && bus_mem_size(m, TOPIC_JOURNAL, 0) == 0; i++) {
        (void)score_turn(p.score);
    }
    assert_int_equal(bus_mem_size(m, TOPIC_JOURNAL, 0), 1);
    scorer_die(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 10);
    bus_mem_trim(m, TOPIC_TRANSACTIONS, 0, 8);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    assert_false(score_failed(p.score));
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0),
                     (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0));
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_latencies_count_what_is_decided(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 100);
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_run_dry(&p);
    uint64_t decided = (uint64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0) - 100;
    assert_int_equal(score_message_times(p.score)->count, decided);
    assert_true(latency_quantile(score_message_times(p.score), .5) > 0);
    scorer_end(&p);
    bus_mem_free(m);
}

/* Processes that come, go, die and find queues full, by seed: together they decide what follows
 * from the recorded order, and what they repeat has the same bytes. */
static void test_whatever_happens_the_decisions_are_the_same(void **state)
{
    (void)state;
    size_t again = 0;
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct bus_mem *m = scorer_filled(30);
        struct process p = {0};
        struct rng r;
        rng_init(&r, seed);
        for (int life = 0; life < 6; life++) {
            scorer_start(&p, m);
            scorer_assign_all(&p);
            bus_mem_hold_acks(&p.bus, rng_below(&r, 2) == 0);
            for (uint64_t turns = rng_below(&r, 60); turns > 0; turns--) {
                bus_mem_full(&p.bus, rng_below(&r, 5) == 0 ? rng_below(&r, 9) : 0);
                bus_mem_ack(&p.bus, rng_below(&r, 30));
                if (rng_below(&r, 12) == 0) {
                    int32_t which = (int32_t)rng_below(&r, PARTITIONS);
                    bus_mem_revoke(&p.bus, TOPIC_TRANSACTIONS, which, true);
                    scorer_assign(&p, which);
                }
                (void)score_turn(p.score);
            }
            scorer_die(&p);
        }
        scorer_start(&p, m);
        scorer_assign_all(&p);
        scorer_run_dry(&p);
        scorer_end(&p);
        again += scorer_expect_as_recorded(m);
        bus_mem_free(m);
    }
    assert_true(again > 100); /* there were crashes that mattered */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_message_is_decided_once),
        cmocka_unit_test(test_what_was_decided_before_is_learnt_without_a_word),
        cmocka_unit_test(test_learning_begins_warm_us_ago),
        cmocka_unit_test(test_nothing_is_decided_before_labels_and_notices_are_read),
        cmocka_unit_test(test_a_partition_that_comes_later_knows_the_labels),
        cmocka_unit_test(test_a_model_by_notice_is_in_force_from_the_start),
        cmocka_unit_test(test_bad_labels_are_dead_letters_of_one_process),
        cmocka_unit_test(test_labels_of_two_partitions_are_refused),
        cmocka_unit_test(test_a_commit_outside_the_log_is_refused),
        cmocka_unit_test(test_what_retention_took_of_an_entry_is_passed),
        cmocka_unit_test(test_a_partition_that_comes_later_finds_logs_that_begin_later),
        cmocka_unit_test(test_entries_older_than_warm_us_are_read_where_they_are_needed),
        cmocka_unit_test(test_a_claim_older_than_the_log),
        cmocka_unit_test(test_latencies_count_what_is_decided),
        cmocka_unit_test(test_whatever_happens_the_decisions_are_the_same),
    };
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
