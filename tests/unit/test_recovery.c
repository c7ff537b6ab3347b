/* What is told of a start: each step from the one before, a rebuild that begins anew, partitions
 * that come later. */
#include "daemon/recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void reach(struct recovery *r, enum recovery_step step, int64_t ms)
{
    recovery_reach(r, step, ms * 1000);
}

static void test_end_tells_each_step_from_the_one_before(void **state)
{
    struct recovery r = {0};
    char text[300];
    (void)state;
    recovery_begin(&r, 1000);
    reach(&r, RECOVERY_ASSIGNED, 11);
    reach(&r, RECOVERY_FOLLOWED, 31);
    reach(&r, RECOVERY_UNPACKED, 61);
    reach(&r, RECOVERY_INDEXED, 101);
    assert_false(recovery_end(&r, text, sizeof text));
    recovery_pass(&r, RECOVERY_REPEATED, 151000);
    recovery_pass(&r, RECOVERY_REPEATED, 152000);
    reach(&r, RECOVERY_DECIDED, 211);
    assert_true(recovery_end(&r, text, sizeof text));
    assert_string_equal(text, "group_ms=10 logs_ms=20 unpack_ms=30 index_ms=40 repeat_ms=50 "
                              "decide_ms=60 all_ms=210");
    assert_false(recovery_end(&r, text, sizeof text));
}

static void test_steps_passed_over_take_no_time(void **state)
{
    struct recovery r = {0};
    char text[300];
    (void)state;
    recovery_begin(&r, 0);
    reach(&r, RECOVERY_FOLLOWED, 5);
    reach(&r, RECOVERY_DECIDED, 9);
    assert_true(recovery_end(&r, text, sizeof text));
    assert_string_equal(text, "group_ms=0 logs_ms=5 unpack_ms=0 index_ms=0 repeat_ms=0 decide_ms=4 "
                              "all_ms=9");
}

static void test_partitions_that_come_meanwhile_open_what_was_reached(void **state)
{
    struct recovery r = {0};
    char text[300];
    (void)state;
    recovery_begin(&r, 0);
    reach(&r, RECOVERY_ASSIGNED, 1);
    reach(&r, RECOVERY_INDEXED, 4);
    recovery_begin(&r, 5000);
    reach(&r, RECOVERY_ASSIGNED, 6);
    reach(&r, RECOVERY_DECIDED, 8);
    assert_true(recovery_end(&r, text, sizeof text));
    assert_string_equal(text, "group_ms=6 logs_ms=0 unpack_ms=0 index_ms=0 repeat_ms=0 decide_ms=2 "
                              "all_ms=8");
}

static void test_one_that_is_over_begins_again_with_the_next_partition(void **state)
{
    struct recovery r = {0};
    char text[300];
    (void)state;
    recovery_begin(&r, 0);
    reach(&r, RECOVERY_DECIDED, 3);
    assert_true(recovery_end(&r, text, sizeof text));
    reach(&r, RECOVERY_REPEATED, 4);
    assert_false(recovery_end(&r, text, sizeof text));
    recovery_begin(&r, 10000);
    reach(&r, RECOVERY_DECIDED, 12);
    assert_true(recovery_end(&r, text, sizeof text));
    assert_string_equal(text, "group_ms=0 logs_ms=0 unpack_ms=0 index_ms=0 repeat_ms=0 decide_ms=2 "
                              "all_ms=2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_end_tells_each_step_from_the_one_before),
        cmocka_unit_test(test_steps_passed_over_take_no_time),
        cmocka_unit_test(test_partitions_that_come_meanwhile_open_what_was_reached),
        cmocka_unit_test(test_one_that_is_over_begins_again_with_the_next_partition),
    };
    return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
