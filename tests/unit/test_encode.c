/* Messages that are written: fixed bytes, and that they come back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/encode.h"

#define TS INT64_C(1775046605123456) /* 2026-04-01T12:30:05.123456Z */

static struct decoder *decoder;
static struct rates *rates;
static char out[ENCODE_MAX];

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

#define SLICE(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static struct decision make_decision(void)
{
    struct decision d = {
        .tx = SLICE("t\"1\\"),
        .log = SLICE("pay/2026"),
        .partition = 3,
        .offset = INT64_C(9000000000),
        .event_us = TS,
        .probability = 0.875,
        .threshold = 1.0 / 3,
        .outcome = DECISION_REVIEW,
        .model = SLICE("20260401-8f3a12cd"),
        .schema_hash = UINT64_C(0x00ab00000000000f),
        .revision = 1,
        .repeat = true,
        .amount_ratio = 5.25F,
        .reason_count = 2,
        .reasons = {{GROUP_USUAL, 2.5F, "amount 5.2 times this card's usual"},
                    {GROUP_DEVICE, 0.0009765625F, "first use of this device\n"}},
    };
    return d;
}

static const char DECISION_TEXT[] =
    "{\"id\":\"pay/2026/3/"
    "9000000000\",\"tx\":\"t\\\"1\\\\\",\"ts\":\"2026-04-01T12:30:05.123456Z\","
    "\"score\":0.875,\"threshold\":0.333333333,\"outcome\":\"review\",\"model\":\"20260401-"
    "8f3a12cd\","
    "\"schema\":\"00ab00000000000f\",\"revision\":1,\"repeat\":true,\"amount_ratio\":5.25,"
    "\"reasons\":[{\"group\":\"usual\",\"weight\":2.5,\"text\":\"amount 5.2 times this card's "
    "usual\"},{\"group\":\"device\",\"weight\":0.0009765625,\"text\":\"first use of this "
    "device\\u000a\"}]}";

static void test_encode_decision_bytes(void **state)
{
    struct decision d = make_decision();
    size_t len = 0;
    (void)state;
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    out[len] = '\0';
    assert_string_equal(out, DECISION_TEXT);
}

static void check_same(const struct decision *a, const struct decision *b)
{
    assert_int_equal(a->tx.len, b->tx.len);
    assert_memory_equal(a->tx.at, b->tx.at, a->tx.len);
    assert_int_equal(a->log.len, b->log.len);
    assert_memory_equal(a->log.at, b->log.at, a->log.len);
    assert_memory_equal(a->model.at, b->model.at, a->model.len);
    assert_true(a->partition == b->partition && a->offset == b->offset);
    assert_true(a->event_us == b->event_us && a->outcome == b->outcome);
    assert_true(a->schema_hash == b->schema_hash && a->revision == b->revision);
    assert_int_equal(a->control.len, b->control.len);
    assert_true(a->control.len == 0 || memcmp(a->control.at, b->control.at, a->control.len) == 0);
    assert_true(a->observed == b->observed && a->would == b->would);
    assert_true(a->repeat == b->repeat && a->reason_count == b->reason_count);
    assert_memory_equal(&a->amount_ratio, &b->amount_ratio, sizeof a->amount_ratio);
    for (uint32_t i = 0; i < a->reason_count; i++) {
        assert_int_equal(a->reasons[i].group, b->reasons[i].group);
        assert_memory_equal(&a->reasons[i].weight, &b->reasons[i].weight, sizeof(float));
        assert_string_equal(a->reasons[i].text, b->reasons[i].text);
    }
}

static void test_encode_decision_comes_back(void **state)
{
    struct decision d = make_decision();
    struct decision back;
    size_t len = 0;
    (void)state;
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    assert_int_equal(decode_decision(decoder, out, len, &back), DEAD_NONE);
    check_same(&d, &back);
    assert_true(back.probability >= 0.875 && back.probability <= 0.875);
    assert_true(fabs(back.threshold - d.threshold) < 1e-9);

    d.control = (struct slice)SLICE("block/card@17");
    d.observed = true;
    d.would = DECISION_DECLINE;
    d.reasons[0] = (struct reason){REASON_CONTROL, 0, "the card is on the block list"};
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    assert_int_equal(decode_decision(decoder, out, len, &back), DEAD_NONE);
    check_same(&d, &back);

    d.control = (struct slice){NULL, 0};
    d.observed = false;
    d.would = DECISION_APPROVE;
    d.probability = NAN;
    d.threshold = NAN;
    d.repeat = false;
    d.amount_ratio = 0;
    d.reason_count = 0;
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    assert_int_equal(decode_decision(decoder, out, len, &back), DEAD_NONE);
    check_same(&d, &back);
    assert_true(isnan(back.probability) && isnan(back.threshold));
}

