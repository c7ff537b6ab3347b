/* Segments: every payment has one, every one a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/segments.h"

static void assert_named(enum segment_kind kind, const struct tx *t, const char *want)
{
    char name[SEGMENT_NAME_MAX];
    segment_name(kind, segment_of(kind, t), name);
    assert_string_equal(name, want);
}

static void test_find_knows_every_kind(void **state)
{
    (void)state;
    for (int k = 0; k < SEGMENT_KINDS; k++) {
        assert_int_equal(segment_find(SEGMENT_KIND[k]), k);
    }
    assert_int_equal(segment_find("amounts"), -1);
    assert_int_equal(segment_find(""), -1);
}

static void test_names_of_what_is_there(void **state)
{
    (void)state;
    const struct tx t = {.channel = CHANNEL_ECOMMERCE,
                         .country = 'D' * 256 + 'E',
                         .mcc = 742,
                         .type = TX_CASH,
                         .amount_ref = 4200};
    assert_named(SEGMENT_CHANNEL, &t, "ecommerce");
    assert_named(SEGMENT_COUNTRY, &t, "DE");
    assert_named(SEGMENT_MCC, &t, "0742");
    assert_named(SEGMENT_TYPE, &t, "cash");
    assert_named(SEGMENT_AMOUNT, &t, "30 to 100");
}

static void test_names_of_what_is_missing(void **state)
{
    (void)state;
    const struct tx t = {.amount_ref = 0};
    assert_named(SEGMENT_CHANNEL, &t, "missing");
    assert_named(SEGMENT_COUNTRY, &t, "missing");
    assert_named(SEGMENT_MCC, &t, "missing");
    assert_named(SEGMENT_TYPE, &t, "purchase");
    assert_named(SEGMENT_AMOUNT, &t, "below 3");
    for (int k = 0; k < SEGMENT_KINDS; k++) {
        char name[SEGMENT_NAME_MAX];
        segment_name((enum segment_kind)k, SEGMENT_OTHER, name);
        assert_string_equal(name, "other");
    }
}

static void test_amount_bands_meet(void **state)
{
    (void)state;
    struct tx t = {.amount_ref = 299};
    assert_named(SEGMENT_AMOUNT, &t, "below 3");
    t.amount_ref = 300;
    assert_named(SEGMENT_AMOUNT, &t, "3 to 10");
    t.amount_ref = 999999;
    assert_named(SEGMENT_AMOUNT, &t, "3000 to 10000");
    t.amount_ref = 1000000;
    assert_named(SEGMENT_AMOUNT, &t, "from 10000");
    t.amount_ref = UINT32_MAX;
    assert_named(SEGMENT_AMOUNT, &t, "from 10000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_knows_every_kind),
        cmocka_unit_test(test_names_of_what_is_there),
        cmocka_unit_test(test_names_of_what_is_missing),
        cmocka_unit_test(test_amount_bands_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
