/* The models of the pipeline: the champion, whose scores decide, and the one in shadow. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/region.h"
#include "base/timefmt.h"
#include "daemon/pipeline_private.h"
#include "features/schema.h"

#define ACTIVE_US (90 * TIME_DAY)

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

enum err pipeline_use_champion(struct pipeline *p, const struct model *m, struct errmsg *e)
{
    enum err err = pipeline_fits_model(p, m, e);
    if (err == ERR_OK) {
        err = model_work_create(m, WAVE_MAX, &p->work, e);
    }
    if (err == ERR_OK) {
        p->conf.model = m;
        p->cache_bytes = model_cache_bytes(m);
    }
    return err;
}

bool lane_reserve(struct lane *l, const struct pipeline *p)
{
    l->shadow_threshold = region_array(1, sizeof *l->shadow_threshold);
    if (l->shadow_threshold == NULL) {
        return false;
    }
    feat_side_use(l->features, l->served, true);
    l->shadow = p->shadow != NULL;
    if (l->shadow) {
        feat_side_use(l->features, !l->served, true);
        *l->shadow_threshold = *l->threshold;
    }
    return true;
}

size_t lane_areas(const struct lane *l, struct area *out)
{
    size_t n = feat_state_areas(l->features, out);
    out[n++] = (struct area){"threshold", l->threshold, sizeof *l->threshold, sizeof *l->threshold};
    if (l->shadow_threshold != NULL) { /* there are models */
        out[n++] = feat_side_area(l->features, l->served, "latents");
        out[n++] = feat_side_area(l->features, !l->served, "shadow_latents");
        out[n++] =
            (struct area){"shadow_threshold", l->shadow_threshold,
                          l->shadow ? sizeof *l->shadow_threshold : 0, sizeof *l->shadow_threshold};
    }
    return n;
}

/* ---- scoring ---- */

static void run(struct pipeline *p, size_t n, const struct model *m, struct model_work *w,
                unsigned side, float *logit)
{
    void *cache[WAVE_MAX] = {NULL};
    void *extra[WAVE_MAX] = {NULL};
    int64_t event_us[WAVE_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        const struct tx *t = &p->slot[p->scoring[i]].tx;
        struct feat_room room;
        event_us[i] = t->event_us;
        bool known = feat_card_room(p->lane->features, t->card, &room);
        assert(known); /* nothing gives way to a wave's own payments */
        (void)known;
        cache[i] = room.side[side];
        extra[i] = room.extra;
    }
    pipeline_catch_up(p, m, w, n, cache, extra);
    model_step(m, w, n, p->x, event_us, cache, logit);
    for (size_t i = 0; i < n; i++) {
        const struct feat_facts *f = &p->slot[p->scoring[i]].facts;
        model_cache_saw(m, cache[i], f->card_events == 0, f->in_order);
    }
}

void pipeline_run_champion(struct pipeline *p, size_t n)
{
    run(p, n, p->conf.model, p->work, p->lane->served, p->logit);
}

void pipeline_run_shadow(struct pipeline *p, size_t n)
{
    run(p, n, p->shadow, p->shadow_work, !p->lane->served, p->shadow_logit);
}

void pipeline_compare(struct pipeline *p, const struct slot *s, double champion_probability,
                      enum outcome champion, double probability, bool counted)
{
    struct shadow_counters *c = &p->counters.shadow;
    const struct threshold_answer t = threshold_decide(p->lane->shadow_threshold, s->clock_us,
                                                       probability, (double)s->tx.amount_ref / 100);
    const bool mine = champion != OUTCOME_APPROVE;
    const bool others = t.outcome != OUTCOME_APPROVE;
    if (counted) {
        c->both += mine && others;
        c->champion_only += mine && !others;
        c->challenger_only += !mine && others;
        c->neither += !mine && !others;
        c->by_score[score_band((float)probability)]++;
        c->shift += probability - champion_probability;
    }
}

/* ---- a change of models ---- */

/* What becomes of the two roles' memory. */
struct change {
    bool swap;   /* the one in shadow becomes champion, with latents and sketch */
    bool demote; /* the champion goes into shadow, and a new one takes its place */
    bool shadow; /* there is one afterwards */
    bool fresh;  /* it is a new one */
};

static struct change change_to(const struct pipeline *p, const struct pipeline_models *m)
{
    assert(!model_same(m->champion, m->shadow));
    const bool keeps = model_same(m->shadow, p->conf.model); /* it was champion until now */
    struct change c = {.swap = model_same(m->champion, p->shadow), .shadow = m->shadow != NULL};
    c.demote = keeps && !c.swap;
    c.fresh = c.shadow && !keeps && (c.swap || !model_same(m->shadow, p->shadow));
    return c;
}