static void test_encode_every_room(void **state)
{
    struct decision d = make_decision();
    size_t len = 77;
    (void)state;
    size_t need = strlen(DECISION_TEXT);
    for (size_t cap = 0; cap < need; cap++) {
        memset(out, '#', sizeof out);
        assert_int_equal(encode_decision(&d, out, cap, &len), ERR_FULL);
        assert_int_equal(len, 77);
        assert_int_equal(out[cap], '#');
    }
    assert_int_equal(encode_decision(&d, out, need, &len), ERR_OK);
    assert_int_equal(len, need);
}

static void test_encode_decision_out_of_bounds(void **state)
{
    static char text[WIRE_ID_MAX + 1];
    size_t len = 0;
    (void)state;
    memset(text, 'x', sizeof text);
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        struct decision d = make_decision();                                                       \
        change;                                                                                    \
        assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_INVALID);                 \
    } while (0)
    REFUSED(d.tx.len = 0);
    REFUSED(d.tx = ((struct slice){text, sizeof text}));
    REFUSED(d.log.len = 0);
    REFUSED(d.log = ((struct slice){text, WIRE_LOG_MAX + 1}));
    REFUSED(d.partition = -1);
    REFUSED(d.offset = -1);
    REFUSED(d.event_us = WIRE_TIME_FIRST_US - 1);
    REFUSED(d.event_us = WIRE_TIME_END_US);
    REFUSED(d.probability = 1.0000001);
    REFUSED(d.probability = -1e-9);
    REFUSED(d.probability = HUGE_VAL);
    REFUSED(d.threshold = 1.1e9);
    REFUSED(d.outcome = (enum decision_outcome)3);
    REFUSED(d.model.len = 0);
    REFUSED(d.model = ((struct slice){text, WIRE_MODEL_MAX + 1}));
    REFUSED(d.amount_ratio = HUGE_VALF);
    REFUSED(d.reason_count = DECISION_REASONS_MAX + 1);
    REFUSED(d.reasons[1].group = (enum feature_group)(REASON_CONTROL + 1));
    REFUSED(d.control = ((struct slice){text, WIRE_CONTROL_MAX + 1}));
    REFUSED(d.reasons[1].weight = NAN);
    REFUSED(memset(d.reasons[0].text, 'x', sizeof d.reasons[0].text));
#undef REFUSED
}

