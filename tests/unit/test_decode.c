/* Messages from outside: what is read, what is refused and why, and that nothing is allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "daemon/decode.h"
#include "tests/support/allocations.h"

#define MIN INT64_C(60000000)
/* 2026-04-01T12:30:05.123Z */
#define TS INT64_C(1775046605123000)

static struct decoder *decoder;
static struct rates *rates;

static int setup(void **state)
{
    struct errmsg e;
    (void)state;
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    decoder_free(decoder);
    rates_free(rates);
    return 0;
}

static const char FULL[] =
    "{\"id\":\"t1\",\"ts\":\"2026-04-01T12:30:05.123Z\",\"card\":\"c\\u00e4\",\"type\":\"cash\","
    "\"amount\":5716,\"currency\":\"USD\",\"merchant\":\"m1\",\"terminal\":\"x9\",\"mcc\":\"5411\","
    "\"country\":\"DE\",\"channel\":\"atm\",\"entry\":\"chip\",\"device\":\"d\",\"ip\":\"10.0.0."
    "1\","
    "\"lat\":52.5,\"lon\":-13.25,\"later\":{\"a\":[1,2,{\"b\":\"]\"}]},\"x\":null}";

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* Decodes without a key, without the check of the future. */
static enum dead_reason read_tx(const char *json, struct tx *t, struct tx_strings *s)
{
    return decode_tx(decoder, json, strlen(json), NULL, 0, 0, -1, t, s);
}

static void test_decode_tx_every_field(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    assert_int_equal(decode_tx(decoder, FULL, strlen(FULL), "c\xc3\xa4", 3, TS, 0, &t, &s),
                     DEAD_NONE);
    assert_string_equal(decode_detail(decoder), "");
    assert_true(same(s.id, "t1") && same(s.card, "c\xc3\xa4") && same(s.merchant, "m1"));
    assert_true(same(s.terminal, "x9") && same(s.device, "d") && same(s.ip, "10.0.0.1"));
    assert_true(t.id == hash_id("t1", 2) && t.card == hash_id("c\xc3\xa4", 3));
    assert_true(t.merchant == hash_id("m1", 2) && t.terminal == hash_id("x9", 2));
    assert_true(t.device == hash_id("d", 1) && t.ip == hash_id("10.0.0.1", 8));
    assert_int_equal(t.event_us, TS);
    assert_int_equal(t.amount_minor, 5716);
    assert_int_equal(s.exponent, 2);
    assert_string_equal(t.currency, "USD");
    assert_int_equal(t.amount_ref, rates_convert(rates_find(rates, "USD"), 5716, 2));
    assert_true(t.foreign_currency && t.has_location);
    assert_int_equal(t.type, TX_CASH);
    assert_int_equal(t.channel, CHANNEL_ATM);
    assert_int_equal(t.entry, ENTRY_CHIP);
    assert_int_equal(t.mcc, 5411);
    assert_int_equal(t.country, 'D' * 256 + 'E');
    assert_true(t.lat > 52.4F && t.lat < 52.6F && t.lon < -13.2F && t.lon > -13.3F);
}

static void test_decode_tx_smallest_and_null_means_absent(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    assert_int_equal(
        read_tx(
            "{\"id\":\"1\",\"ts\":1775046605123,\"card\":\"c\",\"type\":\"purchase\",\"amount\":"
            "0,\"currency\":\"EUR\",\"mcc\":null,\"device\":\"\",\"lat\":null,\"channel\":null}",
            &t, &s),
        DEAD_NONE);
    assert_int_equal(t.event_us, TS);
    assert_true(t.merchant == 0 && t.terminal == 0 && t.device == 0 && t.ip == 0);
    assert_null(s.device.at);
    assert_true(t.mcc == 0 && t.country == 0 && t.channel == CHANNEL_MISSING && !t.has_location);
    assert_false(t.foreign_currency);
}

/* One message with one member replaced (or added): {"name": value}. */
struct swap {
    const char *name;
    const char *value; /* NULL: the member is left out */
    enum dead_reason reason;
    const char *detail; /* part of it */
};

static const char *const BASE[][2] = {
    {"id", "\"t\""},   {"ts", "\"2026-04-01T12:30:05.123Z\""},
    {"card", "\"c\""}, {"type", "\"purchase\""},
    {"amount", "100"}, {"currency", "\"EUR\""},
};

