/* The exchange-rate table: the default, its errors, and exact conversion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/rates.h"
#include "daemon/wire.h"
#include "features/schema.h"

#define HEAD "version 3\nreference EUR\nEUR 2 1\n"

static enum err parse(const char *text, struct rates **r, struct errmsg *e)
{
    *r = NULL;
    return rates_parse(text, strlen(text), r, e);
}

static void test_rates_default_is_the_file(void **state)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e;
    struct rates *r = NULL;
    struct feature_params params;
    (void)state;
    assert_int_equal(file_read("etc/rates.conf", 1U << 20, &bytes, &len, &e), ERR_OK);
    assert_string_equal((const char *)bytes, RATES_DEFAULT);
    free(bytes);
    assert_int_equal(rates_load("etc/rates.conf", &r, &e), ERR_OK);
    feature_params_default(&params);
    assert_int_equal(rates_version(r), params.rates_version);
    assert_string_equal(rates_reference(r), "EUR");
    assert_int_equal(rates_find(r, "JPY")->exponent, 0);
    assert_int_equal(rates_find(r, "KWD")->exponent, 3);
    assert_int_equal(rates_find(r, "USD")->exponent, 2);
    rates_free(r);
}

static void test_rates_parse_forms(void **state)
{
    struct rates *r;
    struct errmsg e;
    (void)state;
    assert_int_equal(
        parse("# c\n\n\tversion  3 # v\r\nreference EUR\nEUR 2 1.000\nUSD 2 0.92", &r, &e), ERR_OK);
    assert_int_equal(rates_version(r), 3);
    assert_true(rates_find(r, "USD")->unit_e9 == 920000000);
    assert_null(rates_find(r, "JPY"));
    assert_null(rates_find(r, "us"));
    assert_null(rates_find(r, "usd"));
    assert_null(rates_find(r, "\xff\xff\xff"));
    rates_free(r);
    rates_free(NULL);
}

static void test_rates_parse_refuses(void **state)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {{"", "version"},
                 {"version 1\n", "reference"},
                 {"version 1\nreference EUR\n", "entry with the value 1"},
                 {"version 1\nreference EUR\nEUR 2 1.1\n", "entry with the value 1"},
                 {"version 0\n", "line 1"},
                 {"version 4294967296\n", "line 1"},
                 {"version 1\nversion 1\n", "line 2"},
                 {"reference EURO\n", "line 1"},
                 {"reference EUR\nreference EUR\n", "line 2"},
                 {HEAD "usd 2 1\n", "line 4: \"usd\""},
                 {HEAD "USDX 2 1\n", "USDX"},
                 {HEAD "USD 5 1\n", "decimals of USD"},
                 {HEAD "USD -1 1\n", "decimals of USD"},
                 {HEAD "USD 2 0\n", "value of USD"},
                 {HEAD "USD 2 -1\n", "value of USD"},
                 {HEAD "USD 2 1e3\n", "value of USD"},
                 {HEAD "USD 2 .\n", "value of USD"},
                 {HEAD "USD 2 1.\n", "value of USD"},
                 {HEAD "USD 2 0.1234567891\n", "value of USD"},
                 {HEAD "USD 2 1000001\n", "value of USD"},
                 {HEAD "USD 2 99999999999999999999999\n", "value of USD"},
                 {HEAD "EUR 2 1\n", "twice"},
                 {HEAD "USD 2\n", "CODE DECIMALS VALUE"},
                 {HEAD "USD 2 1 1\n", "CODE DECIMALS VALUE"}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct rates *r;
        struct errmsg e;
        enum err code = parse(CASES[i].text, &r, &e);
        if (code != ERR_INVALID || strstr(e.text, CASES[i].says) == NULL || r != NULL) {
            fail_msg("%s: %s", CASES[i].text, code == ERR_OK ? "accepted" : e.text);
        }
    }
    struct rates *r = NULL;
    struct errmsg e;
    assert_int_equal(rates_load("/nonexistent/rates.conf", &r, &e), ERR_NOTFOUND);
}

static void test_rates_parse_full_table_and_one_past(void **state)
{
    char text[8192] = HEAD;
    size_t len = strlen(text);
    struct rates *r;
    struct errmsg e;
    (void)state;
    for (int i = 1; i < RATES_MAX; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "Q%c%c 2 0.5\n", 'A' + i / 26,
                                'A' + i % 26);
    }
    assert_int_equal(parse(text, &r, &e), ERR_OK);
    assert_string_equal(rates_find(r, "QJP")->code, "QJP"); /* the last: 249 = 9 * 26 + 15 */
    rates_free(r);
    (void)snprintf(text + len, sizeof text - len, "ZZZ 2 1\n");
    assert_int_equal(parse(text, &r, &e), ERR_INVALID);
}

static void test_rates_convert_exact_rounding_saturation(void **state)
{
    struct rates *r;
    struct errmsg e;
    (void)state;
    assert_int_equal(
        parse(HEAD "HLF 2 0.5\nJPY 0 0.00625\nKWD 3 3.1\nBIG 0 1000000\nTNY 4 0.000000001\n", &r,
              &e),
        ERR_OK);
    const struct rate *eur = rates_find(r, "EUR");
    assert_int_equal(rates_convert(eur, 0, 2), 0);
    assert_int_equal(rates_convert(eur, 5716, 2), 5716);
    assert_int_equal(rates_convert(eur, 5716, 3), 572); /* 571.6 */
    assert_int_equal(rates_convert(eur, 5716, 0), 571600);
    assert_int_equal(rates_convert(rates_find(r, "HLF"), 1, 2), 1); /* half up */
    assert_int_equal(rates_convert(rates_find(r, "HLF"), 3, 2), 2);
    assert_int_equal(rates_convert(rates_find(r, "JPY"), 1000, 0), 625);
    assert_int_equal(rates_convert(rates_find(r, "KWD"), 1000, 3), 310);
    assert_true(rates_convert(eur, UINT32_MAX - 1, 2) == UINT32_MAX - 1);
    assert_true(rates_convert(eur, UINT32_MAX, 2) == UINT32_MAX);
    assert_true(rates_convert(eur, INT64_C(4294967296), 2) == UINT32_MAX);
    assert_true(rates_convert(rates_find(r, "BIG"), WIRE_AMOUNT_MAX, 0) == UINT32_MAX);
    assert_int_equal(rates_convert(rates_find(r, "TNY"), WIRE_AMOUNT_MAX, 4), 10000);
    /* The 128-bit path and the 64-bit one meet at the same value. */
    assert_int_equal(rates_convert(eur, INT64_C(18446744074), 4), 184467441);
    assert_int_equal(rates_convert(eur, INT64_C(18446744073), 4), 184467441);
    rates_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_default_is_the_file),
        cmocka_unit_test(test_rates_parse_forms),
        cmocka_unit_test(test_rates_parse_refuses),
        cmocka_unit_test(test_rates_parse_full_table_and_one_past),
        cmocka_unit_test(test_rates_convert_exact_rounding_saturation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
