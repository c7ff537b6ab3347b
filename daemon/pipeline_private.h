/* What the files of the pipeline share; not for others. */
#ifndef FD_DAEMON_PIPELINE_PRIVATE_H
#define FD_DAEMON_PIPELINE_PRIVATE_H

#include "daemon/bus_admin.h"
#include "daemon/encode.h"
#include "daemon/inputs.h"
#include "daemon/pipeline.h"
#include "daemon/wire.h"

#define WAVE_MAX 64
#define ANSWERS_MAX 32
/* bytes of a refused message: as many as Kafka's topics take, and those of the longest number, so
 * that none is found by half where the message is cut */
#define MASKED_MAX (BUS_MESSAGE_BYTES + 32)

/* What a repeat of this payment gets again. */
struct answer {
    uint64_t tx; /* hash of its id; 0: empty */
    float probability;
    float threshold;
    float amount_ratio;
    uint8_t outcome;
    uint8_t would;    /* 1 + the outcome but for mode `observe`; 0: not in that mode */
    uint8_t spare[2]; /* 0: answers are state, their bytes are compared */
};

/* The latest answers of a card, in the card's caller bytes; its inputs lie behind them. */
struct answers {
    uint32_t next;
    struct answer ring[ANSWERS_MAX];
};

struct slot {
    struct tx tx;
    struct feat_facts facts;
    struct answer repeat; /* tx != 0: an old answer, nothing to compute */
    uint64_t tag;
    int64_t offset;
    int64_t clock_us;
    const struct bus_message *message; /* NULL: from pipeline_tx */
    char id[WIRE_ID_MAX];
    size_t id_len;
    bool emit;
};

#define ADMIT_SLOTS 16384 /* over twice the payments of a batch */

/* What the payments asked about since pipeline_admit_begin will leave behind: of each card how many
 * there are, of each payment which of its card's it is. */
struct admission {
    uint32_t turn; /* slots of other turns are empty */
    struct admit_slot {
        uint64_t card, tx; /* tx 0: the card's own slot */
        uint32_t turn, count;
    } slot[ADMIT_SLOTS];
};

/* Messages decoded before their turn. */
struct lookahead {
    struct tx tx[FEAT_PREFETCH_MAX];
    enum dead_reason reason[FEAT_PREFETCH_MAX];
    char id[FEAT_PREFETCH_MAX][WIRE_ID_MAX];
    size_t id_len[FEAT_PREFETCH_MAX];
};

struct lane {
    struct feat_state *features;
    struct threshold *threshold;
    struct threshold *shadow_threshold; /* takes memory only while there is a shadow */
    unsigned served;                    /* the side (features/state.h) of the champion's latents */
    bool shadow;                        /* the other side and sketch are in use */
    int32_t partition;
    /* not state: lane_look's round */
    uint32_t look_at;
    struct lane_complete looked, complete;
};

struct pipeline {
    struct pipeline_conf conf;
    struct pipeline_out out;
    struct decoder *decoder;
    struct model_work *work;
    const struct model *shadow; /* NULL: none */
    struct model_work *shadow_work;
    size_t cache_bytes;
    float *early; /* [WAVE_MAX, FEAT_DIM] payments of before a model's time */
    uint64_t schema_hash;
    uint64_t (*clock_ns)(void);
    struct positions at; /* of the messages being taken */
    struct lookahead ahead;
    struct admission admission;
    struct lane *lane; /* of the waiting wave */
    size_t n;
    struct slot slot[WAVE_MAX];
    float *x;                 /* [WAVE_MAX, FEAT_DIM] */
    size_t scoring[WAVE_MAX]; /* slots that go through the model */
    float logit[WAVE_MAX], shadow_logit[WAVE_MAX];
    char json[ENCODE_MAX];
    char masked[MASKED_MAX]; /* a refused message without its card numbers */
    uint8_t group_of[FEAT_DIM];
    struct pipeline_counters counters;
    struct latency stage[STAGE_COUNT];
    uint64_t stage_ns[STAGE_COUNT]; /* of the messages since the last flush */
};

static inline uint64_t pipeline_now(const struct pipeline *p)
{
    return p->clock_ns != NULL ? p->clock_ns() : 0;
}

/* ---- pipeline_models.c ---- */

FD_MUSTCHECK enum err pipeline_use_champion(struct pipeline *p, const struct model *m,
                                            struct errmsg *e);
/* The n slots of the wave to be scored through champion and shadow, into the logits. */
void pipeline_run_champion(struct pipeline *p, size_t n);
void pipeline_run_shadow(struct pipeline *p, size_t n);
/* Counts a payment in the shadow's sketch, and compares.  champion: its answer; counted: the
 * decision is sent. */
void pipeline_compare(struct pipeline *p, const struct slot *s, double champion_probability,
                      enum outcome champion, double probability, bool counted);
/* The memory of both roles in a new lane. */
FD_MUSTCHECK bool lane_reserve(struct lane *l, const struct pipeline *p);

/* ---- pipeline_inputs.c ---- */

/* Runs a model over the kept inputs of those of n cards that it has seen nothing of.
 * cache, extra: [n], the model's cache and the caller's bytes of each card. */
void pipeline_catch_up(struct pipeline *p, const struct model *m, struct model_work *w, size_t n,
                       void *const *cache, void *const *extra);
/* Keeps the inputs of the n slots that were scored, for models that come later. */
void pipeline_keep_inputs(struct pipeline *p, size_t n);
/* Whether the card's cache is complete, or will be once the model has caught up. */
bool pipeline_is_complete(const struct pipeline *p, const struct model *m, const void *cache,
                          const void *extra);

/* ---- pipeline.c ---- */

/* Whether the wave must be finished before this payment: its card waits already, or one that waits
 * could give way to it. */
bool pipeline_must_flush(const struct pipeline *p, const struct lane *l, const struct tx *t);

/* Whether a payment's answer is looked up: if there, it is given again. */
enum push { PUSH_LOOK, PUSH_FRESH, PUSH_AGAIN };
/* Puts a payment into the wave.  Returns its slot; NULL: PUSH_AGAIN without an answer. */
struct slot *pipeline_push(struct pipeline *p, struct lane *l, const struct tx *t, enum push how);

/* The answer given to a payment among its card's latest, or NULL; *out_age: how many came after. */
const struct answer *pipeline_find_answer(const struct pipeline *p, const struct lane *l,
                                          const struct tx *t, uint32_t *out_age);

/* Sends the decision of a slot that came as a message, and its alert (pipeline_emit.c).  cache: the
 * card's latents, NULL for a repeat.  control: what decided; NONE for a repeat. */
void pipeline_emit_decision(struct pipeline *p, const struct slot *s, const struct answer *a,
                            const struct control_answer *control, const float *x,
                            const void *cache);

/* Sends a refused message on; decode's detail is that of its last call (pipeline_emit.c). */
void pipeline_dead_letter(struct pipeline *p, enum dead_reason reason, const struct bus_message *m);

#endif
