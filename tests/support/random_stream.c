#include "tests/support/random_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

#define MINUTE INT64_C(60000000)
#define DAY (1440 * MINUTE)

static uint64_t pick(struct rng *r, const char *kind, size_t count, double missing)
{
    if (count == 0 || rng_uniform(r) < missing) {
        return 0;
    }
    /* a few are much more frequent than the others */
    uint64_t k = rng_below(r, 3) == 0 ? rng_below(r, (count + 3) / 4) : rng_below(r, count);
    char id[32];
    int len = snprintf(id, sizeof id, "%s%llu", kind, (unsigned long long)k);
    return hash_id(id, (size_t)len);
}

static uint32_t amount(struct stream *s, size_t at)
{
    switch (rng_below(&s->rng, 8)) {
    case 0:
        return (uint32_t)rng_below(&s->rng, 40) * 1000;
    case 1:
        return at > 0 ? s->tx[rng_below(&s->rng, at)].amount_ref : 0;
    case 2:
        return (uint32_t)rng_below(&s->rng, 50);
    case 3:
        return (uint32_t)rng_below(&s->rng, 1000000);
    default:
        return 500 + (uint32_t)rng_below(&s->rng, 20000);
    }
}

static uint8_t type(struct rng *r)
{
    static const uint8_t RARE[] = {TX_CASH, TX_REFUND, TX_REVERSAL, TX_CHECK};
    return rng_below(r, 4) == 0 ? RARE[rng_below(r, 4)] : TX_PURCHASE;
}

/* A column's edge in time from an earlier event, or a microsecond off. */
static int64_t edge_us(struct stream *s)
{
    static const int64_t MINUTES[] = {60,        90,        6 * 60,    1350,      1440,
                                      1530,      3 * 1440,  7 * 1440,  14 * 1440, 21 * 1440,
                                      28 * 1440, 30 * 1440, 90 * 1440, 91 * 1440};
    int64_t edge = MINUTES[rng_below(&s->rng, 14)] * MINUTE;
    edge += rng_below(&s->rng, 3) == 0 ? s->conf.maturity_us : 0;
    return edge + (int64_t)rng_below(&s->rng, 3) - 1;
}

/* The earlier event whose edge this one is to hit, or NULL: it comes when it comes. */
static const struct tx *choose_time(struct stream *s, size_t at, int64_t clock_us, int64_t *out_us)
{
    const struct stream_conf *c = &s->conf;
    double u = rng_uniform(&s->rng);
    if (at > 0 && u < c->late_share) {
        *out_us = clock_us - (int64_t)rng_below(&s->rng, (uint64_t)c->late_max_us + 1);
        return NULL;
    }
    if (at > 0 && u < c->late_share + c->edge_share) {
        int64_t edge = edge_us(s);
        /* an event whose edge is near the clock: others would move it away from everything */
        for (int tries = 0; tries < 200; tries++) {
            const struct tx *from = &s->tx[rng_below(&s->rng, at)];
            *out_us = from->event_us + edge;
            if (*out_us <= clock_us + 2 * c->mean_step_us && *out_us > clock_us - 2 * DAY) {
                return from;
            }
        }
    }
    *out_us = clock_us;
    if (rng_below(&s->rng, 6) != 0) { /* else a tie */
        *out_us += (int64_t)(rng_exponential(&s->rng) * (double)c->mean_step_us);
    }
    return NULL;
}

