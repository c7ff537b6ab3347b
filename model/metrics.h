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

#endif
