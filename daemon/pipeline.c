#include "daemon/pipeline.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pipeline_private.h"
#include "features/schema.h"

const char *const PIPELINE_STAGE_NAMES[STAGE_COUNT] = {"decode", "features", "model", "decide"};

enum err pipeline_check_model(const struct model *m, const struct feature_params *params,
                              struct errmsg *e)
{
    const struct model_lineage *l = model_lineage(m);
    const uint64_t ours = feature_schema_hash(params);
    if (l->schema_hash == ours && model_shape(m)->columns == FEAT_DIM) {
        return ERR_OK;
    }
    return err_set(e, ERR_MISMATCH,
                   "model %s was trained on feature schema %016" PRIx64
                   ", this program and configuration make %016" PRIx64
                   " (the model's: maturity %g days, blame ratio %g, rates version %" PRIu32
                   "); train again or use the program it was made with",
                   l->version, l->schema_hash, ours, (double)l->maturity_us / 86400e6,
                   (double)l->blame_ratio, l->rates_version);
}

static size_t extra_bytes(size_t cache_bytes)
{
    return cache_bytes + (sizeof(struct answers) + CACHE_ALIGN - 1) / CACHE_ALIGN * CACHE_ALIGN;
}

enum err pipeline_fits_model(const struct pipeline *p, const struct model *m, struct errmsg *e)
{
    enum err err = pipeline_check_model(m, &p->conf.params, e);
    if (err == ERR_OK && p->cache_bytes != 0 && p->cache_bytes != model_cache_bytes(m)) {
        err = err_set(e, ERR_MISMATCH,
                      "model %s keeps %zu bytes a card, the one in service %zu: restart to use it",
                      model_lineage(m)->version, model_cache_bytes(m), p->cache_bytes);
    }
    return err;
}

