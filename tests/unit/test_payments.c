/* Lines of COPY's text format as rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/payments.h"
#include "storage/sink_writer.h"

/* "0", "1", .. as columns, but for column `at`. */
static void make_line(char *out, size_t size, int columns, int at, const char *text)
{
    size_t len = 0;
    for (int c = 0; c < columns; c++) {
        char number[12];
        snprintf(number, sizeof number, "%d", c);
        len += (size_t)snprintf(out + len, size - len, "%s%s", c > 0 ? "\t" : "",
                                c == at ? text : number);
    }
}

static void test_payments_split_finds_every_column(void **state)
{
    (void)state;
    char line[400];
    struct payment_row row;
    make_line(line, sizeof line, PAYMENT_COLUMNS, 0, "0");
    assert_true(payments_split(line, PAYMENT_COLUMNS, &row));
    for (int c = 0; c < PAYMENT_COLUMNS; c++) {
        char number[12];
        snprintf(number, sizeof number, "%d", c);
        assert_string_equal(row.text[c], number);
        assert_int_equal(row.len[c], strlen(number));
    }
}

static void test_payments_split_undoes_escapes(void **state)
{
    (void)state;
    static const char *const CASES[][2] = {{"\\t\\n\\r\\b\\f\\v", "\t\n\r\b\f\v"},
                                           {"a\\\\N\\\\", "a\\N\\"},
                                           {"\\\\N", "\\N"},
                                           {"", ""},
                                           {"\xc3\xa4", "\xc3\xa4"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        for (int at = 0; at < PAYMENT_COLUMNS; at += PAYMENT_COLUMNS - 1) { /* first and last */
            char line[400];
            struct payment_row row;
            make_line(line, sizeof line, PAYMENT_COLUMNS, at, CASES[i][0]);
            assert_true(payments_split(line, PAYMENT_COLUMNS, &row));
            assert_string_equal(row.text[at], CASES[i][1]);
            assert_int_equal(row.len[at], strlen(CASES[i][1]));
        }
    }
}

static void test_payments_split_knows_null(void **state)
{
    (void)state;
    char line[400];
    struct payment_row row;
    make_line(line, sizeof line, PAYMENT_COLUMNS, PAYMENT_MERCHANT, "\\N");
    assert_true(payments_split(line, PAYMENT_COLUMNS, &row));
    assert_null(row.text[PAYMENT_MERCHANT]);
    assert_int_equal(row.len[PAYMENT_MERCHANT], 0);
    assert_string_equal(row.text[PAYMENT_MERCHANT + 1], "8");
}

static void test_payments_split_refuses_another_number_of_columns(void **state)
{
    (void)state;
    struct payment_row row;
    for (int n = 1; n <= PAYMENT_COLUMNS + 2; n++) {
        char line[400];
        make_line(line, sizeof line, n, -1, "");
        assert_int_equal(payments_split(line, PAYMENT_COLUMNS, &row), n == PAYMENT_COLUMNS);
    }
}

/* What the sink's writer escapes comes back. */
static void test_payments_split_reads_what_copy_text_writes(void **state)
{
    (void)state;
    static const char TEXT[] = "\\N\ttab\nline\r\\end\\";
    char line[PAYMENT_COLUMNS * (2 * sizeof TEXT + 1)];
    struct payment_row row;
    size_t len = 0;
    for (int c = 0; c < PAYMENT_COLUMNS; c++) {
        len = copy_text(line, len, TEXT, sizeof TEXT - 1);
    }
    line[len] = '\0';
    assert_true(payments_split(line, PAYMENT_COLUMNS, &row));
    for (int c = 0; c < PAYMENT_COLUMNS; c++) {
        assert_string_equal(row.text[c], TEXT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payments_split_finds_every_column),
        cmocka_unit_test(test_payments_split_undoes_escapes),
        cmocka_unit_test(test_payments_split_knows_null),
        cmocka_unit_test(test_payments_split_refuses_another_number_of_columns),
        cmocka_unit_test(test_payments_split_reads_what_copy_text_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
