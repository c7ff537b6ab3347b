/* What decisions turned out to be worth: who is judged, sums by band and segment, bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/outcomes.h"

static const struct outcomes_conf CONF = {
    .to_us = TIME_DAY,
    .segment = SEGMENT_CHANNEL,
    .bound = {[OUTCOMES_PRECISION] = .5,
              [OUTCOMES_VALUE] = .5,
              [OUTCOMES_EXPECTED_LOW] = .5,
              [OUTCOMES_EXPECTED_HIGH] = 2},
    .frauds_min = 2,
    .evaluate = {.top_cards = 1},
};

static struct outcomes o;
static struct tx tx;
static struct outcome_row row;

static int begin(void **state)
{
    struct errmsg e;
    (void)state;
    tx = (struct tx){.type = TX_PURCHASE, .channel = CHANNEL_POS, .card = 1, .amount_ref = 1000};
    row = (struct outcome_row){.tx = &tx, .model = "a", .probability = .5};
    return outcomes_init(&o, &CONF, &e) == ERR_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    outcomes_done(&o);
    return 0;
}

static void add(double probability, bool fraud, bool alerted, int times)
{
    struct errmsg e;
    row.probability = probability;
    row.fraud = row.has_verdict = fraud;
    row.alerted = alerted;
    for (int i = 0; i < times; i++) {
        tx.event_us++;
        assert_int_equal(outcomes_add(&o, &row, &e), ERR_OK);
    }
}

static void measure(void)
{
    struct errmsg e;
    assert_int_equal(outcomes_measure(&o, &e), ERR_OK);
}

static void test_only_what_a_model_decided_is_judged(void **state)
{
    (void)state;
    add(.5, true, true, 3);
    row.declined = true;
    row.has_verdict = false;
    struct errmsg e;
    row.fraud = false;
    assert_int_equal(outcomes_add(&o, &row, &e), ERR_OK); /* would be fraud or not: unknown */
    add(.5, true, true, 1);                               /* declined, with a verdict */
    row.declined = false;
    row.controlled = true;
    add(.5, true, true, 5);
    row.controlled = false;
    add((double)NAN, true, true, 7);
    tx.type = TX_REFUND;
    add(.5, false, false, 9);
    measure();
    assert_int_equal(o.versions, 1);
    assert_int_equal(o.version[0].figures.payments, 4);
    assert_int_equal(o.unknown, 1);
    assert_int_equal(o.controlled.payments, 5);
    assert_int_equal(o.controlled.frauds, 5);
    assert_int_equal(o.unscored, 7);
    assert_int_equal(o.others, 9);
}

static void test_bands_and_segments_add_up(void **state)
{
    (void)state;
    add(.0005, false, false, 100);
    add(.0015, true, false, 1);
    tx.channel = CHANNEL_ECOMMERCE;
    tx.amount_ref = 5000;
    add(1, true, true, 2);
    add(.9, false, true, 1);
    measure();
    assert_int_equal(o.band[score_band(.0005F)].payments, 100);
    assert_int_equal(o.band[score_band(.0015F)].payments, 1);
    assert_int_equal(o.band[SCORE_BANDS - 1].payments, 3);
    assert_int_equal(o.segments, 2);
    assert_string_equal(o.segment[0].name, "pos"); /* the larger one first */
    assert_int_equal(o.segment[0].sums.payments, 101);
    assert_string_equal(o.segment[1].name, "ecommerce");
    assert_int_equal(o.segment[1].sums.alerts, 3);
    assert_int_equal(o.segment[1].sums.caught, 2);
    assert_true(fabs(o.segment[1].sums.value - 100) < 1e-9);
    assert_true(fabs(o.segment[1].sums.expected - 2.9) < 1e-9);
    const struct figures *g = &o.version[0].figures;
    assert_true(fabs(g->value[FIGURE_PRECISION] - 2. / 3) < 1e-9);
    assert_true(fabs(g->value[FIGURE_RECALL] - 2. / 3) < 1e-9);
    assert_true(fabs(g->value[FIGURE_VALUE] - 100. / 110) < 1e-9);
    assert_true(fabs(g->value[FIGURE_EXPECTED] - (100 * .0005 + .0015 + 2 + .9) / 3) < 1e-6);
}