static size_t make_message(char *out, size_t cap, const char *name, const char *value)
{
    bool replaced = false;
    size_t at = (size_t)snprintf(out, cap, "{\"z\":0");
    for (size_t i = 0; i < sizeof BASE / sizeof BASE[0]; i++) {
        const char *v = BASE[i][1];
        if (strcmp(BASE[i][0], name) == 0) {
            v = value;
            replaced = true;
        }
        if (v != NULL) {
            at += (size_t)snprintf(out + at, cap - at, ",\"%s\":%s", BASE[i][0], v);
        }
    }
    if (!replaced) {
        at += (size_t)snprintf(out + at, cap - at, ",\"%s\":%s", name, value);
    }
    return at + (size_t)snprintf(out + at, cap - at, "}");
}

static const struct swap SWAPS[] = {
    {"id", NULL, DEAD_MISSING_FIELD, "id is missing"},
    {"ts", NULL, DEAD_MISSING_FIELD, "ts"},
    {"card", NULL, DEAD_MISSING_FIELD, "card"},
    {"type", NULL, DEAD_MISSING_FIELD, "type"},
    {"amount", NULL, DEAD_MISSING_FIELD, "amount"},
    {"currency", NULL, DEAD_MISSING_FIELD, "currency"},
    {"card", "null", DEAD_MISSING_FIELD, "card"},
    {"card", "\"\"", DEAD_MISSING_FIELD, "card is empty"},
    {"card", "17", DEAD_WRONG_TYPE, "card is not a string"},
    {"card", "[\"c\"]", DEAD_WRONG_TYPE, "card"},
    {"card", "{}", DEAD_WRONG_TYPE, "card"},
    {"id", "true", DEAD_WRONG_TYPE, "id"},
    {"id", "\"a\\u0000b\"", DEAD_NOT_UTF8, "id"},
    {"id", "\"\\ud800\"", DEAD_NOT_JSON, "id"},
    {"id", "\"\xff\"", DEAD_NOT_UTF8, ""},
    {"id", "\"\xed\xa0\x80\"", DEAD_NOT_UTF8, ""},
    {"id", "\"a\nb\"", DEAD_NOT_JSON, ""},
    {"type", "\"gift\"", DEAD_OUT_OF_RANGE, "gift"},
    {"type", "1", DEAD_WRONG_TYPE, "type"},
    {"amount", "-1", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "1e300", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "1e400", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "-1.5", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "1.5", DEAD_WRONG_TYPE, "decimal number in quotes"},
    {"amount", "1e2", DEAD_WRONG_TYPE, "amount"},
    {"amount", "NaN", DEAD_NOT_JSON, "amount"},
    {"amount", "nan", DEAD_NOT_JSON, "amount"},
    {"amount", "Infinity", DEAD_NOT_JSON, "amount"},
    {"amount", "01", DEAD_NOT_JSON, "amount"},
    {"amount", "1000000000000000", DEAD_NONE, ""},
    {"amount", "1000000000000001", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "9223372036854775808", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "99999999999999999999999999", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "\"12.34\"", DEAD_NONE, ""},
    {"amount", "\"10000000000000.00\"", DEAD_NONE, ""},
    {"amount", "\"10000000000000.01\"", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "\"99999999999999999999999999\"", DEAD_OUT_OF_RANGE, "amount"},
    {"amount", "\"12.345\"", DEAD_WRONG_TYPE, "2 decimals"},
    {"amount", "\"-12\"", DEAD_OUT_OF_RANGE, "negative"},
    {"amount", "\"NaN\"", DEAD_WRONG_TYPE, "NaN"},
    {"amount", "\"1e300\"", DEAD_WRONG_TYPE, "amount"},
    {"amount", "\"\"", DEAD_WRONG_TYPE, "amount"},
    {"amount", "\".\"", DEAD_WRONG_TYPE, "amount"},
    {"amount", "\"1.\"", DEAD_WRONG_TYPE, "amount"},
    {"amount", "true", DEAD_WRONG_TYPE, "amount"},
    {"currency", "\"XXQ\"", DEAD_UNKNOWN_CURRENCY, "XXQ"},
    {"currency", "\"eur\"", DEAD_UNKNOWN_CURRENCY, "eur"},
    {"currency", "\"EURO\"", DEAD_UNKNOWN_CURRENCY, "EURO"},
    {"currency", "978", DEAD_WRONG_TYPE, "currency"},
    {"exponent", "5", DEAD_OUT_OF_RANGE, "exponent"},
    {"exponent", "-1", DEAD_OUT_OF_RANGE, "exponent"},
    {"exponent", "4", DEAD_NONE, ""},
    {"ts", "\"1900-01-01T00:00:00Z\"", DEAD_BAD_TIME, "ts"},
    {"ts", "\"1999-12-31T23:59:59.999999Z\"", DEAD_BAD_TIME, "ts"},
    {"ts", "\"2000-01-01T00:00:00Z\"", DEAD_NONE, ""},
    {"ts", "\"2099-12-31T23:59:59.999999Z\"", DEAD_NONE, ""},
    {"ts", "\"2100-01-01T00:00:00Z\"", DEAD_BAD_TIME, "ts"},
    {"ts", "\"2026-02-29\"", DEAD_BAD_TIME, "2026-02-29"},
    {"ts", "\"yesterday\"", DEAD_BAD_TIME, "yesterday"},
    {"ts", "\"\"", DEAD_BAD_TIME, "ts"},
    {"ts", "946684799999", DEAD_BAD_TIME, "ts"},
    {"ts", "946684800000", DEAD_NONE, ""},
    {"ts", "4102444799999", DEAD_NONE, ""},
    {"ts", "4102444800000", DEAD_BAD_TIME, "ts"},
    {"ts", "1775046605", DEAD_BAD_TIME, "milliseconds"}, /* seconds */
    {"ts", "9223372036854775807", DEAD_BAD_TIME, "ts"},
    {"ts", "-9223372036854775808", DEAD_BAD_TIME, "ts"},
    {"ts", "18446744073709551616", DEAD_BAD_TIME, "ts"},
    {"ts", "1.5", DEAD_WRONG_TYPE, "ts"},
    {"mcc", "0", DEAD_NONE, ""},
    {"mcc", "9999", DEAD_NONE, ""},
    {"mcc", "10000", DEAD_OUT_OF_RANGE, "mcc"},
    {"mcc", "\"54a1\"", DEAD_OUT_OF_RANGE, "mcc"},
    {"mcc", "\"54111\"", DEAD_OUT_OF_RANGE, "mcc"},
    {"mcc", "54.11", DEAD_WRONG_TYPE, "mcc"},
    {"country", "\"de\"", DEAD_OUT_OF_RANGE, "country"},
    {"country", "\"DEU\"", DEAD_OUT_OF_RANGE, "country"},
    {"country", "276", DEAD_WRONG_TYPE, "country"},
    {"channel", "\"fax\"", DEAD_OUT_OF_RANGE, "channel"},
    {"entry", "\"\"", DEAD_OUT_OF_RANGE, "entry"},
    {"lat", "1", DEAD_MISSING_FIELD, "lat is there without lon"},
    {"lon", "1", DEAD_MISSING_FIELD, "lon is there without lat"},
    {"lat", "90.0001,\"lon\":0", DEAD_OUT_OF_RANGE, "lat"},
    {"lat", "-90,\"lon\":180", DEAD_NONE, ""},
    {"lat", "0,\"lon\":-180.5", DEAD_OUT_OF_RANGE, "lon"},
    {"lat", "0,\"lon\":1e999", DEAD_OUT_OF_RANGE, "lon"},
    {"lat", "\"1\",\"lon\":0", DEAD_WRONG_TYPE, "lat"},
    {"id", "\"t\",\"id\":\"t\"", DEAD_DUPLICATE_FIELD, "id is there twice"},
    {"mcc", "null,\"mcc\":5411", DEAD_DUPLICATE_FIELD, "mcc"},
    {"score", "\"any\",\"score\":0", DEAD_NONE, ""}, /* not a payment's member */
};

