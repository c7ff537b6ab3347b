/* Times and durations: what is read is written back, and what is no date is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"

static int64_t parsed(const char *text)
{
    int64_t us = INT64_MIN;
    return time_parse(text, strlen(text), &us) == ERR_OK ? us : INT64_MIN;
}

static void test_time_parse_known_values(void **state)
{
    (void)state;
    assert_int_equal(parsed("1970-01-01"), 0);
    assert_int_equal(parsed("2018-04-01"), INT64_C(1522540800) * TIME_S);
    assert_int_equal(parsed("2000-02-29T23:59:59.999999Z"), INT64_C(951868799999999));
    assert_int_equal(parsed("1969-12-31T23:59:59Z"), -TIME_S);
    assert_int_equal(parsed("2026-04-01T12:00:00+02:00"), parsed("2026-04-01T10:00:00Z"));
    assert_int_equal(parsed("2026-04-01 10:00:00.5"), parsed("2026-04-01T10:00:00Z") + TIME_S / 2);
}

static void test_time_parse_refuses(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",
                                      "2026",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2025-02-29",
                                      "1900-02-29",
                                      "2026-04-31",
                                      "2026-04-01T24:00:00",
                                      "2026-04-01T10:60:00",
                                      "2026-04-01x",
                                      "0000-01-01",
                                      "2026-4-1",
                                      "2026-04-01T10:00:00+99:00"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(parsed(BAD[i]), INT64_MIN);
    }
}

static void test_time_format_round_trip(void **state)
{
    (void)state;
    for (int64_t day = -800000; day < 2900000; day += 997) {
        int64_t us = day * TIME_DAY + (day * 7919 % TIME_DAY + TIME_DAY) % TIME_DAY;
        char text[TIME_TEXT_MAX];
        time_format(text, us);
        if (us >= -62135596800 * TIME_S && us < 253402300800 * TIME_S) {
            assert_int_equal(parsed(text), us);
        }
    }
}

static void test_time_parse_loose_takes_seconds(void **state)
{
    (void)state;
    int64_t us = 0;
    assert_int_equal(time_parse_loose("1522540800", 10, &us), ERR_OK);
    assert_int_equal(us, parsed("2018-04-01"));
    assert_int_equal(time_parse_loose("31.25", 5, &us), ERR_OK);
    assert_int_equal(us, 31250000);
    assert_int_equal(time_parse_loose("1e9", 3, &us), ERR_INVALID);
}

static void test_duration_round_trip(void **state)
{
    (void)state;
    static const char *const GOOD[] = {"250ms", "5s", "10m", "36h", "7d", "0"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        int64_t us = -1;
        char text[TIME_TEXT_MAX];
        assert_int_equal(duration_parse(GOOD[i], &us), ERR_OK);
        duration_format(text, us);
        assert_string_equal(text, GOOD[i]);
    }
    int64_t us = 0;
    assert_int_equal(duration_parse("7", &us), ERR_INVALID);
    assert_int_equal(duration_parse("d", &us), ERR_INVALID);
    assert_int_equal(duration_parse("7 d", &us), ERR_INVALID);
    assert_int_equal(duration_parse("999999999999d", &us), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_parse_known_values),
        cmocka_unit_test(test_time_parse_refuses),
        cmocka_unit_test(test_time_format_round_trip),
        cmocka_unit_test(test_time_parse_loose_takes_seconds),
        cmocka_unit_test(test_duration_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