/* The largest of everything, each character the longest to write, still fits ENCODE_MAX. */
static void test_encode_alert_largest(void **state)
{
    static char text[WIRE_ID_MAX];
    (void)state;
    memset(text, 1, sizeof text);
    struct slice id = {text, sizeof text};
    struct decision d = make_decision();
    struct decision back;
    d.tx = id;
    d.log.at = text;
    d.log.len = WIRE_LOG_MAX;
    d.model = (struct slice){text, WIRE_MODEL_MAX};
    d.partition = INT32_MAX;
    d.offset = INT64_MAX;
    d.reason_count = DECISION_REASONS_MAX;
    for (int i = 0; i < DECISION_REASONS_MAX; i++) {
        d.reasons[i].weight = -1.23456789e-9F;
        d.reasons[i].group = GROUP_MERCHANT_WINDOW;
        memset(d.reasons[i].text, 1, sizeof d.reasons[i].text - 1);
        d.reasons[i].text[sizeof d.reasons[i].text - 1] = '\0';
    }
    struct tx t = {.card = 1,
                   .event_us = d.event_us,
                   .amount_minor = WIRE_AMOUNT_MAX,
                   .currency = "KWD",
                   .mcc = 9999,
                   .country = 'D' * 256 + 'E',
                   .type = TX_REVERSAL,
                   .channel = CHANNEL_RECURRING,
                   .entry = ENTRY_CREDENTIAL_ON_FILE,
                   .has_location = true,
                   .lat = -89.999992F,
                   .lon = -179.99998F};
    struct tx_strings s = {id, id, id, id, id, id, 3};
    struct tx t_back;
    struct tx_strings s_back;
    size_t len = 0;
    assert_int_equal(encode_alert(&d, &t, &s, out, sizeof out, &len), ERR_OK);
    assert_true(len > 8000);
    assert_int_equal(decode_alert(decoder, out, len, &back, &t_back, &s_back), DEAD_NONE);
    check_same(&d, &back);
    assert_int_equal(t_back.amount_minor, t.amount_minor);
    assert_memory_equal(&t_back.lat, &t.lat, sizeof t.lat);
    assert_memory_equal(&t_back.lon, &t.lon, sizeof t.lon);
    assert_int_equal(s_back.exponent, 3);
    assert_int_equal(s_back.ip.len, WIRE_ID_MAX);
    assert_memory_equal(s_back.ip.at, text, WIRE_ID_MAX);
    t.amount_minor++;
    assert_int_equal(encode_alert(&d, &t, &s, out, sizeof out, &len), ERR_INVALID);
}

static void test_encode_tx_bytes_and_back(void **state)
{
    static const char TEXT[] =
        "{\"id\":\"t1\",\"ts\":\"2026-04-01T12:30:05.123Z\",\"card\":\"c\xc3\xa4\",\"type\":"
        "\"purchase\",\"amount\":5716,\"currency\":\"EUR\",\"exponent\":2,\"merchant\":\"m\","
        "\"mcc\":\"0742\",\"country\":\"FR\",\"channel\":\"ecommerce\",\"entry\":\"manual\","
        "\"device\":\"d\",\"lat\":52.5200081,\"lon\":-0.000100000005}";
    struct tx t;
    struct tx_strings s;
    size_t len = 0;
    (void)state;
    assert_int_equal(decode_tx(decoder, TEXT, strlen(TEXT), NULL, 0, 0, -1, &t, &s), DEAD_NONE);
    assert_int_equal(encode_tx(&t, &s, out, sizeof out, &len), ERR_OK);
    out[len] = '\0';
    assert_string_equal(out, TEXT);
}

static void test_encode_label_bytes_and_back(void **state)
{
    static const char TEXT[] =
        "{\"source\":\"bank\",\"number\":9223372036854775807,\"tx\":\"t\",\"verdict\":"
        "\"withdrawn\","
        "\"ts\":\"2000-01-01T00:00:00Z\",\"known\":\"2099-12-31T23:59:59.999999Z\",\"card\":\"c\","
        "\"terminal\":\"x\",\"mcc\":\"5411\",\"ip\":\"::1\",\"amount\":1,\"currency\":\"JPY\","
        "\"exponent\":0,\"amount_ratio\":0.100000001}";
    struct label l;
    struct label_strings s;
    size_t len = 0;
    (void)state;
    assert_int_equal(decode_label(decoder, TEXT, strlen(TEXT), 0, -1, &l, &s), DEAD_NONE);
    assert_int_equal(encode_label(&l, &s, out, sizeof out, &len), ERR_OK);
    out[len] = '\0';
    assert_string_equal(out, TEXT);
    l.number++;
    assert_int_equal(encode_label(&l, &s, out, sizeof out, &len), ERR_INVALID);
}

/* What the encoder writes for a weight. */
static const char *weight_text(double v)
{
    static char text[64];
    struct decision d = make_decision();
    size_t len = 0;
    d.threshold = v;
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    out[len] = '\0';
    const char *at = strstr(out, "\"threshold\":") + 12;
    size_t n = strcspn(at, ",");
    assert_true(n < sizeof text);
    memcpy(text, at, n);
    text[n] = '\0';
    return text;
}

