#include "model/train_fisher.h"

#include <stdlib.h>
#include <string.h>

#include "base/detmath.h"
#include "base/hash.h"
#include "base/rng.h"
#include "model/pieces.h"
#include "model/tape.h"
#include "model/train_batch.h"
#include "model/train_score.h"

#define CHUNK_FLOATS 16384 /* parameters whose squares a thread adds at a time */

/* The drawn pieces' rows, copied one piece behind the other: a history each. */
struct fisher {
    struct train_rows rows; /* with the arrays below */
    float *x;               /* [n, columns] */
    int64_t *event_us;      /* [n] */
    uint32_t *card;         /* [n] number of the piece */
    uint8_t *label;         /* [n] drawn */
    float *weight;          /* [n] 0 or 1 */
    float *logit;           /* [n] */
    struct pieces pieces;   /* of these rows */
    struct batch *batch;
    /* of the batch whose squares are being added */
    const float *const *grad;
    uint32_t parts;
    float scale; /* undoes the division by the batch's weight */
    float *sum;
    size_t total;
};

static void fisher_done(struct fisher *f)
{
    batch_free(f->batch);
    pieces_done(&f->pieces);
    free(f->x);
    free(f->event_us);
    free(f->card);
    free(f->label);
    free(f->weight);
    free(f->logit);
}

static enum err draw_pieces(struct fisher *f, const struct fisher_span *span, struct errmsg *e)
{
    const struct train_conf *c = span->conf;
    struct rng order;
    rng_init(&order, c->seed ^ 0x666973686572U);
    enum err rc =
        pieces_cut(span->rows, span->from_us, span->until_us, c->piece, c->context, &f->pieces, e);
    if (rc != ERR_OK) {
        return rc;
    }
    pieces_drop_idle(&f->pieces, span->rows);
    pieces_mix(&f->pieces, &order, c->shards);
    f->pieces.count = f->pieces.count < FISHER_PIECES ? f->pieces.count : FISHER_PIECES;
    return ERR_OK;
}

static enum err alloc_rows(struct fisher *f, size_t columns, struct errmsg *e)
{
    size_t n = 0;
    for (size_t i = 0; i < f->pieces.count; i++) {
        n += f->pieces.piece[i].len;
    }
    f->x = calloc(n * columns + 1, sizeof *f->x);
    f->event_us = calloc(n + 1, sizeof *f->event_us);
    f->card = calloc(n + 1, sizeof *f->card);
    f->label = calloc(n + 1, sizeof *f->label);
    f->weight = calloc(n + 1, sizeof *f->weight);
    f->logit = calloc(n + 1, sizeof *f->logit);
    if (f->x == NULL || f->event_us == NULL || f->card == NULL || f->label == NULL ||
        f->weight == NULL || f->logit == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the Fisher information of %zu rows", n);
    }
    f->rows = (struct train_rows){.n = n,
                                  .columns = columns,
                                  .x = f->x,
                                  .event_us = f->event_us,
                                  .card = f->card,
                                  .label = f->label,
                                  .weight = f->weight};
    return ERR_OK;
}

static void copy_rows(struct fisher *f, const struct train_rows *from)
{
    size_t d = from->columns;
    size_t at = 0;
    for (size_t i = 0; i < f->pieces.count; i++) {
        struct piece *p = &f->pieces.piece[i];
        memcpy(f->x + at * d, from->x + p->first * d, p->len * d * sizeof *f->x);
        memcpy(f->event_us + at, from->event_us + p->first, p->len * sizeof *f->event_us);
        for (uint32_t k = 0; k < p->len; k++) {
            f->card[at + k] = (uint32_t)i;
            f->weight[at + k] = from->weight[p->first + k] > 0 ? 1 : 0;
        }
        p->first = at;
        at += p->len;
    }
}

/* A label for every row: a draw depends on seed and place only. */
static void draw_labels(struct fisher *f, uint64_t seed)
{
    for (size_t i = 0; i < f->rows.n; i++) {
        double p = det_sigmoid((double)f->logit[i]);
        double u = (double)(hash_pair(seed ^ 0x6c6162656cU, i) >> 11) * 0x1p-53;
        f->label[i] = u < p;
    }
}