static void test_decode_tx_bounds(void **state)
{
    char json[512];
    (void)state;
    for (size_t i = 0; i < sizeof SWAPS / sizeof SWAPS[0]; i++) {
        struct tx t;
        struct tx_strings s;
        struct tx untouched;
        memset(&t, 0x5a, sizeof t);
        memset(&s, 0x5a, sizeof s);
        untouched = t;
        size_t len = make_message(json, sizeof json, SWAPS[i].name, SWAPS[i].value);
        enum dead_reason r = decode_tx(decoder, json, len, NULL, 0, 0, -1, &t, &s);
        if (r != SWAPS[i].reason || strstr(decode_detail(decoder), SWAPS[i].detail) == NULL) {
            fail_msg("%s: %s (%s), wanted %s (%s)", json, dead_reason_name(r),
                     decode_detail(decoder), dead_reason_name(SWAPS[i].reason), SWAPS[i].detail);
        }
        if (r != DEAD_NONE) {
            assert_memory_equal(&t, &untouched, sizeof t);
            assert_true(decode_detail(decoder)[0] != '\0');
        }
    }
}

static void test_decode_tx_not_an_object(void **state)
{
    static const char *const BAD[] = {" ",
                                      "{",
                                      "}",
                                      "[]",
                                      "null",
                                      "1",
                                      "\"text\"",
                                      "{\"id\":}",
                                      "{\"id\" \"t\"}",
                                      "{,}",
                                      "{} {}",
                                      "{}x",
                                      "{\"a\":1,}",
                                      "nonsense",
                                      "\xef\xbb\xbf[",
                                      "{\"id\":\"t\"]"};
    struct tx t;
    struct tx_strings s;
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        enum dead_reason r = read_tx(BAD[i], &t, &s);
        if (r != DEAD_NOT_JSON) {
            fail_msg("%s: %s (%s)", BAD[i], dead_reason_name(r), decode_detail(decoder));
        }
    }
    assert_int_equal(read_tx("{}", &t, &s), DEAD_MISSING_FIELD);
    assert_int_equal(read_tx("", &t, &s), DEAD_EMPTY);
    assert_int_equal(decode_tx(decoder, NULL, 0, NULL, 0, 0, -1, &t, &s), DEAD_EMPTY);
}

