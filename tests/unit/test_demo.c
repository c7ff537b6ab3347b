/* The demo's own parts that need no server: hostile messages are refused, each for its reason;
 * numbers as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"
#include "daemon/demo.h"
#include "daemon/rates.h"

#define NOW_US (INT64_C(20700) * TIME_DAY)
#define MAX_FUTURE_US (5 * TIME_MIN)

/* In the order of demo_hostile_make. */
static const enum dead_reason EXPECTED[] = {
    DEAD_NOT_JSON,      DEAD_NOT_UTF8,     DEAD_WRONG_TYPE,       DEAD_NOT_JSON, DEAD_OUT_OF_RANGE,
    DEAD_OUT_OF_RANGE,  DEAD_BAD_TIME,     DEAD_BAD_TIME,         DEAD_FUTURE,   DEAD_EMPTY,
    DEAD_MISSING_FIELD, DEAD_KEY_MISMATCH, DEAD_UNKNOWN_CURRENCY, DEAD_TOO_LARGE};

static void test_demo_hostile_make_is_refused_for_its_reason(void **state)
{
    struct rates *rates = NULL;
    struct decoder *decoder = NULL;
    struct errmsg e;
    struct tx t;
    struct tx_strings strings;
    char key[SIM_ID_MAX];
    char *bytes = malloc(DEMO_HOSTILE_MAX);
    (void)state;
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), ERR_OK);
    assert_non_null(bytes);
    assert_int_equal(demo_hostile_count(), sizeof EXPECTED / sizeof EXPECTED[0]);
    for (size_t k = 0; k < demo_hostile_count(); k++) {
        size_t len = demo_hostile_make(k, "c0000042", NOW_US, bytes, key);
        assert_true(len < DEMO_HOSTILE_MAX);
        enum dead_reason r =
            decode_tx(decoder, bytes, len, key, strlen(key), NOW_US, MAX_FUTURE_US, &t, &strings);
        if (r != EXPECTED[k]) {
            print_message("hostile message %zu: %s\n", k, dead_reason_name(r));
        }
        assert_int_equal(r, EXPECTED[k]);
    }
    free(bytes);
    decoder_free(decoder);
    rates_free(rates);
}

static void test_demo_number_groups_digits(void **state)
{
    char text[DEMO_NUMBER_MAX];
    (void)state;
    assert_string_equal(demo_number(text, 0), "0");
    assert_string_equal(demo_number(text, 999), "999");
    assert_string_equal(demo_number(text, 1000), "1,000");
    assert_string_equal(demo_number(text, 320277), "320,277");
    assert_string_equal(demo_number(text, UINT64_MAX), "18,446,744,073,709,551,615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demo_hostile_make_is_refused_for_its_reason),
        cmocka_unit_test(test_demo_number_groups_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
