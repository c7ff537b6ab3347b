/* Events of one card or place in order of event time, kept one by one up to a limit; older ones are
 * folded into panes (count, sum, sum of squares over a stretch of time).
 *
 * Invariants
 *  1. Entries ascend by time; equal times stay in order of arrival.
 *  2. Panes lie before every entry, do not overlap, and a pane's width is at most 1/16 of its age
 * when it was last merged.  A window whose edge cuts a pane takes the pane's share by time, so a
 *     count is wrong by at most the pane at the edge: 1/16 of the window's age.
 *  3. What is older than the horizon is dropped. */
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
    ENTRY_FRAUD = 8,  /* known to be fraud */
    ENTRY_BLAMED = 16 /* and blamed on this card (place) */
};

struct entry {
    int64_t time_us;
    uint32_t amount; /* 1/100 of the reference currency */
    uint32_t tag;    /* low 8 bits: flags; high 24: of the place */
};

struct pane {
    int64_t from_us, to_us;    /* of its first and last event */
    double count, sum, square; /* payments only; 1/100 units */
};

struct history {
    uint32_t entries; /* block of struct entry */
    uint32_t panes;   /* block of struct pane */
    uint32_t n;
    uint16_t pane_count;
    uint8_t entry_class, pane_class;
};

struct history_limits {
    uint32_t entries_max;
    int64_t horizon_us;
};

/* Number of payments in a window, the sum and squares of their amounts in reference units. */
struct sums {
    double n, sum, square;
};

static inline struct entry *history_entries(const struct region *r, const struct history *h)
{
    return region_at(r, h->entries);
}

/* Puts an event in its place.  Returns false where it is older than what is kept one by one (the
 * history is unchanged) or where there is no memory for it. */
bool history_add(struct region *r, struct history *h, const struct history_limits *l,
                 const struct entry *e);

/* Index after the last entry with time <= at_us. */
uint32_t history_upper(const struct region *r, const struct history *h, int64_t at_us);

/* Payments in (at - window[k], at] for ascending windows; out: [count]. */
void history_windows(const struct region *r, const struct history *h, int64_t at_us,
                     const int64_t *window_us, size_t count, struct sums *out);

/* Payments with time in (from, to]. */
double history_count_between(const struct region *r, const struct history *h, int64_t from_us,
                             int64_t to_us);

/* Sets and clears flags of the entry with this time and amount (the first that differs). */
void history_mark(struct region *r, struct history *h, int64_t time_us, uint32_t amount,
                  uint32_t set, uint32_t clear);

void history_free(struct region *r, struct history *h);
size_t history_bytes(const struct history *h);

#endif
