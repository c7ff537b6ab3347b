/* Training: from rows of features with labels to parameters.  OpenBLAS, several threads, repeatable
 * to the bit for a seed whatever the number of threads. */
#ifndef FD_MODEL_TRAIN_H
#define FD_MODEL_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/net.h"

/* Rows in order of (card, event time, arrival); may lie in a memory-mapped file. */
struct train_rows {
    size_t n;
    size_t columns;
    const float *x;          /* [n, columns] raw feature values, finite */
    const int64_t *event_us; /* [n] */
    const uint32_t *card;    /* [n] number of the card: equal = same history, contiguous */
    const uint8_t *label;    /* [n] 1 fraud, 0 legitimate */
    const float
        *weight; /* [n] weight in the loss; 0: context only (warm-up days, refunds, unknown) */
};

struct train_conf {
    struct net_shape shape; /* columns, bins are filled in by training */
    uint64_t seed;
    uint32_t threads;
    int64_t holdout_from_us; /* rows at or after this are held out (early stopping, calibration) */
    uint32_t epochs;         /* upper bound */
    uint32_t piece,
        context;     /* histories are cut in pieces of so many events after so many of context */
    uint32_t batch;  /* pieces an optimiser step */
    uint32_t shards; /* parts of a batch whose gradients are summed in order */
    uint32_t bin_leaves, bin_quantiles;
    float learning_rate, weight_decay, beta1, beta2;
    uint32_t warmup_steps;
    float dropout, input_dropout;
    float ema;
    float clip;        /* adaptive gradient clipping, Brock et al. 2021 */
    float next_weight; /* weight of the next-event loss */
};

struct train_progress {
    uint32_t epoch, epochs;
    uint64_t step, steps;
    double loss;       /* of the current epoch so far */
    double holdout_ap; /* after the latest epoch; NAN before */
    double rows_per_s;
};

/* The outcome: everything that quantisation and the file need.  Owned by the caller after success.
 */
struct train_result {
    struct net_shape shape;
    struct net_encoding encoding; /* allocated */
    float *params;                /* EMA weights, net_layout(shape).total floats, allocated */
    float *raw_params;     /* the same without averaging, for the training state, allocated */
    float *balance;        /* [layers, experts] ranking biases, allocated */
    double calibration[3]; /* beta calibration: logit p = a ln q - b ln(1-q) + c; see calibrate.h */
    double holdout_auc, holdout_ap, holdout_brier;
    uint64_t rows_fit, frauds_fit, rows_hash;
    uint32_t epochs_done;
};

void train_conf_default(struct train_conf *c);

/* Trains.  Rows before holdout_from_us fit constants, bins and weights; the others decide how long
 * and calibrate.  `progress` (may be NULL) is called from the calling thread several times a second
 * at most; a non-zero return stops the training (ERR_REFUSED). ERR_INVALID no fraud or no
 * legitimate row with weight, or a setting out of range (named) ERR_NUMERIC the loss is not finite
 */
FD_MUSTCHECK enum err train_run(const struct train_conf *c, const struct train_rows *rows,
                                int (*progress)(void *ctx, const struct train_progress *p),
                                void *ctx, struct train_result *out, struct errmsg *e);
void train_result_done(struct train_result *r);

/* Forward pass in FP32 of whole histories by the training code (tests, FP32 rows of the quality
 * table): out_logit: [n], every row of `rows`. */
FD_MUSTCHECK enum err train_forward(const struct train_result *r, const struct train_rows *rows,
                                    uint32_t threads, float *out_logit, struct errmsg *e);

/* Name of the processor core OpenBLAS chose its kernels for; static memory. */
const char *train_blas_core(void);

#endif
