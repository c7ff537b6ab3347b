/* A random network and two slow, obvious FP32 implementations of it, straight from the formulas in
 * model/net.h: one over a card's whole history, one event by event with a latent cache. */
#ifndef FD_TESTS_NET_TWIN_H
#define FD_TESTS_NET_TWIN_H

#include <stddef.h>
#include <stdint.h>

#include "model/train.h"

/* A network of these sizes (bins is chosen here) with random parameters; columns beyond `active`
 * have one bin and no variance.  edges: of every other column; 0: from 1 to 255, with all that are
 * near a multiple of 16.  Free with twin_free. */
struct train_result *twin_random(const struct net_shape *shape, uint32_t active, uint32_t edges,
                                 uint64_t seed);
void twin_free(struct train_result *r);

/* Random raw values for that network: [n, columns]. */
void twin_rows(const struct train_result *r, uint64_t seed, size_t n, float *out);

/* Logits of one card's n events in order of time.  margin: [n] or NULL, the smallest difference
 * between the last chosen expert's rank and the first not chosen. */
void twin_history(const struct train_result *r, size_t n, const float *x, const int64_t *event_us,
                  double *out_logit, double *margin);

/* The same with (latent, rotated key) of earlier events only: W_uk in the query, W_uv in the
 * output.  Create one a card; events in order of time. */
struct twin_stream;
struct twin_stream *twin_stream_create(const struct train_result *r);
void twin_stream_free(struct twin_stream *t);
double twin_stream_step(struct twin_stream *t, const float *x, int64_t event_us);

#endif
