/* State on the disk: what a start finds there is used only where it fits, and decisions are the
 * same with it and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "tests/support/random_model.h"
#include "tests/support/scorer.h"

static char folder[64];

/* A process that owns all partitions.  every_us 0: a checkpoint whenever the one before is done. */
static void start(struct process *p, struct bus_mem *m, const struct model *with, int64_t every_us)
{
    struct errmsg e = {""};
    struct score_conf c = scorer_conf();
    c.pipeline.model = with != NULL ? with : c.pipeline.model;
    c.pipeline.limits.bytes_max = c.world.bytes_max = (size_t)64 << 20;
    scorer_open(p, m, &c);
    if (score_keep_open(p->score, folder, every_us, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    scorer_assign_all(p);
}

static void end(struct process *p)
{
    struct errmsg e;
    assert_int_equal(score_finish(p->score, 1000, &e), ERR_OK);
    score_keep_end(p->score, 5000);
    scorer_end(p);
}

static struct score_stats stats_of(const struct process *p)
{
    struct score_stats t;
    score_stats(p->score, &t);
    return t;
}

static void empty_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", folder);
    assert_int_equal(system(command), 0);
}

/* As many messages again, and labels. */
static void append_more(struct bus_mem *m)
{
    struct bus_mem *more = scorer_filled(0);
    for (int32_t p = 0; p < SCORER_PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(more, TOPIC_TRANSACTIONS, p); i += 2) {
            const struct mem_record *r = bus_mem_record(more, TOPIC_TRANSACTIONS, p, i);
            const struct bus_message message = {.key = r->key,
                                                .key_len = r->key_len,
                                                .timestamp_us = r->timestamp_us,
                                                .value = r->value,
                                                .value_len = r->value_len};
            (void)bus_mem_append(m, TOPIC_TRANSACTIONS, p, &message);
        }
    }
    for (uint64_t i = 20; i < 40; i++) {
        scorer_append_label(m, 0, i, "}");
    }
    bus_mem_free(more);
}

/* ---- tests ---- */

static void test_a_stop_leaves_all_that_a_start_needs(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    struct process p;
    empty_folder();
    start(&p, m, NULL, INT64_C(3600) * TIME_S); /* only the last one */
    scorer_run_dry(&p);
    end(&p);
    append_more(m);
    start(&p, m, NULL, INT64_C(3600) * TIME_S);
    scorer_run_dry(&p);
    assert_int_equal(stats_of(&p).warmed, 0); /* nothing was learnt again */
    assert_int_equal(stats_of(&p).checkpoints_refused, 0);
    assert_true(stats_of(&p).cards > 0);
    end(&p);
    (void)scorer_expect_as_recorded(m);
    bus_mem_free(m);
}

static void test_another_model_is_not_given_the_state(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p;
    struct model *other = random_model(77);
    empty_folder();
    start(&p, m, NULL, 0);
    scorer_run_dry(&p);
    end(&p);
    start(&p, m, other, 0);
    scorer_run_dry(&p);
    assert_true(stats_of(&p).checkpoints_refused > 0);
    assert_true(stats_of(&p).warmed > SCORER_N / 2); /* learnt from the journal */
    end(&p);
    model_free(other);
    bus_mem_free(m);
}

static void test_two_processes_do_not_share_a_folder(void **state)
{
    (void)state;
    struct bus_mem *m = bus_mem_create();
    struct process p;
    struct score *second = NULL;
    struct errmsg e = {""};
    const struct score_conf c = scorer_conf();
    empty_folder();
    start(&p, m, NULL, 0);
    assert_int_equal(score_create(&c, NULL, &second, &e), ERR_OK);
    assert_int_equal(score_keep_open(second, folder, 0, &e), ERR_REFUSED);
    assert_non_null(strstr(e.text, "another process"));
    score_free(second);
    assert_int_equal(score_create(&c, NULL, &second, &e), ERR_OK);
    assert_int_equal(score_keep_open(second, "/nowhere/at/all", 0, &e), ERR_NOTFOUND);
    score_free(second);
    end(&p);
    bus_mem_free(m);
}

/* Crashes at any turn, with records that were never acknowledged: by seed. */
static void test_after_any_crash_the_decisions_are_the_same(void **state)
{
    uint64_t used = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 15; seed++) {
        struct bus_mem *m = scorer_filled(20);
        struct process p;
        struct rng r;
        rng_init(&r, seed);
        empty_folder();
        for (int life = 0; life < 5; life++) {
            start(&p, m, NULL, 0);
            bus_mem_hold_acks(&p.bus, rng_below(&r, 2) == 0);
            for (uint64_t n = rng_below(&r, 60); n > 0; n--) {
                (void)score_turn(p.score);
                bus_mem_ack(&p.bus, rng_below(&r, 40));
                usleep(rng_below(&r, 8) == 0 ? 2000 : 0); /* a child gets done */
            }
            used += stats_of(&p).rebuilds > 0 && life > 0 && stats_of(&p).warmed < 100;
            scorer_die(&p);
        }
        append_more(m);
        start(&p, m, NULL, 0);
        scorer_run_dry(&p);
        end(&p);
        (void)scorer_expect_as_recorded(m);
        bus_mem_free(m);
    }
    assert_true(used > 10);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/fraudd-keep-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return scorer_setup(state);
}

static int teardown(void **state)
{
    (void)state;
    empty_folder();
    rmdir(folder);
    return scorer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stop_leaves_all_that_a_start_needs),
        cmocka_unit_test(test_another_model_is_not_given_the_state),
        cmocka_unit_test(test_two_processes_do_not_share_a_folder),
        cmocka_unit_test(test_after_any_crash_the_decisions_are_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
