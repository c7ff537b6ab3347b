/* From history to a model: replay, rows in order of (card, time), training, packing.  What `train`
 * and `demo` share. */
#ifndef FD_DAEMON_LEARN_H
#define FD_DAEMON_LEARN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/progress.h"
#include "base/scratch.h"
#include "daemon/past.h"
#include "features/schema.h"
#include "model/train.h"

struct learn_conf {
    struct feature_params params;
    struct train_conf train;
    int64_t until_us;        /* end of the history */
    int64_t holdout_us;      /* its last stretch decides how long to train and calibrates */
    int64_t warmup_us;       /* its first stretch has weight zero (at most a fifth of it) */
    struct scratch *scratch; /* borrowed: memory and files of the rows; NULL: all in memory */
};

/* A trained model as bytes; learnt_done frees. */
struct learnt {
    uint8_t *model;
    size_t model_len;
    uint8_t *state;
    size_t state_len;
    char version[32];
    uint64_t rows, frauds;
    double holdout_auc, holdout_ap;
    uint32_t layers; /* of the network; how even its experts' load is: model/train.h */
    double share_low[NET_LAYERS_MAX], share_high[NET_LAYERS_MAX];
};

void learn_conf_default(struct learn_conf *c);

/* A result as bytes, with its lineage.  parent: the model that it was made from, or "". */
FD_MUSTCHECK enum err learn_pack(const struct train_result *r, const struct learn_conf *c,
                                 const struct past *past, const char *parent, struct learnt *out,
                                 struct errmsg *e);

/* ERR_INVALID the history is too short or has no fraud (named);  ERR_IO and the like: no room in
 * the folder for files. */
FD_MUSTCHECK enum err learn(const struct past *past, const struct learn_conf *c,
                            int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                            struct learnt *out, struct errmsg *e);

/* A training's progress as a line: which fit, epoch, loss, average precision. */
void learn_show(const struct train_progress *p, struct progress *progress);

/* Writes the model to `path` and the training state to path + ".state". */
FD_MUSTCHECK enum err learnt_write(const struct learnt *l, const char *path, struct errmsg *e);
void learnt_done(struct learnt *l);

#endif