static void fill(struct stream *s, struct tx *t, size_t at, int64_t event_us)
{
    const struct stream_conf *c = &s->conf;
    struct rng *r = &s->rng;
    char id[32];
    int len = snprintf(id, sizeof id, "tx%zu", at);
    *t = (struct tx){.id = hash_id(id, (size_t)len),
                     .card = pick(r, "card", c->cards, 0),
                     .merchant = pick(r, "merchant", c->merchants, c->missing_share),
                     .terminal = pick(r, "terminal", c->terminals, c->missing_share),
                     .device = pick(r, "device", c->devices, c->missing_share),
                     .ip = pick(r, "ip", c->ips, c->missing_share),
                     .event_us = event_us,
                     .amount_ref = amount(s, at),
                     .type = type(r),
                     .channel = (uint8_t)rng_below(r, 6),
                     .entry = (uint8_t)rng_below(r, 6),
                     .foreign_currency = rng_below(r, 5) == 0};
    if (rng_uniform(r) >= c->missing_share) {
        t->mcc = (uint16_t)(5000 + rng_below(r, 12));
    }
    if (rng_uniform(r) >= c->missing_share) {
        t->country = (uint16_t)('A' * 256 + 'A' + (int)rng_below(r, 12));
    }
    if (rng_uniform(r) >= c->missing_share) {
        t->has_location = true;
        t->lat = (float)(rng_uniform(r) * 180 - 90);
        t->lon = (float)(rng_uniform(r) * 360 - 180);
    }
}

void stream_create(struct stream *s, const struct stream_conf *c)
{
    *s = (struct stream){.conf = *c};
    s->tx = calloc(c->events, sizeof *s->tx);
    s->usual_ratio = calloc(c->events, sizeof *s->usual_ratio);
    if (s->tx == NULL || s->usual_ratio == NULL) {
        fputs("random stream: no memory\n", stderr);
        abort();
    }
    rng_init(&s->rng, c->seed);
    int64_t clock_us = INT64_C(1522540800000000) + (int64_t)rng_below(&s->rng, 86400) * 1000000;
    for (size_t i = 0; i < c->events; i++) {
        int64_t t = clock_us;
        const struct tx *from = choose_time(s, i, clock_us, &t);
        fill(s, &s->tx[i], i, t);
        if (from != NULL) {
            s->tx[i].card = from->card;
            s->tx[i].terminal = from->terminal;
            s->tx[i].device = from->device;
        }
        clock_us = t > clock_us ? t : clock_us;
    }
}

void stream_done(struct stream *s)
{
    free(s->tx);
    free(s->usual_ratio);
}

struct label stream_label_of(struct stream *s, size_t event, int64_t known_us, uint8_t verdict)
{
    const struct tx *t = &s->tx[event];
    return (struct label){.source = 7,
                          .number = ++s->label_number,
                          .tx_id = t->id,
                          .card = t->card,
                          .merchant = t->merchant,
                          .terminal = t->terminal,
                          .device = t->device,
                          .ip = t->ip,
                          .event_us = t->event_us,
                          .known_us = known_us,
                          .amount_ref = t->amount_ref,
                          .usual_ratio = s->usual_ratio[event],
                          .mcc = t->mcc,
                          .country = t->country,
                          .verdict = verdict};
}

/* Mostly one of the latest events. */
static size_t labelled_event(struct stream *s, size_t at)
{
    switch (rng_below(&s->rng, 8)) {
    case 0:
        return s->last_label; /* again: repeated or revised */
    case 1:
        return at + rng_below(&s->rng, 3); /* before the payment itself */
    case 2:
        return rng_below(&s->rng, at + 1);
    default: {
        size_t back = rng_below(&s->rng, 40);
        return back < at ? at - back : 0;
    }
    }
}

bool stream_label(struct stream *s, size_t at, struct label *out)
{
    if (rng_uniform(&s->rng) >= s->conf.label_share) {
        return false;
    }
    size_t event = labelled_event(s, at);
    event = event < s->conf.events ? event : s->conf.events - 1;
    int64_t delay = 0;
    switch (rng_below(&s->rng, 4)) {
    case 0:
        break; /* known at once */
    case 1:
        delay = s->conf.maturity_us;
        break;
    default:
        delay = (int64_t)rng_below(&s->rng, (uint64_t)s->conf.label_max_us + 1);
    }
    /* what has a verdict already gets any other as well */
    uint8_t verdict = rng_below(&s->rng, 4) == 0 ? (uint8_t)rng_below(&s->rng, 3) : LABEL_FRAUD;
    *out = stream_label_of(s, event, s->tx[event].event_us + delay, verdict);
    if (rng_below(&s->rng, 10) == 0 && s->label_number > 1) {
        s->label_number--; /* a number that was seen before: a repeat, whatever it says */
        out->number = s->label_number;
    }
    s->last_label = event;
    return true;
}
