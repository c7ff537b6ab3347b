/* One fit of the network: encoding, weights, optimiser and the order of pieces for the rows before
 * a time.  train.c runs up to three of them. */
#ifndef FD_MODEL_TRAIN_FIT_H
#define FD_MODEL_TRAIN_FIT_H

#include "base/err.h"
#include "base/rng.h"
#include "model/bins.h"
#include "model/pieces.h"
#include "base/pool.h"
#include "model/tape.h"
#include "model/train.h"
#include "model/train_adam.h"
#include "model/train_batch.h"
#include "model/train_even.h"

struct fit {
    const struct train_conf *conf;
    const struct train_rows *rows;
    const float *target; /* as struct tape_data says; set by the caller, borrowed */
    struct pool *pool;
    struct net_encoding encoding;
    struct bins_finder finder;
    struct tape_net net;        /* of the weights below */
    float *params, *ema;        /* [layout.total] */
    float *balance;             /* [layers, experts] while it trains */
    float *even;                /* [layers, experts] for the averaged weights, without dropout */
    struct even_rows even_rows; /* that it is found on */
    struct pieces pieces;       /* of the rows of the fit */
    struct batch *batch;
    struct adam *adam;
    struct adam_pull pull; /* of an update; else none */
    struct rng order;
    uint64_t step, steps; /* done; of all epochs */
    size_t epoch_pieces;  /* that an epoch takes at most */
    uint64_t rows_fit, frauds_fit;
    double loss_sum; /* of the current epoch's batches */
    uint64_t loss_count;
    uint64_t events; /* seen by all epochs so far, context included */
};

/* Prepares a fit on rows before until_us.  Borrows conf, rows, pool.  ERR_INVALID, ERR_NOMEM,
 * ERR_NUMERIC as train_run. */
FD_MUSTCHECK enum err fit_init(struct fit *f, const struct train_conf *conf,
                               const struct train_rows *rows, int64_t until_us, struct pool *pool,
                               struct errmsg *e);
/* From what a fit of an update starts. */
struct fit_start {
    const struct train_result *from; /* weights, encoding, Fisher information; borrowed */
    int64_t new_from_us;             /* rows from here on to until_us are the news */
    double consolidation, decay;     /* see struct adam_pull; times the information a row */
};
/* Prepares a fit that goes on from another one's averaged weights, with moments of zero and the
 * encoding as it is, which is of the rows' columns.  Only pieces with weight are learnt.
 * ERR_NOMEM */
FD_MUSTCHECK enum err fit_resume(struct fit *f, const struct train_conf *conf,
                                 const struct train_rows *rows, int64_t until_us,
                                 const struct fit_start *start, struct pool *pool,
                                 struct errmsg *e);
void fit_done(struct fit *f);

/* One pass over the pieces.  after_step is called after every step; what it returns other than
 * ERR_OK ends the pass.  ERR_NUMERIC the loss is not finite. */
FD_MUSTCHECK enum err fit_epoch(struct fit *f, enum err (*after_step)(void *ctx, struct errmsg *e),
                                void *ctx, struct errmsg *e);

/* Finds `even`, from where the balance of training is: to be called before the averaged weights are
 * used.  ERR_NOMEM */
FD_MUSTCHECK enum err fit_even_out(struct fit *f, struct errmsg *e);

/* Data and averaged weights, with `even` as balance, to score with; borrowed from f. */
struct tape_data fit_data(const struct fit *f);
struct tape_net fit_averaged(const struct fit *f);

#endif
