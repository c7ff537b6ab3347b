#include "model/train_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/bins.h"
#include "model/train_init.h"

#define RATE_LAST 1e-6     /* learning rate at the end of the cosine */
#define BALANCE_STEP 0.01F /* DeepSeek-V3's u; larger, because training is short */
#define NEWEST_PART 10     /* of the fit's time: older rows say little of the load to come */
#define EMA_FIRST 10.0     /* the average follows the first steps closely */
#define PI 3.14159265358979323846

static void count_rows(struct fit *f, int64_t until_us)
{
    for (size_t i = 0; i < f->rows->n; i++) {
        if (f->rows->event_us[i] < until_us && f->rows->weight[i] > 0) {
            f->rows_fit++;
            f->frauds_fit += f->rows->label[i];
        }
    }
}

static enum err alloc_weights(struct fit *f, struct errmsg *e)
{
    const struct net_shape *s = &f->net.shape;
    size_t total = f->net.layout.total;
    f->params = malloc(total * sizeof *f->params);
    f->ema = malloc(total * sizeof *f->ema);
    f->balance = calloc((size_t)s->layers * s->experts, sizeof *f->balance);
    f->even = calloc((size_t)s->layers * s->experts, sizeof *f->even);
    if (f->params == NULL || f->ema == NULL || f->balance == NULL || f->even == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for %zu parameters", total);
    }
    f->net.params = f->params;
    f->net.balance = f->balance;
    return ERR_OK;
}

static int64_t newest_from(const struct train_rows *rows, int64_t until_us)
{
    int64_t first = INT64_MAX;
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->event_us[i] < until_us) {
            first = rows->event_us[i] < first ? rows->event_us[i] : first;
            last = rows->event_us[i] > last ? rows->event_us[i] : last;
        }
    }
    return last - (last - first) / NEWEST_PART;
}

static enum err encode(struct fit *f, int64_t until_us, struct errmsg *e)
{
    const struct train_conf *c = f->conf;
    enum err rc = bins_fit(f->rows, until_us, c->bin_leaves, c->bin_quantiles, c->seed, f->pool,
                           &f->encoding, e);
    if (rc != ERR_OK) {
        return rc;
    }
    count_rows(f, until_us);
    f->even_rows = even_rows_of(f->rows, newest_from(f->rows, until_us), until_us);
    return bins_finder_init(&f->finder, &f->encoding, e);
}

/* Optimiser, gradients and the order of the pieces, which are there. */
static enum err prepare(struct fit *f, struct errmsg *e)
{
    const struct train_conf *c = f->conf;
    enum err rc = adam_create(&f->net.shape, &f->net.layout, &f->adam, e);
    if (rc == ERR_OK) {
        rc = batch_create(&f->net.shape, c->shards, c->batch, (size_t)c->piece + c->context,
                          f->pool, &f->batch, e);
    }
    rng_init(&f->order, c->seed ^ 0x6f72646572U);
    size_t most = (size_t)c->epoch_steps * c->batch;
    f->epoch_pieces = most > 0 && most < f->pieces.count ? most : f->pieces.count;
    f->steps = (f->epoch_pieces + c->batch - 1) / c->batch * c->epochs;
    return rc;
}

enum err fit_init(struct fit *f, const struct train_conf *conf, const struct train_rows *rows,
                  int64_t until_us, struct pool *pool, struct errmsg *e)
{
    *f = (struct fit){.conf = conf, .rows = rows, .pool = pool};
    f->net.shape = conf->shape;
    enum err rc = encode(f, until_us, e);
    if (rc == ERR_OK) {
        f->net.shape.columns = (uint32_t)rows->columns;
        f->net.shape.bins = f->encoding.first_row[rows->columns];
        rc = net_layout_init(&f->net.layout, &f->net.shape, e);
    }
    if (rc == ERR_OK) {
        rc = alloc_weights(f, e);
    }
    if (rc == ERR_OK) {
        train_init(&f->net.shape, &f->net.layout, conf->seed,
                   (double)f->frauds_fit / (double)f->rows_fit, f->params);
        memcpy(f->ema, f->params, f->net.layout.total * sizeof *f->ema);
        rc = pieces_cut(rows, INT64_MIN, until_us, conf->piece, conf->context, &f->pieces, e);
    }
    if (rc == ERR_OK) {
        rc = prepare(f, e);
    }
    if (rc != ERR_OK) {
        fit_done(f);
    }
    return rc;
}

/* Weights as they were, their moments zero. */
static void take_weights(struct fit *f, const struct fit_start *start)
{
    const struct train_result *from = start->from;
    size_t total = f->net.layout.total;
    size_t loads = (size_t)f->net.shape.layers * f->net.shape.experts;
    memcpy(f->params, from->params, total * sizeof *f->params);
    memcpy(f->ema, from->params, total * sizeof *f->ema);
    memcpy(f->balance, from->balance, loads * sizeof *f->balance);
    memcpy(f->even, from->balance, loads * sizeof *f->even);
    f->pull = (struct adam_pull){.anchor = from->params,
                                 .fisher = from->fisher,
                                 .consolidation = start->consolidation / from->fisher_rows,
                                 .decay = start->decay};
}

