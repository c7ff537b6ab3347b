/* A former champion goes on in shadow for `rollback.keep`; then the process that has partition 0
 * ends it by a notice, once, for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/model.h"
#include "tests/support/random_model.h"
#include "tests/support/scorer.h"

#define KEEP_US (7 * TIME_DAY)

static int64_t now_us;

static int64_t wall_us(void)
{
    return now_us;
}

static bool go_on(void *ctx)
{
    (void)ctx;
    return true;
}

static void start(struct process *p, struct bus_mem *m, int64_t keep_us, int32_t partition)
{
    struct score_conf c = scorer_conf();
    c.go_on = go_on;
    c.wall_us = wall_us;
    c.rollback_keep_us = keep_us;
    scorer_open(p, m, &c);
    scorer_assign(p, partition);
}

static size_t notices(const struct bus_mem *m)
{
    return bus_mem_size(m, TOPIC_NOTICES, 0);
}

/* The log's time of the last notice: of the promotion that made "first" a former champion. */
static int64_t promoted_us(const struct bus_mem *m)
{
    return bus_mem_record(m, TOPIC_NOTICES, 0, notices(m) - 1)->timestamp_us;
}

static struct bus_mem *promoted(void)
{
    struct bus_mem *m = scorer_filled(0);
    scorer_append_model(m, 21, "first", 0);
    scorer_append_model(m, 22, "second", 0);
    now_us = promoted_us(m);
    return m;
}

static void expect_former(const struct process *p)
{
    assert_string_equal(model_lineage(score_model(p->score))->version, "second");
    assert_non_null(score_shadow(p->score));
    assert_string_equal(model_lineage(score_shadow(p->score))->version, "first");
}

static void test_it_ends_when_its_time_is_over(void **state)
{
    (void)state;
    struct bus_mem *m = promoted();
    struct process p;
    start(&p, m, KEEP_US, 0);
    scorer_run_dry(&p);
    expect_former(&p);
    const size_t before = notices(m);
    now_us = promoted_us(m) + KEEP_US - 1;
    scorer_run_dry(&p);
    assert_int_equal(notices(m), before);
    expect_former(&p);
    now_us++;
    scorer_run_dry(&p);
    assert_int_equal(notices(m), before + 1);
    assert_null(score_shadow(p.score));
    assert_string_equal(model_lineage(score_model(p.score))->version, "second");
    now_us += KEEP_US;
    scorer_run_dry(&p);
    assert_int_equal(notices(m), before + 1); /* told once */
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_others_follow_the_notice_and_tell_nothing(void **state)
{
    (void)state;
    struct bus_mem *m = promoted();
    struct process teller;
    struct process other;
    start(&other, m, KEEP_US, 1);
    scorer_run_dry(&other);
    const size_t before = notices(m);
    now_us += 2 * KEEP_US;
    scorer_run_dry(&other);
    assert_int_equal(notices(m), before); /* it has not partition 0 */
    expect_former(&other);
    start(&teller, m, KEEP_US, 0);
    scorer_run_dry(&teller);
    assert_int_equal(notices(m), before + 1);
    scorer_run_dry(&other);
    assert_null(score_shadow(other.score));
    scorer_end(&teller);
    scorer_end(&other);
    bus_mem_free(m);
}

static void test_without_an_end_it_stays(void **state)
{
    (void)state;
    struct bus_mem *m = promoted();
    struct process p;
    start(&p, m, 0, 0);
    now_us += 100 * KEEP_US;
    scorer_run_dry(&p);
    expect_former(&p);
    scorer_end(&p);
    bus_mem_free(m);
}

static void test_a_challenger_does_not_end(void **state)
{
    (void)state;
    struct bus_mem *m = promoted();
    struct process p;
    scorer_append_shadow(m, 23, "third");
    const size_t before = notices(m);
    start(&p, m, KEEP_US, 0);
    now_us += 100 * KEEP_US;
    scorer_run_dry(&p);
    assert_int_equal(notices(m), before);
    assert_string_equal(model_lineage(score_shadow(p.score))->version, "third");
    scorer_end(&p);
    bus_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_ends_when_its_time_is_over),
        cmocka_unit_test(test_others_follow_the_notice_and_tell_nothing),
        cmocka_unit_test(test_without_an_end_it_stays),
        cmocka_unit_test(test_a_challenger_does_not_end),
    };
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
