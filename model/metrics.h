/* Measures of scores against labels: pure functions on arrays, sums in double. */
#ifndef FD_MODEL_METRICS_H
#define FD_MODEL_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Area under the ROC curve and average precision, tied scores as one threshold.  weight: [n] or
 * NULL for 1; rows of weight 0 do not count.  NAN where there is no fraud or nothing else.
 * ERR_NOMEM;  ERR_NUMERIC a score is NAN */
FD_MUSTCHECK enum err metrics_rank(const float *score, const uint8_t *label, const float *weight,
                                   size_t n, double *out_auc, double *out_ap, struct errmsg *e);

/* out_order: [n] the rows from the highest score to the lowest, ties as they stand.
 * ERR_INVALID n is above UINT32_MAX;  ERR_NOMEM;  ERR_NUMERIC a score is NAN */
FD_MUSTCHECK enum err metrics_order(const float *score, size_t n, uint32_t *out_order,
                                    struct errmsg *e);

/* metrics_rank of rows that stand from the highest score to the lowest.  Allocates nothing: for
 * measuring the same rows many times under other weights. */
void metrics_rank_sorted(const float *score, const uint8_t *label, const float *weight, size_t n,
                         double *out_auc, double *out_ap);

/* Mean squared difference of probability and label (Brier 1950); NAN without weight. */
double metrics_brier(const double *probability, const uint8_t *label, const float *weight,
                     size_t n);

/* Card precision at k (Fraud Detection Handbook, sec. 4.3): each day the k cards with the highest
 * score of a payment are examined; the share of k with a fraud among the payments of that day,
 * mean over the days.  A card found is left out on later days.  Ties between cards: first row
 * first.  day: [n] any numbers; card: [n].  k > 0.  NAN for n = 0. */
FD_MUSTCHECK enum err metrics_card_precision(const float *score, const uint8_t *label,
                                             const uint32_t *day, const uint32_t *card, size_t n,
                                             size_t k, double *out, struct errmsg *e);

/* The same measured many times: each day's cards in the order in which they are examined.  Owned by
 * one thread (it keeps scratch).  card: below `cards`.  ERR_NOMEM;  ERR_NUMERIC a score is NAN */
struct metrics_cards;
FD_MUSTCHECK enum err metrics_cards_create(const float *score, const uint8_t *label,
                                           const uint32_t *day, const uint32_t *card, size_t n,
                                           size_t cards, struct metrics_cards **out,
                                           struct errmsg *e);
void metrics_cards_free(struct metrics_cards *c);

/* copies: [cards] the card counts as so many equal cards, each of which takes a place among the k;
 * NULL: one each.  A day stays a day when none of its cards is left. */
double metrics_cards_precision(struct metrics_cards *c, const uint32_t *copies, size_t k);

#endif
