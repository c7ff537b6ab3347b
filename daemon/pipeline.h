/* From messages to decisions: decode, features, model, threshold, reasons, encode.  The one path
 * that `score`, `backtest`, `train`'s replay and `demo` share, so that nothing is trained on other
 * values than it is served with.
 *
 * Invariants
 *  1. A lane (the state of one transactions partition: its cards and threshold) and the world it
 * stands in (what all partitions share: features/world.h) change by messages in the order in which
 * they are given and by labels; nothing else, no clock.  So the same messages give the same bytes
 * however they were cut into batches: a wave is flushed before a card comes a second time, and
 * before one that waits could give way to another.
 *  2. Every message ends as exactly one decision or one dead letter.
 *  3. No malloc after creation, except what a lane's pools take while they grow.
 *  4. What a model in shadow computes changes its own latents and its own score sketch only.  It
 * becomes champion with both: from then on a card whose cache is complete (model.h) gets the scores
 * that it would get had this model always served.
 *  5. A model that comes is run over a card's kept inputs when the card pays next, before it scores
 *     that payment; so what it begins with follows from the order of messages, too.
 * One thread owns a pipeline, its lanes and their world; the model may be shared. */
#ifndef FD_DAEMON_PIPELINE_H
#define FD_DAEMON_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/latency.h"
#include "daemon/bus.h"
#include "daemon/control.h"
#include "daemon/decision.h"
#include "daemon/decode.h"
#include "daemon/evidence.h"
#include "daemon/journal.h"
#include "features/state.h"
#include "features/tx.h"
#include "model/model.h"
#include "model/stability.h"
#include "model/threshold.h"

struct pipeline;
struct lane;

struct pipeline_conf {
    const struct model *model;      /* borrowed; NULL: features only (training's replay) */
    const struct rates *rates;      /* borrowed */
    const struct card_rules *cards; /* for the creation; NULL: card numbers pass */
    const struct schemas *schemas;  /* borrowed; NULL: payments are JSON */
    struct feature_params params;
    struct feat_limits limits;       /* of each lane; card_extra_bytes is filled in */
    size_t inputs;                   /* latest payments of each card that a model which comes later
                                        is run over first (daemon/inputs.h); 0: it begins cold */
    struct threshold_conf threshold; /* of each lane */
    const struct controls *controls; /* borrowed; NULL: none */
    struct slice log;                /* borrowed */
    int64_t max_future_us;           /* negative: not checked */
    size_t message_max;
    double evidence_share; /* of decisions that are no alerts and carry what they came from */
};

/* One scored payment, as `backtest` and `train` want it.  Borrowed for the call. */
struct scored {
    const struct tx *tx;
    const float *x; /* [FEAT_DIM] */
    const struct feat_facts *facts;
    double probability; /* NAN without a model */
    double threshold;
    enum outcome outcome;
    uint64_t tag; /* what the caller gave with the payment */
};

/* A decision that was sent, with its reasons whether it is an alert or not.  Borrowed for the
 * call. */
struct explained {
    const struct decision *decision;
    const float *x; /* [FEAT_DIM]; NULL: a repeat */
    struct positions at;
};

/* Where results go.  Any function may be NULL. */
struct pipeline_out {
    void *ctx;
    void (*explained)(void *ctx, const struct explained *e);
    void (*scored)(void *ctx, const struct scored *s);
    /* A record for the decisions, alerts or dead-letters topic; pointers hold for the call. */
    void (*record)(void *ctx, const struct bus_record *r);
};

/* Champion and challenger on the same fresh decisions, since the two came together. */
struct shadow_counters {
    uint64_t both, champion_only, challenger_only, neither; /* alerts that each would raise */
    uint64_t by_score[SCORE_BANDS];                         /* the challenger's */
    double shift; /* sum of the challenger's probability less the champion's */
};

struct pipeline_counters {
    uint64_t received, decided, repeats, dead_letters, alerts, declined, labels, bad_labels;
    uint64_t labels_lost; /* a world's queue was full */
    uint64_t caught_up;   /* payments of before its time that a model was run over, by all models */
    uint64_t controlled[CONTROL_KINDS]; /* fresh decisions by what decided; NONE: the model */
    uint64_t observed; /* fresh decisions that mode `observe` made an approval of */
    uint64_t diverged; /* messages that became something else than recorded */
    uint64_t dead_by_reason[DEAD_REASON_COUNT];
    uint64_t by_score[SCORE_BANDS]; /* fresh decisions since the model came, by probability */
    struct shadow_counters shadow;
};

/* Time spent a message, by stage, in ns.  SHADOW: of messages that a challenger scored, too. */
enum pipeline_stage {
    STAGE_DECODE,
    STAGE_FEATURES,
    STAGE_MODEL,
    STAGE_SHADOW,
    STAGE_DECIDE,
    STAGE_COUNT
};
extern const char *const PIPELINE_STAGE_NAMES[STAGE_COUNT];

/* Whether a model was trained on the columns that these parameters make.  ERR_MISMATCH names both
 * hashes. */
FD_MUSTCHECK enum err pipeline_check_model(const struct model *m,
                                           const struct feature_params *params, struct errmsg *e);

/* clock_ns: monotonic nanoseconds for the stage histograms, or NULL.
 * ERR_MISMATCH the model was trained on another feature schema (both hashes named). */
