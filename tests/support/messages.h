/* Messages of the transactions topic for tests: a seeded stream with everything that happens there
 * (repeats, refunds, reversals, checks, late and simultaneous events, missing fields, bad input).
 *
 * Plain values with room of their own; aborts without memory. */
#ifndef FD_TESTS_MESSAGES_H
#define FD_TESTS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"
#include "daemon/decode.h"

#define MESSAGES_START_US (INT64_C(1767225600) * 1000000) /* 2026-01-01 */

struct made_message {
    char *key; /* NULL: none */
    char *value;
    size_t value_len;
    int64_t timestamp_us;
    int64_t of;              /* index of the message it repeats; -1: none */
    enum dead_reason reason; /* DEAD_NONE: good */
    bool unjudged;           /* a refund or reversal */
};

struct messages {
    size_t n;
    struct made_message *m;
};

/* n messages of `cards` cards; repeats and bad ones among them if wanted. */
struct messages messages_make(uint64_t seed, size_t n, uint32_t cards, bool repeats, bool bad);
void messages_done(struct messages *m);

/* As the bus hands them out: message i of `m` gets `offset`. */
struct bus_message messages_get(const struct messages *m, size_t i, int32_t partition,
                                int64_t offset);

/* One message with every dead reason that decode finds, in that order: out->m[r - 1]. */
struct messages messages_bad(void);

#endif
