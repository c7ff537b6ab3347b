/* Logits of rows by the training network, without dropout: the held-out week, whole histories. */
#ifndef FD_MODEL_TRAIN_SCORE_H
#define FD_MODEL_TRAIN_SCORE_H

#include "base/err.h"
#include "base/pool.h"
#include "model/tape.h"

/* Which rows: those with from_us <= event time < until_us.  Borrowed. */
struct score_span {
    int64_t from_us, until_us;
    const float *weight; /* [rows], or NULL; a run of a card's rows none of which has weight may be
                            left out */
};

/* What is wanted of them; the caller's arrays, NULL where one is not wanted. */
struct score_out {
    float *logit; /* [these rows], in order; those left out stay as they were */
    float *gate;  /* [these rows, layers, experts] likewise: gates of the experts, chosen or not */
    uint64_t *uses; /* [layers, experts] how many of the scored rows chose each expert */
};

/* Scores the span's rows, each with as much of its card's past as can reach it through the layers'
 * windows.  The same bytes for every number of threads.  ERR_NOMEM */
FD_MUSTCHECK enum err train_score(const struct tape_net *net, const struct tape_data *data,
                                  const struct score_span *span, struct pool *pool,
                                  const struct score_out *out, struct errmsg *e);

#endif
