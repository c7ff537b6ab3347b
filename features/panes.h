/* The old part of a history: stretches of time with a count and sums (features/history.h, invariant
 * 2).  Used by history.c alone. */
#ifndef FD_FEATURES_PANES_H
#define FD_FEATURES_PANES_H

#include "features/history.h"

/* More than can be: neighbours span more than 1/16 of their age together, and ages lie between 1 us
 * and the horizon, so there are at most 2 ln(100 days / 1 us) / ln(17/16) = 986. */
#define PANES_MAX 1024U

/* Time of the last event in a pane, INT64_MIN without panes. */
int64_t panes_end(const struct region *r, const struct history *h);
/* Drops panes that lie at or before after_us. */
void panes_forget(struct region *r, struct history *h, int64_t after_us);
/* An entry newer than every pane becomes one; forgotten where there is no memory. */
void panes_add(struct region *r, struct history *h, const struct entry *e, int64_t now_us);
/* Merges neighbours while the result stays narrow against its age at now_us. */
void panes_merge(struct region *r, struct history *h, int64_t now_us);
/* Adds the panes' share in (from, to] to *out. */
void panes_sum(const struct view *v, int64_t from_us, int64_t to_us, struct sums *out);
/* Latest moment at or before to_us of a pane with payments, or INT64_MIN. */
int64_t panes_latest(const struct view *v, int64_t to_us);

#endif
