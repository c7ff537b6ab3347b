/* Decimal text of real numbers: known texts, limits, and floats that come back bit for bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/realfmt.h"
#include "base/rng.h"

static void assert_text(double v, const char *want)
{
    char out[REAL_TEXT_MAX + 1];
    out[real_format(out, v)] = '\0';
    assert_string_equal(out, want);
}

static void test_format_known_numbers(void **state)
{
    (void)state;
    assert_text(0, "0");
    assert_text(-0.0, "0");
    assert_text(1, "1");
    assert_text(-3, "-3");
    assert_text(0.25, "0.25");
    assert_text(100, "100");
    assert_text(1.0 / 3, "0.333333333");
    assert_text(-2.0 / 3, "-0.666666667");
    assert_text(123456.789, "123456.789");
    assert_text(0.9999999999, "1");
    assert_text(9.9999999999, "10");
    assert_text(0.0001, "0.0001");
    assert_text(99999999.96, "100000000");
    assert_text(1e9, "1000000000");
    assert_text(-1e9, "-1000000000");
    assert_text(1e-9, "0.000000001");
    assert_text(9.9e-10, "0");
    assert_text(-1e-300, "0");
}

static void test_format_refuses_what_is_too_large(void **state)
{
    (void)state;
    char out[REAL_TEXT_MAX];
    const double bad[] = {1000000000.1, -2e9, 1e300, INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(real_format(out, bad[i]), 0);
    }
}

static void test_format_gives_floats_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 1000000; i++) {
        /* exponents of 2^-29 .. 2^28, any sign and mantissa */
        uint32_t bits = (uint32_t)rng_next(&rng);
        float v;
        bits = (bits & 0x807fffffU) | ((uint32_t)(98 + rng_below(&rng, 58)) << 23);
        memcpy(&v, &bits, sizeof v);
        char text[REAL_TEXT_MAX + 1];
        size_t len = real_format(text, (double)v);
        text[len] = '\0';
        float back = strtof(text, NULL);
        if (memcmp(&back, &v, sizeof v) != 0) {
            fail_msg("%.9g became %s", (double)v, text);
        }
        const char *point = strchr(text, '.');
        assert_true(point == NULL || text[len - 1] != '0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_known_numbers),
        cmocka_unit_test(test_format_refuses_what_is_too_large),
        cmocka_unit_test(test_format_gives_floats_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
