/* Gradient boosted decision trees of a row's columns: the network's teacher (train_teacher.h).
 *
 * Friedman 2001 ("Greedy Function Approximation", sections 4 and 5: boosting the log loss, with
 * shrinkage), with second-order steps and a ridge on leaves (Chen and Guestrin 2016, "XGBoost",
 * section 2) and splits between bins (Ke et al. 2017, "LightGBM", section 2.1).  Trees rank what a
 * network does not, and the other way round: they know nothing of a card's past but its columns.
 *
 * They are fitted on a sample, so memory does not grow with the rows. */
#ifndef FD_MODEL_TREES_H
#define FD_MODEL_TREES_H

#include "base/err.h"
#include "base/pool.h"
#include "model/bins.h"
#include "model/train.h"

#define TREES_DEPTH 6
#define TREES_INNER ((1U << TREES_DEPTH) - 1) /* places for splits of a tree */
#define TREES_LEAVES (1U << TREES_DEPTH)
#define TREES_OTHERS_MAX 400000 /* legitimate rows that they see */
#define TREES_FRAUDS_MAX 200000 /* frauds, likewise; a row of the sample takes some 180 bytes */

/* Splits in breadth-first order: the children of place i are 2 i + 1 and 2 i + 2. */
struct tree {
    uint16_t column[TREES_INNER];
    uint8_t bin[TREES_INNER]; /* a row goes left where its bin is at most this */
    float leaf[TREES_LEAVES]; /* log odds added */
};

struct trees {
    struct net_encoding encoding; /* whose bins the splits lie between */
    struct bins_finder finder;
    float base; /* log odds before the first tree */
    uint32_t n;
    struct tree *tree; /* [n] */
};

struct trees_conf {
    uint32_t trees;
    uint64_t seed;
};

/* Fits on a sample of the rows before until_us with weight > 0.  after_tree (may be NULL) is called
 * from the calling thread after each tree; what it returns other than ERR_OK ends the fit.  The
 * result depends on rows and conf only.  out: free with trees_done.  Errors as bins_fit,
 * ERR_NOMEM */
FD_MUSTCHECK enum err trees_fit(const struct trees_conf *conf, const struct train_rows *rows,
                                int64_t until_us, struct pool *pool,
                                enum err (*after_tree)(void *ctx, struct errmsg *e), void *ctx,
                                struct trees *out, struct errmsg *e);
void trees_done(struct trees *t);

/* out[i] = log odds of row i, for every row before until_us; the others are left as they are.
 * ERR_NOMEM */
FD_MUSTCHECK enum err trees_apply(const struct trees *t, const struct train_rows *rows,
                                  int64_t until_us, struct pool *pool, float *out,
                                  struct errmsg *e);

#endif
