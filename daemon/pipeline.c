#include "daemon/pipeline.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/region.h"
#include "daemon/pipeline_private.h"
#include "features/schema.h"

const char *const PIPELINE_STAGE_NAMES[STAGE_COUNT] = {"decode", "features", "model", "shadow",
                                                       "decide"};

enum err pipeline_create(const struct pipeline_conf *c, const struct pipeline_out *out,
                         uint64_t (*clock_ns)(void), struct pipeline **result, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL || (p->x = calloc(WAVE_MAX * FEAT_DIM, sizeof *p->x)) == NULL ||
        (p->early = calloc(WAVE_MAX * FEAT_DIM, sizeof *p->early)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
        goto out;
    }
    p->conf = *c;
    p->out = *out;
    p->clock_ns = clock_ns;
    p->at.journal = -1;
    p->schema_hash = feature_schema_hash(&c->params);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        p->group_of[i] = (uint8_t)feature_info(i)->group;
    }
    if (c->model != NULL) {
        err = pipeline_use_champion(p, c->model, e);
    }
    if (err == ERR_OK && c->rates != NULL) {
        err = decoder_create(c->rates, c->message_max, &p->decoder, e);
    }
    if (err == ERR_OK && p->decoder != NULL && c->cards != NULL) {
        err = decode_guard(p->decoder, c->cards, e);
    }
    if (err == ERR_OK && p->decoder != NULL) {
        decode_schemas(p->decoder, c->schemas);
    }
    if (err == ERR_OK) {
        *result = p;
        p = NULL;
    }
out:
    pipeline_free(p);
    return err;
}

void pipeline_free(struct pipeline *p)
{
    if (p != NULL) {
        decoder_free(p->decoder);
        model_work_free(p->work);
        model_work_free(p->shadow_work);
        free(p->x);
        free(p->early);
        free(p);
    }
}

enum err lane_create(const struct pipeline *p, struct feat_world *w, int32_t partition,
                     struct lane **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct feat_limits limits = p->conf.limits;
    limits.card_extra_bytes =
        p->conf.model != NULL ? sizeof(struct answers) + inputs_bytes(p->conf.inputs) : 0;
    limits.card_side_bytes = p->conf.model != NULL ? p->cache_bytes : 0;
    struct lane *l = calloc(1, sizeof *l);
    if (l == NULL || (l->threshold = malloc(sizeof *l->threshold)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot open partition %" PRId32 ": no memory", partition);
        goto out;
    }
    l->partition = partition;
    err = threshold_init(l->threshold, &p->conf.threshold, e);
    if (err == ERR_OK) {
        err = feat_state_create(w, &limits, &l->features, e);
    }
    if (err == ERR_OK && p->conf.model != NULL && !lane_reserve(l, p)) {
        err = err_set(e, ERR_NOMEM, "cannot open partition %" PRId32 ": no memory", partition);
    }
    if (err == ERR_OK) {
        *out = l;
        l = NULL;
    }
out:
    lane_free(l);
    return err;
}

void lane_free(struct lane *l)
{
    if (l != NULL) {
        feat_state_free(l->features);
        free(l->threshold);
        region_array_free(l->shadow_threshold, 1, sizeof *l->shadow_threshold);
        free(l);
    }
}

const struct feat_state *lane_features(const struct lane *l)
{
    return l->features;
}

const struct threshold *lane_threshold(const struct lane *l)
{
    return l->threshold;
}

enum err lane_restored(struct lane *l, struct errmsg *e)
{
    return feat_state_restored(l->features, e);
}

enum err pipeline_set_rules(struct pipeline *p, struct lane *const *lanes, size_t n,
                            const struct threshold_conf *c, int64_t max_future_us, struct errmsg *e)
{
    struct threshold *trial = malloc(sizeof *trial); /* refuses before anything is changed */
    if (trial == NULL) {
        return err_set(e, ERR_NOMEM, "cannot change the alert settings: no memory");
    }
    enum err err = threshold_init(trial, &p->conf.threshold, e);
    if (err == ERR_OK) {
        err = threshold_change(trial, c, e);
    }
    free(trial);
    if (err != ERR_OK) {
        return err;
    }
    pipeline_flush(p);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = threshold_change(lanes[i]->threshold, c, e); /* as on trial */
        if (err == ERR_OK && lanes[i]->shadow) {
            err = threshold_change(lanes[i]->shadow_threshold, c, e);
        }
    }
    p->conf.threshold = *c;
    p->conf.max_future_us = max_future_us;
    return err;
}

