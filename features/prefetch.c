/* Brings what the next events need into the cache, many events at a time: each step of one event
 * waits for memory (slot, record, newest chunk, the one before it, ..), so the steps of all events
 * are taken side by side (Chen et al. 2007, "Improving hash join performance through prefetching").
 *
 * Only hints: reads the state, changes nothing, and what it foresees may be wrong. */
#include "base/timefmt.h"
#include "features/internal.h"

#define LINE 64
/* how many chunks of a history are followed */
#define CHUNKS_MAX 8
/* of the caller's bytes of a card, from their beginning; what may lie behind is written, not read
 */
#define EXTRA_BYTES 1024

enum { HELD_CARD, HELD_TERMINAL, HELD_MERCHANT, HELD_DEVICE, HELD_IP, HELD_COUNT };
#define HISTORIES (HELD_MERCHANT + 1)

/* One event on its way. */
struct ahead {
    const struct tx *t;
    uint64_t id[HELD_COUNT];        /* 0: missing */
    const char *record[HELD_COUNT]; /* NULL: missing or unknown */
    uint32_t chunk[HISTORIES];      /* the next to follow; 0: none */
    int64_t newer_us[HISTORIES];    /* time of the first entry of the one before */
};

static void lines(const void *from, size_t bytes)
{
    const char *p = from;
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(p + i);
    }
}

static const struct entities *table_of(const struct feat_state *s, int held)
{
    return held == HELD_CARD ? &s->cards : &s->world->places;
}

static const struct region *region_of(const struct feat_state *s, int held)
{
    return held == HELD_CARD ? &s->region : &s->world->region;
}

static void slots_step(const struct feat_state *s, struct ahead *a)
{
    const struct tx *t = a->t;
    const uint64_t ids[] = {t->card, t->terminal, t->merchant, t->device, t->ip};
    for (int k = 0; k < HELD_COUNT; k++) {
        const struct entities *e = table_of(s, k);
        a->id[k] = k == HELD_CARD || ids[k] == 0 ? ids[k] : place_id(ids[k], (enum place_kind)k);
        __builtin_prefetch(&e->index.slots[a->id[k] & e->index.mask]);
    }
    __builtin_prefetch(&s->world->mccs.place[t->mcc]);
    __builtin_prefetch(&s->world->countries.place[t->country]);
}

static void category_step(const struct categories *c, uint16_t code)
{
    if (c->place[code] != 0) {
        __builtin_prefetch(&c->all[c->place[code] - 1]);
    }
}

/* The record in the identity's own slot: nearly always the right one. */
static void records_step(const struct feat_state *s, struct ahead *a)
{
    category_step(&s->world->mccs, a->t->mcc);
    category_step(&s->world->countries, a->t->country);
    for (int k = 0; k < HELD_COUNT; k++) {
        const struct entities *e = table_of(s, k);
        uint32_t number = a->id[k] != 0 ? e->index.slots[a->id[k] & e->index.mask] : 0;
        a->record[k] = NULL;
        if (number != 0) {
            a->record[k] = e->records + (number - 1) * e->record_bytes;
            lines(a->record[k], e->record_bytes);
            if (k == HELD_CARD && s->extra != NULL) {
                lines(s->extra + (number - 1) * s->limits.card_extra_bytes,
                      s->limits.card_extra_bytes < EXTRA_BYTES ? s->limits.card_extra_bytes
                                                               : EXTRA_BYTES);
            }
            for (unsigned i = 0; k == HELD_CARD && i < FEAT_SIDES; i++) {
                if (s->side_used[i]) {
                    lines(s->side[i] + (number - 1) * s->limits.card_side_bytes,
                          s->limits.card_side_bytes);
                }
            }
        }
    }
}

static void blocks_step(const struct feat_state *s, struct ahead *a)
{
    for (int k = 0; k < HELD_COUNT; k++) {
        const struct entity *e = (const struct entity *)(const void *)a->record[k];
        bool found = e != NULL && e->id == a->id[k];
        if (k < HISTORIES) {
            a->chunk[k] = found ? e->history.newest : 0;
            a->newer_us[k] = INT64_MAX;
            __builtin_prefetch(region_at(region_of(s, k), a->chunk[k]));
        }
        if (found && e->frauds.n > 0) {
            lines(region_at(region_of(s, k), e->frauds.block), e->frauds.n * sizeof(struct fraud));
        }
    }
}

/* Whether a window's edge lies between two chunks' first entries: then its entries are needed. */
static bool is_cut(int64_t at_us, int64_t first_us, int64_t newer_us)
{
    static const int64_t EDGE[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};
    for (size_t i = 0; i < sizeof EDGE / sizeof *EDGE; i++) {
        if (at_us - EDGE[i] >= first_us && at_us - EDGE[i] < newer_us) {
            return true;
        }
    }
    return false;
}

/* The next chunk of each history, whose first line is near by now.  Returns whether one is left. */
static bool chunks_step(const struct feat_state *s, struct ahead *a)
{
    uint32_t left = 0;
    for (int k = 0; k < HISTORIES; k++) {
        if (a->chunk[k] == 0) {
            continue;
        }
        const struct chunk *c = region_at(region_of(s, k), a->chunk[k]);
        int64_t first_us = c->entry[0].time_us;
        if (k == HELD_CARD || is_cut(a->t->event_us, first_us, a->newer_us[k])) {
            lines((const char *)c + LINE, c->n * sizeof c->entry[0]);
        }
        a->newer_us[k] = first_us;
        a->chunk[k] = first_us > a->t->event_us - 90 * TIME_DAY ? c->older : 0;
        __builtin_prefetch(region_at(region_of(s, k), a->chunk[k]));
        left |= a->chunk[k];
    }
    return left != 0;
}

void feat_prefetch(const struct feat_state *s, const struct tx *t, size_t n)
{
    struct ahead a[FEAT_PREFETCH_MAX];
    n = n < FEAT_PREFETCH_MAX ? n : FEAT_PREFETCH_MAX;
    for (size_t i = 0; i < n; i++) {
        a[i].t = &t[i];
        slots_step(s, &a[i]);
    }
    for (size_t i = 0; i < n; i++) {
        records_step(s, &a[i]);
    }
    for (size_t i = 0; i < n; i++) {
        blocks_step(s, &a[i]);
    }
    bool left = true;
    for (int k = 0; k < CHUNKS_MAX && left; k++) {
        left = false;
        for (size_t i = 0; i < n; i++) {
            left |= chunks_step(s, &a[i]);
        }
    }
}
