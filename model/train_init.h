/* First weights of a network. */
#ifndef FD_MODEL_TRAIN_INIT_H
#define FD_MODEL_TRAIN_INIT_H

#include "model/net.h"

/* Fills params [layout.total] from the seed: linear maps uniform in +-1 / sqrt(inputs), expert
 * maps normal with deviation 1 / sqrt(inputs) (the outer half of it), norms 1, tables and biases 0;
 * the head's bias is the log-odds of `rate`, the share of frauds, in (0, 1). */
void train_init(const struct net_shape *shape, const struct net_layout *layout, uint64_t seed,
                double rate, float *params);

#endif
