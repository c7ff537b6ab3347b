/* The Fraud Detection Handbook's evaluation, written a second time as its own script has it: sets
 * of cards, day by day, no sorting, no cleverness. */
#ifndef FD_TESTS_JUDGED_TWIN_H
#define FD_TESTS_JUDGED_TWIN_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/judged.h"

struct twin_figures {
    size_t payments, frauds;
    double auc, ap, card_precision;
};

/* history: [n] in order of time, card numbers below 256, days below 256 after the first row's.
 * Rows from first_day (a UTC day number) on are the test; leave_out_known: without the cards known
 * to be defrauded, which needs two weeks of history before. */
struct twin_figures twin_handbook(const struct judged *history, size_t n, int64_t first_day,
                                  int leave_out_known, size_t top_cards);

/* A random history of `days` days from first_day on: cards with streaks of fraud, scores that say
 * something, ties.  Returns how many rows, at most n. */
size_t twin_judged(uint64_t seed, int64_t first_day, size_t days, struct judged *out, size_t n);

#endif