static void add_chunk(void *ctx, uint32_t worker, uint32_t item)
{
    struct fisher *f = ctx;
    size_t first = (size_t)item * CHUNK_FLOATS;
    size_t last = first + CHUNK_FLOATS < f->total ? first + CHUNK_FLOATS : f->total;
    (void)worker;
    for (uint32_t p = 0; p < f->parts; p++) {
        const float *g = f->grad[p];
        for (size_t i = first; i < last; i++) {
            float whole = g[i] * f->scale;
            f->sum[i] += whole * whole;
        }
    }
}

/* As many pieces at a time as there are shards, so that a shard's gradient is one piece's. */
static void add_pieces(struct fisher *f, const struct tape_net *net, const struct tape_data *data,
                       struct pool *pool, double *rows)
{
    uint32_t chunks = (uint32_t)((f->total + CHUNK_FLOATS - 1) / CHUNK_FLOATS);
    for (size_t i = 0; i < f->pieces.count; i += f->parts) {
        size_t left = f->pieces.count - i;
        struct batch_loss loss;
        batch_run(f->batch, net, data, f->pieces.piece + i, left < f->parts ? left : f->parts, NULL,
                  0, &loss);
        f->grad = batch_grads(f->batch);
        f->scale = (float)loss.weight_sum;
        *rows += loss.weight_sum;
        pool_run(pool, chunks, add_chunk, f);
    }
}

static enum err add(const struct tape_net *net, const struct tape_data *data,
                    const struct fisher_span *span, float *sum, double *rows, struct errmsg *e)
{
    const struct train_conf *c = span->conf;
    struct fisher f = {.sum = sum, .total = net->layout.total, .parts = c->shards};
    struct tape_data drawn = {&f.rows, data->encoding, data->finder, NULL};
    enum err rc = draw_pieces(&f, span, e);
    if (rc == ERR_OK) {
        rc = alloc_rows(&f, span->rows->columns, e);
    }
    if (rc == ERR_OK) {
        copy_rows(&f, span->rows);
        rc = batch_create(&net->shape, c->shards, c->shards, (size_t)c->piece + c->context,
                          span->pool, &f.batch, e);
    }
    if (rc == ERR_OK) {
        const struct score_span all = {INT64_MIN, INT64_MAX, NULL};
        rc = train_score(net, &drawn, &all, span->pool, &(struct score_out){.logit = f.logit}, e);
    }
    if (rc == ERR_OK) {
        draw_labels(&f, c->seed);
        add_pieces(&f, net, &drawn, span->pool, rows);
    }
    fisher_done(&f);
    return rc;
}

/* What remains of the sums before. */
static enum err begin(struct train_result *out, size_t total, const struct train_result *before,
                      double stays, struct errmsg *e)
{
    float *sum = calloc(total, sizeof *sum);
    if (sum == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the Fisher information");
    }
    out->fisher_rows = before != NULL ? stays * before->fisher_rows : 0;
    for (size_t i = 0; before != NULL && i < total; i++) {
        sum[i] = (float)stays * before->fisher[i];
    }
    out->fisher = sum;
    return ERR_OK;
}

enum err fisher_of(struct train_result *out, const struct fisher_span *span,
                   const struct train_result *before, double stays, struct errmsg *e)
{
    struct tape_net net = {.shape = out->shape, .params = out->params, .balance = out->balance};
    struct bins_finder finder = {0};
    const struct tape_data data = {span->rows, &out->encoding, &finder, NULL};
    enum err rc = net_layout_init(&net.layout, &out->shape, e);
    if (rc == ERR_OK) {
        rc = bins_finder_init(&finder, &out->encoding, e);
    }
    if (rc == ERR_OK) {
        rc = begin(out, net.layout.total, before, stays, e);
    }
    if (rc == ERR_OK) {
        rc = add(&net, &data, span, out->fisher, &out->fisher_rows, e);
    }
    bins_finder_done(&finder);
    return rc;
}
