/* Verdicts in CSV: columns by name, times, and refusals that say where and what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/label_file.h"

static char path[] = "/tmp/test_label_file_XXXXXX";
static struct csv *csv;

static int start(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    return unlink(path);
}

static int close_csv(void **state)
{
    (void)state;
    csv_close(csv);
    csv = NULL;
    return 0;
}

static enum err open_text(struct label_file *f, const char *text, struct errmsg *e)
{
    assert_int_equal(file_write(path, text, strlen(text), e), ERR_OK);
    csv_close(csv);
    csv = NULL;
    assert_int_equal(csv_open(path, &csv, e), ERR_OK);
    return label_file_init(f, csv, e);
}

static void must_open(struct label_file *f, const char *text)
{
    struct errmsg e = {""};
    if (open_text(f, text, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static int64_t at(const char *text)
{
    int64_t us = 0;
    assert_int_equal(time_parse(text, strlen(text), &us), ERR_OK);
    return us;
}

static void test_columns_are_found_by_name(void **state)
{
    (void)state;
    struct label_file f;
    struct label_line l;
    struct errmsg e = {""};
    must_open(&f, "amount,known,verdict,card_id,tx_id\n"
                  "1.20,2026-05-01T10:00:00Z,fraud,c1,\"t,1\"\n"
                  "1.20,1777629600,withdrawn,,t2\n");
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
    assert_true(l.tx_len == 3 && memcmp(l.tx, "t,1", 3) == 0);
    assert_true(l.card_len == 2 && memcmp(l.card, "c1", 2) == 0);
    assert_string_equal(l.verdict, "fraud");
    assert_int_equal(l.line, 2);
    assert_true(l.known_us == at("2026-05-01T10:00:00Z"));
    assert_true(l.known_last_us == l.known_us);
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
    assert_null(l.card);
    assert_string_equal(l.verdict, "withdrawn");
    assert_true(l.known_us == at("2026-05-01T10:00:00Z"));
    assert_int_equal(label_file_next(&f, &l, &e), ERR_END);
}

static void test_a_day_lasts_to_its_end(void **state)
{
    (void)state;
    struct label_file f;
    struct label_line l;
    struct errmsg e = {""};
    must_open(&f, "tx_id,verdict,date\nt1,legitimate,2026-05-01\nt1,fraud,1777629600\n");
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
    assert_true(l.known_us == at("2026-05-01"));
    assert_true(l.known_last_us == at("2026-05-02") - 1);
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
    assert_true(l.known_last_us == l.known_us); /* ten digits are seconds, no day */
}

static void test_the_first_name_of_time_known_counts(void **state)
{
    (void)state;
    struct label_file f;
    struct label_line l;
    struct errmsg e = {""};
    must_open(&f, "date,label_ts,tx_id,verdict\n2026-05-02,2026-05-01,t1,fraud\n");
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
    assert_true(l.known_us == at("2026-05-01"));
}

static void test_missing_columns_are_named(void **state)
{
    (void)state;
    struct label_file f;
    struct errmsg e = {""};
    assert_int_equal(open_text(&f, "id,verdict,known\n", &e), ERR_CORRUPT);
    assert_string_equal(e.text, "the header has no column \"tx_id\"; required are tx_id, verdict, "
                                "known");
    assert_int_equal(open_text(&f, "tx_id,known\n", &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "\"verdict\""));
    assert_int_equal(open_text(&f, "tx_id,verdict\n", &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "\"known\" (or known_time, label_ts, date)"));
}

static void test_bad_values_are_refused_with_line_and_value(void **state)
{
    (void)state;
    struct label_file f;
    struct label_line l;
    struct errmsg e = {""};
    char text[400];
    char id[140];
    memset(id, 'x', 129);
    id[129] = '\0';
    snprintf(text, sizeof text,
             "tx_id,verdict,known,card_id\n,fraud,2026-05-01,\n%s,fraud,2026-05-01,\n"
             "t\xff,fraud,2026-05-01,\nt1,Fraud,2026-05-01,\nt1,fraud,yesterday,\n"
             "t1,fraud,1999-12-31,\nt1,fraud,2026-05-01,c\xff\nt1,fraud,2026-05-01,c\n",
             id);
    must_open(&f, text);
    static const char *const WANTED[] = {
        "line 2: tx_id \"\" is not UTF-8 of 1 to 128 bytes",
        "line 3: tx_id \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" is not UTF-8 of 1 to 128 bytes",
        "line 4: tx_id \"t\xff\" is not UTF-8 of 1 to 128 bytes",
        "line 5: verdict \"Fraud\" is not fraud, legitimate or withdrawn",
        "line 6: known \"yesterday\" is not a time from 2000 to 2099, ISO 8601 or seconds since "
        "1970",
        "line 7: known \"1999-12-31\" is not a time from 2000 to 2099, ISO 8601 or seconds since "
        "1970",
        "line 8: card_id \"c\xff\" is not UTF-8 of 1 to 128 bytes"};
    for (size_t i = 0; i < sizeof WANTED / sizeof *WANTED; i++) {
        assert_int_equal(label_file_next(&f, &l, &e), ERR_CORRUPT);
        assert_string_equal(e.text, WANTED[i]);
    }
    assert_int_equal(label_file_next(&f, &l, &e), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_columns_are_found_by_name, close_csv),
        cmocka_unit_test_teardown(test_a_day_lasts_to_its_end, close_csv),
        cmocka_unit_test_teardown(test_the_first_name_of_time_known_counts, close_csv),
        cmocka_unit_test_teardown(test_missing_columns_are_named, close_csv),
        cmocka_unit_test_teardown(test_bad_values_are_refused_with_line_and_value, close_csv),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