static void test_encode_real_numbers(void **state)
{
    (void)state;
    assert_string_equal(weight_text(0), "0");
    assert_string_equal(weight_text(-0.0), "0");
    assert_string_equal(weight_text(1), "1");
    assert_string_equal(weight_text(-1.5), "-1.5");
    assert_string_equal(weight_text(0.999999999999), "1");
    assert_string_equal(weight_text(9.99999999999), "10");
    assert_string_equal(weight_text(0.1), "0.1");
    assert_string_equal(weight_text(123456789.4), "123456789");
    assert_string_equal(weight_text(1e9), "1000000000");
    assert_string_equal(weight_text(1e-9), "0.000000001");
    assert_string_equal(weight_text(1.23456789e-9), "0.00000000123456789");
    assert_string_equal(weight_text(9e-10), "0");
    assert_string_equal(weight_text(2.0 / 3), "0.666666667");
}

/* Every float from 1e-9 to 1e9 comes back bit for bit, and a second writing gives the same text. */
static void test_encode_float_comes_back(void **state)
{
    struct rng r;
    struct decision back;
    (void)state;
    rng_init(&r, 7);
    for (int i = 0; i < 20000; i++) {
        struct decision d = make_decision();
        size_t len = 0;
        size_t again = 0;
        static char second[ENCODE_MAX];
        double scale[] = {1e-8, 1e-4, 1, 1e3, 1e8};
        d.reasons[0].weight = (float)(rng_uniform(&r) * scale[rng_below(&r, 5)]) + 1e-9F;
        d.amount_ratio = (float)(rng_uniform(&r) * scale[rng_below(&r, 5)]) + 1e-9F;
        d.probability = rng_uniform(&r);
        assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
        assert_int_equal(decode_decision(decoder, out, len, &back), DEAD_NONE);
        check_same(&d, &back);
        assert_true(fabs(back.probability - d.probability) <= 5e-10);
        assert_int_equal(encode_decision(&back, second, sizeof second, &again), ERR_OK);
        assert_int_equal(again, len);
        assert_memory_equal(second, out, len);
    }
}

static void test_encode_time_is_time_format(void **state)
{
    struct rng r;
    (void)state;
    rng_init(&r, 3);
    for (int i = 0; i < 20000; i++) {
        static const int64_t UNITS[] = {1, 1000, 1000000, TIME_DAY};
        int64_t unit = UNITS[rng_below(&r, 4)];
        uint64_t span = (uint64_t)(WIRE_TIME_END_US - WIRE_TIME_FIRST_US);
        struct decision d = make_decision();
        char wanted[TIME_TEXT_MAX];
        size_t len = 0;
        d.event_us = WIRE_TIME_FIRST_US + (int64_t)rng_below(&r, span) / unit * unit;
        size_t n = time_format(wanted, d.event_us);
        assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
        const char *at = strstr(out, "\"ts\":\"");
        assert_memory_equal(at + 6, wanted, n);
        assert_int_equal(at[6 + n], '"');
    }
}

static void test_encode_ignores_the_locale(void **state)
{
    size_t len = 0;
    (void)state;
    struct decision d = make_decision();
    (void)setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is installed */
    assert_int_equal(encode_decision(&d, out, sizeof out, &len), ERR_OK);
    (void)setlocale(LC_ALL, "C");
    assert_int_equal(len, strlen(DECISION_TEXT));
    assert_memory_equal(out, DECISION_TEXT, len);
}

