/* A network whose bins are split and which computes the same. */
#ifndef FD_MODEL_TRAIN_FINER_H
#define FD_MODEL_TRAIN_FINER_H

#include "base/err.h"
#include "model/train.h"

/* Makes `out` of `from`: each bin of `encoding`, whose edges are those of `from` and more, starts
 * with the weights of the bin that it is a part of, and means as much to the rows learnt.  Takes
 * the encoding over, also where it fails; out: allocated, train_result_done frees. ERR_NOMEM;
 * ERR_INVALID more bins than a network may have */
FD_MUSTCHECK enum err finer_of(const struct train_result *from, struct net_encoding *encoding,
                               struct train_result *out, struct errmsg *e);

#endif
