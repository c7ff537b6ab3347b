/* Time a message takes to read and to write, on one core. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/card_guard.h"
#include "daemon/card_hash.h"
#include "daemon/encode.h"
#include "daemon/reasons.h"
#include "tests/support/kept_schemas.h"

#define ROUNDS 500000
#define RUNS 5

static const char TX[] =
    "{\"id\":\"t000000001\",\"ts\":\"2026-04-01T12:30:05.123Z\",\"card\":\"c0000042\",\"type\":"
    "\"purchase\",\"amount\":\"57.16\",\"currency\":\"USD\",\"merchant\":\"m000017\",\"terminal\":"
    "\"t003156\",\"mcc\":\"5411\",\"country\":\"DE\",\"channel\":\"ecommerce\",\"entry\":"
    "\"manual\","
    "\"device\":\"d8f3a12cd\",\"ip\":\"203.0.113.9\",\"lat\":52.5201,\"lon\":13.4049}";

/* The same with identities as UUIDs, and with a full card number. */
static const char UUIDS[] =
    "{\"id\":\"0b6e5f4a-91c7-4d02-8a35-7716e2b90d41\",\"ts\":\"2026-04-01T12:30:05.123Z\","
    "\"card\":\"7f3c2d90-52e8-4b16-9c04-2ad8815f6e37\",\"type\":\"purchase\",\"amount\":\"57.16\","
    "\"currency\":\"USD\",\"merchant\":\"5e901b77-6c2f-4e88-b3d1-40f7a9c86212\",\"mcc\":\"5411\","
    "\"country\":\"DE\",\"device\":\"c84d3e1f-0a95-47b6-8f20-91e6d7735ab8\"}";
static char NUMBERED[] =
    "{\"id\":\"t000000001\",\"ts\":\"2026-04-01T12:30:05.123Z\",\"card\":\"4000000000000000\","
    "\"type\":\"purchase\",\"amount\":\"57.16\",\"currency\":\"USD\",\"merchant\":\"m000017\","
    "\"terminal\":\"t003156\",\"mcc\":\"5411\",\"country\":\"DE\",\"channel\":\"ecommerce\"}";

static struct decoder *decoder; /* the one in use: */
static struct decoder *bare, *refusing, *hashing;
static struct tx tx;
static struct tx_strings strings;
static struct decision decision;
static char out[ENCODE_MAX];
static float columns[FEAT_DIM];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t run_decode(void)
{
    size_t n = 0;
    enum dead_reason r = decode_tx(decoder, TX, sizeof TX - 1, "c0000042", 8, 0, -1, &tx, &strings);
    return r == DEAD_NONE ? n : 1;
}

static size_t run_decode_uuids(void)
{
    enum dead_reason r = decode_tx(decoder, UUIDS, sizeof UUIDS - 1, NULL, 0, 0, -1, &tx, &strings);
    return r == DEAD_NONE ? 0 : 1;
}

/* Another card each time, so none is remembered: the digits count up, the last one is Luhn's. */
static size_t run_decode_new_number(void)
{
    static uint64_t count;
    char *digits = strstr(NUMBERED, "\"card\":\"") + 8;
    unsigned sum = 4 * 2; /* of the first digit */
    uint64_t left = ++count;
    for (size_t i = 14; i > 0; i--, left /= 10) {
        unsigned d = (unsigned)(left % 10) << (i % 2 == 0);
        digits[i] = (char)('0' + left % 10);
        sum += d > 9 ? d - 9 : d;
    }
    digits[15] = (char)('0' + (10 - sum % 10) % 10);
    enum dead_reason r =
        decode_tx(decoder, NUMBERED, sizeof NUMBERED - 1, NULL, 0, 0, -1, &tx, &strings);
    return r == DEAD_NONE && strings.card.len > 64 ? 0 : 1;
}

static size_t run_decode_old_number(void)
{
    enum dead_reason r =
        decode_tx(decoder, NUMBERED, sizeof NUMBERED - 1, NULL, 0, 0, -1, &tx, &strings);
    return r == DEAD_NONE && strings.card.len > 64 ? 0 : 1;
}

static size_t run_encode_decision(void)
{
    size_t n = 0;
    return encode_decision(&decision, out, sizeof out, &n) == ERR_OK ? n : 0;
}

static size_t run_encode_alert(void)
{
    size_t n = 0;
    return encode_alert(&decision, &tx, &strings, out, sizeof out, &n) == ERR_OK ? n : 0;
}

static size_t run_reasons(void)
{
    static const float group[GROUP_COUNT] = {1, 2, 3, 4, 5, 6};
    struct feat_facts facts = {.card_events = 3, .usual_ratio = 2};
    return reasons_make(columns, group, &facts, decision.reasons);
}

static void measure(const char *name, size_t (*run)(void))
{
    double best = 1e9;
    size_t sum = 0;
    for (int r = 0; r < RUNS; r++) {
        double start = now_s();
        for (int i = 0; i < ROUNDS; i++) {
            decision.offset = i;
            decision.probability = (double)i / ROUNDS;
            sum += run();
        }
        double each = (now_s() - start) / ROUNDS;
        best = each < best ? each : best;
    }
    printf("%-22s %7.3f us  %9.0f /s  (check %zu)\n", name, best * 1e6, 1 / best, sum);
}

#define TURNS 60
#define TURN_ROUNDS 10000

/* A payment in one format, and what reads it. */
struct in_format {
    enum wire_format format;
    struct schemas *schemas;
    struct decoder *decoder;
    char bytes[ENCODE_MAX];
    size_t len;
    double best;
};

