/* Invariants
 *  1. Which pieces a shard gets depends on their order and the number of shards only.
 *  2. A shard's gradient, losses and counts are written by the one thread that took it. */
#include "model/train_batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "model/tape_math.h"

/* Rows that a pass holds at a time: enough for the experts' products, few enough for a cache. */
#define PASS_ROWS 512

struct shard {
    struct piece *piece; /* [count] */
    size_t count;
    float *grad;    /* [total] */
    uint64_t *load; /* [layers, experts] */
    struct tape_loss loss;
    uint64_t events;
};

struct batch {
    struct net_shape shape;
    size_t total, rows_max;
    struct pool *pool;
    uint32_t threads, shards;
    struct tape **tape;  /* [threads] */
    struct shard *shard; /* [shards] */
    const float **grads; /* [shards] */
    uint64_t *load;      /* [layers, experts] */
    /* of the batch being computed; borrowed */
    const struct tape_net *net;
    const struct tape_data *data;
    const struct tape_drop *drop;
    struct tape_loss scale;
};

static enum err alloc_all(struct batch *b, size_t pieces_max, struct errmsg *e)
{
    size_t loads = (size_t)b->shape.layers * b->shape.experts;
    b->tape = calloc(b->threads, sizeof(struct tape *));
    b->shard = calloc(b->shards, sizeof *b->shard);
    b->grads = calloc(b->shards, sizeof *b->grads);
    b->load = calloc(loads, sizeof *b->load);
    bool ok = b->tape != NULL && b->shard != NULL && b->grads != NULL && b->load != NULL;
    for (uint32_t i = 0; ok && i < b->shards; i++) {
        b->shard[i].grad = calloc(b->total, sizeof *b->shard[i].grad);
        b->shard[i].load = calloc(loads, sizeof *b->shard[i].load);
        b->shard[i].piece = calloc(pieces_max / b->shards + 1, sizeof *b->shard[i].piece);
        b->grads[i] = b->shard[i].grad;
        ok = b->shard[i].grad != NULL && b->shard[i].load != NULL && b->shard[i].piece != NULL;
    }
    if (!ok) {
        return err_set(e, ERR_NOMEM, "no memory for %u gradients of %zu parameters", b->shards,
                       b->total);
    }
    for (uint32_t i = 0; i < b->threads; i++) {
        enum err rc = tape_create(&b->shape, b->rows_max, &b->tape[i], e);
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

enum err batch_create(const struct net_shape *shape, uint32_t shards, size_t pieces_max,
                      size_t rows_max, struct pool *pool, struct batch **out, struct errmsg *e)
{
    struct net_layout layout;
    enum err rc = net_layout_init(&layout, shape, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct batch *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for training");
    }
    b->shape = *shape;
    b->total = layout.total;
    b->rows_max = rows_max > PASS_ROWS ? rows_max : PASS_ROWS;
    b->pool = pool;
    b->threads = pool_threads(pool);
    b->shards = shards;
    rc = alloc_all(b, pieces_max, e);
    if (rc != ERR_OK) {
        batch_free(b);
        return rc;
    }
    *out = b;
    return ERR_OK;
}

void batch_free(struct batch *b)
{
    if (b == NULL) {
        return;
    }
    for (uint32_t i = 0; b->tape != NULL && i < b->threads; i++) {
        tape_free(b->tape[i]);
    }
    for (uint32_t i = 0; b->shard != NULL && i < b->shards; i++) {
        free(b->shard[i].piece);
        free(b->shard[i].grad);
        free(b->shard[i].load);
    }
    free(b->tape);
    free(b->shard);
    free(b->grads);
    free(b->load);
    free(b);
}

/* Counted events of what lies on the tape, by the experts they chose. */
static void count_load(const struct tape *t, uint64_t *load)
{
    const struct net_shape *s = &t->shape;
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        const uint32_t *chosen = t->layer[layer].chosen;
        for (size_t i = 0; i < t->tokens; i++) {
            for (uint32_t k = 0; t->counted[i] && k < s->top; k++) {
                load[(size_t)layer * s->experts + chosen[i * s->top + k]]++;
            }
        }
    }
}

static void run_shard(void *ctx, uint32_t worker, uint32_t item)
{
    struct batch *b = ctx;
    struct shard *s = &b->shard[item];
    struct tape *t = b->tape[worker];
    memset(s->grad, 0, b->total * sizeof *s->grad);
    memset(s->load, 0, (size_t)b->shape.layers * b->shape.experts * sizeof *s->load);
    s->loss = b->scale;
    s->events = 0;
    for (size_t i = 0; i < s->count;) {
        size_t n = 0;
        size_t rows = 0;
        while (i + n < s->count && (n == 0 || rows + s->piece[i + n].len <= b->rows_max)) {
            rows += s->piece[i + n++].len;
        }
        tape_forward(t, b->net, b->data, s->piece + i, n, b->drop, true);
        count_load(t, s->load);
        tape_backward(t, b->net, b->data, b->drop, &s->loss, s->grad);
        s->events += rows;
        i += n;
    }
}

/* Deals the pieces to the shards in turn; sums of weights and neighbours to *out. */
static void deal(struct batch *b, const struct piece *piece, size_t count, struct batch_loss *out)
{
    const float *weight = b->data->rows->weight;
    assert(b->shards > 0);
    for (uint32_t i = 0; i < b->shards; i++) {
        b->shard[i].count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct shard *s = &b->shard[i % b->shards];
        s->piece[s->count++] = piece[i];
        for (uint32_t k = piece[i].context; k < piece[i].len; k++) {
            out->weight_sum += (double)weight[piece[i].first + k];
        }
        out->next_count += (double)(piece[i].len - 1) * b->shape.columns;
    }
}

void batch_run(struct batch *b, const struct tape_net *net, const struct tape_data *data,
               const struct piece *piece, size_t count, const struct tape_drop *drop,
               double next_weight, struct batch_loss *out)
{
    size_t loads = (size_t)b->shape.layers * b->shape.experts;
    struct batch_loss loss = {0};
    b->net = net;
    b->data = data;
    b->drop = drop;
    deal(b, piece, count, &loss);
    b->scale =
        (struct tape_loss){.label_scale = loss.weight_sum > 0 ? 1 / loss.weight_sum : 0,
                           .next_scale = loss.next_count > 0 ? next_weight / loss.next_count : 0};
    pool_run(b->pool, b->shards, run_shard, b);
    memset(b->load, 0, loads * sizeof *b->load);
    for (uint32_t i = 0; i < b->shards; i++) {
        const struct shard *s = &b->shard[i];
        loss.label_sum += s->loss.label_sum;
        loss.next_sum += s->loss.next_sum;
        loss.events += s->events;
        for (size_t k = 0; k < loads; k++) {
            b->load[k] += s->load[k];
        }
    }
    *out = loss;
}

const float *const *batch_grads(const struct batch *b)
{
    return b->grads;
}

const uint64_t *batch_load(const struct batch *b)
{
    return b->load;
}
