/* The balance of a network's experts without dropout.
 *
 * Each expert has a place in the ranking of gates, which training moves towards equal load
 * (DeepSeek-AI 2024, "DeepSeek-V3", 2.1.2: balance without an auxiliary loss).  Dropout blurs what
 * the gates see: loads that are equal under it may leave an expert with nothing without it.  So the
 * averaged weights get a balance of their own, on some of the newest rows of the fit.
 *
 * A layer's gates depend on the balance of the layers before it, not on its own.  So the network
 * runs once a layer, and each layer's balance is sought among kept gates. */
#ifndef FD_MODEL_TRAIN_EVEN_H
#define FD_MODEL_TRAIN_EVEN_H

#include "base/err.h"
#include "base/pool.h"
#include "model/tape.h"

/* The rows that loads are counted on: those of `rows`, the first of a fit's, whose time lies from
 * from_us to until_us.  Borrowed. */
struct even_rows {
    struct train_rows rows;
    int64_t from_us, until_us;
    size_t count;
};

/* The first cards' rows with from_us <= event time < until_us, some thousands. */
struct even_rows even_rows_of(const struct train_rows *rows, int64_t from_us, int64_t until_us);

/* Finds the balance for net's weights: balance [layers, experts], from where it is.  net->balance
 * is not read.  The same bytes for every number of threads.  ERR_NOMEM */
FD_MUSTCHECK enum err even_find(const struct tape_net *net, const struct even_rows *rows,
                                const struct net_encoding *encoding,
                                const struct bins_finder *finder, struct pool *pool, float *balance,
                                struct errmsg *e);

/* Moves each expert of a layer by `step` towards equal load.  load, balance: [experts] */
void even_move(const uint64_t *load, uint32_t experts, float step, float *balance);

#endif
