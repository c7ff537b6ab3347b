/* What becomes of card numbers on their way in: refused or hashed in the card, refused elsewhere,
 * told to nobody; and the key's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/hash.h"
#include "daemon/card_guard.h"
#include "daemon/card_hash.h"
#include "daemon/decode.h"
#include "daemon/feed.h"
#include "daemon/label_file.h"
#include "daemon/settings.h"

#define NUMBER "4111111111111111"
#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
/* printf %s 4111111111111111 | openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY; the name
 * likewise */
#define TOKEN "kab576ba5-db485e7b82c40d68abf24984f77710d921e09e5da8dc0c6aa31a2f28d6e1c176"

static const struct conf_option *const TABLES[] = {SETTINGS, NULL};
static char key_path[] = "/tmp/fraudd-test-key-XXXXXX";
static char path[] = "/tmp/fraudd-test-card-XXXXXX";
static struct rates *rates;
static struct decoder *refusing, *hashing;

static struct conf *settings(const char *numbers, const char *digits)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    assert_int_equal(conf_create(TABLES, "kafka.", &c, &e), ERR_OK);
    assert_int_equal(conf_set(c, "card.numbers", numbers, &e), ERR_OK);
    assert_int_equal(conf_set(c, "card.key-file", key_path, &e), ERR_OK);
    assert_int_equal(conf_set(c, "card.digits", digits, &e), ERR_OK);
    return c;
}

static struct card_rules rules(const char *numbers, const char *digits)
{
    struct card_rules r;
    struct errmsg e = {""};
    struct conf *c = settings(numbers, digits);
    if (card_rules_read(c, &r, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    conf_free(c);
    return r;
}

static struct decoder *guarded(const char *numbers, const char *digits)
{
    struct decoder *d = NULL;
    struct errmsg e = {""};
    struct card_rules r = rules(numbers, digits);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &d, &e), ERR_OK);
    assert_int_equal(decode_guard(d, &r, &e), ERR_OK);
    card_rules_done(&r); /* the decoder keeps nothing of it */
    return d;
}

static void write_key(const char *text, mode_t mode)
{
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(file_write(key_path, text, strlen(text), NULL), ERR_OK);
    assert_int_equal(chmod(key_path, mode), 0);
}

