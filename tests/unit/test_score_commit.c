/* What a scoring process commits, over a log in memory: nothing before it is acknowledged, and what
 * it does when a record is refused, a queue is full or a partition goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/scorer.h"

#define PARTITIONS SCORER_PARTITIONS
#define BATCH SCORER_BATCH

static void test_offsets_are_committed_after_acknowledgement_only(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    scorer_until_decided(&p, m, 0, 0);
    size_t first = bus_mem_size(m, TOPIC_DECISIONS, 0);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    scorer_until_decided(&p, m, 0, first);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack_topic(&p.bus, TOPIC_ALERTS);
    bus_mem_ack_topic(&p.bus, TOPIC_DEAD_LETTERS); /* the decisions are still on their way */
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack(&p.bus, first - 1);
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1); /* all of a batch or none */
    bus_mem_ack(&p.bus, 1);
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), BATCH);
    scorer_run_dry(&p);
    bus_mem_ack(&p.bus, SIZE_MAX);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0),
                     (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0));
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_a_revoked_partition_is_acknowledged_and_committed_first(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    struct process first, second;
    scorer_start(&first, m);
    scorer_assign_all(&first);
    bus_mem_hold_acks(&first.bus, true);
    scorer_until_decided(&first, m, 1, 2 * BATCH);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 1), -1);
    bus_mem_ack_on_wait(&first.bus, 50); /* the brokers answer while it waits */
    bus_mem_revoke(&first.bus, TOPIC_TRANSACTIONS, 1, false);
    (void)score_turn(first.score);
    bus_mem_hold_acks(&first.bus, false);
    bus_mem_ack(&first.bus, SIZE_MAX);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 1);
    size_t decided = bus_mem_size(m, TOPIC_DECISIONS, 1);
    assert_true(committed > 0 && committed < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 1));
    scorer_run_dry(&first);
    assert_int_equal(bus_mem_size(m, TOPIC_DECISIONS, 1), decided);
    scorer_start(&second, m);
    scorer_assign(&second, 1);
    scorer_run_dry(&second);
    assert_int_equal(scorer_expect_as_recorded(m), 0); /* none twice, none missing */
    scorer_end(&second);
    scorer_end(&first);
    bus_mem_free(m);
}

static void test_a_lost_partition_is_not_committed(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    scorer_until_decided(&p, m, 0, 0);
    bus_mem_revoke(&p.bus, TOPIC_TRANSACTIONS, 0, true);
    (void)score_turn(p.score);
    bus_mem_hold_acks(&p.bus, false);
    bus_mem_ack(&p.bus, SIZE_MAX);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    scorer_assign_all(&p); /* it comes back */
    scorer_run_dry(&p);
    assert_true(scorer_expect_as_recorded(m) > 0); /* some again, the same bytes */
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_a_full_queue_is_waited_for(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_assign_all(&p);
    for (int i = 0; i < 120; i++) {
        bus_mem_full(&p.bus, (size_t)(i % 7));
        (void)score_turn(p.score);
    }
    scorer_run_dry(&p);
    assert_int_equal(scorer_expect_as_recorded(m), 0);
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_stopping_while_the_queue_is_full_loses_nothing(void **state)
{
    (void)state;
    for (size_t sends = 0; sends < 40; sends += 3) {
        struct bus_mem *m = scorer_filled(0);
        struct process p;
        struct errmsg e = {""};
        scorer_start(&p, m);
        scorer_assign_all(&p);
        scorer_until_decided(&p, m, 0, 0);
        bus_mem_room(&p.bus, sends); /* then no more, and a stop is asked for */
        p.waits_left = 3;
        for (int i = 0; i < 6; i++) {
            (void)score_turn(p.score);
        }
        bus_mem_room(&p.bus, SIZE_MAX);
        assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
        assert_non_null(strstr(e.text, "decided again"));
        assert_false(score_failed(p.score));
        scorer_end(&p);
        scorer_start(&p, m);
        scorer_assign_all(&p);
        scorer_run_dry(&p);
        (void)scorer_expect_as_recorded(m);
        scorer_end(&p);
        bus_mem_free(m);
    }
}

static void test_a_record_that_is_refused_ends_it_without_a_commit(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    struct errmsg e;
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    scorer_until_decided(&p, m, 0, 0);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 0);
    assert_int_equal(committed, BATCH);
    bus_mem_refuse(&p.bus, TOPIC_DECISIONS, ERR_INVALID);
    for (int i = 0; i < 4; i++) {
        (void)score_turn(p.score);
    }
    assert_true(score_failed(p.score));
    (void)score_turn(p.score);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), committed);
    scorer_end(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), committed);
    bus_mem_free(m);
}

static void test_trouble_ends_it_only_when_fatal(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    bus_mem_trouble(&p.bus, false, "a broker is away");
    (void)score_turn(p.score);
    assert_false(score_failed(p.score));
    bus_mem_trouble(&p.bus, true, "the consumer gave up");
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_finish_waits_for_acknowledgements_and_commits(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    struct errmsg e = {""};
    scorer_start(&p, m);
    scorer_assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    scorer_until_decided(&p, m, 0, 2 * BATCH);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "were not acknowledged"));
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack(&p.bus, SIZE_MAX);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_OK);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 0);
    assert_true(committed >= 2 * BATCH);
    assert_int_equal(score_finish(p.score, 0, &e), ERR_OK); /* nothing left */
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_commits_that_fail_are_made_up_for(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    scorer_start(&p, m);
    scorer_assign_all(&p);
    bus_mem_fail_commits(&p.bus, true);
    scorer_run_dry(&p); /* nothing comes after them */
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_fail_commits(&p.bus, false);
    scorer_run_dry(&p);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, i),
                         (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, i));
    }
    scorer_end(&p);
    bus_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offsets_are_committed_after_acknowledgement_only),
        cmocka_unit_test(test_a_revoked_partition_is_acknowledged_and_committed_first),
        cmocka_unit_test(test_a_lost_partition_is_not_committed),
        cmocka_unit_test(test_a_full_queue_is_waited_for),
        cmocka_unit_test(test_stopping_while_the_queue_is_full_loses_nothing),
        cmocka_unit_test(test_a_record_that_is_refused_ends_it_without_a_commit),
        cmocka_unit_test(test_trouble_ends_it_only_when_fatal),
        cmocka_unit_test(test_finish_waits_for_acknowledgements_and_commits),
        cmocka_unit_test(test_commits_that_fail_are_made_up_for),
    };
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
