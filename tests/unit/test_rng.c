/* rng: the published sequence, and the distributions. */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* First outputs of splitmix64(1234567) (Rosetta Code and the authors' program) are the state. */
static void test_rng_init_is_splitmix64(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1234567);
    assert_true(r.s[0] == 6457827717110365317U);
    assert_true(r.s[1] == 3203168211198807973U);
    assert_true(r.s[2] == 9817491932198370423U);
    assert_true(r.s[3] == 4593380528125082431U);
}

/* xoshiro256** from the state {1, 2, 3, 4}: the vector that rand_xoshiro and numpy test with. */
static void test_rng_next_is_xoshiro256(void **state)
{
    (void)state;
    struct rng r = {.s = {1, 2, 3, 4}};
    static const uint64_t want[] = {11520U,
                                    0U,
                                    1509978240U,
                                    1215971899390074240U,
                                    1216172134540287360U,
                                    607988272756665600U,
                                    16172922978634559625U,
                                    8476171486693032832U,
                                    10595114339597558777U,
                                    2904607092377533576U};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_true(rng_next(&r) == want[i]);
    }
}

static void test_rng_below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 0);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t x = rng_below(&r, 7);
        assert_true(x < 7);
        seen[x]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(seen[i], 850, 1150); /* 1000 +- 5 standard deviations */
    }
    assert_true(rng_below(&r, 1) == 0);
    assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
}

/* A bound of 3/4 of 2^64 rejects a quarter of all draws: without rejection the lower third of the
 * range would come up twice as often. */
static void test_rng_below_has_no_modulo_bias(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 9);
    uint64_t n = 3U * (UINT64_C(1) << 62);
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        low += rng_below(&r, n) < UINT64_C(1) << 62;
    }
    assert_in_range(low, 9600, 10400);
}

static void test_rng_uniform_is_in_unit_interval(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 3);
    double sum = 0.0;
    for (int i = 0; i < 100000; i++) {
        double u = rng_uniform(&r);
        assert_true(u >= 0.0 && u < 1.0);
        sum += u;
    }
    assert_true(fabs(sum / 1e5 - 0.5) < 0.005); /* 5 standard errors */
}

static void test_rng_normal_has_moments_of_normal(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 4);
    double m1 = 0.0, m2 = 0.0, m4 = 0.0;
    for (int i = 0; i < 100000; i++) {
        double x = rng_normal(&r);
        m1 += x;
        m2 += x * x;
        m4 += x * x * x * x;
    }
    assert_true(fabs(m1 / 1e5) < 0.016);
    assert_true(fabs(m2 / 1e5 - 1.0) < 0.023);
    assert_true(fabs(m4 / 1e5 - 3.0) < 0.16);
}

static void test_rng_exponential_has_moments_of_exponential(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    double m1 = 0.0, m2 = 0.0;
    for (int i = 0; i < 100000; i++) {
        double x = rng_exponential(&r);
        assert_true(x >= 0.0 && isfinite(x));
        m1 += x;
        m2 += x * x;
    }
    assert_true(fabs(m1 / 1e5 - 1.0) < 0.016);
    assert_true(fabs(m2 / 1e5 - 2.0) < 0.08);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_init_is_splitmix64),
        cmocka_unit_test(test_rng_next_is_xoshiro256),
        cmocka_unit_test(test_rng_below_stays_below_and_reaches_all),
        cmocka_unit_test(test_rng_below_has_no_modulo_bias),
        cmocka_unit_test(test_rng_uniform_is_in_unit_interval),
        cmocka_unit_test(test_rng_normal_has_moments_of_normal),
        cmocka_unit_test(test_rng_exponential_has_moments_of_exponential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