static enum err use_model(struct pipeline *p, const struct model *m, struct errmsg *e)
{
    struct model_work *work = NULL;
    enum err err = pipeline_fits_model(p, m, e);
    if (err == ERR_OK) {
        err = model_work_create(m, WAVE_MAX, &work, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    model_work_free(p->work);
    p->work = work;
    p->conf.model = m;
    p->cache_bytes = model_cache_bytes(m);
    return ERR_OK;
}

enum err pipeline_create(const struct pipeline_conf *c, const struct pipeline_out *out,
                         uint64_t (*clock_ns)(void), struct pipeline **result, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL || (p->x = calloc(WAVE_MAX * FEAT_DIM, sizeof *p->x)) == NULL) {
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
        err = use_model(p, c->model, e);
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
    if (err == ERR_OK && p->cache_bytes > 0 &&
        (p->orphan = aligned_alloc(CACHE_ALIGN, extra_bytes(p->cache_bytes))) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot start scoring: no memory");
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
        free(p->orphan);
        free(p->x);
        free(p);
    }
}

enum err lane_create(const struct pipeline *p, struct feat_world *w, int32_t partition,
                     struct lane **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct feat_limits limits = p->conf.limits;
    limits.card_extra_bytes = p->conf.model != NULL ? extra_bytes(p->cache_bytes) : 0;
    struct lane *l = calloc(1, sizeof *l);
    if (l == NULL || (l->threshold = malloc(sizeof *l->threshold)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot open partition %" PRId32 ": no memory", partition);
        goto out;
    }
    l->partition = partition;
    l->card_max = limits.card_max;
    err = threshold_init(l->threshold, &p->conf.threshold, e);
    if (err == ERR_OK) {
        err = feat_state_create(w, &limits, &l->features, e);
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

size_t lane_areas(const struct lane *l, struct area *out)
{
    size_t n = feat_state_areas(l->features, out);
    out[n++] = (struct area){"threshold", l->threshold, sizeof *l->threshold, sizeof *l->threshold};
    return n;
}

enum err lane_restored(struct lane *l, struct errmsg *e)
{
    return feat_state_restored(l->features, e);
}

enum err pipeline_set_model(struct pipeline *p, const struct model *m, struct errmsg *e)
{
    pipeline_flush(p);
    enum err err = use_model(p, m, e);
    if (err == ERR_OK) {
        memset(p->counters.by_score, 0, sizeof p->counters.by_score);
    }
    return err;
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
    }
    p->conf.threshold = *c;
    p->conf.max_future_us = max_future_us;
    return err;
}

static struct answers *answers_of(const struct pipeline *p, void *extra)
{
    return (struct answers *)(void *)((char *)extra + p->cache_bytes);
}

const struct answer *pipeline_find_answer(const struct pipeline *p, const struct lane *l,
                                          const struct tx *t, uint32_t *out_age)
{
    void *extra = p->conf.model != NULL ? feat_card_extra(l->features, t->card) : NULL;
    if (extra == NULL) {
        return NULL;
    }
    const struct answers *a = answers_of(p, extra);
    for (uint32_t age = 0; age < ANSWERS_MAX; age++) {
        const struct answer *one = &a->ring[(a->next - 1 - age) % ANSWERS_MAX];
        if (one->tx == t->id) {
            *out_age = age;
            return one;
        }
    }
    return NULL;
}

static void keep_answer(const struct pipeline *p, void *extra, const struct answer *answer)
{
    struct answers *a = answers_of(p, extra);
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

/* Threshold and answer of one slot, in order. */
static void decide(struct pipeline *p, struct slot *s, const float *x, double probability)
{
    struct lane *l = p->lane;
    struct answer a = s->repeat;
    struct control_answer c = {.by = CONTROL_NONE};
    void *extra = NULL;
    if (a.tx == 0) {
        /* Refunds and reversals change state and are never alerted, nor do they use up budget. */
        bool judged = tx_is_payment(&s->tx) || s->tx.type == TX_CHECK;
        struct threshold_answer t = {OUTCOME_APPROVE, l->threshold->probability};
        if (judged) {
            t = threshold_decide(l->threshold, s->clock_us, probability,
                                 (double)s->tx.amount_ref / 100);
        }
        a = (struct answer){.tx = s->tx.id,
                            .probability = (float)probability,
                            .threshold = (float)t.threshold,
                            .amount_ratio = s->facts.usual_ratio,
                            .outcome = (uint8_t)t.outcome};
        if (judged && p->conf.controls != NULL) {
            judge(p, s, x, &a, &c);
            a.outcome = (uint8_t)c.outcome;
            a.would = (uint8_t)(c.observed ? 1 + c.would : 0);
        }
        extra = feat_card_extra(l->features, s->tx.card);
        if (extra != NULL) {
            keep_answer(p, extra, &a);
        }
        if (p->out.scored != NULL) {
            const struct scored r = {&s->tx,      x,         &s->facts, probability,
                                     t.threshold, t.outcome, s->tag};
            p->out.scored(p->out.ctx, &r);
        }
    }
    if (s->message == NULL || !s->emit) {
        return;
    }
    p->counters.decided++;
    p->counters.by_score[score_band(a.probability)] += s->repeat.tx == 0;
    p->counters.repeats += s->repeat.tx != 0;
    p->counters.declined += s->repeat.tx == 0 && a.outcome == OUTCOME_DECLINE;
    pipeline_emit_decision(p, s, &a, &c, x, extra);
}

static void run_model(struct pipeline *p, size_t n)
{
    void *cache[WAVE_MAX];
    int64_t event_us[WAVE_MAX];
    for (size_t i = 0; i < n; i++) {
        const struct tx *t = &p->slot[p->scoring[i]].tx;
        event_us[i] = t->event_us;
        cache[i] = feat_card_extra(p->lane->features, t->card);
        if (cache[i] == NULL) { /* its record was pushed out by this very wave's pools */
            model_step(p->conf.model, p->work, 0, p->x, event_us, cache, p->logit);
            memset(p->orphan, 0, p->cache_bytes);
            cache[i] = p->orphan;
        }
    }
    model_step(p->conf.model, p->work, n, p->x, event_us, cache, p->logit);
}

static void add_stage_times(struct pipeline *p, size_t messages)
{
    for (size_t s = 0; s < STAGE_COUNT && p->clock_ns != NULL && messages > 0; s++) {
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
        run_model(p, scoring);
    }
    uint64_t scored = pipeline_now(p);
    p->stage_ns[STAGE_MODEL] += scored - start;
    size_t row = 0;
    for (size_t i = 0; i < p->n; i++) {
        struct slot *s = &p->slot[i];
        bool fresh = s->repeat.tx == 0;
        double probability = NAN;
        if (fresh && p->conf.model != NULL) {
            probability = model_probability(p->conf.model, (double)p->logit[row]);
        }
        const float *x = p->x + (fresh ? row : 0) * FEAT_DIM;
        if (p->conf.model != NULL) {
            decide(p, s, x, probability);
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
    if (p->n > 0 && feat_card_extra(l->features, t->card) == NULL) {
        struct feat_counters c;
        feat_counters(l->features, &c);
        return c.cards + WAVE_MAX >= l->card_max;
    }
    return false;
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
