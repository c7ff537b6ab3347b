/* What training demands of its rows, checked once, and their fingerprint. */
#ifndef FD_MODEL_TRAIN_ROWS_H
#define FD_MODEL_TRAIN_ROWS_H

#include "base/err.h"
#include "base/pool.h"
#include "model/train.h"

/* Reads every row.  out_hash: of values, times, cards, labels and weights; the same for every
 * number of threads.
 * ERR_INVALID  no row or column; a label that is neither 0 nor 1; a weight below 0; a card's rows
 *              out of time order (the first such row is named)
 * ERR_NUMERIC  a value or weight that is not finite (row and column are named) */
FD_MUSTCHECK enum err train_rows_check(const struct train_rows *rows, struct pool *pool,
                                       uint64_t *out_hash, struct errmsg *e);

#endif
