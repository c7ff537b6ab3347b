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

/* A process and its place in the folder. */
struct keeper {
    struct process p;
    struct state_folder place;
};

/* every_us 0: a checkpoint whenever the one before is done. */
static void open_keeper(struct keeper *k, struct bus_mem *m, const struct model *with,
                        int64_t every_us)
{
    struct errmsg e = {""};
    struct score_conf c = scorer_conf();
    c.pipeline.model = with != NULL ? with : c.pipeline.model;
    c.pipeline.limits.bytes_max = c.world.bytes_max = (size_t)64 << 20;
    scorer_open(&k->p, m, &c);
    if (state_folder_take(&k->place, folder, &e) != ERR_OK ||
        score_keep_open(k->p.score, &k->place, every_us, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

/* It owns all partitions. */
static void start(struct keeper *k, struct bus_mem *m, const struct model *with, int64_t every_us)
{
    open_keeper(k, m, with, every_us);
    scorer_assign_all(&k->p);
}

static void end(struct keeper *k)
{
    struct errmsg e;
    assert_int_equal(score_finish(k->p.score, 1000, &e), ERR_OK);
    score_keep_end(k->p.score, 5000);
    scorer_end(&k->p);
    state_folder_leave(&k->place);
}

static void die(struct keeper *k)
{
    scorer_die(&k->p);
    state_folder_leave(&k->place);
}

static struct score_stats stats_of(const struct keeper *k)
{
    struct score_stats t;
    score_stats(k->p.score, &t);
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
    struct keeper p;
    empty_folder();
    start(&p, m, NULL, INT64_C(3600) * TIME_S); /* only the last one */
    scorer_run_dry(&p.p);
    end(&p);
    append_more(m);
    start(&p, m, NULL, INT64_C(3600) * TIME_S);
    scorer_run_dry(&p.p);
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
    struct keeper p;
    struct model *other = random_model(77);
    empty_folder();
    start(&p, m, NULL, 0);
    scorer_run_dry(&p.p);
    end(&p);
    start(&p, m, other, 0);
    scorer_run_dry(&p.p);
    assert_true(stats_of(&p).checkpoints_refused > 0);
    assert_true(stats_of(&p).warmed > SCORER_N / 2); /* learnt from the journal */
    end(&p);
    model_free(other);
    bus_mem_free(m);
}

static void test_two_processes_do_not_share_a_place(void **state)
{
    (void)state;
    struct state_folder first, second, third;
    struct errmsg e = {""};
    empty_folder();
    assert_int_equal(state_folder_take(&first, folder, &e), ERR_OK);
    assert_int_equal(state_folder_take(&second, folder, &e), ERR_OK);
    assert_string_not_equal(first.own, second.own);
    state_folder_leave(&first);
    assert_int_equal(state_folder_take(&third, folder, &e), ERR_OK);
    assert_string_equal(third.own, first.own); /* the lock went with its holder */
    state_folder_leave(&third);
    state_folder_leave(&second);
    assert_int_equal(state_folder_take(&first, "/nowhere/at/all", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

static void spoil_name(const struct state_folder *place)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/lock", place->own);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("0123456789abcdef0123456789abcde", f); /* a digit too few */
    assert_int_equal(fclose(f), 0);
}

/* It is the consumer group's member: the next one there must have the same, another place another.
 */
static void test_a_place_keeps_its_name(void **state)
{
    struct state_folder first, second;
    char name[STATE_MEMBER_CHARS + 1];
    struct errmsg e = {""};
    (void)state;
    empty_folder();
    assert_int_equal(state_folder_take(&first, folder, &e), ERR_OK);
    assert_int_equal(state_folder_take(&second, folder, &e), ERR_OK);
    assert_int_equal(strlen(first.member), STATE_MEMBER_CHARS);
    assert_string_not_equal(first.member, second.member);
    memcpy(name, first.member, sizeof name);
    state_folder_leave(&first);
    assert_int_equal(state_folder_take(&first, folder, &e), ERR_OK);
    assert_string_equal(first.member, name);
    state_folder_leave(&first);
    spoil_name(&first);
    assert_int_equal(state_folder_take(&first, folder, &e), ERR_OK);
    assert_int_equal(strlen(first.member), STATE_MEMBER_CHARS);
    assert_string_not_equal(first.member, name);
    state_folder_leave(&first);
    state_folder_leave(&second);
}

/* Some turns, now and then with time for a child to get done. */
static void some_turns(struct keeper *k, struct rng *r, uint64_t n)
{
    for (; n > 0; n--) {
        (void)score_turn(k->p.score);
        bus_mem_ack(&k->p.bus, rng_below(r, 40));
        usleep(rng_below(r, 8) == 0 ? 2000 : 0);
    }
}

/* Crashes at any turn, with records that were never acknowledged: by seed. */
static void test_after_any_crash_the_decisions_are_the_same(void **state)
{
    uint64_t used = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 15; seed++) {
        struct bus_mem *m = scorer_filled(20);
        struct keeper p;
        struct rng r;
        rng_init(&r, seed);
        empty_folder();
        for (int life = 0; life < 5; life++) {
            start(&p, m, NULL, 0);
            bus_mem_hold_acks(&p.p.bus, rng_below(&r, 2) == 0);
            some_turns(&p, &r, rng_below(&r, 60));
            used += stats_of(&p).checkpoints_read > 0;
            die(&p);
        }
        append_more(m);
        start(&p, m, NULL, 0);
        scorer_run_dry(&p.p);
        end(&p);
        (void)scorer_expect_as_recorded(m);
        bus_mem_free(m);
    }
    assert_true(used > 10);
}

/* One of two dies at any moment; the other gets its partition and goes on from the state that both
 * wrote: by seed. */
static void test_a_partition_that_comes_brings_its_state(void **state)
{
    uint64_t learnt = 0, used = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 15; seed++) {
        struct bus_mem *m = scorer_filled(20);
        struct keeper a, b;
        struct rng r;
        rng_init(&r, seed);
        empty_folder();
        open_keeper(&a, m, NULL, TIME_S);
        open_keeper(&b, m, NULL, TIME_S);
        scorer_assign(&a.p, 0);
        scorer_assign(&b.p, 1);
        for (uint64_t n = 0, end = 60 + rng_below(&r, 60); n < end; n++) {
            bus_mem_now(m, MESSAGES_START_US + (int64_t)n / 6 * TIME_S);
            usleep(n % 6 == 5 ? 20000 : 0); /* both have written that period's */
            some_turns(&a, &r, rng_below(&r, 3));
            some_turns(&b, &r, rng_below(&r, 3));
        }
        die(&a);
        append_more(m);
        const uint64_t before = stats_of(&b).warmed;
        scorer_assign(&b.p, 0);
        scorer_run_dry(&b.p);
        used += stats_of(&b).checkpoints_read > 0;
        learnt += stats_of(&b).warmed - before;
        end(&b);
        (void)scorer_expect_as_recorded(m);
        bus_mem_free(m);
    }
    assert_true(used >= 12);
    assert_true(learnt < 15 * SCORER_N * 2 / 3); /* from the journal alone it would be all of it */
}

/* A start whose file says something else goes on with the settings that were told, which the state
 * that it reads was made by. */
static void test_settings_told_outlast_a_start_with_another_file(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    struct keeper p;
    struct errmsg e;
    struct score_lane lanes[SCORE_PARTITIONS_MAX];
    const struct bounds told = {{.budget = 3, .burst = 2, .floor = .3, .decline = 2}, 300 * TIME_S};
    empty_folder();
    start(&p, m, NULL, INT64_C(3600) * TIME_S);
    scorer_until_decided(&p.p, m, 0, 50);
    assert_int_equal(score_tell(p.p.score, &told, NULL, 0, &e), ERR_OK);
    scorer_run_dry(&p.p);
    end(&p);
    append_more(m);
    start(&p, m, NULL, INT64_C(3600) * TIME_S);
    scorer_run_dry(&p.p);
    assert_int_equal(stats_of(&p).checkpoints_read, 1);
    assert_true(stats_of(&p).settings_hash == bounds_hash(&told));
    assert_int_equal(score_lanes(p.p.score, lanes, SCORE_PARTITIONS_MAX), SCORER_PARTITIONS);
    for (int32_t i = 0; i < SCORER_PARTITIONS; i++) {
        assert_true(lanes[i].threshold <= .3);
    }
    end(&p);
    (void)scorer_expect_as_recorded(m);
    bus_mem_free(m);
}

/* A partition goes and none comes: what is written from then on has the others only. */
static void test_a_partition_that_goes_is_written_no_more(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    struct keeper p;
    empty_folder();
    start(&p, m, NULL, INT64_C(3600) * TIME_S); /* only the last one */
    scorer_run_dry(&p.p);
    bus_mem_revoke(&p.p.bus, TOPIC_TRANSACTIONS, 0, false);
    append_more(m);
    scorer_run_dry(&p.p);
    assert_int_equal(score_finish(p.p.score, 1000, &(struct errmsg){""}), ERR_OK);
    score_keep_end(p.p.score, 5000);
    assert_int_equal(stats_of(&p).checkpoints_failed, 0);
    scorer_end(&p.p);
    state_folder_leave(&p.place);

    open_keeper(&p, m, NULL, INT64_C(3600) * TIME_S);
    scorer_assign(&p.p, 1);
    scorer_run_dry(&p.p);
    assert_int_equal(stats_of(&p).checkpoints_read, 1);
    assert_int_equal(stats_of(&p).warmed, 0);
    scorer_assign(&p.p, 0); /* nobody has kept it: from the journal */
    scorer_run_dry(&p.p);
    assert_true(stats_of(&p).warmed > 0);
    end(&p);
    (void)scorer_expect_as_recorded(m);
    bus_mem_free(m);
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
        cmocka_unit_test(test_two_processes_do_not_share_a_place),
        cmocka_unit_test(test_a_place_keeps_its_name),
        cmocka_unit_test(test_after_any_crash_the_decisions_are_the_same),
        cmocka_unit_test(test_settings_told_outlast_a_start_with_another_file),
        cmocka_unit_test(test_a_partition_that_goes_is_written_no_more),
        cmocka_unit_test(test_a_partition_that_comes_brings_its_state),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
