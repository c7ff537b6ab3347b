/* An update: training that goes on from a model in service.  Weights start from its averaged ones
 * with moments of zero; they are held near them by decay, by elastic weight consolidation
 * (Kirkpatrick et al. 2017), and by what the served network makes of older rows, which takes
 * conf->distillation of their labels' place (Li and Hoiem 2016, "Learning without Forgetting").
 * The same share of young rows' labels gives way to what conf->teacher_trees trees, fitted to all
 * rows that are learnt, make of them (train_teacher.h).  Constants stay as they are; bins stay or
 * are split, and a split one starts as what it was, so the first step is from the same function. */
#ifndef FD_MODEL_TRAIN_UPDATE_H
#define FD_MODEL_TRAIN_UPDATE_H

#include <stdbool.h>

#include "base/err.h"
#include "model/train.h"

/* Rows of an update: each run of a card's kept rows is a history of its own (`card`), so that no
 * event attends over a gap.  Before conf->holdout_from_us those with weight are learnt; from it on
 * those with weight in `judge` calibrate, the others are context or nothing. */
struct train_update {
    const struct train_conf *conf;   /* its shape and bins are not used: `from` has them */
    const struct train_result *from; /* borrowed */
    const float *judge;              /* [rows] */
    int64_t new_from_us;             /* from here to holdout_from_us: what `from` has not learnt */
    int64_t young_from_us; /* from here on labels and trees teach, before it the served network */
    bool finer;            /* bins may be split (bins_finer) */
    float consolidation;   /* times the Fisher information a row, see struct adam_pull */
    float decay;           /* towards the served weights */
    float fisher_stays;    /* share of the older Fisher information that remains */
};

/* All epochs at a cosine's rate; the last averaged weights are taken, for the judging rows' frauds
 * are too few to say which epoch's are best (whether they are good enough is the gate's question).
 * Progress and errors as train_run, and
 * ERR_INVALID   nothing new to learn, or no fraud or no legitimate row to learn or to judge by
 * ERR_MISMATCH  `from` has other columns */
FD_MUSTCHECK enum err train_update_run(const struct train_update *u, const struct train_rows *rows,
                                       int (*progress)(void *ctx, const struct train_progress *p),
                                       void *ctx, struct train_result *out, struct errmsg *e);

#endif
