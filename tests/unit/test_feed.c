/* Files as messages: formats by name, rows and lines, shifts, what is refused. */
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
#include "daemon/decode.h"
#include "daemon/feed.h"

#define WEEK (7 * TIME_DAY)

static char path[] = "/tmp/fraudd-test-feed-XXXXXX";
static struct rates *rates;
static struct decoder *decoder;

static int setup(void **state)
{
    struct errmsg e;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    decoder_free(decoder);
    rates_free(rates);
    return 0;
}

static struct feed *start(enum feed_format format, int64_t shift_us, const char *text, size_t len)
{
    struct errmsg e;
    struct feed *f = NULL;
    const struct feed_conf c = {.path = path,
                                .format = format,
                                .rates = rates,
                                .label_delay_us = WEEK,
                                .shift_us = shift_us};
    assert_int_equal(file_write(path, text, len, &e), ERR_OK);
    assert_int_equal(feed_open(&c, &f, &e), ERR_OK);
    return f;
}

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static void test_feed_format_of_names(void **state)
{
    (void)state;
    assert_int_equal(feed_format_of("a.csv"), FEED_CSV);
    assert_int_equal(feed_format_of("a.csv.zst"), FEED_CSV);
    assert_int_equal(feed_format_of("-"), FEED_CSV);
    assert_int_equal(feed_format_of("dir.json/a"), FEED_CSV);
    assert_int_equal(feed_format_of("a.jsonl"), FEED_LINES);
    assert_int_equal(feed_format_of("a.ndjson.xz"), FEED_LINES);
    assert_int_equal(feed_format_of("a.json.gz"), FEED_LINES);
    assert_int_equal(feed_format_of(".json"), FEED_CSV);
}

static const char CSV[] =
    "tx_id,ts,card_id,amount,fraud,label_ts,currency,terminal_id,channel,lat,lon\n"
    "t1,2026-03-01T10:00:00Z,c1,57.16,0,,EUR,T9,pos,52.5,-13.25\n"
    "t2,2026-03-01T11:00:00Z,c2,1200,1,2026-03-03T00:00:00Z,JPY,,,,\n"
    "t3,2026-03-01T12:00:00Z,c1,0.5,1,,,,,,\n"
    "t4,2026-03-02T12:00:00Z,c1,5,,,,,,,\n";

static void test_feed_next_rows_read_back(void **state)
{
    struct errmsg e;
    struct feed_item item;
    struct tx t;
    struct tx_strings s;
    (void)state;
    struct feed *f = start(FEED_CSV, 0, CSV, sizeof CSV - 1);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_true(same(item.strings.card, "c1"));
    assert_int_equal(item.known_us, INT64_MAX); /* legitimate by maturity */
    /* what was written is what the row said */
    assert_int_equal(decode_tx(decoder, item.json.at, item.json.len, "c1", 2, 0, -1, &t, &s),
                     DEAD_NONE);
    assert_memory_equal(&t, &item.tx, sizeof t);
    assert_true(same(s.terminal, "T9"));
    assert_int_equal(t.amount_minor, 5716);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_true(item.fraud);
    assert_int_equal(item.known_us - item.tx.event_us, 37 * TIME_HOUR);
    assert_int_equal(decode_tx(decoder, item.json.at, item.json.len, "c2", 2, 0, -1, &t, &s),
                     DEAD_NONE);
    assert_int_equal(t.amount_minor, 1200); /* yen have no cents */
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_int_equal(item.known_us - item.tx.event_us, WEEK); /* the delay of the configuration */
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_int_equal(item.known_us, INT64_MAX); /* no verdict */
    assert_int_equal(feed_line(f), 5);
    assert_int_equal(feed_next(f, &item, &e), ERR_END);
    feed_close(f);
}

