#include "tests/support/messages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/wire.h"

static const char *const TYPES[] = {"purchase", "purchase", "purchase", "cash",
                                    "refund",   "reversal", "check"};
static const char *const CURRENCIES[] = {"EUR", "EUR", "EUR", "USD", "JPY"};

static void keep(struct made_message *m, const char *key, const char *value, size_t len)
{
    m->key = key != NULL ? strdup(key) : NULL;
    m->value = malloc(len + 1); /* no padding, so that a sanitizer sees one byte too many */
    assert(m->value != NULL && (key == NULL || m->key != NULL));
    memcpy(m->value, value, len);
    m->value[len] = '\0';
    m->value_len = len;
}

/* A good payment; fields that may be missing are missing now and then. */
static void make_good(struct rng *r, uint64_t number, uint32_t cards, int64_t at_us,
                      struct made_message *m)
{
    char json[1024];
    char card[32];
    char when[TIME_TEXT_MAX];
    const char *type = TYPES[rng_below(r, sizeof TYPES / sizeof *TYPES)];
    snprintf(card, sizeof card, "c%" PRIu64, rng_below(r, cards));
    time_format(when, at_us);
    int n = snprintf(json, sizeof json,
                     "{\"id\":\"t%" PRIu64 "\",\"ts\":\"%s\",\"card\":\"%s\",\"type\":\"%s\","
                     "\"amount\":%" PRIu64 ",\"currency\":\"%s\"",
                     number, when, card, type, 1 + rng_below(r, 100000),
                     CURRENCIES[rng_below(r, sizeof CURRENCIES / sizeof *CURRENCIES)]);
    if (rng_below(r, 4) != 0) {
        n += snprintf(json + n, sizeof json - (size_t)n,
                      ",\"merchant\":\"m%" PRIu64 "\",\"terminal\":\"p%" PRIu64
                      "\",\"mcc\":\"%04" PRIu64 "\",\"country\":\"%s\"",
                      rng_below(r, 30), rng_below(r, 60), 4000 + rng_below(r, 40),
                      rng_below(r, 5) == 0 ? "FR" : "DE");
    }
    if (rng_below(r, 3) == 0) {
        n += snprintf(json + n, sizeof json - (size_t)n,
                      ",\"channel\":\"ecommerce\",\"device\":\"d%" PRIu64
                      "\",\"ip\":\"203.0.113.%" PRIu64 "\",\"lat\":%" PRIu64 ".5,\"lon\":13.25",
                      rng_below(r, 50), rng_below(r, 20), 40 + rng_below(r, 15));
    }
    n += snprintf(json + n, sizeof json - (size_t)n, "}");
    assert((size_t)n < sizeof json);
    keep(m, card, json, (size_t)n);
    m->of = -1;
    m->unjudged = strcmp(type, "refund") == 0 || strcmp(type, "reversal") == 0;
    m->timestamp_us = at_us + TIME_S;
}

static void copy_message(const struct made_message *from, struct made_message *to)
{
    *to = *from;
    keep(to, from->key, from->value, from->value_len);
}

struct messages messages_make(uint64_t seed, size_t n, uint32_t cards, bool repeats, bool bad)
{
    struct messages all = {.n = n, .m = calloc(n, sizeof *all.m)};
    struct messages spoilt = messages_bad();
    struct rng r;
    int64_t at_us = MESSAGES_START_US;
    assert(all.m != NULL);
    rng_init(&r, seed);
    for (size_t i = 0; i < n; i++) {
        struct made_message *m = &all.m[i];
        /* a few hours of silence now and then; every fifth at the same time as the one before */
        at_us += rng_below(&r, 200) == 0 ? 7 * TIME_HOUR
                 : rng_below(&r, 5) == 0 ? 0
                                         : (int64_t)rng_below(&r, 240) * TIME_S;
        size_t back = 1 + rng_below(&r, 20);
        uint64_t kind = rng_below(&r, 100);
        if (bad && kind < 5) {
            copy_message(&spoilt.m[rng_below(&r, spoilt.n)], m);
            m->of = -1;
        } else if (repeats && kind < 15 && i >= back && all.m[i - back].reason == DEAD_NONE) {
            copy_message(&all.m[i - back], m);
            m->of = m->of >= 0 ? m->of : (int64_t)(i - back);
        } else {
            int64_t late_us = kind < 25 ? (int64_t)rng_below(&r, 7200) * TIME_S : 0;
            make_good(&r, i, cards, at_us - late_us, m);
        }
    }
    messages_done(&spoilt);
    return all;
}