static void empty_side(struct lane *l, unsigned side)
{
    feat_side_use(l->features, side, false);
    feat_side_use(l->features, side, true);
}

static void lane_change(struct lane *l, const struct change *c)
{
    if (c->swap || c->demote) {
        l->served = !l->served;
    }
    if (c->swap) {
        threshold_swap(l->threshold, l->shadow_threshold);
    }
    if (c->demote) {
        empty_side(l, l->served);
        *l->shadow_threshold = *l->threshold;
    }
    if (c->fresh) {
        empty_side(l, !l->served);
        *l->shadow_threshold = *l->threshold;
    }
    if (!c->shadow && (l->shadow || c->swap)) {
        feat_side_use(l->features, !l->served, false);
        region_array_clear(l->shadow_threshold, 1, sizeof *l->shadow_threshold);
    }
    l->shadow = c->shadow;
}

static void look_anew(struct lane *l)
{
    l->look_at = 0;
    l->looked = l->complete = (struct lane_complete){.known = false};
}

/* The scratch of a model: the one it has, or a new one. */
static enum err work_of(const struct pipeline *p, const struct model *m, struct model_work **out,
                        struct errmsg *e)
{
    if (m == NULL || m == p->conf.model || m == p->shadow) {
        *out = m == NULL ? NULL : m == p->conf.model ? p->work : p->shadow_work;
        return ERR_OK;
    }
    enum err err = pipeline_fits_model(p, m, e);
    return err == ERR_OK ? model_work_create(m, WAVE_MAX, out, e) : err;
}

static void free_unless(struct model_work *w, const struct model_work *a,
                        const struct model_work *b)
{
    if (w != a && w != b) {
        model_work_free(w);
    }
}

/* Puts models in their roles; of the lanes nothing is changed. */
static enum err use(struct pipeline *p, const struct pipeline_models *m, struct errmsg *e)
{
    struct model_work *work = NULL;
    struct model_work *shadow = NULL;
    enum err err = work_of(p, m->champion, &work, e);
    if (err == ERR_OK) {
        err = work_of(p, m->shadow, &shadow, e);
    }
    if (err != ERR_OK) {
        free_unless(work, p->work, p->shadow_work);
        return err;
    }
    free_unless(p->work, work, shadow);
    free_unless(p->shadow_work, work, shadow);
    if (!model_same(m->champion, p->conf.model)) {
        memset(p->counters.by_score, 0, sizeof p->counters.by_score);
    }
    p->counters.shadow = (struct shadow_counters){.both = 0};
    p->work = work;
    p->shadow_work = shadow;
    p->conf.model = m->champion;
    p->shadow = m->shadow;
    return ERR_OK;
}

enum err pipeline_set_models(struct pipeline *p, struct lane *const *lanes, size_t n,
                             const struct pipeline_models *m, struct errmsg *e)
{
    pipeline_flush(p);
    const struct change c = change_to(p, m);
    enum err err = use(p, m, e);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        lane_change(lanes[i], &c);
        look_anew(lanes[i]);
    }
    return err;
}

enum err pipeline_restore_models(struct pipeline *p, struct lane *const *lanes, size_t n,
                                 const struct pipeline_models *m, struct errmsg *e)
{
    pipeline_flush(p);
    enum err err = use(p, m, e);
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        lanes[i]->shadow = m->shadow != NULL;
        feat_side_use(lanes[i]->features, !lanes[i]->served, lanes[i]->shadow);
        look_anew(lanes[i]);
    }
    return err;
}

/* ---- how complete the challenger's caches are ---- */

struct look {
    const struct pipeline *p;
    unsigned side;
    int64_t from_us;
    struct lane_complete *tally;
};

static void look_at(void *ctx, int64_t last_us, const struct feat_room *room)
{
    struct look *k = ctx;
    if (last_us >= k->from_us) {
        k->tally->active++;
        k->tally->complete +=
            pipeline_is_complete(k->p, k->p->shadow, room->side[k->side], room->extra);
    }
}

void lane_look(struct lane *l, const struct pipeline *p, size_t cards)
{
    const int64_t clock_us = feat_clock_us(l->features);
    if (p->shadow == NULL || clock_us == INT64_MIN) {
        return;
    }
    struct look k = {p, !l->served, clock_us - ACTIVE_US, &l->looked};
    feat_cards_look(l->features, &l->look_at, cards, look_at, &k);
    if (l->look_at == 0) {
        l->complete = l->looked;
        l->complete.known = true;
        l->looked = (struct lane_complete){.known = false};
    }
}

struct lane_complete lane_complete(const struct lane *l)
{
    return l->complete;
}