static void test_decode_decision_bad(void **state)
{
    static const struct {
        const char *from, *to;
        enum dead_reason reason;
    } CASES[] = {
        {"pay/2026/3/9000000000", "pay", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "/3/9", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "p/03/9", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "p/2147483648/9", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "p/3/9223372036854775808", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "p/3/", DEAD_OUT_OF_RANGE},
        {"pay/2026/3/9000000000", "p/3/-1", DEAD_OUT_OF_RANGE},
        {"0.875", "1.01", DEAD_OUT_OF_RANGE},
        {"0.875", "\"1\"", DEAD_WRONG_TYPE},
        {"\"review\"", "\"perhaps\"", DEAD_OUT_OF_RANGE},
        {"00ab00000000000f", "00AB00000000000f", DEAD_WRONG_TYPE},
        {"00ab00000000000f", "00ab00000000000", DEAD_WRONG_TYPE},
        {"\"revision\":1", "\"revision\":4294967296", DEAD_OUT_OF_RANGE},
        {"\"repeat\":true", "\"repeat\":1", DEAD_WRONG_TYPE},
        {"\"group\":\"usual\"", "\"group\":\"none\"", DEAD_OUT_OF_RANGE},
        {"\"group\":\"usual\"", "\"group\":1", DEAD_WRONG_TYPE},
        {"\"group\":\"usual\",", "", DEAD_WRONG_TYPE},
        {"\"group\":\"usual\",", "\"group\":\"usual\",\"group\":\"usual\",", DEAD_WRONG_TYPE},
        {"\"weight\":2.5", "\"weight\":2e9", DEAD_OUT_OF_RANGE},
        {"\"weight\":2.5", "\"weight\":null", DEAD_WRONG_TYPE},
        {"\"reasons\":[", "\"reasons\":[1,", DEAD_WRONG_TYPE},
        {"\"reasons\":[", "\"reasons\":7,\"more\":[", DEAD_WRONG_TYPE},
        {"\"reasons\":[", "\"reasons\":{},\"more\":[", DEAD_WRONG_TYPE},
        {"\"reasons\":[", "\"reasons\":null,\"more\":[", DEAD_NONE},
        {"\"outcome\":\"review\",", "", DEAD_MISSING_FIELD},
    };
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char json[2048];
        struct decision d;
        const char *at = strstr(DECISION_TEXT, CASES[i].from);
        assert_non_null(at);
        int n = snprintf(json, sizeof json, "%.*s%s%s", (int)(at - DECISION_TEXT), DECISION_TEXT,
                         CASES[i].to, at + strlen(CASES[i].from));
        enum dead_reason r = decode_decision(decoder, json, (size_t)n, &d);
        if (r != CASES[i].reason) {
            fail_msg("%s: %s (%s)", json, dead_reason_name(r), decode_detail(decoder));
        }
    }
}

static void test_encode_dead_letter_headers(void **state)
{
    static char raw[65537];
    struct dead_letter dead;
    struct slice log = SLICE("payments");
    (void)state;
    encode_dead_letter(DEAD_NOT_JSON, "card: broken", log, 2, 41, raw, sizeof raw, &dead);
    assert_ptr_equal(dead.value, raw);
    assert_int_equal(dead.value_len, sizeof raw);
    assert_string_equal(dead.header[0].name, "reason");
    assert_string_equal(dead.header[0].text, "not_json");
    assert_string_equal(dead.header[1].text, "card: broken");
    assert_string_equal(dead.header[2].name, "source");
    assert_string_equal(dead.header[2].text, "payments/2/41");
    assert_string_equal(dead.header[3].text, "65537");
    encode_dead_letter(DEAD_EMPTY, "", log, 0, 0, NULL, 0, &dead);
    assert_int_equal(dead.value_len, 0);
}

static void test_encode_id_fits(void **state)
{
    char id[ENCODE_ID_MAX];
    char log[WIRE_LOG_MAX];
    (void)state;
    memset(log, 'l', sizeof log);
    size_t n = encode_id((struct slice){log, sizeof log}, INT32_MAX, INT64_MAX, id, sizeof id);
    assert_int_equal(n, WIRE_LOG_MAX + 1 + 10 + 1 + 19);
    assert_string_equal(id + WIRE_LOG_MAX, "/2147483647/9223372036854775807");
    assert_string_equal(decision_outcome_name(DECISION_DECLINE), "decline");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_decision_bytes),
        cmocka_unit_test(test_encode_decision_comes_back),
        cmocka_unit_test(test_encode_every_room),
        cmocka_unit_test(test_encode_decision_out_of_bounds),
        cmocka_unit_test(test_encode_alert_largest),
        cmocka_unit_test(test_encode_tx_bytes_and_back),
        cmocka_unit_test(test_encode_label_bytes_and_back),
        cmocka_unit_test(test_encode_real_numbers),
        cmocka_unit_test(test_encode_float_comes_back),
        cmocka_unit_test(test_encode_time_is_time_format),
        cmocka_unit_test(test_encode_ignores_the_locale),
        cmocka_unit_test(test_decode_decision_bad),
        cmocka_unit_test(test_encode_dead_letter_headers),
        cmocka_unit_test(test_encode_id_fits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