static void test_feed_next_lines_stay_as_they_are(void **state)
{
    static const char LINES[] =
        "\n{\"id\":\"a\",\"ts\":\"2026-03-01T10:00:00Z\",\"card\":\"c1\",\"type\":\"purchase\","
        "\"amount\":\"5.00\",\"currency\":\"EUR\",\"own\":{\"x\":1}}\r\n"
        "{\"id\":\"b\",\"ts\":\"2026-03-01T10:00:01Z\",\"card\":\"c2\",\"type\":\"cash\","
        "\"amount\":700,\"currency\":\"EUR\"}";
    struct errmsg e;
    struct feed_item item;
    struct tx t;
    struct tx_strings s;
    (void)state;
    struct feed *f = start(FEED_LINES, 0, LINES, sizeof LINES - 1);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_ptr_not_equal(strstr(LINES, "{\"id\":\"a\""), NULL);
    assert_memory_equal(item.json.at, LINES + 1, item.json.len);
    assert_int_equal(item.json.at[item.json.len - 1], '}');
    assert_true(same(item.strings.card, "c1"));
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_int_equal(item.tx.type, TX_CASH);
    assert_int_equal(feed_next(f, &item, &e), ERR_END);
    feed_close(f);

    /* shifted: written anew, with the new time */
    f = start(FEED_LINES, WEEK, LINES, sizeof LINES - 1);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_int_equal(decode_tx(decoder, item.json.at, item.json.len, "c1", 2, 0, -1, &t, &s),
                     DEAD_NONE);
    int64_t at = 0;
    assert_int_equal(time_parse("2026-03-08T10:00:00Z", 20, &at), ERR_OK);
    assert_int_equal(t.event_us, at);
    assert_int_equal(t.amount_minor, 500);
    feed_close(f);
}

static void test_feed_next_refuses_with_line(void **state)
{
    static const char LINES[] =
        "{\"id\":\"a\",\"ts\":\"2026-03-01T10:00:00Z\",\"card\":\"c1\",\"type\":\"purchase\","
        "\"amount\":500,\"currency\":\"EUR\"}\n"
        "{\"id\":\"b\",\"ts\":\"2026-03-01T10:00:00Z\",\"type\":\"purchase\",\"amount\":500,"
        "\"currency\":\"EUR\"}\n";
    struct errmsg e;
    struct feed_item item;
    (void)state;
    struct feed *f = start(FEED_LINES, 0, LINES, sizeof LINES - 1);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_int_equal(feed_next(f, &item, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "line 2: missing_field"));
    assert_non_null(strstr(e.text, "card"));
    feed_close(f);

    /* a shift that leaves the century */
    f = start(FEED_CSV, 90 * 366 * TIME_DAY, CSV, sizeof CSV - 1);
    assert_int_equal(feed_next(f, &item, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "line 2"));
    feed_close(f);

    /* a line without end */
    size_t len = 3 * WIRE_MESSAGE_MAX;
    char *endless = malloc(len);
    assert_non_null(endless);
    memset(endless, '{', len);
    f = start(FEED_LINES, 0, endless, len);
    assert_int_equal(feed_next(f, &item, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "line 1: longer than"));
    feed_close(f);
    free(endless);
}

static void test_feed_scan_finds_last_and_count(void **state)
{
    struct errmsg e;
    int64_t last = 0;
    int64_t wanted = 0;
    uint64_t n = 0;
    const struct feed_conf c = {.path = path, .format = FEED_CSV, .rates = rates};
    (void)state;
    assert_int_equal(file_write(path, CSV, sizeof CSV - 1, &e), ERR_OK);
    assert_int_equal(feed_scan(&c, &last, &n, &e), ERR_OK);
    assert_int_equal(time_parse("2026-03-02T12:00:00Z", 20, &wanted), ERR_OK);
    assert_int_equal(last, wanted);
    assert_int_equal(n, 4);
    assert_int_equal(file_write(path, "tx_id,ts,card_id,amount\n", 24, &e), ERR_OK);
    assert_int_equal(feed_scan(&c, &last, &n, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "holds no payment"));
}

static void test_feed_shift_whole_weeks_never_after_now(void **state)
{
    (void)state;
    int64_t now = 3000 * TIME_DAY;
    const int64_t gaps[] = {0,  1,     TIME_DAY,  WEEK - 1,      WEEK, WEEK + 1, 100 * WEEK + 5,
                            -1, -WEEK, -WEEK - 1, -60 * TIME_DAY};
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        int64_t last = now - gaps[i];
        int64_t shift = feed_shift(last, now);
        assert_int_equal(shift % WEEK, 0);
        assert_true(last + shift <= now);
        assert_true(last + shift > now - WEEK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_format_of_names),
        cmocka_unit_test(test_feed_next_rows_read_back),
        cmocka_unit_test(test_feed_next_lines_stay_as_they_are),
        cmocka_unit_test(test_feed_next_refuses_with_line),
        cmocka_unit_test(test_feed_scan_finds_last_and_count),
        cmocka_unit_test(test_feed_shift_whole_weeks_never_after_now),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
