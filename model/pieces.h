/* Histories cut in pieces: what one training pass reads at a time.
 *
 * A piece is a run of a card's rows: `context` earlier ones, whose states are computed and whose
 * losses are not counted, then up to `piece` counted ones.  Rows of a card are contiguous, so a
 * piece is a range of rows. */
#ifndef FD_MODEL_PIECES_H
#define FD_MODEL_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "model/train.h"

struct piece {
    size_t first;     /* row */
    uint32_t context; /* the first rows that are only context */
    uint32_t len;     /* rows, context included */
};

struct pieces {
    struct piece *piece; /* [count], owned */
    size_t count;
};

/* Cuts every card's rows with from_us <= event time < until_us.  Context may lie before from_us.
 * Rows of a card are in time order.  ERR_NOMEM */
FD_MUSTCHECK enum err pieces_cut(const struct train_rows *rows, int64_t from_us, int64_t until_us,
                                 uint32_t piece, uint32_t context, struct pieces *out,
                                 struct errmsg *e);
void pieces_done(struct pieces *p);

/* Leaves out the pieces of which no counted row has weight. */
void pieces_drop_idle(struct pieces *p, const struct train_rows *rows);

/* Shuffles (Fisher and Yates), then orders each run of `batch` by length, longest first, so that
 * the shards of a batch, which take pieces in turn, get like amounts of work. */
void pieces_mix(struct pieces *p, struct rng *rng, uint32_t batch);

#endif
