/* Which payments an update of a model keeps of the history, and for what: chosen from times, cards
 * and labels alone, before any feature is computed, so that only their features are held.
 *
 *   first ... | young from            | learnt until | sealed from | until
 *   warm-up   | replay: every fraud,  | young: every | news: every | sealed: half of the cards
 *   (nothing) | a sample of the rest  | payment      | payment     | calibrate, half are the gate
 *
 * Young are so many as make, with the news, `fresh`, but none of the first half of what was learnt:
 * a few weeks' news would say too little of a pattern that has just begun, if each were shown once.
 *
 * A kept payment has the card's payments before it as context.  Kept payments of a card that follow
 * each other are one run; between two runs something is left out. */
#ifndef FD_DAEMON_UPDATE_ROWS_H
#define FD_DAEMON_UPDATE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/scratch.h"
#include "daemon/learn_rows.h"
#include "daemon/past.h"
#include "model/train.h"

enum update_use {
    USE_CONTEXT,
    USE_REPLAY,
    USE_YOUNG,
    USE_NEWS,
    USE_CALIBRATE,
    USE_GATE,
    USE_COUNT
};

struct update_rows_conf {
    int64_t warm_until_us, learnt_until_us, sealed_from_us; /* the borders above */
    size_t fresh;                                           /* young ones and news together */
    size_t replay;                                          /* legitimate payments to sample */
    uint32_t context;                                       /* payments before a learnt one */
    uint32_t sealed_context;                                /* before a sealed one */
    uint64_t seed;
    struct scratch *scratch; /* borrowed: memory and files of the columns; NULL: all in memory */
};

struct update_rows {
    const struct past *past; /* borrowed */
    int64_t young_from_us;
    size_t n;                     /* kept */
    uint32_t *position;           /* [past->n] place among the kept ones, UINT32_MAX: not kept */
    uint32_t *from;               /* [n] row of the history */
    uint8_t *use;                 /* [n] enum update_use */
    struct scratch *scratch;      /* borrowed */
    struct scratch_array columns; /* float [n, FEAT_DIM] */
    int64_t *event_us;            /* [n] */
    uint32_t *run;                /* [n] number of the run; ascending */
    uint8_t *label;               /* [n] */
    float *weight; /* [n] in training: 1, or 1 / p of a sampled payment; 0 where sealed */
    float *judge;  /* [n] 1 where it calibrates */
    size_t count[USE_COUNT], frauds[USE_COUNT];
};

/* Whether the card is one of the gate's; the same cards at every update. */
bool update_is_gate(uint64_t card);

/* Legitimate payments are sampled in strata of week and amount band, as many from each as it has
 * or as all others give.  ERR_NOMEM;
 * ERR_IO and the like: the folder for files */
FD_MUSTCHECK enum err update_rows_create(const struct past *past, const struct update_rows_conf *c,
                                         struct update_rows *out, struct errmsg *e);
/* Place for the columns of past's row i, [FEAT_DIM]; NULL: it is not kept. */
float *update_rows_columns(const struct update_rows *r, size_t i);
void update_rows_done(struct update_rows *r);

/* As training wants them; borrowed from r. */
struct train_rows update_rows_train(const struct update_rows *r);

#endif
