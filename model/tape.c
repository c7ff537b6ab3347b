/* Invariants
 *  1. All arrays of a tape lie in one block, each aligned to 64 bytes: the same alignment on every
 *     thread, so that no kernel chooses another path. */
#include "model/tape.h"

#include <stdlib.h>
#include <string.h>

#include "model/tape_clones.h"
#include "model/tape_math.h"
#include "model/train_loops.h"

#define ALIGN 64U
#define TOKENS_MAX ((size_t)1 << 24)

/* Hands out parts of a block; with base NULL it only measures. */
struct carver {
    char *base;
    size_t at;
};

static void *carve(struct carver *c, size_t count, size_t size)
{
    void *p = c->base == NULL ? NULL : c->base + c->at;
    c->at += (count * size + ALIGN - 1) / ALIGN * ALIGN;
    return p;
}

static float *floats(struct carver *c, size_t rows, size_t width)
{
    return carve(c, rows * width, sizeof(float));
}

static uint32_t *numbers(struct carver *c, size_t rows, size_t width)
{
    return carve(c, rows * width, sizeof(uint32_t));
}

static void carve_layer(struct carver *c, const struct tape *t, struct tape_layer *l)
{
    const struct net_shape *s = &t->shape;
    size_t n = t->tokens_max;
    size_t keys = (size_t)s->heads * s->head_dim;
    size_t slots = n * s->top;
    l->n1 = floats(c, n, s->width);
    l->r1 = floats(c, n, 1);
    l->q = floats(c, n, keys + (size_t)s->heads * s->rope);
    l->down = floats(c, n, s->rank + s->rope);
    l->c = floats(c, n, s->rank);
    l->rc = floats(c, n, 1);
    l->kr = floats(c, n, s->rope);
    l->kc = floats(c, n, keys);
    l->v = floats(c, n, keys);
    l->prob = floats(c, n, s->heads * t->window);
    l->ao = floats(c, n, keys);
    l->mid = floats(c, n, s->width);
    l->n2 = floats(c, n, s->width);
    l->r2 = floats(c, n, 1);
    l->gate = floats(c, n, s->experts);
    l->g = floats(c, n, s->top);
    l->chosen = numbers(c, n, s->top);
    l->slot = numbers(c, n, s->top);
    l->expert_first = numbers(c, s->experts + 1, 1);
    l->suv = floats(c, n, 2 * (size_t)s->shared_hidden);
    l->sact = floats(c, n, s->shared_hidden);
    l->xg = floats(c, slots, s->width);
    l->euv = floats(c, slots, 2 * (size_t)s->expert_hidden);
    l->eact = floats(c, slots, s->expert_hidden);
    l->eout = floats(c, slots, s->width);
}

static void carve_scratch(struct carver *c, struct tape *t)
{
    const struct net_shape *s = &t->shape;
    size_t n = t->tokens_max;
    size_t keys = (size_t)s->heads * s->head_dim;
    size_t slots = n * s->top;
    t->dlogit = floats(c, n, 1);
    t->dh = floats(c, n, s->width);
    t->dn = floats(c, n, s->width);
    t->df = floats(c, n, s->width);
    t->dq = floats(c, n, keys + (size_t)s->heads * s->rope);
    t->dkc = floats(c, n, keys);
    t->dv = floats(c, n, keys);
    t->dao = floats(c, n, keys);
    t->dkr = floats(c, n, s->rope);
    t->ddown = floats(c, n, s->rank + s->rope);
    t->dc = floats(c, n, s->rank);
    t->dgate = floats(c, n, s->experts);
    t->dsuv = floats(c, n, 2 * (size_t)s->shared_hidden);
    t->dsact = floats(c, n, s->shared_hidden);
    t->deuv = floats(c, slots, 2 * (size_t)s->expert_hidden);
    t->deact = floats(c, slots, s->expert_hidden);
    t->deout = floats(c, slots, s->width);
    t->kt = floats(c, keys, t->stride);
    t->krt = floats(c, s->rope, t->stride);
}