enum err fit_resume(struct fit *f, const struct train_conf *conf, const struct train_rows *rows,
                    int64_t until_us, const struct fit_start *start, struct pool *pool,
                    struct errmsg *e)
{
    *f = (struct fit){.conf = conf, .rows = rows, .pool = pool};
    f->net.shape = start->from->shape;
    count_rows(f, until_us);
    f->even_rows = even_rows_of(rows, start->new_from_us, until_us);
    enum err rc = net_layout_init(&f->net.layout, &f->net.shape, e);
    if (rc == ERR_OK) {
        rc = bins_copy(&start->from->encoding, &f->encoding, e);
    }
    if (rc == ERR_OK) {
        rc = bins_finder_init(&f->finder, &f->encoding, e);
    }
    if (rc == ERR_OK) {
        rc = alloc_weights(f, e);
    }
    if (rc == ERR_OK) {
        take_weights(f, start);
        rc = pieces_cut(rows, INT64_MIN, until_us, conf->piece, conf->context, &f->pieces, e);
    }
    if (rc == ERR_OK) {
        pieces_drop_idle(&f->pieces, rows);
        rc = prepare(f, e);
    }
    if (rc != ERR_OK) {
        fit_done(f);
    }
    return rc;
}

void fit_done(struct fit *f)
{
    batch_free(f->batch);
    adam_free(f->adam);
    pieces_done(&f->pieces);
    free(f->even);
    free(f->balance);
    free(f->ema);
    free(f->params);
    bins_finder_done(&f->finder);
    bins_done(&f->encoding);
    *f = (struct fit){0};
}

struct tape_data fit_data(const struct fit *f)
{
    return (struct tape_data){f->rows, &f->encoding, &f->finder, f->target};
}

struct tape_net fit_averaged(const struct fit *f)
{
    struct tape_net net = f->net;
    net.params = f->ema;
    net.balance = f->even;
    return net;
}

static void move_balance(struct fit *f)
{
    const struct net_shape *s = &f->net.shape;
    const uint64_t *load = batch_load(f->batch);
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        size_t first = (size_t)layer * s->experts;
        even_move(load + first, s->experts, BALANCE_STEP, f->balance + first);
    }
}

static struct adam_step step_of(const struct fit *f)
{
    const struct train_conf *c = f->conf;
    double at = (double)f->step;
    double warm = f->step < c->warmup_steps ? at / c->warmup_steps : 1;
    double ema = (1 + at + 1) / (EMA_FIRST + at + 1);
    return (struct adam_step){.learning_rate = (double)c->learning_rate * warm *
                                                   (0.5 + 0.5 * cos(PI * at / (double)f->steps)) +
                                               RATE_LAST,
                              .weight_decay = (double)c->weight_decay,
                              .table_decay = (double)c->table_decay,
                              .input_decay = (double)c->input_decay,
                              .beta1 = (double)c->beta1,
                              .beta2 = (double)c->beta2,
                              .clip = (double)c->clip,
                              .ema = ema < (double)c->ema ? ema : (double)c->ema,
                              .pull = f->pull};
}

static enum err run_step(struct fit *f, const struct piece *piece, size_t count, struct errmsg *e)
{
    const struct train_conf *c = f->conf;
    const struct tape_drop drop = {
        .key = hash_pair(c->seed, f->step), .residual = c->dropout, .input = c->input_dropout};
    struct tape_data data = fit_data(f);
    struct adam_step step = step_of(f);
    struct batch_loss loss;
    batch_run(f->batch, &f->net, &data, piece, count, &drop, (double)c->next_weight, &loss);
    double value = loss.weight_sum > 0 ? loss.label_sum / loss.weight_sum : 0;
    double next = loss.next_count > 0 ? loss.next_sum / loss.next_count : 0;
    if (!isfinite(value) || !isfinite(next)) {
        return err_set(e, ERR_NUMERIC,
                       "the loss is not finite at step %llu (learning rate %g); lower the learning "
                       "rate",
                       (unsigned long long)f->step, (double)c->learning_rate);
    }
    f->loss_sum += value + (double)c->next_weight * next;
    f->loss_count++;
    f->events += loss.events;
    adam_run(f->adam, f->pool, &step, batch_grads(f->batch), c->shards, f->params, f->ema);
    move_balance(f);
    f->step++;
    return ERR_OK;
}

enum err fit_epoch(struct fit *f, enum err (*after_step)(void *ctx, struct errmsg *e), void *ctx,
                   struct errmsg *e)
{
    size_t batch = f->conf->batch;
    f->loss_sum = 0;
    f->loss_count = 0;
    pieces_mix(&f->pieces, &f->order, f->conf->batch);
    for (size_t i = 0; i < f->epoch_pieces; i += batch) {
        size_t n = f->epoch_pieces - i < batch ? f->epoch_pieces - i : batch;
        enum err rc = run_step(f, f->pieces.piece + i, n, e);
        if (rc == ERR_OK) {
            rc = after_step(ctx, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
    return ERR_OK;
}

enum err fit_even_out(struct fit *f, struct errmsg *e)
{
    const struct tape_net net = fit_averaged(f);
    const struct net_shape *s = &f->net.shape;
    memcpy(f->even, f->balance, (size_t)s->layers * s->experts * sizeof *f->even);
    return even_find(&net, &f->even_rows, &f->encoding, &f->finder, f->pool, f->even, e);
}
