/* A batch's losses and gradient: pieces are dealt to a fixed number of shards, one thread computes
 * a shard, and the shards' gradients are summed in order (train_adam.h).
 *
 * A shard works through its pieces a few at a time, so that what the passes keep stays in a near
 * cache whatever the batch; memory is one tape a thread and one gradient a shard. */
#ifndef FD_MODEL_TRAIN_BATCH_H
#define FD_MODEL_TRAIN_BATCH_H

#include "base/err.h"
#include "base/pool.h"
#include "model/tape.h"

struct batch;

struct batch_loss {
    double label_sum, weight_sum; /* of w * cross entropy; of w */
    double next_sum;              /* of squared differences */
    double next_count;            /* pairs of neighbours times columns */
    uint64_t events;              /* context included */
};

/* For batches of up to pieces_max pieces of up to rows_max rows each.  Borrows the pool. */
FD_MUSTCHECK enum err batch_create(const struct net_shape *shape, uint32_t shards,
                                   size_t pieces_max, size_t rows_max, struct pool *pool,
                                   struct batch **out, struct errmsg *e);
void batch_free(struct batch *b);

/* Losses and gradients of `count` pieces, longest first.  The loss is the weighted mean cross
 * entropy of the counted rows + next_weight * mean squared error of the next event. */
void batch_run(struct batch *b, const struct tape_net *net, const struct tape_data *data,
               const struct piece *piece, size_t count, const struct tape_drop *drop,
               double next_weight, struct batch_loss *out);

/* The shards' gradients of the latest batch: [shards] pointers to [layout.total]. */
const float *const *batch_grads(const struct batch *b);
/* Counted events of the latest batch that chose each expert: [layers, experts]. */
const uint64_t *batch_load(const struct batch *b);

#endif
