/* The budget is met on a steady stream, survives a shift of the scores, and bounds a bad day. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/detmath.h"
#include "base/rng.h"
#include "model/threshold.h"

#define DAY_US (INT64_C(86400) * 1000000)

static const struct threshold_conf CONF = {
    .budget = 50, .burst = 1.2, .floor = 0.97, .decline = 2, .decline_cost = 0};

static struct threshold *make(const struct threshold_conf *c)
{
    struct threshold *t = malloc(sizeof *t);
    struct errmsg e;
    assert_int_equal(threshold_init(t, c, &e), ERR_OK);
    return t;
}

/* Feeds whole days of `per_day` payments with normal log-odds; returns alerts of the last day. */
static uint64_t feed(struct threshold *t, struct rng *r, int64_t first_day, int days, int per_day,
                     double mean)
{
    uint64_t before = 0;
    for (int d = 0; d < days; d++) {
        before = t->alerts;
        for (int i = 0; i < per_day; i++) {
            int64_t at = (first_day + d) * DAY_US + DAY_US / per_day * i;
            threshold_decide(t, at, det_sigmoid(mean + rng_normal(r)), 10);
        }
    }
    return t->alerts - before;
}

static void test_threshold_meets_budget_on_a_steady_stream(void **state)
{
    (void)state;
    struct threshold *t = make(&CONF);
    struct rng r;
    rng_init(&r, 1);
    feed(t, &r, 17000, 5, 5000, -5);
    for (int d = 0; d < 10; d++) {
        uint64_t alerts = feed(t, &r, 17005 + d, 1, 5000, -5);
        assert_in_range(alerts, 40, 60);
    }
    free(t);
}

static void test_threshold_bounds_the_day_of_a_shift_and_recovers(void **state)
{
    (void)state;
    struct threshold *t = make(&CONF);
    struct rng r;
    rng_init(&r, 2);
    feed(t, &r, 17000, 10, 5000, -5);
    assert_true(feed(t, &r, 17010, 1, 5000, -3) <= 60);
    assert_in_range(feed(t, &r, 17011, 4, 5000, -3), 30, 60);
    free(t);
}

static void test_threshold_never_suppresses_above_the_floor(void **state)
{
    (void)state;
    struct threshold *t = make(&CONF);
    struct rng r;
    rng_init(&r, 3);
    feed(t, &r, 17000, 3, 5000, -5);
    for (int i = 0; i < 500; i++) {
        struct threshold_answer a = threshold_decide(t, 17003 * DAY_US + i, 0.98, 10);
        assert_int_equal(a.outcome, OUTCOME_REVIEW);
        assert_true(a.threshold <= 0.97);
    }
    free(t);
}

static void test_threshold_declines_by_probability_and_cost(void **state)
{
    (void)state;
    struct threshold_conf c = CONF;
    c.decline = 0.9;
    c.decline_cost = 100;
    struct threshold *t = make(&c);
    assert_int_equal(threshold_decide(t, 0, 0.95, 50).outcome, OUTCOME_REVIEW);
    assert_int_equal(threshold_decide(t, 1, 0.95, 200).outcome, OUTCOME_DECLINE);
    assert_int_equal(threshold_decide(t, 2, 0.05, 1e6).outcome, OUTCOME_APPROVE);
    free(t);
}

static void test_threshold_ignores_time_that_goes_back(void **state)
{
    (void)state;
    struct threshold *t = make(&CONF);
    threshold_decide(t, 5 * DAY_US, 0.1, 1);
    threshold_decide(t, 3 * DAY_US, 0.1, 1);
    assert_int_equal(t->day, 5);
    assert_int_equal(t->pane[t->newest].events, 2);
    free(t);
}

static void test_threshold_zero_budget_alerts_above_the_floor_only(void **state)
{
    (void)state;
    struct threshold_conf c = CONF;
    c.budget = 0;
    struct threshold *t = make(&c);
    struct rng r;
    rng_init(&r, 4);
    feed(t, &r, 17000, 3, 5000, -5);
    assert_int_equal(t->alerts, 0);
    free(t);
}

static void test_threshold_refuses_bad_settings(void **state)
{
    (void)state;
    struct errmsg e;
    struct threshold *t = malloc(sizeof *t);
    struct threshold_conf c = CONF;
    c.budget = -1;
    assert_int_equal(threshold_init(t, &c, &e), ERR_INVALID);
    c = CONF;
    c.burst = 0.5;
    assert_int_equal(threshold_init(t, &c, &e), ERR_INVALID);
    c = CONF;
    c.floor = 0;
    assert_int_equal(threshold_init(t, &c, &e), ERR_INVALID);
    free(t);
}

static void test_threshold_change_keeps_the_stream_and_follows_the_budget(void **state)
{
    (void)state;
    struct threshold *t = make(&CONF);
    struct rng r;
    struct errmsg e = {""};
    rng_init(&r, 5);
    feed(t, &r, 17000, 10, 5000, -5);
    struct threshold_conf c = CONF;
    c.budget = 200;
    c.floor = .99;
    uint64_t events = t->events;
    assert_int_equal(threshold_change(t, &c, &e), ERR_OK);
    assert_int_equal(t->events, events);
    for (int d = 0; d < 5; d++) { /* the very next day meets the new budget */
        assert_in_range(feed(t, &r, 17010 + d, 1, 5000, -5), 160, 240);
    }
    c.floor = 0;
    assert_int_equal(threshold_change(t, &c, &e), ERR_INVALID);
    c = CONF;
    c.day_offset_us = DAY_US / 2;
    assert_int_equal(threshold_change(t, &c, &e), ERR_INVALID);
    assert_true(t->conf.budget > 199); /* unchanged */
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threshold_meets_budget_on_a_steady_stream),
        cmocka_unit_test(test_threshold_bounds_the_day_of_a_shift_and_recovers),
        cmocka_unit_test(test_threshold_never_suppresses_above_the_floor),
        cmocka_unit_test(test_threshold_declines_by_probability_and_cost),
        cmocka_unit_test(test_threshold_ignores_time_that_goes_back),
        cmocka_unit_test(test_threshold_zero_budget_alerts_above_the_floor_only),
        cmocka_unit_test(test_threshold_refuses_bad_settings),
        cmocka_unit_test(test_threshold_change_keeps_the_stream_and_follows_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