FD_MUSTCHECK enum err pipeline_create(const struct pipeline_conf *c, const struct pipeline_out *out,
                                      uint64_t (*clock_ns)(void), struct pipeline **result,
                                      struct errmsg *e);
void pipeline_free(struct pipeline *p);

/* The state of one partition, in a world of the pipeline's parameters (borrowed; freed after the
 * lane). */
FD_MUSTCHECK enum err lane_create(const struct pipeline *p, struct feat_world *w, int32_t partition,
                                  struct lane **out, struct errmsg *e);
void lane_free(struct lane *l);
const struct feat_state *lane_features(const struct lane *l);
const struct threshold *lane_threshold(const struct lane *l);
/* As feat_state_areas and feat_state_restored, latents and thresholds included; out
 * [FEAT_AREAS_MAX]. */
size_t lane_areas(const struct lane *l, struct area *out);
FD_MUSTCHECK enum err lane_restored(struct lane *l, struct errmsg *e);

/* Whether pipeline_set_models would take it: ERR_MISMATCH. */
FD_MUSTCHECK enum err pipeline_fits_model(const struct pipeline *p, const struct model *m,
                                          struct errmsg *e);
/* The models of a pipeline (borrowed); shadow NULL: none.  Not the same one twice. */
struct pipeline_models {
    const struct model *champion, *shadow;
};

/* Other models from the next message on (flushes first), in all of the pipeline's lanes.  One that
 * was there in either role keeps its latents and its score sketch; a new one's latents start
 * afresh (from the kept inputs, if any), and its sketch as the champion's.  The schema must be the
 * same.  ERR_MISMATCH, ERR_NOMEM: nothing changed. */
FD_MUSTCHECK enum err pipeline_set_models(struct pipeline *p, struct lane *const *lanes, size_t n,
                                          const struct pipeline_models *m, struct errmsg *e);
/* The same where the lanes are new, or new but for what was read back of these very models. */
FD_MUSTCHECK enum err pipeline_restore_models(struct pipeline *p, struct lane *const *lanes,
                                              size_t n, const struct pipeline_models *m,
                                              struct errmsg *e);

/* How many of a lane's cards that were active in the 90 days before its clock have a complete
 * latent cache of the model in shadow, or will have one when they pay next. */
struct lane_complete {
    uint64_t active, complete;
    bool known; /* all cards have been looked at once since the models came */
};
/* Looks at some more cards; afterwards lane_complete may have news.  Changes no state. */
void lane_look(struct lane *l, const struct pipeline *p, size_t cards);
struct lane_complete lane_complete(const struct lane *l);

/* Other bounds from the next message on (flushes first), for new lanes and these.  ERR_INVALID as
 * threshold_change: nothing changed. */
FD_MUSTCHECK enum err pipeline_set_rules(struct pipeline *p, struct lane *const *lanes, size_t n,
                                         const struct threshold_conf *c, int64_t max_future_us,
                                         struct errmsg *e);

/* Says what will become of the next message of a lane (DECIDED, REPEAT or DEAD_LETTER), as if all
 * those asked about since pipeline_admit_begin had been taken before; changes nothing.  out_tx: the
 * payment where it is DECIDED or REPEAT. */
void pipeline_admit_begin(struct pipeline *p);
enum journal_fate pipeline_admit(struct pipeline *p, const struct lane *l,
                                 const struct bus_message *m, struct tx *out_tx);

/* Where in the logs the messages taken from here on stand: their decisions say so. */
void pipeline_at(struct pipeline *p, const struct positions *at);

/* Takes messages of one lane in offset order, each with its recorded fate: fate [n], or NULL: found
 * out now, as pipeline_admit would.  Nothing is emitted for an offset below emit_from:
 * the lane only learns from it. */
void pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                       const uint8_t *fate, size_t n, int64_t emit_from);

/* Sends a message on as one that ended whoever looked into it, without looking into it.  whole:
 * with its key and bytes. */
void pipeline_crashed(struct pipeline *p, const struct bus_message *m, bool whole);

/* Takes one decoded payment (history, backtest, training); `tag` comes back in struct scored. */
void pipeline_tx(struct pipeline *p, struct lane *l, const struct tx *t, uint64_t tag);
/* Has the memory of the next payments fetched; changes nothing, as feat_prefetch. */
void pipeline_prefetch(const struct lane *l, const struct tx *t, size_t n);

/* Finishes what waits in the wave.  Called by pipeline_messages at its end. */
void pipeline_flush(struct pipeline *p);

/* Reads a message of the labels topic; a bad one becomes a dead letter if `emit`.  Returns whether
 * it was a label; out gets it then.  One dated too far ahead is dead-lettered by the max_future in
 * force now and is a label all the same: whether it counts is found by the one in force where it is
 * given (pipeline_label_ahead). */
bool pipeline_label_message(struct pipeline *p, const struct bus_message *m, bool emit,
                            struct label *out);
/* Whether a label is dated too far after its Kafka timestamp, by the max_future in force. */
bool pipeline_label_ahead(const struct pipeline *p, const struct label *label,
                          int64_t timestamp_us);
/* Gives a label to a world; a full one is counted as lost. */
void pipeline_label(struct pipeline *p, struct feat_world *w, const struct label *label);

const struct pipeline_counters *pipeline_counters(const struct pipeline *p);
const struct latency *pipeline_stage_times(const struct pipeline *p, enum pipeline_stage s);

#endif