static void test_decode_tx_truncated_anywhere(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    for (size_t len = 1; len + 1 < sizeof FULL; len++) {
        char *exact = malloc(len); /* so that AddressSanitizer sees one byte too many */
        assert_non_null(exact);
        memcpy(exact, FULL, len);
        enum dead_reason r = decode_tx(decoder, exact, len, NULL, 0, 0, -1, &t, &s);
        free(exact);
        if (r != DEAD_NOT_JSON) {
            fail_msg("%.*s: %s", (int)len, FULL, dead_reason_name(r));
        }
    }
}

static void test_decode_tx_string_bounds(void **state)
{
    char json[1024];
    char value[WIRE_ID_MAX + 8];
    struct tx t;
    struct tx_strings s;
    (void)state;
    static const char *const IDS[] = {"id", "card", "merchant", "terminal", "device", "ip"};
    for (size_t i = 0; i < sizeof IDS / sizeof IDS[0]; i++) {
        for (size_t n = WIRE_ID_MAX; n <= WIRE_ID_MAX + 1; n++) {
            memset(value, 'x', sizeof value);
            value[0] = '"';
            value[n + 1] = '"';
            value[n + 2] = '\0';
            (void)make_message(json, sizeof json, IDS[i], value);
            assert_int_equal(read_tx(json, &t, &s), n <= WIRE_ID_MAX ? DEAD_NONE : DEAD_TOO_LARGE);
        }
        assert_non_null(strstr(decode_detail(decoder), IDS[i]));
    }
}

static void test_decode_tx_largest_message_and_one_past(void **state)
{
    static char json[WIRE_MESSAGE_MAX + 1];
    struct tx t;
    struct tx_strings s;
    (void)state;
    memset(json, ' ', sizeof json);
    size_t len = make_message(json, 512, "z2", "0");
    json[len - 1] = ' ';
    json[WIRE_MESSAGE_MAX - 1] = '}';
    json[len] = ' '; /* snprintf's zero */
    assert_int_equal(decode_tx(decoder, json, WIRE_MESSAGE_MAX, NULL, 0, 0, -1, &t, &s), DEAD_NONE);
    assert_int_equal(decode_tx(decoder, json, WIRE_MESSAGE_MAX + 1, NULL, 0, 0, -1, &t, &s),
                     DEAD_TOO_LARGE);
    memset(json, '[', sizeof json); /* deep nesting must not use the stack up */
    memcpy(json, "{\"z\":", 5);
    assert_int_equal(decode_tx(decoder, json, WIRE_MESSAGE_MAX, NULL, 0, 0, -1, &t, &s),
                     DEAD_NOT_JSON);
}