void messages_done(struct messages *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->m[i].key);
        free(m->m[i].value);
    }
    free(m->m);
    *m = (struct messages){0};
}

struct bus_message messages_get(const struct messages *all, size_t i, int32_t partition,
                                int64_t offset)
{
    const struct made_message *m = &all->m[i];
    return (struct bus_message){.topic = TOPIC_TRANSACTIONS,
                                .partition = partition,
                                .offset = offset,
                                .timestamp_us = m->timestamp_us,
                                .key = m->key,
                                .key_len = m->key != NULL ? strlen(m->key) : 0,
                                .value = m->value,
                                .value_len = m->value_len};
}

/* The text for a reason; NULL: made from a rule below. */
static const char *bad_text(enum dead_reason reason)
{
    switch (reason) {
    case DEAD_EMPTY:
        return "";
    case DEAD_NOT_UTF8:
        return "{\"id\":\"t\xff\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":5,\"currency\":\"EUR\"}";
    case DEAD_NOT_JSON:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00";
    case DEAD_WRONG_TYPE:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":true,\"currency\":\"EUR\"}";
    case DEAD_MISSING_FIELD:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00:00:00Z\",\"type\":\"purchase\",\"amount\":5,"
               "\"currency\":\"EUR\"}";
    case DEAD_DUPLICATE_FIELD:
        return "{\"id\":\"t1\",\"id\":\"t2\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"c0\","
               "\"type\":\"purchase\",\"amount\":5,\"currency\":\"EUR\"}";
    case DEAD_OUT_OF_RANGE:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":-5,\"currency\":\"EUR\"}";
    case DEAD_BAD_TIME:
        return "{\"id\":\"t1\",\"ts\":\"1900-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":5,\"currency\":\"EUR\"}";
    case DEAD_FUTURE:
        return "{\"id\":\"t1\",\"ts\":\"2099-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":5,\"currency\":\"EUR\"}";
    case DEAD_KEY_MISMATCH:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"another\",\"type\":"
               "\"purchase\",\"amount\":5,\"currency\":\"EUR\"}";
    case DEAD_UNKNOWN_CURRENCY:
        return "{\"id\":\"t1\",\"ts\":\"2026-01-01T00:00:00Z\",\"card\":\"c0\",\"type\":"
               "\"purchase\",\"amount\":5,\"currency\":\"XXQ\"}";
    case DEAD_TOO_LARGE:
    case DEAD_NONE:
    case DEAD_ANSWER_LOST:
    case DEAD_CRASH:
    case DEAD_CARD_NUMBER:
    case DEAD_SCHEMA:
    case DEAD_MALFORMED:
    case DEAD_REASON_COUNT:
        break;
    }
    return NULL;
}

struct messages messages_bad(void)
{
    struct messages all = {.n = DEAD_ANSWER_LOST - 1,
                           .m = calloc(DEAD_ANSWER_LOST - 1, sizeof *all.m)};
    char *large = malloc(WIRE_MESSAGE_MAX + 1);
    assert(all.m != NULL && large != NULL);
    memset(large, ' ', WIRE_MESSAGE_MAX + 1);
    for (size_t i = 0; i < all.n; i++) {
        struct made_message *m = &all.m[i];
        m->reason = (enum dead_reason)(i + 1);
        m->of = -1;
        m->timestamp_us = MESSAGES_START_US;
        const char *text = bad_text(m->reason);
        keep(m, "c0", text != NULL ? text : large,
             text != NULL ? strlen(text) : WIRE_MESSAGE_MAX + 1);
    }
    free(large);
    return all;
}
