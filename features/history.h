/* Events of one card or place in order of event time, kept one by one up to a limit; older ones are
 * folded into panes (count, sum, sum of squares over a stretch of time).
 *
 * Events lie in a chain of small chunks: adding one touches the newest chunk only, forgetting old
 * ones frees whole chunks.  Each chunk knows its own sums, so a window adds up chunks and looks
 * only at the entries of those that its edge cuts.  n events in order take at most 17.1 n + 1,100
 * bytes, below 31 events 32 n + 64; late ones may leave chunks half full.
 *
 * Invariants
 *  1. Entries ascend by time, inside a chunk and along the chain; equal times stay in order of
 *     arrival.
 *  2. Panes end at or before the first entry, do not overlap (ends may touch), and a pane's width
 *     is at most 1/16 of its age when it was last merged.  A window whose edge cuts a pane takes
 *     the pane's share by time.  So the sums of a window of length w lie between the exact ones of
 *     w - w/16 and w + w/16.
 *  3. What lies `horizon_us` or more before the newest event is forgotten: no query sees it, though
 *     its memory may be given back later. */
#ifndef FD_FEATURES_HISTORY_H
#define FD_FEATURES_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/region.h"

enum entry_flag {
    ENTRY_PAYMENT = 1,
    ENTRY_IS_CHECK = 2,
    ENTRY_IS_REFUND = 4,
    ENTRY_FRAUD = 8 /* known to be fraud */
};

struct entry {
    int64_t time_us;
    uint32_t amount; /* 1/100 of the reference currency */
    uint32_t tag;    /* low 8 bits: flags; high 24: of the place */
};

/* A stretch of the chain, and the sums of its payments (1/100 units). */
struct chunk {
    uint32_t older, newer; /* blocks; 0: none */
    uint8_t n, size_class;
    uint8_t payments; /* among its entries */
    uint8_t frauds;   /* payments marked ENTRY_FRAUD */
    uint8_t square_high;
    uint8_t spare[3];
    uint64_t sum;
    uint64_t square_low;  /* of square_high * 2^64 + square_low: 31 squares do not fit in 64 bits */
    struct entry entry[]; /* [n], ascending */
};

struct pane {
    int64_t from_us, to_us;    /* of its first and last event */
    double count, sum, square; /* payments only; 1/100 units */
};

struct history {
    uint32_t newest, oldest; /* chunks; 0: no event */
    uint32_t panes;          /* block of struct pane */
    uint32_t n;              /* entries held, forgotten ones included */
    uint16_t pane_count;
    uint8_t pane_class;
};

struct history_limits {
    uint32_t entries_max;
    int64_t horizon_us;
};

__extension__ typedef unsigned __int128 wide_sum;

/* Payments of a window: exact integers (1/100 reference units), so the order of addition does not
 * matter; what comes from panes beside them. */
struct sums {
    uint64_t n, sum;
    wide_sum square;
    double pane_n, pane_sum, pane_square;
};

/* A history as an event at at_us sees it: entries in (after_us, at_us].  Loops over them go
 *     for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c))
 *         for (uint32_t i = view_count_in(v, c); i-- > 0;)
 * newest first, and stop by themselves at after_us. */
struct view {
    const struct region *region;
    const struct history *history;
    int64_t at_us;
    int64_t after_us;        /* forgotten at and before this */
    const struct chunk *top; /* with the newest entry at or before at_us; NULL: none */
    uint32_t top_n;          /* entries of it that are */
};

/* Puts an event in its place.  Returns false where it is forgotten already, or older than the
 * newest pane once there is room for it, or where there is no memory for it. */
bool history_add(struct region *r, struct history *h, const struct history_limits *l,
                 const struct entry *e);

struct view history_view(const struct region *r, const struct history *h,
                         const struct history_limits *l, int64_t at_us);

static inline const struct chunk *history_chunk(const struct region *r, uint32_t block)
{
    return block != 0 ? region_at(r, block) : NULL;
}

static inline const struct chunk *view_older(const struct view *v, const struct chunk *c)
{
    return history_chunk(v->region, c->older);
}

static inline uint32_t view_count_in(const struct view *v, const struct chunk *c)
{
    return c == v->top ? v->top_n : c->n;
}

/* Time of the newest event the view holds, or INT64_MIN. */
static inline int64_t view_newest(const struct view *v)
{
    int64_t newest_us = v->top != NULL ? v->top->entry[v->top_n - 1].time_us : INT64_MIN;
    return newest_us > v->after_us ? newest_us : INT64_MIN;
}

/* Payments in (at - window[k], at] for ascending windows; out: [count]. */
void view_windows(const struct view *v, const int64_t *window_us, size_t count, struct sums *out);

/* Counts payments at a place in (at - window[k], at] for ascending windows; returns the time of the
 * latest in the longest, or INT64_MIN. */
int64_t view_place(const struct view *v, uint32_t place, const int64_t *window_us, size_t count,
                   uint32_t *out);

/* Payments with time in (from, to], to <= at, that are not marked as fraud.  Panes know no marks:
 * theirs all count. */
double view_count_unmarked(const struct view *v, int64_t from_us, int64_t to_us);

/* Time of the latest payment at or before to_us <= at that is not marked as fraud (or of the latest
 * moment of a pane with payments), or INT64_MIN. */
int64_t view_latest_legitimate(const struct view *v, int64_t to_us);

/* Whether an entry is the one that a label means: payments of this time and amount; where `place`
 * is not 0, with this place.  Two events alike in all of these are interchangeable. */
struct entry_key {
    int64_t time_us;
    uint32_t amount;
    uint32_t place;
};

/* Marks the latest such entry that is not marked yet; takes the mark of the latest one that is. */
void history_mark(struct region *r, const struct history *h, const struct entry_key *key);
void history_unmark(struct region *r, const struct history *h, const struct entry_key *key);

void history_free(struct region *r, struct history *h);
size_t history_bytes(const struct region *r, const struct history *h);

static inline double sums_n(const struct sums *s)
{
    return (double)s->n + s->pane_n;
}

/* Mean amount in reference units; 0 without any. */
double sums_mean(const struct sums *s);
/* Population standard deviation in reference units; 0 without any. */
double sums_deviation(const struct sums *s);

#endif