static void test_decode_tx_future(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    size_t n = strlen(FULL);
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, TS - 5 * MIN, 5 * MIN, &t, &s),
                     DEAD_NONE);
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, TS - 5 * MIN - 1, 5 * MIN, &t, &s),
                     DEAD_FUTURE);
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, INT64_MAX, INT64_MAX, &t, &s), DEAD_NONE);
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, 0, INT64_MAX, &t, &s), DEAD_NONE);
    /* Without a timestamp of its own a message could move the clock anywhere. */
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, -1, 5 * MIN, &t, &s), DEAD_BAD_TIME);
}

static void test_decode_tx_key(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    size_t n = strlen(FULL);
    assert_int_equal(decode_tx(decoder, FULL, n, "other", 5, TS, 0, &t, &s), DEAD_KEY_MISMATCH);
    assert_int_equal(decode_tx(decoder, FULL, n, "", 0, TS, 0, &t, &s), DEAD_KEY_MISMATCH);
    assert_int_equal(decode_tx(decoder, FULL, n, NULL, 0, TS, 0, &t, &s), DEAD_NONE);
    /* A card's number belongs into no log: the detail holds lengths only. */
    (void)!decode_tx(decoder, FULL, n, "other", 5, TS, 0, &t, &s);
    assert_null(strstr(decode_detail(decoder), "other"));
}

