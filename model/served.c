/* Sizes of a served model, one thread's scratch, the choice of a kernel. */
#include "model/served.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_TIMES 24U /* after struct cache_header of model_cache.c */

static uint32_t most(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t up(uint32_t n)
{
    return served_round(n, SERVED_LANES);
}

enum err served_sizes_init(struct served_sizes *z, const struct net_shape *s, struct errmsg *e)
{
    *z = (struct served_sizes){.columns_p = up(s->columns),
                               .width_p = up(s->width),
                               .table_stride = served_round(s->width, 64),
                               .content_p = up(s->heads * s->rank),
                               .half = served_round(s->rope / 2, 4),
                               .rank_p = up(s->rank),
                               .experts_p = up(s->experts),
                               .hidden_p = up(s->expert_hidden),
                               .shared_p = up(s->shared_hidden),
                               .window_p = up(s->window)};
    z->half_p = up(z->half);
    z->rotary_p = up((s->heads + 1) * z->half);
    z->query_p = z->content_p + 2 * z->rotary_p + z->rank_p;
    z->bytes_stride = most(most(z->width_p, z->content_p), z->shared_p);
    z->acc_stride = most(most(z->query_p, z->width_p), z->experts_p + 2 * z->shared_p);
    z->cache_times = CACHE_TIMES;
    z->cache_layer = CACHE_TIMES + (size_t)z->window_p * sizeof(int64_t);
    z->cache_layer = (z->cache_layer + SERVED_ALIGN - 1) / SERVED_ALIGN * SERVED_ALIGN;
    z->cache_data = z->window_p * sizeof(float);
    z->cache_group_bytes = (size_t)most(s->rank + 2 * z->half, z->rank_p) * SERVED_LANES;
    z->cache_layer_bytes = z->cache_data + z->window_p / SERVED_LANES * z->cache_group_bytes;
    z->cache_bytes = z->cache_layer + s->layers * z->cache_layer_bytes;
    if (z->cache_bytes > SERVED_CACHE_MAX) {
        return err_set(e, ERR_INVALID,
                       "a network with window %u, rank %u, rope %u, %u layers keeps %zu bytes a "
                       "card; at most %u are allowed",
                       s->window, s->rank, s->rope, s->layers, z->cache_bytes, SERVED_CACHE_MAX);
    }
    return ERR_OK;
}

void *served_carve(struct carver *c, size_t count, size_t size)
{
    void *p = c->base == NULL ? NULL : c->base + c->at;
    c->at += (count * size + SERVED_ALIGN - 1) / SERVED_ALIGN * SERVED_ALIGN;
    return p;
}

static size_t carve_work(struct model_work *w, char *base)
{
    const struct model *m = w->model;
    const struct served_sizes *z = &m->sizes;
    const size_t rows = SERVED_ROWS;
    size_t slots = rows * m->shape.top;
    struct carver c = {base, 0};
    /* the mix of heads is written in whole vectors: the last may pass the end */
    uint32_t vectors =
        most(most(z->content_p + SERVED_LANES, 2 * z->half_p), z->rank_p) + 2 * z->rotary_p;
    vectors = most(most(vectors, z->width_p), most(2 * z->experts_p, 0));
    vectors = most(vectors, most(z->hidden_p, z->shared_p));
    uint32_t query = most(most(z->content_p + 2 * z->rotary_p, z->rank_p), 2 * z->half_p);
    w->h = served_carve(&c, rows * z->width_p, sizeof *w->h);
    w->table_row = served_carve(&c, z->columns_p, sizeof *w->table_row);
    w->table_sum = served_carve(&c, rows * z->table_stride, sizeof *w->table_sum);
    w->high = served_carve(&c, rows * z->columns_p, 1);
    w->low = served_carve(&c, rows * z->columns_p, 1);
    w->bytes = served_carve(&c, rows * z->bytes_stride, 1);
    w->scale = served_carve(&c, rows, sizeof *w->scale);
    w->acc = served_carve(&c, rows * z->acc_stride, sizeof *w->acc);
    w->acc2 = served_carve(&c, rows * z->acc_stride, sizeof *w->acc2);
    w->cosine = served_carve(&c, rows * z->rotary_p, sizeof *w->cosine);
    w->sine = served_carve(&c, rows * z->rotary_p, sizeof *w->sine);
    w->row = served_carve(&c, vectors, sizeof *w->row);
    w->row_floats = vectors;
    w->query = served_carve(&c, query, 1);
    w->score = served_carve(&c, (size_t)m->shape.heads * z->window_p, sizeof *w->score);
    w->weight = served_carve(&c, (size_t)m->shape.heads * z->window_p, 1);

    w->shift = served_carve(&c, (size_t)2 * z->window_p, sizeof *w->shift);
    w->middle = served_carve(&c, query, 1);
    w->chosen = served_carve(&c, slots, sizeof *w->chosen);
    w->gate = served_carve(&c, slots, sizeof *w->gate);
    w->slot = served_carve(&c, slots, sizeof *w->slot);
    w->expert_first = served_carve(&c, m->shape.experts + 1, sizeof *w->expert_first);
    w->gathered = served_carve(&c, slots * z->width_p, 1);
    w->gathered_scale = served_carve(&c, slots, sizeof *w->gathered_scale);
    w->act = served_carve(&c, slots * z->hidden_p, 1);
    w->act_scale = served_carve(&c, slots, sizeof *w->act_scale);
    w->expert_acc = served_carve(&c, slots * 2 * z->hidden_p, sizeof *w->expert_acc);
    w->expert_out = served_carve(&c, slots * z->width_p, sizeof *w->expert_out);
    w->place = served_carve(&c, rows, sizeof *w->place);
    w->visible = served_carve(&c, rows * (z->window_p / SERVED_LANES), sizeof *w->visible);
    w->cache = served_carve(&c, rows, sizeof *w->cache);
    w->own = served_carve(&c, rows, z->cache_bytes);
    w->group = served_carve(&c, rows * m->shape.columns, sizeof *w->group);
    return c.at;
}

enum err model_work_create(const struct model *m, size_t batch_max, struct model_work **out,
                           struct errmsg *e)
{
    if (batch_max == 0) {
        return err_set(e, ERR_INVALID, "a batch of 0 events is not allowed");
    }
    struct model_work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to score");
    }
    w->model = m;
    w->batch_max = batch_max;
    size_t bytes = carve_work(w, NULL);
    w->block = aligned_alloc(SERVED_ALIGN, bytes);
    if (w->block == NULL) {
        free(w);
        return err_set(e, ERR_NOMEM, "no memory to score (%zu bytes)", bytes);
    }
    memset(w->block, 0, bytes);
    carve_work(w, w->block);
    memset(w->middle, 128, most(m->shape.rank, 2 * m->sizes.half));
    *out = w;
    return ERR_OK;
}