static void test_each_version_keeps_bounds_of_its_own(void **state)
{
    (void)state;
    char text[OUTCOMES_TEXT_MAX];
    add(.5, true, true, 4); /* a: keeps all: 4 of 6 alerts, 3 expected of 4 */
    add(.5, false, true, 2);
    row.model = "b"; /* 1 of 5 alerts a fraud, 3 frauds, 5.9 expected, 1/3 of the value */
    add(.9, true, true, 1);
    add(.5, true, false, 2);
    add(.99, false, true, 4);
    row.model = "c"; /* too few frauds to be judged */
    add(.5, true, false, 1);
    measure();
    assert_int_equal(o.versions, 3);
    assert_int_equal(outcomes_breaches(&o), 2);
    for (int b = 0; b < OUTCOMES_BOUNDS; b++) {
        assert_null(o.version[0].breach[b]);
        assert_null(o.version[2].breach[b]);
    }
    assert_string_equal(o.version[1].breach[OUTCOMES_PRECISION], "outcomes.precision");
    assert_string_equal(o.version[1].breach[OUTCOMES_VALUE], "outcomes.value");
    outcomes_breach_text(&o, &o.version[1], OUTCOMES_PRECISION, text);
    assert_string_equal(
        text, "precision of its alerts is 0.2000; outcomes.precision asks for at least 0.5");
}

static void test_expecting_too_many_or_too_few_is_missed(void **state)
{
    (void)state;
    add(.9, true, true, 2); /* a expects 4.5 of 2 */
    add(.9, false, true, 1);
    add(.9, false, false, 2);
    row.model = "b"; /* .4 of 2 */
    add(.2, true, true, 2);
    measure();
    assert_non_null(o.version[0].breach[OUTCOMES_EXPECTED_HIGH]);
    assert_null(o.version[0].breach[OUTCOMES_EXPECTED_LOW]);
    assert_non_null(o.version[1].breach[OUTCOMES_EXPECTED_LOW]);
    assert_int_equal(outcomes_breaches(&o), 2);
}

static void test_too_many_versions_and_segments(void **state)
{
    (void)state;
    struct errmsg e;
    char name[OUTCOMES_VERSION_MAX];
    row.model = name;
    o.conf.segment = SEGMENT_MCC;
    for (int i = 0; i < OUTCOMES_VERSIONS; i++) {
        snprintf(name, sizeof name, "v%d", i);
        for (int k = 0; k < 3; k++) { /* 48 categories, the first ones more often */
            tx.mcc = (uint16_t)(1000 + 3 * i + k);
            add(.1, false, false, OUTCOMES_VERSIONS + 1 - i);
        }
    }
    snprintf(name, sizeof name, "one more");
    assert_int_equal(outcomes_add(&o, &row, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "choose a shorter one"));
    measure();
    assert_int_equal(o.segments, OUTCOMES_SEGMENTS);
    assert_string_equal(o.segment[0].name, "1000");
    assert_string_equal(o.segment[OUTCOMES_SEGMENTS - 1].name, "other");
    size_t payments = 0;
    for (size_t i = 0; i < o.segments; i++) {
        payments += o.segment[i].sums.payments;
    }
    assert_int_equal(payments, o.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_what_a_model_decided_is_judged, begin, end),
        cmocka_unit_test_setup_teardown(test_bands_and_segments_add_up, begin, end),
        cmocka_unit_test_setup_teardown(test_each_version_keeps_bounds_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(test_expecting_too_many_or_too_few_is_missed, begin, end),
        cmocka_unit_test_setup_teardown(test_too_many_versions_and_segments, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
