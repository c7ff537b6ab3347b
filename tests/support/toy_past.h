/* A small history for tests of what is replayed: a month of payments of 50 cards, some of them
 * refunds or account checks, some without a verdict, with more MCCs than a table shows. */
#ifndef FD_TESTS_TOY_PAST_H
#define FD_TESTS_TOY_PAST_H

#include "base/timefmt.h"
#include "daemon/past.h"

#define TOY_PAST_FIRST_US (20000 * TIME_DAY)
#define TOY_PAST_ROWS 4320 /* one every ten minutes for 30 days, ids "t0", "t1" .. */
#define TOY_PAST_MCC 5000  /* the first of TOY_PAST_MCCS */
#define TOY_PAST_MCCS 40

/* Fills an empty past; aborts without memory.  Free with past_done. */
void toy_past(struct past *past);

#endif
