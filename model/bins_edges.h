/* Where a column's bins end: edges from its values and labels, sorted by value. */
#ifndef FD_MODEL_BINS_EDGES_H
#define FD_MODEL_BINS_EDGES_H

#include <stddef.h>
#include <stdint.h>

struct bins_value {
    float x;
    uint32_t at; /* index into the rows drawn */
};

/* All borrowed.  fraud and all: weight of the frauds, and of all, among the first i values. */
struct bins_column {
    const struct bins_value *value; /* [n] ascending, ties by `at` */
    const double *fraud, *all;      /* [n + 1] */
    size_t n;
};

/* Splits of a decision tree of up to `leaves` leaves, best first, in no order; each is worth
 * BINS_SPLIT_CHI2.  Returns how many. */
uint32_t bins_tree_edges(const struct bins_column *c, uint32_t leaves, float *out);

/* The same tree, grown on from bins that are there: up to `most` splits of them, each worth
 * BINS_FINER_CHI2.  edge: [have] ascending, at most BINS_EDGES_MAX - most. */
uint32_t bins_finer_edges(const struct bins_column *c, const float *edge, uint32_t have,
                          uint32_t most, float *out);

/* Weighted quantiles, evenly: five are at .1, .3 .. .9.  Returns count. */
uint32_t bins_quantile_edges(const struct bins_column *c, uint32_t count, float *out);

#endif