static size_t carve_tape(struct tape *t, char *base)
{
    struct carver c = {base, 0};
    const struct net_shape *s = &t->shape;
    size_t n = t->tokens_max;
    t->row = carve(&c, n, sizeof *t->row);
    t->seen = numbers(&c, n, 1);
    t->counted = carve(&c, n, 1);
    t->table_row = numbers(&c, n, s->columns);
    t->kept = numbers(&c, n, 1);
    t->xs = floats(&c, n, s->columns);
    t->cos = floats(&c, n, s->rope / 2);
    t->sin = floats(&c, n, s->rope / 2);
    for (uint32_t l = 0; l <= s->layers; l++) {
        t->h[l] = floats(&c, n, s->width);
    }
    for (uint32_t l = 0; l < s->layers; l++) {
        carve_layer(&c, t, &t->layer[l]);
    }
    t->out = floats(&c, n, s->width);
    t->rout = floats(&c, n, 1);
    t->logit = floats(&c, n, 1);
    t->next = floats(&c, n, s->columns);
    carve_scratch(&c, t);
    return c.at;
}

enum err tape_create(const struct net_shape *shape, size_t tokens_max, struct tape **out,
                     struct errmsg *e)
{
    if (tokens_max == 0 || tokens_max > TOKENS_MAX) {
        return err_set(e, ERR_INVALID,
                       "%zu events in a shard are not allowed (at most %zu); give smaller pieces "
                       "or more shards",
                       tokens_max, TOKENS_MAX);
    }
    struct tape *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for training");
    }
    t->shape = *shape;
    t->loops = train_loops_best();
    t->tokens_max = tokens_max;
    t->window = (shape->window + TAPE_PAD - 1) / TAPE_PAD * TAPE_PAD;
    t->stride = (tokens_max + 2 * TAPE_PAD - 1) / TAPE_PAD * TAPE_PAD;
    size_t bytes = carve_tape(t, NULL);
    t->block = aligned_alloc(ALIGN, bytes);
    if (t->block == NULL) {
        tape_free(t);
        return err_set(e, ERR_NOMEM, "no memory for a shard of %zu events (%zu bytes)", tokens_max,
                       bytes);
    }
    memset(t->block, 0, bytes);
    carve_tape(t, t->block);
    *out = t;
    return ERR_OK;
}

void tape_free(struct tape *t)
{
    if (t != NULL) {
        free(t->block);
        free(t);
    }
}

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

TAPE_CLONES void tape_draw(uint64_t key, size_t row, uint32_t place, float rate, float *out,
                           size_t n)
{
    uint64_t bits[TAPE_WIDTH_MAX / 4];
    uint16_t draw[TAPE_WIDTH_MAX];
    uint64_t k = mix(key ^ mix((uint64_t)row * 64 + place + 1));
    uint32_t bound = (uint32_t)(rate * 65536.0F);
    float keep = 65536.0F / (float)(65536 - bound);
    size_t words = 0;
    do {
        bits[words] = mix(k + (words + 1) * 0x9e3779b97f4a7c15U);
    } while (4 * ++words < n);
    memcpy(draw, bits, 4 * words * sizeof *draw);
    for (size_t i = 0; i < n; i++) {
        out[i] = draw[i] < bound ? 0 : keep;
    }
}

TAPE_CLONES void tape_drop_rows(const struct tape *t, const struct tape_drop *drop, uint32_t place,
                                float *x)
{
    if (drop == NULL || !(drop->residual > 0)) {
        return;
    }
    size_t width = t->shape.width;
    for (size_t i = 0; i < t->tokens; i++) {
        float keep[TAPE_WIDTH_MAX];
        tape_draw(drop->key, t->row[i], place, drop->residual, keep, width);
        for (size_t k = 0; k < width; k++) {
            x[i * width + k] *= keep[k];
        }
    }
}
