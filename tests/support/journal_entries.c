#include "tests/support/journal_entries.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"

struct journal_entry *journal_entry_new(void)
{
    struct journal_entry *e = calloc(1, sizeof *e);
    if (e == NULL) {
        abort();
    }
    return e;
}

struct journal_writer journal_writer_number(uint64_t n)
{
    struct journal_writer w = {{0}};
    (void)put_u64(put_u64(w.bytes, n), ~n);
    return w;
}

static uint64_t maybe_place(struct rng *g)
{
    return rng_below(g, 2) == 0 ? 0 : rng_next(g) | 1;
}

struct tx journal_random_tx(struct rng *g)
{
    return (struct tx){.id = rng_next(g) | 1,
                       .card = rng_next(g) | 1,
                       .merchant = maybe_place(g),
                       .terminal = maybe_place(g),
                       .device = maybe_place(g),
                       .ip = maybe_place(g),
                       /* any time, not only those that decoding lets pass */
                       .event_us = (int64_t)(rng_next(g) >> rng_below(g, 64)),
                       .amount_ref = (uint32_t)(rng_next(g) >> (32 + rng_below(g, 32))),
                       .mcc = (uint16_t)rng_next(g),
                       .country = (uint16_t)rng_next(g),
                       .type = (uint8_t)rng_below(g, TX_CHECK + 1)};
}

/* Small ones mostly, and the largest. */
static int64_t random_offset(struct rng *g, int64_t max)
{
    int64_t v = (int64_t)((rng_next(g) & (uint64_t)JOURNAL_OFFSET_MAX) >> rng_below(g, 62));
    return v < max ? v : max;
}

static bool add_random(struct rng *g, struct journal_entry *e)
{
    const struct journal_part *p = &e->parts[e->part_count - 1];
    int64_t room = JOURNAL_OFFSET_MAX - p->last - 1;
    int64_t gap = rng_below(g, 4) == 0 ? random_offset(g, room < 0 ? 0 : room) : 0;
    enum journal_fate fate =
        rng_below(g, 3) == 0 ? (enum journal_fate)(1 + rng_below(g, 3)) : JOURNAL_DECIDED;
    struct tx t = journal_random_tx(g);
    return room >= 0 &&
           journal_add(e, p->last + 1 + gap, fate, fate == JOURNAL_DECIDED ? &t : NULL);
}

void journal_random(struct rng *g, size_t parts_max, size_t messages_max, struct journal_entry *e)
{
    struct journal_writer w = journal_writer_number(rng_next(g));
    int64_t seen = random_offset(g, JOURNAL_OFFSET_MAX) - (rng_below(g, 2) == 0 ? 1 : 0);
    if (rng_below(g, 8) == 0) {
        journal_claim(e, &w, seen, (int32_t)rng_below(g, JOURNAL_PARTITIONS_MAX),
                      random_offset(g, JOURNAL_OFFSET_MAX));
        return;
    }
    journal_batch(e, &w, seen, random_offset(g, JOURNAL_OFFSET_MAX),
                  random_offset(g, JOURNAL_OFFSET_MAX));
    size_t parts = rng_below(g, parts_max + 1);
    int32_t partition = -1;
    for (size_t i = 0; i < parts && e->message_count < messages_max; i++) {
        partition += 1 + (int32_t)rng_below(g, 3);
        if (partition >= JOURNAL_PARTITIONS_MAX) {
            return;
        }
        journal_part(e, partition, random_offset(g, JOURNAL_OFFSET_MAX));
        size_t messages = 1 + rng_below(g, messages_max - e->message_count);
        for (size_t m = 0; m < messages && add_random(g, e); m++) {
        }
    }
}

void journal_reseal(uint8_t *bytes, size_t len)
{
    if (len >= JOURNAL_SUM_BYTES) {
        size_t body = len - JOURNAL_SUM_BYTES;
        (void)put_u64(bytes + body, hash_bytes(bytes, body, 0));
    }
}
