/* detmath: accuracy against libm, edges, and the very bits that decisions depend on. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/detmath.h"
#include "base/detmath_inline.h"

static uint64_t bits_of(double x)
{
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static void assert_close(double got, double want, double rtol)
{
    double bound = rtol * fabs(want) + 1e-300;
    if (!(fabs(got - want) <= bound)) {
        fail_msg("got %.17g, want %.17g", got, want);
    }
}

/* libm is right to about 1 ulp, SLEEF promises 1 ulp: 3 ulp between them. */
static void test_double_functions_match_libm(void **state)
{
    (void)state;
    double rtol = 3.0 * 2.3e-16;
    for (int i = -2000; i <= 2000; i++) {
        double x = (double)i * 0.017;
        double p = (double)(i + 2001) * 0.37;
        assert_close(det_exp(x), exp(x), rtol);
        assert_close(det_log(p), log(p), rtol);
        assert_close(det_log1p(p), log1p(p), rtol);
        assert_close(det_log10(p), log10(p), rtol);
        assert_close(det_sin(x), sin(x), rtol);
        assert_close(det_cos(x), cos(x), rtol);
        assert_close(det_asin((double)i / 2000.0), asin((double)i / 2000.0), rtol);
        assert_close(det_atan2(x, p), atan2(x, p), rtol);
        assert_close(det_pow(p, x * 0.1), pow(p, x * 0.1), rtol);
    }
}

static void test_double_functions_edges(void **state)
{
    (void)state;
    assert_true(isinf(det_exp(1000.0)));
    assert_true(bits_of(det_exp(-1000.0)) == 0);
    assert_true(isinf(det_log(0.0)));
    assert_true(isnan(det_log(-1.0)));
    assert_true(isnan(det_asin(1.5)));
    assert_true(bits_of(det_log1p(0.0)) == 0);
}

/* A digest of many results: another CPU, compiler or SLEEF that changes a bit fails here. */
static void test_double_functions_keep_their_bits(void **state)
{
    (void)state;
    uint64_t digest = 0;
    for (int i = 1; i <= 20000; i++) {
        double x = (double)i * 0.00317;
        double parts[] = {det_exp(-x),          det_log(x),        det_log1p(x),
                          det_log10(x),         det_sin(x),        det_cos(x),
                          det_asin(x / 64.0),   det_atan2(x, 7.0), det_pow(x, 1.7),
                          det_sigmoid(x - 30.0)};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            digest = (digest ^ bits_of(parts[k])) * UINT64_C(0x9e3779b97f4a7c15);
            digest ^= digest >> 29;
        }
    }
    assert_int_equal(digest, UINT64_C(0xb2cb4a2393777a3));
}

/* fdlibm promises less than 1 ulp, libm is right to about half: 2 ulp between them. */
static void test_log_many_matches_libm(void **state)
{
    (void)state;
    double x[37];
    double want[37];
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)i % 37 + 1;
        for (size_t k = 0; k < n; k++) {
            x[k] = i % 3 == 0 ? 1.0 + ((double)i - 10000.0) * 1e-7 * (double)(k + 1)
                              : exp((double)i * 0.07 - 690.0 + (double)k * 0.31);
            want[k] = log(x[k]);
        }
        det_log_many(x, n);
        for (size_t k = 0; k < n; k++) {
            assert_close(x[k], want[k], 2.0 * 2.3e-16);
        }
    }
}

/* The CPU's path, the portable one and every position in the batch: the same bits. */
static void test_log_many_bits_depend_on_nothing(void **state)
{
    (void)state;
    for (int i = 1; i <= 20000; i++) {
        double many[19];
        double portable[19];
        for (size_t k = 0; k < 19; k++) {
            many[k] = portable[k] = (double)i * 0.00317 * (double)(k + 1);
        }
        double one = many[(size_t)i % 19];
        det_log_many(many, 19);
        det_log_many_portable(portable, 19);
        det_log_many(&one, 1);
        assert_memory_equal(many, portable, sizeof many);
        assert_memory_equal(&one, &many[(size_t)i % 19], sizeof one);
    }
    double zero = 1.0;
    det_log_many(&zero, 1);
    assert_true(bits_of(zero) == 0);
}

