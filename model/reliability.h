/* Whether probabilities mean what they say: expected against observed frauds.  Pure functions,
 * sums in double, the same bits on every machine. */
#ifndef FD_MODEL_RELIABILITY_H
#define FD_MODEL_RELIABILITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a group of payments expects and what was seen, in weight. */
struct reliability_group {
    double weight;
    double expected; /* sum of probabilities */
    double seen;     /* frauds */
};

enum reliability_mass {
    RELIABILITY_PAYMENTS, /* every group holds as many payments */
    RELIABILITY_EXPECTED  /* every group expects as many frauds: says more where frauds are rare */
};

/* Cuts rows that stand in order of probability into `count` > 0 groups of equal mass; a row across
 * a border is shared between its groups.  weight: [n] >= 0, or NULL for 1.  out: [count]. */
void reliability_groups(const float *probability, const uint8_t *label, const float *weight,
                        size_t n, enum reliability_mass mass, size_t count,
                        struct reliability_group *out);

/* Equal-mass calibration error (Roelofs et al. 2022, ECE_EM without their choice of the number of
 * groups): |expected - seen| over all groups, by weight.  NAN without weight. */
double reliability_error(const struct reliability_group *g, size_t count);

/* Log-odds of a probability, which counts as at least 1e-9 and at most 1 - 2^-24. */
float reliability_logit(float probability);

/* Cox's calibration line (1958): logit P(fraud) = at[0] + at[1] * logit, by maximum likelihood.  A
 * calibrated model has 0 and 1.  at: start in, result out (a start near the result saves steps).
 * Returns false, at unchanged, where there is no such line: no fraud, nothing else, or scores that
 * part them altogether. */
bool reliability_line(const float *logit, const uint8_t *label, const float *weight, size_t n,
                      double at[2]);

#endif
