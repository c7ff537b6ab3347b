/* Repeated troubles: the first at once, then at doubling intervals, none lost from the count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log_limit.h"

#define S INT64_C(1000000)

static void test_log_limit_pass_doubles_its_pauses(void **state)
{
    (void)state;
    struct log_limit l = LOG_LIMIT_INIT;
    uint64_t held = 0;
    uint64_t stood_for = 0;
    int64_t at[16] = {0};
    size_t n = 0;
    for (int64_t t = 0; t < 400 * S && n < 16; t += S / 4) {
        char text[64];
        snprintf(text, sizeof text, "connect to 127.0.0.1:%d failed after %d ms", (int)(t % 7),
                 (int)(t / 1000));
        if (log_limit_pass(&l, text, t, &held)) {
            at[n++] = t;
            stood_for += held + 1;
            assert_int_equal(t, at[n - 1]);
            if (n > 1) { /* everything between two lines is counted by the second */
                assert_int_equal(held + 1, (uint64_t)((at[n - 1] - at[n - 2]) / (S / 4)));
            }
        }
    }
    const int64_t expected[] = {0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363};
    assert_int_equal(n, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(at[i], expected[i] * S);
    }
    assert_int_equal(stood_for, 363 * 4 + 1);
}

static void test_log_limit_pass_starts_anew_after_a_calm(void **state)
{
    (void)state;
    struct log_limit l = LOG_LIMIT_INIT;
    uint64_t held = 0;
    assert_true(log_limit_pass(&l, "a", 0, &held));
    assert_false(log_limit_pass(&l, "a", S / 2, &held));
    assert_true(log_limit_pass(&l, "b", S / 2, &held)); /* another kind is not held back */
    assert_true(log_limit_pass(&l, "a", 200 * S, &held));
    assert_int_equal(held, 1);
    assert_true(log_limit_pass(&l, "a", 201 * S, &held)); /* the first pause again */
}

static void test_log_limit_pass_survives_many_kinds(void **state)
{
    (void)state;
    struct log_limit l = LOG_LIMIT_INIT;
    uint64_t held = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3 * LOG_LIMIT_KINDS; i++) {
            const char text[] = {(char)('A' + i), '\0'};
            assert_true(log_limit_pass(&l, text, (round * 100 + i) * S / 1000, &held));
        }
    }
    assert_false(log_limit_pass(&l, "p", S / 4, &held)); /* the latest are still known */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_limit_pass_doubles_its_pauses),
        cmocka_unit_test(test_log_limit_pass_starts_anew_after_a_calm),
        cmocka_unit_test(test_log_limit_pass_survives_many_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
