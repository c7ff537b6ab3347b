/* Beta calibration: recovers known slopes, rises strictly, is the identity without evidence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/calibrate.h"

#define ROWS 200000

static double plain_logit(const double c[3], double v)
{
    double q = 1 / (1 + exp(-v));
    return c[0] * log(q) - c[1] * log(1 - q) + c[2];
}

static void test_logit_follows_the_formula(void **state)
{
    (void)state;
    const double c[3] = {0.7, 1.4, -0.3};
    for (double v = -20; v <= 20; v += 0.37) {
        double wanted = plain_logit(c, v);
        /* 1 - q loses digits in the twin for large v: 1e-16 / e^-20 = 5e-8 */
        assert_true(fabs(calibrate_logit(c, v) - wanted) < 1e-6);
        double p = 1 / (1 + exp(-wanted));
        assert_true(fabs(calibrate_probability(c, v) - p) < 1e-9);
    }
}

static void test_fit_recovers_the_slopes(void **state)
{
    (void)state;
    const double truth[][3] = {{1, 1, 0}, {0.6, 1.5, -1}, {2, 0.5, 0.7}};
    float *logit = calloc(ROWS, sizeof *logit);
    uint8_t *label = calloc(ROWS, 1);
    for (size_t k = 0; k < sizeof truth / sizeof truth[0]; k++) {
        struct rng rng;
        struct errmsg e;
        double got[3];
        rng_init(&rng, k + 1);
        for (size_t i = 0; i < ROWS; i++) {
            logit[i] = 2 * (float)rng_normal(&rng);
            label[i] = rng_uniform(&rng) < 1 / (1 + exp(-plain_logit(truth[k], (double)logit[i])));
        }
        assert_int_equal(calibrate_fit(logit, label, NULL, ROWS, got, &e), ERR_OK);
        for (int i = 0; i < 3; i++) {
            /* deviation of an estimate from 200,000 rows is about .01 to .02 */
            assert_true(fabs(got[i] - truth[k][i]) < 0.07);
        }
    }
    free(logit);
    free(label);
}

/* A row of weight 2 counts as two rows, a row of weight 0 as none. */
static void test_fit_counts_weights(void **state)
{
    (void)state;
    float logit[600];
    uint8_t label[600];
    float weight[600];
    float twice[1200];
    uint8_t label_twice[1200];
    size_t n = 0;
    struct rng rng;
    struct errmsg e;
    rng_init(&rng, 5);
    for (size_t i = 0; i < 600; i++) {
        logit[i] = (float)rng_normal(&rng);
        label[i] = rng_uniform(&rng) < 0.3;
        weight[i] = (float)rng_below(&rng, 3);
        for (uint32_t k = 0; k < (uint32_t)weight[i]; k++) {
            twice[n] = logit[i];
            label_twice[n++] = label[i];
        }
    }
    double a[3];
    double b[3];
    assert_int_equal(calibrate_fit(logit, label, weight, 600, a, &e), ERR_OK);
    assert_int_equal(calibrate_fit(twice, label_twice, NULL, n, b, &e), ERR_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(a[i] - b[i]) < 1e-6); /* Newton ends within 1e-6 of the optimum */
    }
}

static void assert_rises(const double c[3])
{
    assert_true(c[0] >= CALIBRATE_SLOPE_MIN && c[1] >= CALIBRATE_SLOPE_MIN);
    double before = -INFINITY;
    for (double v = -30; v <= 30; v += 0.25) {
        double now = calibrate_logit(c, v);
        assert_true(now > before);
        before = now;
    }
}

/* Labels that fall with the score would want negative slopes. */
static void test_fit_rises_even_where_labels_fall(void **state)
{
    (void)state;
    float logit[1000];
    uint8_t label[1000];
    double c[3];
    struct errmsg e;
    for (size_t i = 0; i < 1000; i++) {
        logit[i] = (float)i / 100 - 5;
        label[i] = i < 300;
    }
    assert_int_equal(calibrate_fit(logit, label, NULL, 1000, c, &e), ERR_OK);
    assert_rises(c);
}

/* Separable labels: the pull to the identity keeps the slopes finite. */
static void test_fit_stays_finite_where_labels_separate(void **state)
{
    (void)state;
    float logit[1000];
    uint8_t label[1000];
    double c[3];
    struct errmsg e;
    for (size_t i = 0; i < 1000; i++) {
        logit[i] = i < 990 ? -3 : 3;
        label[i] = i >= 990;
    }
    assert_int_equal(calibrate_fit(logit, label, NULL, 1000, c, &e), ERR_OK);
    assert_rises(c);
    assert_true(fabs(c[0]) < 100 && fabs(c[1]) < 100 && fabs(c[2]) < 100);
}

static void test_fit_of_one_class_is_the_identity(void **state)
{
    (void)state;
    const float logit[] = {-1, 0, 2, 4};
    const uint8_t none[] = {0, 0, 0, 0};
    const uint8_t all[] = {1, 1, 1, 1};
    const uint8_t mixed[] = {1, 0, 0, 0};
    const float weight[] = {0, 1, 1, 1};
    const double identity[3] = {1, 1, 0};
    double c[3];
    struct errmsg e;
    assert_int_equal(calibrate_fit(logit, none, NULL, 4, c, &e), ERR_OK);
    assert_memory_equal(c, identity, sizeof c);
    assert_int_equal(calibrate_fit(logit, all, NULL, 4, c, &e), ERR_OK);
    assert_memory_equal(c, identity, sizeof c);
    assert_int_equal(calibrate_fit(logit, mixed, weight, 4, c, &e), ERR_OK);
    assert_memory_equal(c, identity, sizeof c);
    assert_int_equal(calibrate_fit(logit, mixed, NULL, 0, c, &e), ERR_OK);
    assert_memory_equal(c, identity, sizeof c);
    for (double v = -35; v < 36; v += 0.5) {
        assert_true(fabs(calibrate_logit(identity, v) - v) < 1e-12 * (1 + fabs(v)));
    }
}

static void test_fit_refuses_logits_that_are_not_finite(void **state)
{
    (void)state;
    float logit[] = {-1, NAN, 2};
    const uint8_t label[] = {0, 1, 1};
    const float weight[] = {1, 0, 1};
    double c[3] = {7, 7, 7};
    struct errmsg e;
    assert_int_equal(calibrate_fit(logit, label, NULL, 3, c, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "logit 1 of 3"));
    assert_true(c[0] > 6 && c[1] > 6);
    assert_int_equal(calibrate_fit(logit, label, weight, 3, c, &e), ERR_OK);
}

static void test_probability_stays_inside(void **state)
{
    (void)state;
    const double steep[3] = {30, 30, 0};
    assert_true(calibrate_probability(steep, 100) < 1);
    assert_true(calibrate_probability(steep, -100) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logit_follows_the_formula),
        cmocka_unit_test(test_fit_recovers_the_slopes),
        cmocka_unit_test(test_fit_counts_weights),
        cmocka_unit_test(test_fit_rises_even_where_labels_fall),
        cmocka_unit_test(test_fit_stays_finite_where_labels_separate),
        cmocka_unit_test(test_fit_of_one_class_is_the_identity),
        cmocka_unit_test(test_fit_refuses_logits_that_are_not_finite),
        cmocka_unit_test(test_probability_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
