/* The weekly update: from a model in service, with its training state, to a new one.  Chooses
 * payments, computes their features by replay, trains (model/train_update.h), applies the gate. */
#ifndef FD_DAEMON_UPDATE_H
#define FD_DAEMON_UPDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/drift.h"
#include "daemon/gate.h"
#include "daemon/learn.h"
#include "daemon/past.h"
#include "model/train.h"

struct update_conf {
    struct learn_conf learn; /* params are taken from the model, all but rates_version;
                                holdout_us: the sealed stretch */
    size_t fresh, replay;    /* payments learnt in full; legitimate ones in the replay */
    float replay_weight;     /* of the replay in the loss; 0: it is judged, and not learnt */
    float consolidation, decay, fisher_stays; /* model/train_update.h */
    bool split_bins;
    double drift; /* index of a column above which a full training is asked for */
    struct gate_conf gate;
};

/* The model in service.  Borrowed. */
struct update_base {
    const void *model, *state;
    size_t model_len, state_len;
};

struct update_outcome {
    struct learnt learnt;
    char parent[32];
    struct gate_report gate;
    struct drift drift;
    size_t news, news_frauds, young, young_frauds, replay, replay_frauds, kept;
    int64_t learnt_until_us;
    uint32_t epochs;                                     /* passes */
    double reading_s, features_s, training_s, judging_s; /* of CPU; reading: all before the call */
};

/* The options "update.*": a part of the settings' table. */
#define UPDATE_OPTIONS                                                                              \
    {"update.sealed",                                                                               \
     CONF_DURATION,                                                                                 \
     0,                                                                                             \
     "7d",                                                                                          \
     86400,                                                                                         \
     31536000,                                                                                      \
     "the newest matured stretch, which an update does not learn: half of its cards "               \
     "calibrate, half are the gate"},                                                               \
        {"update.shadow",                                                                           \
         CONF_BOOL,                                                                                 \
         0,                                                                                         \
         "true",                                                                                    \
         0,                                                                                         \
         0,                                                                                         \
         "a model that `train` adds to the registry is put into shadow at once, where a champion "  \
         "serves and brokers are named"},                                                           \
        {"update.epochs",                                                                           \
         CONF_INT,                                                                                  \
         0,                                                                                         \
         "0",                                                                                       \
         0,                                                                                         \
         100,                                                                                       \
         "passes of an update over its payments; 0: by their number, from 2 to 4"},                 \
        {"update.learning-rate", CONF_REAL, 0, "2e-3", 1e-7, .1, "of an update, at its highest"},   \
        {"update.distillation",                                                                     \
         CONF_REAL,                                                                                 \
         0,                                                                                         \
         ".7",                                                                                      \
         0,                                                                                         \
         1,                                                                                         \
         "share of a label's place that an opinion takes: of a new or young payment that of "       \
         "trees, of an older one that of the served model; 0: labels alone"},                       \
        {"update.teacher-trees", CONF_INT, 0, "300", 1, 10000, "trees that an update learns from"}, \
        {"update.split-bins",                                                                       \
         CONF_BOOL,                                                                                 \
         0,                                                                                         \
         "true",                                                                                    \
         0,                                                                                         \
         0,                                                                                         \
         "columns' bins may be split where new payments ask for it; constants and edges that are "  \
         "there stay until a full training"},                                                       \
        {"update.fresh",                                                                            \
         CONF_INT,                                                                                  \
         0,                                                                                         \
         "40000",                                                                                   \
         0,                                                                                         \
         1e8,                                                                                       \
         "payments that an update learns in full: the new ones, and of those learnt before the "    \
         "youngest up to so many in all"},                                                          \
        {"update.replay",                                                                           \
         CONF_INT,                                                                                  \
         0,                                                                                         \
         "6000",                                                                                    \
         0,                                                                                         \
         1e8,                                                                                       \
         "still older legitimate payments that an update sees again, besides all such frauds"},     \
        {"update.replay-weight",                                                                    \
         CONF_REAL,                                                                                 \
         0,                                                                                         \
         ".2",                                                                                      \
         0,                                                                                         \
         1000,                                                                                      \
         "of older payments in an update's loss, over that of new ones; 0: they say what was "      \
         "forgotten and are not learnt"},                                                           \
        {"update.decay",                                                                            \
         CONF_REAL,                                                                                 \
         0,                                                                                         \
         ".05",                                                                                     \
         0,                                                                                         \
         100,                                                                                       \
         "of an update's weights towards the served ones"},                                         \
        {"update.consolidation",                                                                    \
         CONF_REAL,                                                                                 \
         0,                                                                                         \
         "1",                                                                                       \
         0,                                                                                         \
         1e9,                                                                                       \
         "strength of elastic weight consolidation"},                                               \
        {"update.fisher-stays",                                                                     \
         CONF_REAL,                                                                                 \
         0,                                                                                         \
         ".95",                                                                                     \
         0,                                                                                         \
         1,                                                                                         \
         "share of the older payments' Fisher information that an update keeps"},                   \
    {                                                                                               \
        "update.drift", CONF_REAL, 0, ".25", 0, 1000,                                               \
            "population stability index of a column above which an update asks for a full "         \
            "training"                                                                              \
    }

/* Passes over the payments that an update learns, where its settings do not say: as many as show it
 * some 170,000 of them, from 2 to 4. */
uint32_t update_epochs(size_t payments);

void update_conf_default(struct update_conf *c);
/* Takes settings update.*, gate.* and alert.budget. */
void update_conf_read(const struct conf *c, struct update_conf *out);

/* Makes the new model, whatever the gate says of it: out->gate.passed tells.  Where labels are not
 * believed nothing is learnt: out->learnt stays empty.  update_outcome_done frees.
 * ERR_END       nothing has matured since that is not of the sealed stretch
 * ERR_INVALID   the history lacks what is needed (named)
 * ERR_MISMATCH  state and model do not belong together, or the columns have changed: a full
 *               training is needed
 * ERR_CORRUPT   model or state */
FD_MUSTCHECK enum err update_run(const struct past *past, const struct update_conf *c,
                                 const struct update_base *base,
                                 int (*progress)(void *ctx, const struct train_progress *p),
                                 void *ctx, struct update_outcome *out, struct errmsg *e);
void update_outcome_done(struct update_outcome *u);

#endif