const struct answer *pipeline_find_answer(const struct pipeline *p, const struct lane *l,
                                          const struct tx *t, uint32_t *out_age)
{
    void *extra = p->conf.model != NULL ? feat_card_extra(l->features, t->card) : NULL;
    if (extra == NULL) {
        return NULL;
    }
    const struct answers *a = extra;
    for (uint32_t age = 0; age < ANSWERS_MAX; age++) {
        const struct answer *one = &a->ring[(a->next - 1 - age) % ANSWERS_MAX];
        if (one->tx == t->id) {
            *out_age = age;
            return one;
        }
    }
    return NULL;
}

static void keep_answer(void *extra, const struct answer *answer)
{
    struct answers *a = extra;
    a->ring[a->next % ANSWERS_MAX] = *answer;
    a->next++;
}

/* What controls make of the model's outcome. */
static void judge(struct pipeline *p, const struct slot *s, const float *x, const struct answer *a,
                  struct control_answer *out)
{
    const struct control_ask ask = {&s->tx, x, (double)a->probability, s->clock_us,
                                    (enum outcome)a->outcome};
    controls_judge(p->conf.controls, &ask, out);
    if (s->message != NULL && s->emit) {
        p->counters.controlled[out->by]++;
        p->counters.observed += out->observed && out->would != OUTCOME_APPROVE;
    }
}

/* What the threshold says of a payment. */
static struct answer answer_by(const struct slot *s, const struct threshold_answer *t,
                               double probability)
{
    return (struct answer){.tx = s->tx.id,
                           .probability = (float)probability,
                           .threshold = (float)t->threshold,
                           .amount_ratio = s->facts.usual_ratio,
                           .outcome = (uint8_t)t->outcome};
}

/* Threshold and answer of one slot, in order.  shadow: the challenger's probability, if there is
 * one. */
static void decide(struct pipeline *p, struct slot *s, const float *x, double probability,
                   double shadow)
{
    struct lane *l = p->lane;
    struct answer a = s->repeat;
    struct control_answer c = {.by = CONTROL_NONE};
    struct feat_room room = {.extra = NULL};
    const bool sent = s->message != NULL && s->emit;
    if (a.tx == 0) {
        /* Refunds and reversals change state and are never alerted, nor do they use up budget. */
        bool judged = tx_is_payment(&s->tx) || s->tx.type == TX_CHECK;
        struct threshold_answer t = {OUTCOME_APPROVE, l->threshold->probability};
        if (judged) {
            t = threshold_decide(l->threshold, s->clock_us, probability,
                                 (double)s->tx.amount_ref / 100);
        }
        if (judged && p->shadow != NULL) {
            pipeline_compare(p, s, probability, t.outcome, shadow, sent);
        }
        a = answer_by(s, &t, probability);
        if (judged && p->conf.controls != NULL) {
            judge(p, s, x, &a, &c);
            a.outcome = (uint8_t)c.outcome;
            a.would = (uint8_t)(c.observed ? 1 + c.would : 0);
        }
        if (feat_card_room(l->features, s->tx.card, &room)) {
            keep_answer(room.extra, &a);
        }
        if (p->out.scored != NULL) {
            const struct scored r = {&s->tx,      x,         &s->facts, probability,
                                     t.threshold, t.outcome, s->tag};
            p->out.scored(p->out.ctx, &r);
        }
    }
    if (!sent) {
        return;
    }
    p->counters.decided++;
    p->counters.by_score[score_band(a.probability)] += s->repeat.tx == 0;
    p->counters.repeats += s->repeat.tx != 0;
    p->counters.declined += s->repeat.tx == 0 && a.outcome == OUTCOME_DECLINE;
    pipeline_emit_decision(p, s, &a, &c, x, room.side[l->served]);
}

static void add_stage_times(struct pipeline *p, size_t messages)
{
    for (size_t s = 0; s < STAGE_COUNT && p->clock_ns != NULL && messages > 0; s++) {
        if (s == STAGE_SHADOW && p->shadow == NULL) {
            continue;
        }
        latency_add_many(&p->stage[s], p->stage_ns[s] / messages, (uint32_t)messages);
        p->stage_ns[s] = 0;
    }
}