static int setup(void **state)
{
    struct errmsg e;
    (void)state;
    int a = mkstemp(key_path);
    int b = mkstemp(path);
    assert_true(a >= 0 && b >= 0);
    close(a);
    close(b);
    write_key(KEY "\n", 0600);
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    refusing = guarded("refuse", "");
    hashing = guarded("hash", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    decoder_free(refusing);
    decoder_free(hashing);
    rates_free(rates);
    unlink(key_path);
    unlink(path);
    return 0;
}

static bool same(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* A payment whose member has this value instead (JSON text). */
static enum dead_reason payment(struct decoder *d, const char *member, const char *value,
                                struct tx *t, struct tx_strings *s)
{
    static const char *const MEMBERS[][2] = {
        {"id", "\"t1\""},       {"ts", "\"2026-04-01T12:30:05Z\""},
        {"card", "\"c1\""},     {"type", "\"cash\""},
        {"amount", "5716"},     {"currency", "\"USD\""},
        {"merchant", "\"m1\""}, {"terminal", "\"x9\""},
        {"device", "\"d\""},    {"ip", "\"10.0.0.1\""},
        {"mcc", "\"5411\""},    {"country", "\"DE\""},
        {"channel", "\"atm\""}, {"entry", "\"chip\""},
        {"exponent", "2"},      {"lat", "1.5"},
        {"lon", "1.5"},         {"later", "1"}};
    char json[2048] = "";
    size_t at = 0;
    for (size_t i = 0; i < sizeof MEMBERS / sizeof *MEMBERS; i++) {
        bool other = strcmp(MEMBERS[i][0], member) == 0;
        at += (size_t)snprintf(json + at, sizeof json - at, "%c\"%s\":%s", i == 0 ? '{' : ',',
                               MEMBERS[i][0], other ? value : MEMBERS[i][1]);
    }
    at += (size_t)snprintf(json + at, sizeof json - at, "}");
    return decode_tx(d, json, at, NULL, 0, 0, -1, t, s);
}

static void test_a_card_is_refused_or_hashed(void **state)
{
    (void)state;
    static const char *const WRITTEN[] = {"\"" NUMBER "\"", "\"4111 1111 1111 1111\"",
                                          "\"4111-1111-1111-1111\"", "\"41-111111 11111111\"",
                                          "\"\\u0034111111111111111\""};
    struct tx t;
    struct tx_strings s;
    for (size_t i = 0; i < sizeof WRITTEN / sizeof *WRITTEN; i++) {
        assert_int_equal(payment(refusing, "card", WRITTEN[i], &t, &s), DEAD_CARD_NUMBER);
        assert_null(strstr(decode_detail(refusing), "1111"));
        assert_non_null(strstr(decode_detail(refusing), "card.numbers"));
        assert_int_equal(payment(hashing, "card", WRITTEN[i], &t, &s), DEAD_NONE);
        assert_true(same(s.card, TOKEN));
        assert_int_equal(t.card, hash_id(TOKEN, strlen(TOKEN)));
    }
    assert_int_equal(payment(hashing, "card", "\"card " NUMBER "\"", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(refusing, "card", "\"4111111111111112\"", &t, &s), DEAD_NONE);
    assert_true(same(s.card, "4111111111111112"));
    assert_int_equal(payment(hashing, "card", "\"" TOKEN "\"", &t, &s), DEAD_NONE);
    assert_true(same(s.card, TOKEN)); /* what is a token stays so */
    assert_int_equal(payment(hashing, "card", "\"6212345678900000003\"", &t, &s), DEAD_NONE);
    assert_int_equal(s.card.len, strlen(TOKEN));
    assert_false(same(s.card, TOKEN));
}

static void test_elsewhere_it_is_refused_and_never_told(void **state)
{
    (void)state;
    static const char *const MEMBERS[] = {"id",       "ts",      "type",  "amount",  "currency",
                                          "merchant", "device",  "ip",    "mcc",     "country",
                                          "terminal", "channel", "entry", "exponent"};
    static const char *const VALUES[] = {"\"" NUMBER "\"", "\"xx " NUMBER " yy\"",
                                         "\"4111 1111 1111 1111\"", NUMBER,
                                         "\"a text of 22 bytes \\u0034"
                                         "111111111111111\""};
    struct decoder *const both[] = {refusing, hashing};
    struct tx t;
    struct tx_strings s;
    for (size_t i = 0; i < sizeof MEMBERS / sizeof *MEMBERS; i++) {
        for (size_t k = 0; k < 2 * (sizeof VALUES / sizeof *VALUES); k++) {
            struct decoder *d = both[k % 2];
            enum dead_reason r = payment(d, MEMBERS[i], VALUES[k / 2], &t, &s);
            if (r == DEAD_NONE || strstr(decode_detail(d), "11111") != NULL) {
                fail_msg("%s %s: %s (%s)", MEMBERS[i], VALUES[k / 2], dead_reason_name(r),
                         decode_detail(d));
            }
        }
        assert_int_equal(payment(refusing, "id", "\"" NUMBER "\"", &t, &s), DEAD_CARD_NUMBER);
    }
    /* as amounts: 15 digits, and 13 of them in units of 1/100 */
    assert_int_equal(payment(refusing, "amount", "378282246310005", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(refusing, "amount", "378282246310006", &t, &s), DEAD_NONE);
    assert_int_equal(payment(refusing, "amount", "\"4222222222222\"", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(refusing, "amount", "\"3782822463100.05\"", &t, &s), DEAD_CARD_NUMBER);
}

static void test_identities_of_digits_pass_where_settings_say_so(void **state)
{
    (void)state;
    struct decoder *d = guarded("hash", "id , terminal");
    struct tx t;
    struct tx_strings s;
    assert_int_equal(payment(d, "id", "\"" NUMBER "\"", &t, &s), DEAD_NONE);
    assert_true(same(s.id, NUMBER));
    assert_int_equal(payment(d, "terminal", "\"" NUMBER "\"", &t, &s), DEAD_NONE);
    assert_int_equal(payment(d, "merchant", "\"" NUMBER "\"", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(d, "id", "\"x" NUMBER "\"", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(d, "id", "\"4111-1111-1111-1111\"", &t, &s), DEAD_CARD_NUMBER);
    assert_int_equal(payment(d, "card", "\"" NUMBER "\"", &t, &s), DEAD_NONE);
    assert_true(same(s.card, TOKEN));
    decoder_free(d);
}

static void test_the_key_is_compared_as_it_came(void **state)
{
    (void)state;
    static const char JSON[] = "{\"id\":\"t1\",\"ts\":\"2026-04-01T12:30:05Z\",\"card\":\"" NUMBER
                               "\",\"type\":\"cash\",\"amount\":1,\"currency\":\"USD\"}";
    const size_t n = sizeof JSON - 1;
    struct tx t;
    struct tx_strings s;
    assert_int_equal(decode_tx(hashing, JSON, n, NUMBER, 16, 0, -1, &t, &s), DEAD_NONE);
    assert_int_equal(decode_tx(hashing, JSON, n, "c1", 2, 0, -1, &t, &s), DEAD_KEY_MISMATCH);
    assert_int_equal(decode_tx(hashing, JSON, n, TOKEN, strlen(TOKEN), 0, -1, &t, &s),
                     DEAD_KEY_MISMATCH);
    assert_true(same(decode_key(hashing, NUMBER, 16), TOKEN));
    assert_true(same(decode_key(hashing, "c1", 2), "c1"));
    assert_int_equal(decode_key(hashing, NULL, 0).len, 0);
}

static enum dead_reason label(struct decoder *d, const char *tx, const char *card,
                              const char *number, struct label *l, struct label_strings *s)
{
    char json[1024];
    int n = snprintf(json, sizeof json,
                     "{\"source\":\"s\",\"number\":%s,\"tx\":\"%s\",\"verdict\":\"fraud\",\"ts\":"
                     "\"2026-04-01T12:30:05Z\",\"known\":\"2026-04-02T12:30:05Z\",\"card\":\"%s\"}",
                     number, tx, card);
    return decode_label(d, json, (size_t)n, 0, -1, l, s);
}

static void test_labels(void **state)
{
    (void)state;
    struct label l;
    struct label_strings s;
    assert_int_equal(label(hashing, "t1", NUMBER, "1", &l, &s), DEAD_NONE);
    assert_true(same(s.card, TOKEN));
    assert_int_equal(l.card, hash_id(TOKEN, strlen(TOKEN)));
    assert_int_equal(label(refusing, "t1", NUMBER, "1", &l, &s), DEAD_CARD_NUMBER);
    assert_int_equal(label(hashing, NUMBER, "c1", "1", &l, &s), DEAD_CARD_NUMBER);
    assert_int_equal(label(hashing, "t1", "c1", NUMBER, &l, &s), DEAD_CARD_NUMBER);
    /* a time of today in microseconds that passes Luhn's check */
    assert_int_equal(label(hashing, "t1", "c1", "1775046605123003", &l, &s), DEAD_NONE);
    assert_int_equal(l.number, UINT64_C(1775046605123003));
}

static void test_files_that_enter_topics(void **state)
{
    (void)state;
    static const char CSV[] =
        "tx_id,ts,card_id,amount\nt1,2026-04-01T12:30:05Z," NUMBER ",1.00\n" NUMBER
        ",2026-04-01T12:30:06Z,c1,1.00\nt3,2026-04-01T12:30:06Z,c1,x" NUMBER
        "\nt4,2026-04-01T12:30:06Z,c1,4222222222222\n";
    static const char LINES[] =
        "{\"id\":\"t1\",\"ts\":\"2026-04-01T12:30:05Z\",\"card\":\"" NUMBER
        "\",\"type\":\"cash\",\"amount\":1,\"currency\":\"USD\"}\n"
        "{\"id\":\"t2\",\"ts\":\"2026-04-01T12:30:05Z\",\"card\":\"c1\",\"type\":\"cash\","
        "\"amount\":1,\"currency\":\"USD\",\"note\":\"\\u0034111111111111111\"}\n";
    struct errmsg e = {""};
    struct card_rules r = rules("hash", "");
    struct feed_conf c = {.path = path, .format = FEED_CSV, .rates = rates, .cards = &r};
    struct feed *f = NULL;
    struct feed_item item;
    assert_int_equal(file_write(path, CSV, sizeof CSV - 1, &e), ERR_OK);
    assert_int_equal(feed_open(&c, &f, &e), ERR_OK);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_true(same(item.strings.card, TOKEN));
    assert_null(memmem(item.json.at, item.json.len, NUMBER, 16));
    assert_non_null(memmem(item.json.at, item.json.len, TOKEN, strlen(TOKEN)));
    for (int line = 3; line <= 5; line++) {
        char where[32];
        snprintf(where, sizeof where, "line %d:", line);
        assert_int_equal(feed_next(f, &item, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, where));
        assert_null(strstr(e.text, "11111"));
        assert_null(strstr(e.text, "22222"));
    }
    feed_close(f);
    c.format = FEED_LINES;
    assert_int_equal(file_write(path, LINES, sizeof LINES - 1, &e), ERR_OK);
    assert_int_equal(feed_open(&c, &f, &e), ERR_OK);
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_true(same(item.strings.card, TOKEN));
    assert_null(memmem(item.json.at, item.json.len, NUMBER, 16));
    assert_int_equal(feed_next(f, &item, &e), ERR_OK);
    assert_null(memmem(item.json.at, item.json.len, "note", 4));
    feed_close(f);
    card_rules_done(&r);
}

static void test_files_of_verdicts(void **state)
{
    (void)state;
    static const char CSV[] = "tx_id,verdict,known,card_id\nt1,fraud,2026-05-01," NUMBER "\n" NUMBER
                              ",fraud,2026-05-01,c1\nt3,fraud,2026-05-01,x " NUMBER "\n";
    struct errmsg e = {""};
    struct card_rules r = rules("hash", "");
    struct card_guard *g = NULL;
    struct csv *csv = NULL;
    struct label_file f;
    struct label_line line;
    assert_int_equal(file_write(path, CSV, sizeof CSV - 1, &e), ERR_OK);
    assert_int_equal(csv_open(path, &csv, &e), ERR_OK);
    assert_int_equal(label_file_init(&f, csv, &e), ERR_OK);
    assert_int_equal(card_guard_create(&r, &g, &e), ERR_OK);
    f.guard = g;
    assert_int_equal(label_file_next(&f, &line, &e), ERR_OK);
    assert_true(same((struct slice){line.card, line.card_len}, TOKEN));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(label_file_next(&f, &line, &e), ERR_CORRUPT);
        assert_null(strstr(e.text, "11111"));
    }
    csv_close(csv);
    card_guard_free(g);
    card_rules_done(&r);
}

static void test_many_cards_keep_their_tokens(void **state)
{
    (void)state;
    enum { CARDS = 20000 }; /* more than are remembered */
    struct tx t;
    struct tx_strings s;
    uint64_t *seen = calloc(CARDS, sizeof *seen);
    assert_non_null(seen);
    for (int i = 0; i < 2 * CARDS; i++) {
        char card[24];
        unsigned sum = 0;
        snprintf(card, sizeof card, "\"4%014d?\"", i % CARDS);
        for (int k = 1; k <= 15; k++) {
            unsigned d = (unsigned)(card[k] - '0') << (k % 2);
            sum += d > 9 ? d - 9 : d;
        }
        card[16] = (char)('0' + (10 - sum % 10) % 10);
        assert_int_equal(payment(hashing, "card", card, &t, &s), DEAD_NONE);
        assert_int_equal(s.card.len, strlen(TOKEN));
        if (i >= CARDS) {
            assert_int_equal(t.card, seen[i - CARDS]);
        } else {
            seen[i] = t.card;
        }
    }
    free(seen);
}

static void refused(enum err want, const char *words)
{
    struct card_key *k = NULL;
    struct errmsg e = {""};
    enum err got = card_key_read(key_path, &k, &e);
    if (got != want || strstr(e.text, words) == NULL || strstr(e.text, "00112233") != NULL) {
        fail_msg("%d: %s (wanted %d, \"%s\")", (int)got, e.text, (int)want, words);
    }
    assert_null(k);
}

static void test_the_file_of_the_key(void **state)
{
    (void)state;
    struct card_key *k = NULL;
    struct errmsg e = {""};
    write_key(KEY, 0400); /* without a line's end */
    assert_int_equal(card_key_read(key_path, &k, &e), ERR_OK);
    assert_string_equal(card_key_name(k), "kab576ba5");
    card_key_free(k);
    k = NULL;
    write_key(KEY KEY "\n", 0600);
    assert_int_equal(card_key_read(key_path, &k, &e), ERR_OK);
    card_key_free(k);
    k = NULL;
    write_key(KEY "\n", 0604);
    refused(ERR_REFUSED, "mode 604");
    write_key(KEY "\n", 0660);
    refused(ERR_REFUSED, "chmod 600");
    write_key("", 0600);
    refused(ERR_CORRUPT, "is no key");
    write_key("00112233445566778899aabbccddeeff\n", 0600);
    refused(ERR_CORRUPT, "is no key");
    write_key(KEY KEY "0\n", 0600);
    refused(ERR_CORRUPT, "is no key");
    write_key(KEY KEY "00\n", 0600);
    refused(ERR_CORRUPT, "is no key");
    write_key(KEY "zz\n", 0600);
    refused(ERR_CORRUPT, "is no key");
    assert_int_equal(unlink(key_path), 0);
    refused(ERR_NOTFOUND, key_path);
    assert_int_equal(mkdir(key_path, 0700), 0);
    refused(ERR_CORRUPT, "is no file");
    assert_int_equal(rmdir(key_path), 0);
    assert_int_equal(file_write(key_path, KEY "\n", sizeof KEY, &e), ERR_OK);
    write_key(KEY "\n", 0600);
}

static void test_settings_that_are_refused(void **state)
{
    (void)state;
    struct errmsg e = {""};
    const char *bad = NULL;
    struct card_rules r;
    struct conf *c = settings("mask", "");
    assert_int_equal(card_rules_check(c, &bad, &e), ERR_INVALID);
    assert_string_equal(bad, "card.numbers");
    conf_free(c);
    c = settings("hash", "id,card");
    assert_int_equal(card_rules_check(c, &bad, &e), ERR_INVALID);
    assert_string_equal(bad, "card.digits");
    conf_free(c);
    c = settings("hash", "");
    assert_int_equal(conf_set(c, "card.key-file", "", &e), ERR_OK);
    assert_int_equal(card_rules_check(c, &bad, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "needs card.key-file"));
    assert_int_equal(conf_set(c, "card.key-file", "/none/there", &e), ERR_OK);
    assert_int_equal(card_rules_check(c, &bad, &e), ERR_OK);
    assert_int_equal(card_rules_read(c, &r, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "card.key-file"));
    conf_free(c);
}

static void test_what_is_told(void **state)
{
    (void)state;
    char text[128];
    struct card_rules r = rules("refuse", "");
    card_rules_tell(&r, text, sizeof text);
    assert_string_equal(text, "refused");
    card_rules_done(&r);
    r = rules("hash", "merchant,id");
    card_rules_tell(&r, text, sizeof text);
    assert_string_equal(text,
                        "hashed with key kab576ba5; identities of digits pass in id, merchant");
    card_rules_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_card_is_refused_or_hashed),
        cmocka_unit_test(test_elsewhere_it_is_refused_and_never_told),
        cmocka_unit_test(test_identities_of_digits_pass_where_settings_say_so),
        cmocka_unit_test(test_the_key_is_compared_as_it_came),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_files_that_enter_topics),
        cmocka_unit_test(test_files_of_verdicts),
        cmocka_unit_test(test_many_cards_keep_their_tokens),
        cmocka_unit_test(test_the_file_of_the_key),
        cmocka_unit_test(test_settings_that_are_refused),
        cmocka_unit_test(test_what_is_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