static void test_decode_tx_money_is_exact(void **state)
{
    static const struct {
        const char *amount, *currency, *exponent;
        int64_t minor;
    } CASES[] = {{"\"0.1\"", "\"EUR\"", "2", 10},
                 {"\"1.10\"", "\"EUR\"", "2", 110},
                 {"\"1.1000\"", "\"EUR\"", "2", 110},
                 {"\"70368744177.67\"", "\"EUR\"", "2", INT64_C(7036874417767)},
                 {"\"5\"", "\"JPY\"", "null", 5},
                 {"\"5.0\"", "\"JPY\"", "null", 5},
                 {"\"5.123\"", "\"KWD\"", "null", 5123},
                 {"\"5.1234\"", "\"EUR\"", "4", 51234},
                 {"\"007\"", "\"EUR\"", "2", 700},
                 {"\"-0.00\"", "\"EUR\"", "2", 0},
                 {"-0", "\"EUR\"", "2", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char json[256];
        struct tx t;
        struct tx_strings s;
        snprintf(json, sizeof json,
                 "{\"id\":\"1\",\"ts\":1775046605123,\"card\":\"c\",\"type\":\"refund\",\"amount\":"
                 "%s,\"currency\":%s,\"exponent\":%s}",
                 CASES[i].amount, CASES[i].currency, CASES[i].exponent);
        if (read_tx(json, &t, &s) != DEAD_NONE || t.amount_minor != CASES[i].minor) {
            fail_msg("%s: %lld (%s)", json, (long long)t.amount_minor, decode_detail(decoder));
        }
    }
}

#define LABEL_HEAD                                                                                 \
    "{\"source\":\"bank\",\"number\":7,\"tx\":\"t1\",\"verdict\":\"fraud\",\"ts\":1775046605123,"  \
    "\"known\":\"2026-04-03\",\"card\":\"c\""

static enum dead_reason read_label(const char *json, struct label *l, struct label_strings *s)
{
    return decode_label(decoder, json, strlen(json), 0, -1, l, s);
}

static void test_decode_label_fields_and_bounds(void **state)
{
    struct label l;
    struct label_strings s;
    (void)state;
    assert_int_equal(read_label(LABEL_HEAD ",\"terminal\":\"x\",\"mcc\":5411,\"country\":\"FR\","
                                           "\"amount\":\"10.00\",\"currency\":\"EUR\","
                                           "\"amount_ratio\":5.25}",
                                &l, &s),
                     DEAD_NONE);
    assert_true(l.source == hash_id("bank", 4) && l.number == 7 && l.tx_id == hash_id("t1", 2));
    assert_true(l.terminal == hash_id("x", 1) && l.merchant == 0 && l.card == hash_id("c", 1));
    assert_true(l.verdict == LABEL_FRAUD && l.event_us == TS && l.mcc == 5411);
    assert_true(l.amount_ref == 1000 && s.amount_minor == 1000 && same(s.source, "bank"));
    assert_true(l.usual_ratio > 5.24F && l.usual_ratio < 5.26F);

    assert_int_equal(read_label(LABEL_HEAD "}", &l, &s), DEAD_NONE);
    assert_int_equal(l.amount_ref, 0);
    assert_int_equal(read_label(LABEL_HEAD ",\"amount\":1}", &l, &s), DEAD_MISSING_FIELD);
    assert_int_equal(read_label(LABEL_HEAD ",\"currency\":\"EUR\"}", &l, &s), DEAD_MISSING_FIELD);
    assert_int_equal(read_label(LABEL_HEAD ",\"amount_ratio\":-1}", &l, &s), DEAD_OUT_OF_RANGE);
    assert_int_equal(read_label(LABEL_HEAD ",\"verdict\":\"fraud\"}", &l, &s),
                     DEAD_DUPLICATE_FIELD);
    assert_int_equal(
        read_label("{\"source\":\"bank\",\"number\":-1,\"tx\":\"t1\",\"verdict\":\"fraud\","
                   "\"ts\":1775046605123,\"known\":\"2026-04-03\",\"card\":\"c\"}",
                   &l, &s),
        DEAD_OUT_OF_RANGE);
    assert_int_equal(
        read_label("{\"source\":\"bank\",\"number\":1,\"tx\":\"t1\",\"verdict\":\"maybe\","
                   "\"ts\":1775046605123,\"known\":\"2026-04-03\",\"card\":\"c\"}",
                   &l, &s),
        DEAD_OUT_OF_RANGE);
    assert_int_equal(
        read_label("{\"source\":\"bank\",\"number\":1,\"tx\":\"t1\",\"verdict\":\"withdrawn\","
                   "\"ts\":1775046605123,\"known\":1775046605122,\"card\":\"c\"}",
                   &l, &s),
        DEAD_BAD_TIME);
    const char *json = LABEL_HEAD "}";
    assert_int_equal(decode_label(decoder, json, strlen(json), TS, 5 * MIN, &l, &s), DEAD_FUTURE);
}

static void test_decode_many_no_malloc(void **state)
{
    struct tx t;
    struct tx_strings s;
    (void)state;
    assert_int_equal(read_tx(FULL, &t, &s), DEAD_NONE);
    const size_t before = allocations();
    assert_true(before > 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(read_tx(FULL, &t, &s), DEAD_NONE);
        assert_int_equal(read_tx("{\"id\":", &t, &s), DEAD_NOT_JSON);
        assert_int_equal(read_tx("{\"id\":1}", &t, &s), DEAD_MISSING_FIELD);
    }
    assert_int_equal(allocations(), before);
}

static void test_decoder_create_bounds(void **state)
{
    struct decoder *d = NULL;
    struct errmsg e;
    (void)state;
    assert_int_equal(decoder_create(rates, 0, &d, &e), ERR_INVALID);
    assert_int_equal(decoder_create(rates, (size_t)16 * 1024 * 1024 + 1, &d, &e), ERR_INVALID);
    assert_null(d);
    decoder_free(NULL);
    struct tx t;
    struct tx_strings s;
    assert_int_equal(decoder_create(rates, 1, &d, &e), ERR_OK);
    assert_int_equal(decode_tx(d, "{", 1, NULL, 0, 0, -1, &t, &s), DEAD_NOT_JSON);
    assert_int_equal(decode_tx(d, "{}", 2, NULL, 0, 0, -1, &t, &s), DEAD_TOO_LARGE);
    decoder_free(d);
}

static void test_dead_reason_names_differ(void **state)
{
    (void)state;
    for (int i = 0; i < DEAD_REASON_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(dead_reason_name((enum dead_reason)i),
                                    dead_reason_name((enum dead_reason)j));
        }
    }
    assert_string_equal(dead_reason_name(DEAD_CRASH), "crash");
    assert_string_equal(dead_reason_name(DEAD_FUTURE), "future");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_tx_every_field),
        cmocka_unit_test(test_decode_tx_smallest_and_null_means_absent),
        cmocka_unit_test(test_decode_tx_bounds),
        cmocka_unit_test(test_decode_tx_not_an_object),
        cmocka_unit_test(test_decode_tx_truncated_anywhere),
        cmocka_unit_test(test_decode_tx_string_bounds),
        cmocka_unit_test(test_decode_tx_largest_message_and_one_past),
        cmocka_unit_test(test_decode_tx_future),
        cmocka_unit_test(test_decode_tx_key),
        cmocka_unit_test(test_decode_tx_money_is_exact),
        cmocka_unit_test(test_decode_label_fields_and_bounds),
        cmocka_unit_test(test_decode_many_no_malloc),
        cmocka_unit_test(test_decoder_create_bounds),
        cmocka_unit_test(test_dead_reason_names_differ),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