static void test_sincos_many_matches_libm(void **state)
{
    (void)state;
    double x[11];
    double s[11];
    double c[11];
    for (int i = -50000; i < 50000; i++) {
        size_t n = (size_t)(i + 50000) % 11 + 1;
        for (size_t k = 0; k < n; k++) {
            x[k] = (double)i * 0.0019 + (double)k * 1e-5 * (double)(i % 7);
        }
        det_sincos_many(x, s, c, n);
        for (size_t k = 0; k < n; k++) {
            assert_true(fabs(s[k] - sin(x[k])) <= 3e-16);
            assert_true(fabs(c[k] - cos(x[k])) <= 3e-16);
        }
    }
}

static void test_sincos_many_bits_depend_on_nothing(void **state)
{
    (void)state;
    for (int i = -20000; i <= 20000; i++) {
        double x[19];
        double s[3][19];
        double c[3][19];
        for (size_t k = 0; k < 19; k++) {
            x[k] = (double)i * 0.00031 * (double)(k + 1);
        }
        size_t one = (size_t)(i + 20000) % 19;
        det_sincos_many(x, s[0], c[0], 19);
        det_sincos_many_portable(x, s[1], c[1], 19);
        det_sincos_many(&x[one], &s[2][one], &c[2][one], 1);
        assert_memory_equal(s[0], s[1], sizeof s[0]);
        assert_memory_equal(c[0], c[1], sizeof c[0]);
        assert_memory_equal(&s[2][one], &s[0][one], sizeof s[0][0]);
        assert_memory_equal(&c[2][one], &c[0][one], sizeof c[0][0]);
    }
}

static void test_sigmoid_stays_inside(void **state)
{
    (void)state;
    assert_true(det_sigmoid(36.0) < 1.0);
    assert_true(det_sigmoid(-36.0) > 0.0);
    assert_close(det_sigmoid(0.0), 0.5, 0.0);
    for (int i = -600; i < 600; i++) {
        double x = (double)i * 0.05;
        assert_true(det_sigmoid(x) < det_sigmoid(x + 0.05));
        assert_close(det_sigmoid(x), 1.0 / (1.0 + exp(-x)), 1e-15);
    }
}

static void test_expf_relative_error(void **state)
{
    (void)state;
    double worst = 0.0;
    for (int i = -870000; i <= 880000; i += 3) {
        float x = (float)i * 1e-4F;
        double want = exp((double)x);
        worst = fmax(worst, fabs((double)det_expf(x) - want) / want);
    }
    assert_true(worst <= 1e-6);
}

static void test_expf_clamps(void **state)
{
    (void)state;
    float low = det_expf(-87.0F);
    float high = det_expf(88.0F);
    const float below[] = {-88.0F, -1e30F, -INFINITY, NAN};
    const float above[] = {89.0F, 1e30F, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        float y = det_expf(below[i]);
        assert_memory_equal(&y, &low, sizeof y);
    }
    for (size_t i = 0; i < 3; i++) {
        float y = det_expf(above[i]);
        assert_memory_equal(&y, &high, sizeof y);
    }
    assert_true(low > 0.0F && isfinite(high));
}

static void test_expf_keeps_its_bits(void **state)
{
    (void)state;
    uint32_t digest = 0;
    for (int i = -88000; i <= 88000; i++) {
        float y = det_expf((float)i * 1e-3F);
        float inlined = det_expf_inline((float)i * 1e-3F);
        assert_memory_equal(&y, &inlined, sizeof y);
        uint32_t b;
        memcpy(&b, &y, sizeof b);
        digest = (digest ^ b) * 0x9e3779b1U;
        digest ^= digest >> 15;
    }
    assert_int_equal(digest, 0xeab9324cU);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_double_functions_match_libm),
        cmocka_unit_test(test_double_functions_edges),
        cmocka_unit_test(test_double_functions_keep_their_bits),
        cmocka_unit_test(test_log_many_matches_libm),
        cmocka_unit_test(test_log_many_bits_depend_on_nothing),
        cmocka_unit_test(test_sincos_many_matches_libm),
        cmocka_unit_test(test_sincos_many_bits_depend_on_nothing),
        cmocka_unit_test(test_sigmoid_stays_inside),
        cmocka_unit_test(test_expf_relative_error),
        cmocka_unit_test(test_expf_clamps),
        cmocka_unit_test(test_expf_keeps_its_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
