/* Histograms of durations: counts below bounds, quantiles, sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/latency.h"

static void test_latency_cumulative_agrees_with_count_below(void **state)
{
    (void)state;
    static struct latency h;
    static const uint64_t bounds[] = {0, 1, 31, 32, 100, 1000, 12345, 1000000, UINT64_C(1) << 39};
    enum { N = sizeof bounds / sizeof *bounds };
    uint64_t below[N];
    uint64_t x = 1;
    for (int i = 0; i < 10000; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        latency_add(&h, x >> (24 + x % 40));
    }
    latency_add_many(&h, 50, 7);
    latency_add(&h, UINT64_MAX); /* beyond the last bucket: counted there */
    assert_int_equal(latency_cumulative(&h, bounds, N, below), 10008);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(below[i], latency_count_below(&h, bounds[i]));
        assert_true(i == 0 || below[i] >= below[i - 1]);
    }
    assert_true(below[N - 1] < 10008);
}

static void test_latency_quantile_is_within_a_bucket(void **state)
{
    (void)state;
    static struct latency h;
    for (uint64_t ns = 1; ns <= 100000; ns++) {
        latency_add(&h, ns);
    }
    for (int q = 1; q < 100; q++) {
        double exact = (double)q * 1000;
        double got = (double)latency_quantile(&h, (double)q / 100);
        /* a bucket is a 32nd of its power of two wide */
        assert_true(got >= exact - 1 && got <= exact * 33 / 32 + 1);
    }
    assert_int_equal(latency_quantile(&h, 1), 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_cumulative_agrees_with_count_below),
        cmocka_unit_test(test_latency_quantile_is_within_a_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
