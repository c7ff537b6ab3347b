/* The step: rows pass through encoding, layers and head in groups of SERVED_ROWS, so that weights
 * come from the nearest cache while the cards' caches are fetched from memory. */
#include "model/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/calibrate.h"
#include "model/served.h"

const struct net_shape *model_shape(const struct model *m)
{
    return &m->shape;
}

const struct model_lineage *model_lineage(const struct model *m)
{
    return &m->lineage;
}

const struct net_encoding *model_encoding(const struct model *m)
{
    return &m->encoding;
}

uint64_t model_hash(const struct model *m)
{
    return m->hash;
}

bool model_same(const struct model *a, const struct model *b)
{
    return a != NULL && b != NULL && a->hash == b->hash;
}

size_t model_cache_bytes(const struct model *m)
{
    return m->sizes.cache_bytes;
}

size_t model_cache_bytes_for(const struct net_shape *shape)
{
    struct served_sizes z;
    return served_sizes_init(&z, shape, NULL) == ERR_OK ? z.cache_bytes : 0;
}

double model_probability(const struct model *m, double logit)
{
    return calibrate_probability(m->calibration, logit);
}

/* Each event's slot; one that its cache does not keep gets an empty one of our own. */
static void place_events(const struct model *m, struct model_work *w, size_t n,
                         const int64_t *event_us)
{
    size_t groups = m->sizes.window_p / SERVED_LANES;
    for (size_t i = 0; i < n; i++) {
        uint16_t *visible = w->visible + i * groups;
        if (!cache_insert(m, w->cache[i], event_us[i], &w->place[i], visible)) {
            w->cache[i] = w->own + i * m->sizes.cache_bytes;
            memset(w->cache[i], 0, m->sizes.cache_bytes);
            bool kept = cache_insert(m, w->cache[i], event_us[i], &w->place[i], visible);
            assert(kept);
        }
    }
}

/* Up to SERVED_ROWS rows; w->cache holds their caches. */
static void step_rows(const struct model *m, struct model_work *w, size_t n, const float *x,
                      const int64_t *event_us, float *out_logit)
{
    const struct kernel *k = served_kernel();
    k->encode(m, w, n, x, event_us);
    place_events(m, w, n, event_us);
    for (uint32_t layer = 0; layer < m->shape.layers; layer++) {
        k->attention(m, w, n, layer);
        k->experts(m, w, n, layer);
    }
    k->head(m, w, n, out_logit);
}

void model_step(const struct model *m, struct model_work *w, size_t n, const float *x,
                const int64_t *event_us, void *const *cache, float *out_logit)
{
    assert(w->model == m && n <= w->batch_max);
    for (size_t at = 0; at < n; at += SERVED_ROWS) {
        size_t rows = n - at < SERVED_ROWS ? n - at : SERVED_ROWS;
        for (size_t i = 0; i < rows; i++) {
            w->cache[i] = cache[at + i];
        }
        step_rows(m, w, rows, x + at * m->shape.columns, event_us + at, out_logit + at);
    }
}

/* x with one group's columns at their normal values; SIZE_MAX: x itself. */
static void put_variant(const struct model *m, const struct model_groups *g, size_t which,
                        const float *x, float *out)
{
    const float *normal = g->normal != NULL ? g->normal : m->encoding.mean;
    for (uint32_t c = 0; c < m->shape.columns; c++) {
        out[c] = g->of[c] == which ? normal[c] : x[c];
    }
}

void model_attribute(const struct model *m, struct model_work *w, const float *x, int64_t event_us,
                     const void *cache, const struct model_groups *g, float *out)
{
    assert(w->model == m);
    int64_t time[SERVED_ROWS];
    float logit[SERVED_ROWS];
    for (size_t at = 0; at < g->count; at += SERVED_ROWS - 1) {
        size_t rows = g->count - at < SERVED_ROWS - 1 ? g->count - at : SERVED_ROWS - 1;
        for (size_t i = 0; i <= rows; i++) { /* the last row is x itself */
            put_variant(m, g, i < rows ? at + i : SIZE_MAX, x, w->group + i * m->shape.columns);
            time[i] = event_us;
            w->cache[i] = w->own + i * m->sizes.cache_bytes;
            memcpy(w->cache[i], cache, m->sizes.cache_bytes);
            cache_remove(m, w->cache[i], event_us);
        }
        step_rows(m, w, rows + 1, w->group, time, logit);
        for (size_t i = 0; i < rows; i++) {
            out[at + i] = logit[rows] - logit[i];
        }
    }
}
