/* Card numbers in payments that are not JSON: the same refusal, word for word, and the same token.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/card_guard.h"
#include "daemon/card_hash.h"
#include "daemon/decode.h"
#include "daemon/encode.h"
#include "tests/support/kept_schemas.h"

#define NUMBER "4111111111111111"
#define GROUPS "4111 1111 1111 1111"

enum { JSON, AVRO, PROTO, FORMATS };
static const enum wire_format FORMAT[FORMATS] = {FORMAT_JSON, FORMAT_AVRO, FORMAT_PROTOBUF};

static struct rates *rates;
static struct schemas *schemas[FORMATS];
static struct decoder *refusing[FORMATS], *hashing[FORMATS];

static struct decoder *make(int format, const struct card_rules *rules)
{
    struct decoder *d = NULL;
    struct errmsg e = {""};
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &d, &e), ERR_OK);
    assert_int_equal(decode_guard(d, rules, &e), ERR_OK);
    decode_schemas(d, schemas[format]);
    return d;
}

static int start(void **state)
{
    static const char KEY[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    const struct card_rules refuse = {.key = NULL};
    struct card_rules hash = {.key = NULL};
    char path[] = "/tmp/fraudd-test-key-XXXXXX";
    struct errmsg e = {""};
    const int fd = mkstemp(path);
    (void)state;
    assert_int_equal(write(fd, KEY, sizeof KEY - 1), sizeof KEY - 1);
    close(fd);
    assert_int_equal(card_key_read(path, &hash.key, &e), ERR_OK);
    unlink(path);
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    for (int i = 0; i < FORMATS; i++) {
        schemas[i] = i == JSON ? NULL : kept_schemas(FORMAT[i]);
        refusing[i] = make(i, &refuse);
        hashing[i] = make(i, &hash);
    }
    card_rules_done(&hash);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < FORMATS; i++) {
        decoder_free(refusing[i]);
        decoder_free(hashing[i]);
        schemas_free(schemas[i]);
    }
    rates_free(rates);
    return 0;
}

static struct tx_strings names(void)
{
    return (struct tx_strings){.id = {"t1", 2},
                               .card = {"c1", 2},
                               .merchant = {"m1", 2},
                               .terminal = {"p1", 2},
                               .device = {"d1", 2},
                               .ip = {"203.0.113.9", 11},
                               .exponent = 2};
}

/* The payment in a format, decoded; the key is the card as it is sent. */
static enum dead_reason through(struct decoder *const *decoders, int format,
                                const struct tx_strings *s, int64_t amount, char *out_card)
{
    char bytes[ENCODE_MAX];
    size_t len = 0;
    struct tx got;
    struct tx_strings strings = {0};
    const struct tx t = {.event_us = INT64_C(1775046605123000),
                         .amount_minor = amount,
                         .currency = "EUR",
                         .channel = CHANNEL_ATM};
    assert_int_equal(format == JSON ? encode_tx(&t, s, bytes, sizeof bytes, &len)
                                    : schemas_write(FORMAT[format], KEPT_SCHEMA, &t, s, bytes,
                                                    sizeof bytes, &len),
                     ERR_OK);
    const enum dead_reason r =
        decode_tx(decoders[format], bytes, len, s->card.at, s->card.len, 0, -1, &got, &strings);
    snprintf(out_card, WIRE_ID_MAX + 1, "%.*s", (int)strings.card.len,
             strings.card.len > 0 ? strings.card.at : "");
    return r;
}

static void refused(const struct tx_strings *s, int64_t amount, const char *detail)
{
    char card[WIRE_ID_MAX + 1];
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(through(refusing, i, s, amount, card), DEAD_CARD_NUMBER);
        assert_non_null(strstr(decode_detail(refusing[i]), detail));
        assert_null(strstr(decode_detail(refusing[i]), "1111"));
        assert_string_equal(decode_detail(refusing[i]), decode_detail(refusing[JSON]));
    }
}

static void test_a_number_is_refused_in_every_text(void **state)
{
    static const struct {
        size_t at;
        const char *detail;
    } PLACES[] = {{offsetof(struct tx_strings, id), "id holds a full card number"},
                  {offsetof(struct tx_strings, card), "card holds a full card number"},
                  {offsetof(struct tx_strings, merchant), "merchant holds"},
                  {offsetof(struct tx_strings, terminal), "terminal holds"},
                  {offsetof(struct tx_strings, device), "device holds"},
                  {offsetof(struct tx_strings, ip), "ip holds"}};
    (void)state;
    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++) {
        struct tx_strings s = names();
        struct slice *place = (struct slice *)(void *)((char *)&s + PLACES[i].at);
        *place = (struct slice){NUMBER, strlen(NUMBER)};
        refused(&s, 100, PLACES[i].detail);
        *place = (struct slice){GROUPS, strlen(GROUPS)};
        refused(&s, 100, PLACES[i].detail);
    }
    const struct tx_strings s = names();
    refused(&s, INT64_C(411111111111116), "amount looks like a full card number");
}

static void test_a_card_gets_the_token_of_json(void **state)
{
    char card[FORMATS][WIRE_ID_MAX + 1];
    struct tx_strings s = names();
    (void)state;
    s.card = (struct slice){GROUPS, strlen(GROUPS)};
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(through(hashing, i, &s, 100, card[i]), DEAD_NONE);
        assert_int_equal(strncmp(card[i], "kab576ba5-", 10), 0);
        assert_string_equal(card[i], card[JSON]);
    }
    s.merchant = (struct slice){NUMBER, strlen(NUMBER)};
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(through(hashing, i, &s, 100, card[i]), DEAD_CARD_NUMBER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_number_is_refused_in_every_text),
        cmocka_unit_test(test_a_card_gets_the_token_of_json),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
