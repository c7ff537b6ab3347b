/* The optimiser: adaptive gradient clipping (Brock et al. 2021, arXiv 2102.06171, sec. 4.1), AdamW
 * (Loshchilov and Hutter 2019, alg. 2) and an average of the weights, one pass over the parameters.
 */
#ifndef FD_MODEL_TRAIN_ADAM_H
#define FD_MODEL_TRAIN_ADAM_H

#include "base/err.h"
#include "model/net.h"
#include "base/pool.h"

struct adam;

/* What holds the weights of an update near those that it started from. */
struct adam_pull {
    const float *anchor;  /* [layout.total]; NULL: nothing holds them */
    const float *fisher;  /* [layout.total] >= 0: what a weight means to the older data */
    double consolidation; /* times fisher: elastic weight consolidation (Kirkpatrick et al. 2017,
                             eq. 3), added to the gradient before it is clipped */
    double decay;         /* towards the anchor (L2-SP, Li et al. 2018), of every weight; apart from
                             the gradient, as AdamW's, which goes on beside it */
};

/* One step's settings. */
struct adam_step {
    double learning_rate;
    double weight_decay; /* of matrices; norms and biases do not decay */
    double table_decay;  /* of the input table */
    double input_decay;  /* of the input matrix */
    double beta1, beta2;
    double clip; /* largest norm of a unit's gradient over the norm of its weights; 0: no clipping.
                    A unit is a row of a matrix or table, or a whole vector.  The head is exempt,
                    as in the paper. */
    double ema;  /* share of the average that stays; 0: the average is the weights */
    struct adam_pull pull;
};

/* Moments for a network of this layout, all zero.  The layout is copied. */
FD_MUSTCHECK enum err adam_create(const struct net_shape *shape, const struct net_layout *layout,
                                  struct adam **out, struct errmsg *e);
void adam_free(struct adam *a);

/* One step on params and ema [layout.total].  The gradient is the sum of grad[0 .. parts - 1], each
 * [layout.total], in that order.  The same bytes for every number of threads. */
void adam_run(struct adam *a, struct pool *pool, const struct adam_step *s,
              const float *const *grad, uint32_t parts, float *params, float *ema);

#endif