void model_work_free(struct model_work *w)
{
    if (w != NULL) {
        free(w->block);
        free(w);
    }
}

static const struct kernel *const KERNELS[] = {
#if defined(__x86_64__)
    &KERNEL_AVX512, &KERNEL_AVX2,
#endif
    &KERNEL_SCALAR};

#define KERNEL_COUNT (sizeof KERNELS / sizeof KERNELS[0])

static _Atomic(const struct kernel *) in_use;

const struct kernel *served_kernel(void)
{
    const struct kernel *k = atomic_load_explicit(&in_use, memory_order_relaxed);
    for (size_t i = 0; k == NULL && i < KERNEL_COUNT; i++) {
        if (KERNELS[i]->usable()) {
            k = KERNELS[i];
            atomic_store_explicit(&in_use, k, memory_order_relaxed);
        }
    }
    assert(k != NULL); /* the scalar one runs anywhere */
    return k;
}

const char *model_kernel_name(void)
{
    return served_kernel()->name;
}

enum err model_use_kernel(const char *name)
{
    for (size_t i = 0; i < KERNEL_COUNT; i++) {
        if (strcmp(KERNELS[i]->name, name) == 0 && KERNELS[i]->usable()) {
            atomic_store_explicit(&in_use, KERNELS[i], memory_order_relaxed);
            return ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}
