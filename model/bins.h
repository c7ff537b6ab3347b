/* Fits the input encoding: each column's mean, deviation and bin edges.
 *
 * Edges are the splits of a small decision tree of the column on the label (best first, weighted
 * Gini, as scikit-learn grows max_leaf_nodes trees) joined with quantiles: target-aware bins,
 * Gorishniy et al. 2022 (arXiv 2203.05556, sec. 3.2).  A network with them is as sharp as a tree at
 * a threshold that decides a fraud pattern. */
#ifndef FD_MODEL_BINS_H
#define FD_MODEL_BINS_H

#include "base/err.h"
#include "model/net.h"
#include "base/pool.h"
#include "model/train.h"

#define BINS_EDGES_MAX 255     /* a column's; a bin number is a byte */
#define BINS_OTHERS_MAX 150000 /* legitimate rows that the trees see */
#define BINS_FRAUDS_MAX 350000 /* frauds, likewise; the sample takes at most 300 MB */
#define BINS_LEAF_ROWS 40      /* fewest rows beside a split */
/* An update may split bins: so many edges a column more, as long as the column has no more than
 * BINS_FINER_EDGES_MAX.  A finer bin starts with what the network knew of the whole one, so it
 * costs less than a new one does, and asks for less. */
#define BINS_FINER_MOST 8
#define BINS_FINER_EDGES_MAX 24
#define BINS_FINER_CHI2 25
/* What a split must be worth: Pearson's chi squared of its two sides, which is its Gini gain over
 * 2 p (1 - p).  The best of many splits of noise reaches 15 or so, and bins that mean little cost
 * more than they tell (model/README.md). */
#define BINS_SPLIT_CHI2 60

/* Fits on rows before until_us with weight > 0: constants on all, edges on up to BINS_FRAUDS_MAX
 * frauds and up to BINS_OTHERS_MAX others drawn by `seed`.  leaves - 1 + quantiles <=
 * BINS_EDGES_MAX.  The result depends on rows and seed only.  out: allocated, free with bins_done.
 * ERR_INVALID no fraud or no legitimate row;  ERR_NUMERIC a value that is not finite (named) */
FD_MUSTCHECK enum err bins_fit(const struct train_rows *rows, int64_t until_us, uint32_t leaves,
                               uint32_t quantiles, uint64_t seed, struct pool *pool,
                               struct net_encoding *out, struct errmsg *e);
/* `old` with some of its bins split where the rows before until_us with weight > 0 ask for it, by
 * their labels; constants and older edges stay.  Otherwise as bins_fit. */
FD_MUSTCHECK enum err bins_finer(const struct train_rows *rows, int64_t until_us,
                                 const struct net_encoding *old, uint64_t seed, struct pool *pool,
                                 struct net_encoding *out, struct errmsg *e);
void bins_done(struct net_encoding *enc);
/* An encoding of its own with the same numbers.  ERR_NOMEM */
FD_MUSTCHECK enum err bins_copy(const struct net_encoding *from, struct net_encoding *out,
                                struct errmsg *e);

/* A column's edges, ascending, and how many there are. */
static inline const float *bins_edges(const struct net_encoding *enc, uint32_t column)
{
    return enc->edges + enc->first_row[column] - column;
}
static inline uint32_t bins_edge_count(const struct net_encoding *enc, uint32_t column)
{
    return enc->first_row[column + 1] - enc->first_row[column] - 1;
}

/* Bin of a raw value: how many of the column's edges are below it. */
uint32_t bins_find(const struct net_encoding *enc, uint32_t column, float x);

/* Standardised value: clip((x - mean) / sd, +-NET_INPUT_CLIP). */
float bins_standardise(const struct net_encoding *enc, uint32_t column, float x);

/* Edges laid out so that a row's bins are found column beside column, without a branch. */
struct bins_finder {
    uint32_t columns, rounds; /* rounds: edges of the column that has most */
    float *edge;              /* [rounds, columns], owned; infinity where a column has no more */
};
FD_MUSTCHECK enum err bins_finder_init(struct bins_finder *f, const struct net_encoding *enc,
                                       struct errmsg *e);
void bins_finder_done(struct bins_finder *f);

/* Bins of one row: x [columns] finite; out [columns]. */
void bins_find_row(const struct bins_finder *f, const float *x, uint32_t *out);

#endif
