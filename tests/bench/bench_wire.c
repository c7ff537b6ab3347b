/* Time a message takes to read and to write, on one core. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/encode.h"
#include "daemon/reasons.h"

#define ROUNDS 500000
#define RUNS 5

static const char TX[] =
    "{\"id\":\"t000000001\",\"ts\":\"2026-04-01T12:30:05.123Z\",\"card\":\"c0000042\",\"type\":"
    "\"purchase\",\"amount\":\"57.16\",\"currency\":\"USD\",\"merchant\":\"m000017\",\"terminal\":"
    "\"t003156\",\"mcc\":\"5411\",\"country\":\"DE\",\"channel\":\"ecommerce\",\"entry\":"
    "\"manual\","
    "\"device\":\"d8f3a12cd\",\"ip\":\"203.0.113.9\",\"lat\":52.5201,\"lon\":13.4049}";

static struct decoder *decoder;
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

int main(void)
{
    struct rates *rates = NULL;
    struct errmsg e;
    if (rates_create_default(&rates, &e) != ERR_OK ||
        decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("transaction of %zu bytes; best of %d runs\n", sizeof TX - 1, RUNS);
    measure("decode transaction", run_decode);
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
    decoder_free(decoder);
    rates_free(rates);
    return 0;
}
