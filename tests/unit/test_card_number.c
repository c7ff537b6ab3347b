/* Card numbers in text: what is one, what only looks so, and masks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/card_number.h"

static struct slice text(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static void test_card_number_in_free_text(void **state)
{
    (void)state;
    static const char *const NUMBERS[] = {
        "4111111111111111",      "4222222222222", /* 13 */
        "30569309025904",                         /* 14 */
        "378282246310005",                        /* 15 */
        "6212345678901265",                       /* 16 */
        "6212345678900000003",                    /* 19 */
        "4111 1111 1111 1111",   "4111-1111-1111-1111",     "3782 822463 10005",
        "3056-930902-5904",      "6212-3456-7890-0000-003", "visa 4111111111111111, exp. 12/29",
        "m4111111111111111",     "4111111111111111PAN",     "pan=4111111111111111=2912",
        "1 4111 1111 1111 1111", "[4111111111111111]",      "0x4111111111111111",
    };
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        if (!card_number_in(text(NUMBERS[i]))) {
            fail_msg("missed: %s", NUMBERS[i]);
        }
    }
}

static void test_what_only_looks_like_one(void **state)
{
    (void)state;
    static const char *const OTHERS[] = {
        "",
        "4111111111111112",                     /* fails Luhn */
        "411111111117",                         /* 12 digits */
        "0000000000000000",                     /* begins with 0 */
        "41111111111111111111",                 /* 20 digits */
        "00411111111111111111111",              /* 23 digits */
        "4111  1111 1111 1111",                 /* two spaces */
        "4111 1111-1111 1111",                  /* two separators */
        "41 11 11 11 11 11 11 11",              /* not as cards are printed */
        "4111.1111.1111.1111",                  /* another separator */
        "2026-04-01T12:30:05.123Z",             /* a time */
        "a4111111111111111f",                   /* a word of hexadecimal digits */
        "deadbeef4111111111111111deadbeef0012", /* the same */
        "4111-1111-1111",                       /* 12 digits */
        "192.168.100.100",
    };
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        if (card_number_in(text(OTHERS[i]))) {
            fail_msg("taken for a number: %s", OTHERS[i]);
        }
    }
}

/* Ids that other programs draw at random must not be refused every now and then. */
static void test_random_ids_pass(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    for (int i = 0; i < 200000; i++) {
        char uuid[40];
        char hex[36];
        uint64_t a = rng_next(&r);
        uint64_t b = rng_next(&r);
        snprintf(uuid, sizeof uuid, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
                 (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff), (unsigned)(b >> 50 | 0x8000),
                 (unsigned long long)(b & 0xffffffffffffULL));
        snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
        if (card_number_in(text(uuid)) || card_number_in(text(hex))) {
            fail_msg("taken for a number: %s or %s", uuid, hex);
        }
    }
}

static void test_card_number_read_is_the_whole_text(void **state)
{
    (void)state;
    char digits[CARD_DIGITS_MAX];
    assert_int_equal(card_number_read(text("4111 1111-11 1111  11-"), digits), 16);
    assert_memory_equal(digits, "4111111111111111", 16);
    assert_int_equal(card_number_read(text("6212345678900000003"), digits), 19);
    assert_int_equal(card_number_read(text("x4111111111111111"), digits), 0);
    assert_int_equal(card_number_read(text("4111111111111112"), digits), 0);
    assert_int_equal(card_number_read(text("62123456789000000030"), digits), 0);
    assert_int_equal(card_number_read(text(""), digits), 0);
}

static void test_card_number_is_a_value(void **state)
{
    (void)state;
    assert_true(card_number_is(INT64_C(378282246310005)));
    assert_true(card_number_is(INT64_C(4222222222222)));
    assert_true(card_number_is(INT64_C(6212345678900000003)));
    assert_false(card_number_is(INT64_C(378282246310006)));
    assert_false(card_number_is(411111111117));
    assert_false(card_number_is(0));
    assert_false(card_number_is(-INT64_C(378282246310005)));
    assert_false(card_number_is(INT64_MIN));
}

static void masked(const char *in, const char *want)
{
    char out[256];
    size_t len = strlen(in);
    char *exact = malloc(len + 1); /* so that a read past the end is seen */
    assert_non_null(exact);
    memcpy(exact, in, len);
    bool any = card_number_mask(exact, len, out);
    assert_int_equal(any, strcmp(in, want) != 0);
    out[len] = '\0';
    assert_string_equal(out, want);
    (void)card_number_mask(exact, len, exact); /* in place */
    assert_memory_equal(exact, want, len);
    free(exact);
}

static void test_card_number_mask(void **state)
{
    (void)state;
    masked("", "");
    masked("nothing here", "nothing here");
    masked("4111111111111111", "************1111");
    masked("{\"card\":\"4111 1111 1111 1111\",\"n\":5555555555554444}",
           "{\"card\":\"**** **** **** 1111\",\"n\":************4444}");
    masked("4111-1111-1111-1111,378282246310005", "****-****-****-1111,***********0005");
    masked("\\u0034111111111111111", "*****************1111");
    masked("4111\\u00201111\\u002d1111 1111", "4111\\u00201111\\u002d1111 1111");
    masked("4111\\u00201111\\u00201111 1111", "****\\u0020****\\u0020**** 1111");
    masked("\\u00", "\\u00");
    masked("4111111111111112", "4111111111111112");
}

/* Whatever the bytes: lengths stay, the last four digits stay, and nothing is found afterwards. */
static void test_masks_of_random_bytes_leave_no_number(void **state)
{
    static const char *const PIECES[] = {
        "4111111111111111",    "4",  "1",    "0", " ", "-", "a", "\\u0034", "\"", "\\", "\\u00",
        "5555 5555 5555 4444", "12", "\xff", "g"};
    struct rng r;
    (void)state;
    rng_init(&r, 3);
    for (int i = 0; i < 50000; i++) {
        char in[600];
        char out[600];
        size_t len = 0;
        for (uint64_t n = rng_next(&r) % 24; n > 0; n--) {
            const char *piece = PIECES[rng_next(&r) % (sizeof PIECES / sizeof *PIECES)];
            memcpy(in + len, piece, strlen(piece));
            len += strlen(piece);
        }
        bool any = card_number_mask(in, len, out);
        assert_int_equal(any, card_number_in_json((struct slice){in, len}));
        assert_false(card_number_in_json((struct slice){out, len}));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_card_number_in_free_text),
        cmocka_unit_test(test_what_only_looks_like_one),
        cmocka_unit_test(test_random_ids_pass),
        cmocka_unit_test(test_card_number_read_is_the_whole_text),
        cmocka_unit_test(test_card_number_is_a_value),
        cmocka_unit_test(test_card_number_mask),
        cmocka_unit_test(test_masks_of_random_bytes_leave_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
