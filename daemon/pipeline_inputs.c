/* A model that comes begins with what it would know of each card: when the card pays next it is run
 * over the card's kept inputs first.  So nothing is done at the change itself, and what is done
 * follows from the order of messages. */
#include <string.h>

#include "daemon/pipeline_private.h"

static void *inputs_in(void *extra)
{
    return (char *)extra + sizeof(struct answers);
}

static const void *inputs_of(const void *extra)
{
    return (const char *)extra + sizeof(struct answers);
}

/* The cards whose inputs a model is run over. */
struct behind {
    size_t n, most; /* payments of the one with most */
    void *cache[WAVE_MAX];
    const void *inputs[WAVE_MAX];
};

static void find_behind(const struct model *m, size_t n, void *const *cache, void *const *extra,
                        struct behind *out)
{
    out->n = out->most = 0;
    for (size_t i = 0; i < n; i++) {
        const void *inputs = inputs_of(extra[i]);
        const size_t count = inputs_count(inputs);
        if (count > 0 && !model_cache_begun(m, cache[i])) {
            out->cache[out->n] = cache[i];
            out->inputs[out->n++] = inputs;
            out->most = count > out->most ? count : out->most;
        }
    }
}

/* Steps number k of each of these cards' inputs, in which a card comes once. */
static void step_early(struct pipeline *p, const struct model *m, struct model_work *w,
                       const struct behind *b, size_t k)
{
    struct inputs_event event[WAVE_MAX];
    void *cache[WAVE_MAX];
    int64_t event_us[WAVE_MAX];
    float logit[WAVE_MAX];
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (k < inputs_count(b->inputs[i])) {
            const float *x = inputs_get(b->inputs[i], p->conf.inputs, k, &event[n]);
            memcpy(p->early + n * FEAT_DIM, x, FEAT_DIM * sizeof *x);
            event_us[n] = event[n].event_us;
            cache[n++] = b->cache[i];
        }
    }
    model_step(m, w, n, p->early, event_us, cache, logit);
    for (size_t i = 0; i < n; i++) {
        model_cache_saw(m, cache[i], event[i].first, event[i].in_order);
    }
    p->counters.caught_up += n;
}

void pipeline_catch_up(struct pipeline *p, const struct model *m, struct model_work *w, size_t n,
                       void *const *cache, void *const *extra)
{
    struct behind b;
    if (p->conf.inputs == 0) {
        return;
    }
    find_behind(m, n, cache, extra, &b);
    for (size_t k = 0; k < b.most; k++) {
        step_early(p, m, w, &b, k);
    }
}

void pipeline_keep_inputs(struct pipeline *p, size_t n)
{
    if (p->conf.inputs == 0 || p->conf.model == NULL) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct slot *s = &p->slot[p->scoring[i]];
        const struct inputs_event event = {s->tx.event_us, s->facts.card_events == 0,
                                           s->facts.in_order};
        struct feat_room room;
        if (feat_card_room(p->lane->features, s->tx.card, &room)) {
            inputs_keep(inputs_in(room.extra), p->conf.inputs, p->x + i * FEAT_DIM, &event);
        }
    }
}

bool pipeline_is_complete(const struct pipeline *p, const struct model *m, const void *cache,
                          const void *extra)
{
    return model_cache_complete(m, cache) ||
           (p->conf.inputs > 0 && !model_cache_begun(m, cache) &&
            inputs_complete(inputs_of(extra), p->conf.inputs, model_cache_needs(m)));
}