/* TX in this format, with the guard that the daemon has. */
static bool make_format(struct in_format *f, const struct rates *rates, struct errmsg *e)
{
    const struct card_rules refuse = {.key = NULL};
    struct tx t;
    struct tx_strings s;
    f->best = 1e9;
    f->schemas = f->format == FORMAT_JSON ? NULL : kept_schemas(f->format);
    f->len = sizeof TX - 1;
    memcpy(f->bytes, TX, f->len);
    if (decode_tx(refusing, TX, sizeof TX - 1, NULL, 0, 0, -1, &t, &s) != DEAD_NONE ||
        (f->format != FORMAT_JSON && schemas_write(f->format, KEPT_SCHEMA, &t, &s, f->bytes,
                                                   sizeof f->bytes, &f->len) != ERR_OK) ||
        decoder_create(rates, WIRE_MESSAGE_MAX, &f->decoder, e) != ERR_OK ||
        decode_guard(f->decoder, &refuse, e) != ERR_OK) {
        return false;
    }
    decode_schemas(f->decoder, f->schemas);
    return true;
}

static bool turn(struct in_format *f)
{
    size_t bad = 0;
    const double start = now_s();
    for (int i = 0; i < TURN_ROUNDS; i++) {
        bad += decode_tx(f->decoder, f->bytes, f->len, "c0000042", 8, 0, -1, &tx, &strings) !=
               DEAD_NONE;
    }
    const double each = (now_s() - start) / TURN_ROUNDS;
    f->best = each < f->best ? each : f->best;
    return bad == 0;
}

/* The formats in turns, short ones: on a machine that others use, too, their ratio holds. */
static bool measure_formats(const struct rates *rates, struct errmsg *e)
{
    static struct in_format f[] = {
        {.format = FORMAT_JSON}, {.format = FORMAT_AVRO}, {.format = FORMAT_PROTOBUF}};
    bool good = true;
    for (size_t i = 0; i < 3 && good; i++) {
        good = make_format(&f[i], rates, e);
    }
    for (size_t i = 0; i < 3 * (size_t)TURNS && good; i++) {
        good = turn(&f[i % 3]);
    }
    for (size_t i = 0; i < 3; i++) {
        if (good) {
            printf("in %-8s %4zu bytes  %7.3f us  %.2f of JSON's time\n",
                   schemas_format_name(f[i].format), f[i].len, f[i].best * 1e6,
                   f[i].best / f[0].best);
        }
        decoder_free(f[i].decoder);
        schemas_free(f[i].schemas);
    }
    return good;
}

/* A decoder that hashes with a key of its own file. */
static enum err make_hashing(const struct rates *rates, struct errmsg *e)
{
    char path[] = "/tmp/fraudd-bench-key-XXXXXX";
    static const char KEY[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    struct card_rules rules = {.key = NULL};
    int fd = mkstemp(path);
    bool written = fd >= 0 && write(fd, KEY, sizeof KEY - 1) == (ssize_t)sizeof KEY - 1;
    enum err err =
        written ? card_key_read(path, &rules.key, e) : err_set(e, ERR_IO, "cannot write %s", path);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    if (err == ERR_OK) {
        err = decoder_create(rates, WIRE_MESSAGE_MAX, &hashing, e);
    }
    if (err == ERR_OK) {
        err = decode_guard(hashing, &rules, e);
    }
    card_rules_done(&rules);
    return err;
}

int main(void)
{
    struct rates *rates = NULL;
    struct errmsg e;
    const struct card_rules refuse = {.key = NULL};
    if (rates_create_default(&rates, &e) != ERR_OK ||
        decoder_create(rates, WIRE_MESSAGE_MAX, &bare, &e) != ERR_OK ||
        decoder_create(rates, WIRE_MESSAGE_MAX, &refusing, &e) != ERR_OK ||
        decode_guard(refusing, &refuse, &e) != ERR_OK || make_hashing(rates, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("transaction of %zu bytes, with UUIDs %zu; best of %d runs\n", sizeof TX - 1,
           sizeof UUIDS - 1, RUNS);
    decoder = bare;
    measure("decode, no guard", run_decode);
    decoder = refusing;
    measure("decode transaction", run_decode);
    if (!measure_formats(rates, &e)) {
        fprintf(stderr, "the formats of bytes are not measured: %s\n", e.text);
        return 1;
    }
    decoder = bare;
    measure("UUIDs, no guard", run_decode_uuids);
    decoder = refusing;
    measure("decode UUIDs", run_decode_uuids);
    decoder = hashing;
    measure("card number, new", run_decode_new_number);
    measure("card number, again", run_decode_old_number);
    decoder = refusing;
    (void)run_decode();
    decision = (struct decision){.tx = strings.id,
                                 .log = {"payments", 8},
                                 .event_us = tx.event_us,
                                 .threshold = 0.123456789,
                                 .model = {"20260401-8f3a12cd", 17},
                                 .schema_hash = 42,
                                 .revision = 1,
                                 .amount_ratio = 1.5F};
    measure("encode decision", run_encode_decision);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        columns[i] = feature_info(i)->missing;
    }
    measure("reasons", run_reasons);
    decision.outcome = DECISION_REVIEW;
    decision.reason_count = DECISION_REASONS_MAX;
    measure("encode alert", run_encode_alert);
    decoder_free(bare);
    decoder_free(refusing);
    decoder_free(hashing);
    rates_free(rates);
    return 0;
}
