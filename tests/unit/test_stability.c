/* The population stability index by hand; bands of a score; the drift that `score` shows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/score_metrics.h"
#include "model/stability.h"

static void test_index_by_hand(void **state)
{
    (void)state;
    const double old[2] = {.5, .5};
    const double fresh[2] = {.25, .75};
    /* with a billion observations half a one more is nothing */
    double want = -.25 * log(.25 / .5) + .25 * log(.75 / .5);
    assert_true(fabs(stability_index(old, 1e9, fresh, 1e9, 2) - want) < 1e-6);
    assert_true(fabs(stability_index(old, 1e9, old, 1e9, 2)) < 1e-12);
    /* ten of each: (5.5, 5.5) of 11 and (3, 8) of 11 */
    want = (3 - 5.5) / 11 * log(3 / 5.5) + (8 - 5.5) / 11 * log(8 / 5.5);
    assert_true(fabs(stability_index(old, 10, fresh, 10, 2) - want) < 1e-12);
}

static void test_an_empty_bin_is_finite(void **state)
{
    (void)state;
    const double old[2] = {1, 0};
    const double fresh[2] = {0, 1};
    double index = stability_index(old, 1000, fresh, 1000, 2);
    assert_true(isfinite(index) && index > 10);
}

static void test_bands_hold_their_upper_end(void **state)
{
    (void)state;
    assert_int_equal(score_band(0), 0);
    assert_int_equal(score_band(1), SCORE_BANDS - 1);
    for (size_t i = 0; i < SCORE_BANDS - 1; i++) {
        assert_int_equal(score_band(SCORE_BAND_TOP[i]), i);
        assert_int_equal(score_band(nextafterf(SCORE_BAND_TOP[i], 1)), i + 1);
    }
}

static void test_drift_of_what_was_scored(void **state)
{
    (void)state;
    const float share[SCORE_BANDS] = {.5F, .5F};
    const float unknown[SCORE_BANDS] = {0};
    const uint64_t same[SCORE_BANDS] = {5000, 5000};
    const uint64_t moved[SCORE_BANDS] = {5000, 2500, 2500};
    const uint64_t few[SCORE_BANDS] = {499, 500};
    assert_true(score_metrics_drift(share, same) < 1e-9);
    assert_true(score_metrics_drift(share, moved) > .25);
    assert_true(isnan(score_metrics_drift(share, few)));
    assert_true(isnan(score_metrics_drift(unknown, same)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_by_hand),
        cmocka_unit_test(test_an_empty_bin_is_finite),
        cmocka_unit_test(test_bands_hold_their_upper_end),
        cmocka_unit_test(test_drift_of_what_was_scored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