void pipeline_flush(struct pipeline *p)
{
    if (p->n == 0) {
        return;
    }
    size_t scoring = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->slot[i].repeat.tx == 0) {
            p->scoring[scoring++] = i; /* x holds rows of these only, in this order */
        }
    }
    uint64_t start = pipeline_now(p);
    if (p->conf.model != NULL && scoring > 0) {
        pipeline_run_champion(p, scoring);
    }
    uint64_t scored = pipeline_now(p);
    p->stage_ns[STAGE_MODEL] += scored - start;
    if (p->shadow != NULL && scoring > 0) {
        pipeline_run_shadow(p, scoring);
        const uint64_t compared = pipeline_now(p);
        p->stage_ns[STAGE_SHADOW] += compared - scored;
        scored = compared;
    }
    pipeline_keep_inputs(p, scoring);
    size_t row = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct slot *s = &p->slot[i];
        bool fresh = s->repeat.tx == 0;
        double probability = NAN;
        double shadow = NAN;
        if (fresh && p->shadow != NULL) {
            shadow = model_probability(p->shadow, (double)p->shadow_logit[row]);
        }
        if (fresh && p->conf.model != NULL) {
            probability = model_probability(p->conf.model, (double)p->logit[row]);
        }
        const float *x = p->x + (fresh ? row : 0) * FEAT_DIM;
        if (p->conf.model != NULL) {
            decide(p, s, x, probability, shadow);
        } else if (p->out.scored != NULL) {
            const struct scored r = {&s->tx, x, &s->facts, NAN, NAN, OUTCOME_APPROVE, s->tag};
            p->out.scored(p->out.ctx, &r);
        }
        row += fresh;
    }
    p->stage_ns[STAGE_DECIDE] += pipeline_now(p) - scored;
    add_stage_times(p, p->n);
    p->n = 0;
}

/* Whether a card that waits for its score may give way to this payment's: its latents would be
 * gone. */
static bool may_push_out(const struct pipeline *p, const struct lane *l, const struct tx *t)
{
    const uint32_t reach = feat_reach(l->features, t->card);
    for (size_t i = 0; reach > 0 && i < p->n; i++) {
        if (feat_within_reach(l->features, p->slot[i].tx.card, reach)) {
            return true;
        }
    }
    return false;
}

bool pipeline_must_flush(const struct pipeline *p, const struct lane *l, const struct tx *t)
{
    if (p->n == WAVE_MAX || (p->n > 0 && p->lane != l)) {
        return true;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->slot[i].tx.card == t->card) {
            return true;
        }
    }
    return p->n > 0 && may_push_out(p, l, t);
}

struct slot *pipeline_push(struct pipeline *p, struct lane *l, const struct tx *t, enum push how)
{
    uint32_t age = 0;
    if (pipeline_must_flush(p, l, t)) {
        pipeline_flush(p);
    }
    const struct answer *old = how != PUSH_FRESH ? pipeline_find_answer(p, l, t, &age) : NULL;
    if (how == PUSH_AGAIN && old == NULL) {
        return NULL;
    }
    p->lane = l;
    struct slot *s = &p->slot[p->n];
    size_t row = 0;
    for (size_t i = 0; i < p->n; i++) {
        row += p->slot[i].repeat.tx == 0;
    }
    p->n++;
    s->tx = *t;
    if (old != NULL) {
        s->repeat = *old;
        return s;
    }
    s->repeat.tx = 0;
    feat_extract(l->features, t, p->x + row * FEAT_DIM, &s->facts);
    s->clock_us = feat_clock_us(l->features);
    return s;
}

void pipeline_at(struct pipeline *p, const struct positions *at)
{
    p->at = *at;
}

void pipeline_prefetch(const struct lane *l, const struct tx *t, size_t n)
{
    feat_prefetch(l->features, t, n);
}

void pipeline_tx(struct pipeline *p, struct lane *l, const struct tx *t, uint64_t tag)
{
    struct slot *s = pipeline_push(p, l, t, PUSH_LOOK);
    s->message = NULL;
    s->tag = tag;
}

const struct pipeline_counters *pipeline_counters(const struct pipeline *p)
{
    return &p->counters;
}

const struct latency *pipeline_stage_times(const struct pipeline *p, enum pipeline_stage s)
{
    return &p->stage[s];
}
