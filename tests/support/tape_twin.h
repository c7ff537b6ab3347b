/* The network in plain loops and double precision, written from the formulas in model/net.h: what
 * the passes of training are measured against. */
#ifndef FD_TESTS_TAPE_TWIN_H
#define FD_TESTS_TAPE_TWIN_H

#include <stddef.h>

#include "model/tape.h"

struct tape_twin {
    struct net_shape shape;
    struct net_layout layout;
    const double *params; /* [layout.total] */
    const float *balance; /* [layers, experts] */
};

/* Loss of `count` pieces: label_scale * sum of weighted cross entropy of the counted rows with
 * smoothed labels + next_scale * sum of squared errors of the next event.  drop: NULL or what the
 * passes got. out_logit: NULL or one for every row of the pieces, in order.  out_margin: NULL or
 * the smallest distance in the ranking between an expert that was chosen and one that was not. */
double tape_twin_loss(const struct tape_twin *net, const struct tape_data *data,
                      const struct piece *piece, size_t count, const struct tape_drop *drop,
                      const struct tape_loss *scale, double *out_logit, double *out_margin);

#endif
