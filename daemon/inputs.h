/* What the network was given for a card's latest payments, kept so that a model which comes later
 * can be run over them: a challenger then begins with what it would know of the card had it scored
 * these payments itself.
 *
 * Columns are kept bit for bit, so that scores are those of a model that has always served: with 16
 * bits a column a twelfth of test_shadow's were more than .001 away from them.
 *
 * Plain bytes without pointers, in the caller's memory, all zero at first: a part of the card's
 * state.  Any thread, for memory of its own. */
#ifndef FD_DAEMON_INPUTS_H
#define FD_DAEMON_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "features/schema.h"

#define INPUTS_MAX 64 /* payments of a card */

/* Of a card's memory, to be 8-byte aligned, where its latest `events` payments are kept; 0: none.
 */
size_t inputs_bytes(size_t events);

/* A payment; first: the card had none before, in_order: no later one before. */
struct inputs_event {
    int64_t event_us;
    bool first, in_order;
};

/* Keeps one more payment of a card that keeps `events` > 0; the oldest gives way.  x: [FEAT_DIM] */
void inputs_keep(void *card, size_t events, const float *x, const struct inputs_event *event);
size_t inputs_count(const void *card);
/* Columns of number k of those kept, the first to arrive is 0: [FEAT_DIM], borrowed. */
const float *inputs_get(const void *card, size_t events, size_t k, struct inputs_event *out);
/* Whether a model's cache is complete (model/model.h) once it has seen all that are kept; needs:
 * model_cache_needs. */
bool inputs_complete(const void *card, size_t events, uint32_t needs);

#endif
