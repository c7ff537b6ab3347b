/* Steps of the passes that have a file of their own.  Each reads and writes the tape's arrays;
 * tape.h says what they hold. */
#ifndef FD_MODEL_TAPE_PARTS_H
#define FD_MODEL_TAPE_PARTS_H

#include "model/tape.h"

/* Rows to t->h[0]; fills what the backward pass needs of the rows. */
void tape_embed(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                const struct tape_drop *drop);
/* t->dh, the gradient of t->h[0], to the gradients of the input's parameters. */
void tape_embed_back(struct tape *t, const struct tape_net *net, const struct tape_drop *drop,
                     float *grad);

/* The experts of one token: the top ones by gate [experts] + balance [experts], with their gates
 * normalised to a sum of 1 in g.  chosen, g: [top] */
void tape_choose(const struct net_shape *s, const float *gate, const float *balance,
                 uint32_t *chosen, float *g);

/* Queries, keys and values (rotated) to prob and ao. */
void tape_attend(struct tape *t, const struct tape_net *net, uint32_t layer);
/* t->dao to dq, dkr (both still rotated), dkc and dv. */
void tape_attend_back(struct tape *t, const struct tape_net *net, uint32_t layer);

#endif
