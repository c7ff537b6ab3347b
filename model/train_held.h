/* The rows that training holds out: when to stop, calibration, measures.  What a full training and
 * an update have in common. */
#ifndef FD_MODEL_TRAIN_HELD_H
#define FD_MODEL_TRAIN_HELD_H

#include <stdbool.h>

#include "base/err.h"
#include "base/pool.h"
#include "model/train.h"
#include "model/train_fit.h"

struct held {
    const struct train_rows *rows;
    const float *row_weight;   /* [rows] in judging */
    int64_t from_us;           /* rows at or after it are held out: */
    size_t n;                  /* so many, in order */
    bool any;                  /* a fraud and a legitimate row among those with weight */
    uint8_t *label;            /* [n] */
    float *weight;             /* [n] */
    float *logit, *best_logit; /* [n] */
    float *best_params, *best_raw, *best_balance;
    uint64_t uses[NET_LAYERS_MAX * NET_EXPERTS_MAX]; /* of experts, at the latest measuring */
    uint64_t best_uses[NET_LAYERS_MAX * NET_EXPERTS_MAX];
    double latest_ap, top_ap; /* of the latest epoch; of all so far; NAN without any */
    bool measured;
    uint32_t best_epochs;
};

/* weight: [rows] of the rows at or after from_us.  epochs: taken where there is nothing to judge
 * by. Borrows weight and the fit's rows.  ERR_NOMEM */
FD_MUSTCHECK enum err held_init(struct held *h, const struct fit *f, const float *weight,
                                int64_t from_us, uint32_t epochs, struct errmsg *e);
void held_done(struct held *h);

/* Runs the fit epoch by epoch, as many as its settings say or until it has been clearly below its
 * best for some; the best averaged weights stay here, later ones where they are within a week's
 * noise of it.  Tells `at` the epoch and its average precision.  after_step: as fit_epoch. */
FD_MUSTCHECK enum err held_fit(struct held *h, struct fit *f, struct train_progress *at,
                               enum err (*after_step)(void *ctx, struct errmsg *e), void *ctx,
                               struct errmsg *e);
/* Runs all epochs; the last averaged weights stay here. */
FD_MUSTCHECK enum err held_whole(struct held *h, struct fit *f, struct train_progress *at,
                                 enum err (*after_step)(void *ctx, struct errmsg *e), void *ctx,
                                 struct errmsg *e);

/* Calibration and measures of the best weights; the identity and NAN without any row. */
FD_MUSTCHECK enum err held_judge(const struct held *h, struct train_result *out, struct errmsg *e);

/* Moves encoding, the given weights and the counts of the fit to the result. */
void held_take(struct fit *f, float **params, float **raw, float **balance,
               struct train_result *out);

/* How evenly the held-out rows use the experts of the best weights, as they were measured .. */
void held_best_shares(const struct held *h, struct train_result *out);
/* .. or of the result's weights, which are others. */
FD_MUSTCHECK enum err held_shares(const struct held *h, struct pool *pool, struct train_result *out,
                                  struct errmsg *e);

/* Logits of the rows from from_us on by the result's weights, and uses, as train_score. */
FD_MUSTCHECK enum err held_score(const struct train_result *r, const struct train_rows *rows,
                                 int64_t from_us, struct pool *pool, float *out_logit,
                                 uint64_t *out_uses, struct errmsg *e);

#endif
