/* Training: from rows of features with labels to parameters.  OpenBLAS, several threads, repeatable
 * to the bit for a seed whatever the number of threads. */
#ifndef FD_MODEL_TRAIN_H
#define FD_MODEL_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/net.h"
#include "model/stability.h"

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
    uint32_t threads;        /* at least 1; more than POOL_THREADS_MAX are not used */
    int64_t holdout_from_us; /* rows at or after this are held out (early stopping, calibration) */
    bool final_fit;  /* then fit again on all rows, as long as the held-out week asked for */
    uint32_t epochs; /* upper bound; 0: train_epochs of the rows, not for an update */
    uint32_t piece,
        context;    /* histories are cut in pieces of so many events after so many of context */
    uint32_t batch; /* pieces an optimiser step */
    uint32_t epoch_steps; /* after which an epoch ends, with other pieces in each; 0: all pieces */
    uint32_t shards;      /* parts of a batch whose gradients are summed in order */
    uint32_t bin_leaves, bin_quantiles;
    float learning_rate, weight_decay, beta1, beta2;
    float table_decay; /* of the input tables */
    float input_decay; /* of the input matrix */
    uint32_t warmup_steps;
    float dropout, input_dropout;
    float ema;
    float clip;        /* adaptive gradient clipping, Brock et al. 2021 */
    float next_weight; /* weight of the next-event loss */
    /* Share of a label's place that a teacher's opinion takes (train_teacher.h); 0: no teacher.
     * An update has two teachers (train_update.h). */
    float distillation;
    uint32_t teacher_trees; /* of the teacher */
};

enum train_stage { TRAIN_TEACHER, TRAIN_HELD_OUT, TRAIN_ALL_ROWS };

struct train_progress {
    enum train_stage stage; /* the fit that is running */
    uint32_t epoch, epochs; /* of the teacher: its trees */
    uint64_t step, steps;   /* of all fits as planned so far; a tree counts as a step */
    uint64_t events;        /* seen so far, context included */
    double loss;            /* of the current epoch so far; NAN of the teacher */
    double holdout_ap;      /* after the latest epoch; NAN before */
};

/* "teacher", "held_out", "all_rows"; static memory. */
const char *train_stage_name(enum train_stage stage);

/* The outcome: everything that quantisation and the file need.  Owned by the caller after success.
 */
struct train_result {
    struct net_shape shape;
    struct net_encoding encoding; /* allocated */
    float *params;                /* EMA weights, net_layout(shape).total floats, allocated */
    float *raw_params; /* the same without averaging, for the training state, allocated */
    float *balance;    /* [layers, experts] ranking biases, allocated */
    float *fisher;     /* as params: what each means to the rows learnt (train_fisher.h), a sum
                          over fisher_rows rows that later updates let decay; allocated */
    double fisher_rows;
    int64_t learnt_until_us; /* no row at or after this moved the weights */
    double calibration[3]; /* beta calibration: logit p = a ln q - b ln(1-q) + c; see calibrate.h */
    double holdout_auc, holdout_ap, holdout_brier;
    float score_share[SCORE_BANDS]; /* of the rows that these are of, by calibrated probability; 0
                                       without any.  Not part of the training state */
    uint64_t rows_fit, frauds_fit, rows_hash;
    uint32_t epochs_done;
    /* How often the rows at or after holdout_from_us chose a layer's least and most used expert,
     * over the mean; NAN without such a row.  Not part of the training state. */
    double share_low[NET_LAYERS_MAX], share_high[NET_LAYERS_MAX];
};

void train_conf_default(struct train_conf *c);
/* ERR_INVALID names the setting that is out of range. */
FD_MUSTCHECK enum err train_conf_check(const struct train_conf *c, struct errmsg *e);

/* Passes over so many rows with weight as show a fit some millions of them, between two bounds: a
 * short history is learnt from more often than a long one. */
uint32_t train_epochs(uint64_t rows);
/* The passes over so many rows that show about `shown` of them, from least to most. */
uint32_t train_passes(uint64_t rows, uint64_t shown, uint32_t least, uint32_t most);

/* Trains.  Where distillation is set, each fit learns from a teacher as well, which is fitted first
 * to the rows that the fit learns from.  A fit takes constants, bins and weights
 * from the rows before holdout_from_us; the others decide for how many epochs its average weights
 * gain, and calibrate.  Where final_fit is set, the result is another fit on all rows with a whole
 * schedule of as many epochs and the other one's calibration.  Without a fraud and a legitimate row
 * to hold out, all epochs are run and the calibration is the identity.
 *
 * `progress` (may be NULL) is called from the calling thread after every step; a non-zero return
 * stops the training (ERR_REFUSED).  Sets OpenBLAS to one thread.
 * ERR_INVALID  no fraud or no legitimate row with weight before the held-out time, rows out of
 *              order, or a setting out of range (named)
 * ERR_NUMERIC  a value of a row (named) or the loss is not finite */
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

/* The core to ask OpenBLAS for instead of `core`; NULL: `core` is right.  Until its version 0.3.25
 * it takes a processor newer than itself for a Prescott, without AVX (OpenBLAS issue 4267), and
 * training then takes twice its time. */
const char *train_blas_better(const char *core, bool avx2, bool avx512);

/* Starts the program again with OPENBLAS_CORETYPE where that gets a better core, which OpenBLAS
 * chooses as it is loaded; returns where there is nothing to gain or the variable is set already.
 * argv: of main; call it first there, before threads and open files. */
void train_blas_suit(char **argv);

#endif
