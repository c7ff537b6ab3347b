/* Training from beginning to end: which rows fit what, when to stop, calibration.
 *
 * Invariants
 *  1. Nothing of a row at or after holdout_from_us reaches the first fit; its calibration and
 *     measures are therefore those of rows it has not seen.
 *  2. Results do not depend on the number of threads: every sum has a fixed order. */
#include "model/train.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins.h"
#include "model/calibrate.h"
#include "model/metrics.h"
#include "model/train_fit.h"
#include "model/train_rows.h"
#include "model/train_score.h"

#define PATIENCE 2 /* epochs clearly below the best after which the first fit ends */
/* A week's average precision is uncertain by about this much; within it the longer fit is taken,
 * because only the last epochs of the schedule run at a small rate. */
#define AP_NOISE 0.01

struct run {
    const struct train_conf *conf;
    const struct train_rows *rows;
    struct pool *pool;
    struct fit fit; /* the one that is running */
    int (*progress)(void *ctx, const struct train_progress *p);
    void *ctx;
    struct train_progress at;
    uint64_t steps_before, events_before; /* of the fit before */
    bool held_out;                        /* there is something to hold out */
    size_t held;                          /* rows at or after holdout_from_us, in order: */
    uint8_t *label;                       /* [held] */
    float *weight;                        /* [held] */
    float *logit, *best_logit;            /* [held] */
    float *best_params, *best_raw, *best_balance;
    double top_ap; /* of all epochs so far */
    uint32_t best_epochs;
};

void train_conf_default(struct train_conf *c)
{
    *c = (struct train_conf){.seed = 1,
                             .threads = 1,
                             .final_fit = true,
                             .epochs = 6,
                             .piece = 96,
                             .context = 32,
                             .batch = 16,
                             .shards = 8,
                             .bin_leaves = 8,
                             .bin_quantiles = 5,
                             .learning_rate = 2e-3F,
                             .weight_decay = 0.05F,
                             .table_decay = 0.05F,
                             .input_decay = 0.05F,
                             .beta1 = 0.9F,
                             .beta2 = 0.98F,
                             .warmup_steps = 100,
                             .dropout = 0.3F,
                             .input_dropout = 0.15F,
                             .ema = 0.99F,
                             .clip = 0.1F,
                             .next_weight = 0.1F};
    net_shape_default(&c->shape, 1, 1);
}

struct limit {
    const char *name;
    double value, low, high;
};

static enum err check_conf(const struct train_conf *c, struct errmsg *e)
{
    const struct limit limits[] = {
        {"epochs", c->epochs, 1, 1e6},
        {"piece", c->piece, 1, 65536},
        {"context", c->context, 0, 65536},
        {"batch", c->batch, 1, 1 << 20},
        {"shards", c->shards, 1, 1024},
        {"learning_rate", (double)c->learning_rate, 1e-12, 1},
        {"weight_decay", (double)c->weight_decay, 0, 100},
        {"table_decay", (double)c->table_decay, 0, 100},
        {"input_decay", (double)c->input_decay, 0, 100},
        {"beta1", (double)c->beta1, 0, 0.99999},
        {"beta2", (double)c->beta2, 0, 0.999999},
        {"dropout", (double)c->dropout, 0, 0.95},
        {"input_dropout", (double)c->input_dropout, 0, 0.95},
        {"ema", (double)c->ema, 0, 0.99999},
        {"clip", (double)c->clip, 0, 1e6},
        {"next_weight", (double)c->next_weight, 0, 1e3},
        {"smoothing", (double)c->smoothing, 0, 0.9},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct limit *l = &limits[i];
        if (!(l->value >= l->low && l->value <= l->high)) {
            return err_set(e, ERR_INVALID, "training setting %s = %g is not allowed; give %g to %g",
                           l->name, l->value, l->low, l->high);
        }
    }
    return ERR_OK;
}

static enum err after_step(void *ctx, struct errmsg *e)
{
    struct run *r = ctx;
    const struct fit *f = &r->fit;
    r->at.step = r->steps_before + f->step;
    r->at.events = r->events_before + f->events;
    r->at.loss = f->loss_sum / (double)f->loss_count;
    if (r->progress != NULL && r->progress(r->ctx, &r->at) != 0) {
        return err_set(e, ERR_REFUSED, "training was stopped after %llu steps",
                       (unsigned long long)r->at.step);
    }
    return ERR_OK;
}

/* Labels and weights of the held-out rows; whether there is a fraud and a legitimate one among
 * them. */
static void hold_out(struct run *r)
{
    const struct train_rows *rows = r->rows;
    bool seen[2] = {false, false};
    for (size_t i = 0, k = 0; i < rows->n; i++) {
        if (rows->event_us[i] < r->conf->holdout_from_us) {
            continue;
        }
        r->label[k] = rows->label[i];
        r->weight[k++] = rows->weight[i];
        seen[rows->label[i]] |= rows->weight[i] > 0;
    }
    r->held_out = seen[0] && seen[1];
}

static enum err run_init(struct run *r, struct errmsg *e)
{
    const struct net_shape *s = &r->fit.net.shape;
    size_t total = r->fit.net.layout.total;
    for (size_t i = 0; i < r->rows->n; i++) {
        r->held += r->rows->event_us[i] >= r->conf->holdout_from_us;
    }
    size_t n = r->held + 1;
    r->label = calloc(n, sizeof *r->label);
    r->weight = calloc(n, sizeof *r->weight);
    r->logit = calloc(n, sizeof *r->logit);
    r->best_logit = calloc(n, sizeof *r->best_logit);
    r->best_params = calloc(total, sizeof *r->best_params);
    r->best_raw = calloc(total, sizeof *r->best_raw);
    r->best_balance = calloc((size_t)s->layers * s->experts, sizeof *r->best_balance);
    if (r->label == NULL || r->weight == NULL || r->logit == NULL || r->best_logit == NULL ||
        r->best_params == NULL || r->best_raw == NULL || r->best_balance == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the scores of %zu rows", r->held);
    }
    hold_out(r);
    r->best_epochs = r->conf->epochs;
    return ERR_OK;
}

static void run_done(struct run *r)
{
    fit_done(&r->fit);
    free(r->label);
    free(r->weight);
    free(r->logit);
    free(r->best_logit);
    free(r->best_params);
    free(r->best_raw);
    free(r->best_balance);
    pool_free(r->pool);
}

static void keep_best(struct run *r, uint32_t epochs)
{
    const struct fit *f = &r->fit;
    size_t total = f->net.layout.total;
    size_t loads = (size_t)f->net.shape.layers * f->net.shape.experts;
    float *logit = r->logit;
    r->logit = r->best_logit;
    r->best_logit = logit;
    memcpy(r->best_params, f->ema, total * sizeof *f->ema);
    memcpy(r->best_raw, f->params, total * sizeof *f->params);
    memcpy(r->best_balance, f->even, loads * sizeof *f->even);
    r->best_epochs = epochs;
}

/* Scores the held-out rows with the average weights. */
static enum err measure(struct run *r, double *out_ap, struct errmsg *e)
{
    struct tape_net net = fit_averaged(&r->fit);
    struct tape_data data = fit_data(&r->fit);
    double auc;
    enum err rc =
        train_score(&net, &data, r->conf->holdout_from_us, INT64_MAX, r->pool, r->logit, NULL, e);
    if (rc != ERR_OK) {
        return rc;
    }
    return metrics_rank(r->logit, r->label, r->weight, r->held, &auc, out_ap, e);
}

/* Runs the first fit epoch by epoch; the best average weights stay in best_*. */
static enum err run_first(struct run *r, struct errmsg *e)
{
    for (uint32_t epoch = 1; epoch <= r->conf->epochs; epoch++) {
        double ap = (double)NAN;
        r->at.epoch = epoch;
        enum err rc = fit_epoch(&r->fit, after_step, r, e);
        if (rc == ERR_OK) {
            rc = fit_even_out(&r->fit, e);
        }
        if (rc == ERR_OK && r->held_out) {
            rc = measure(r, &ap, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
        r->at.holdout_ap = ap;
        r->top_ap = epoch == 1 || ap > r->top_ap ? ap : r->top_ap;
        if (!r->held_out || ap >= r->top_ap - AP_NOISE) {
            keep_best(r, epoch);
        } else if (epoch - r->best_epochs >= PATIENCE) {
            break;
        }
    }
    return ERR_OK;
}

/* Calibration and measures of the best weights on the held-out rows. */
static enum err judge(const struct run *r, struct train_result *out, struct errmsg *e)
{
    const uint8_t *label = r->label;
    size_t n = r->held;
    out->holdout_auc = out->holdout_ap = out->holdout_brier = (double)NAN;
    out->calibration[0] = out->calibration[1] = 1;
    out->calibration[2] = 0;
    if (!r->held_out) {
        return ERR_OK;
    }
    enum err rc = calibrate_fit(r->best_logit, label, r->weight, n, out->calibration, e);
    if (rc == ERR_OK) {
        rc = metrics_rank(r->best_logit, label, r->weight, n, &out->holdout_auc, &out->holdout_ap,
                          e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    double *probability = calloc(n + 1, sizeof *probability);
    if (probability == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the probabilities of %zu rows", n);
    }
    for (size_t i = 0; i < n; i++) {
        if (r->weight[i] > 0) {
            probability[i] = calibrate_probability(out->calibration, (double)r->best_logit[i]);
        }
    }
    out->holdout_brier = metrics_brier(probability, label, r->weight, n);
    free(probability);
    return ERR_OK;
}

/* Moves encoding, weights and counts of the fit to the result. */
static void take(struct fit *f, float **params, float **raw, float **balance,
                 struct train_result *out)
{
    out->shape = f->net.shape;
    out->encoding = f->encoding;
    f->encoding = (struct net_encoding){0};
    out->params = *params;
    out->raw_params = *raw;
    out->balance = *balance;
    *params = *raw = *balance = NULL;
    out->rows_fit = f->rows_fit;
    out->frauds_fit = f->frauds_fit;
}

/* The second fit, on all rows. */
static enum err run_final(struct run *r, struct train_result *out, struct errmsg *e)
{
    struct fit *f = &r->fit;
    r->steps_before = r->at.step;
    r->events_before = r->at.events;
    fit_done(f);
    enum err rc = fit_init(f, r->conf, r->rows, INT64_MAX, r->pool, e);
    if (rc != ERR_OK) {
        return rc;
    }
    r->at.final_fit = true;
    r->at.epochs = r->best_epochs;
    f->steps = f->steps / r->conf->epochs * r->best_epochs; /* the whole schedule in that time */
    r->at.steps = r->steps_before + f->steps;
    for (uint32_t epoch = 1; epoch <= r->best_epochs && rc == ERR_OK; epoch++) {
        r->at.epoch = epoch;
        rc = fit_epoch(f, after_step, r, e);
    }
    if (rc == ERR_OK) {
        rc = fit_even_out(f, e);
    }
    if (rc == ERR_OK) {
        take(f, &f->ema, &f->params, &f->even, out);
    }
    return rc;
}

/* Logits of the rows from from_us on, and uses, as train_score. */
static enum err score_rows(const struct train_result *r, const struct train_rows *rows,
                           int64_t from_us, struct pool *pool, float *out_logit, uint64_t *out_uses,
                           struct errmsg *e)
{
    struct tape_net net = {.shape = r->shape, .params = r->params, .balance = r->balance};
    struct tape_data data = {.rows = rows, .encoding = &r->encoding};
    struct bins_finder finder = {0};
    enum err rc = net_layout_init(&net.layout, &r->shape, e);
    if (rc == ERR_OK) {
        rc = bins_finder_init(&finder, &r->encoding, e);
    }
    if (rc == ERR_OK) {
        data.finder = &finder;
        rc = train_score(&net, &data, from_us, INT64_MAX, pool, out_logit, out_uses, e);
    }
    bins_finder_done(&finder);
    return rc;
}

/* How evenly the held-out rows use the experts of the final weights. */
static enum err measure_shares(const struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct net_shape *s = &out->shape;
    uint64_t uses[NET_LAYERS_MAX * NET_EXPERTS_MAX];
    enum err rc = score_rows(out, r->rows, r->conf->holdout_from_us, r->pool, NULL, uses, e);
    for (uint32_t layer = 0; rc == ERR_OK && layer < s->layers; layer++) {
        const uint64_t *own = uses + (size_t)layer * s->experts;
        uint64_t sum = 0;
        uint64_t low = UINT64_MAX;
        uint64_t high = 0;
        for (uint32_t i = 0; i < s->experts; i++) {
            sum += own[i];
            low = own[i] < low ? own[i] : low;
            high = own[i] > high ? own[i] : high;
        }
        double mean = (double)sum / s->experts;
        out->share_low[layer] = sum > 0 ? (double)low / mean : (double)NAN;
        out->share_high[layer] = sum > 0 ? (double)high / mean : (double)NAN;
    }
    return rc;
}

static enum err run_all(struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct train_conf *c = r->conf;
    enum err rc = train_rows_check(r->rows, r->pool, &out->rows_hash, e);
    if (rc == ERR_OK) {
        rc = fit_init(&r->fit, c, r->rows, c->holdout_from_us, r->pool, e);
    }
    if (rc == ERR_OK) {
        rc = run_init(r, e);
    }
    r->at = (struct train_progress){.epochs = c->epochs,
                                    .steps = r->fit.steps * (c->final_fit ? 2 : 1),
                                    .holdout_ap = (double)NAN};
    if (rc == ERR_OK && (r->held_out || !c->final_fit)) {
        rc = run_first(r, e);
    }
    if (rc == ERR_OK) {
        rc = judge(r, out, e);
    }
    if (rc == ERR_OK && c->final_fit) {
        rc = run_final(r, out, e);
    } else if (rc == ERR_OK) {
        take(&r->fit, &r->best_params, &r->best_raw, &r->best_balance, out);
    }
    out->epochs_done = r->best_epochs;
    return rc == ERR_OK ? measure_shares(r, out, e) : rc;
}

enum err train_run(const struct train_conf *c, const struct train_rows *rows,
                   int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                   struct train_result *out, struct errmsg *e)
{
    struct run r = {.conf = c, .rows = rows, .progress = progress, .ctx = ctx};
    struct train_result result = {0};
    openblas_set_num_threads(1);
    enum err rc = check_conf(c, e);
    if (rc == ERR_OK) {
        rc = pool_create(c->threads < POOL_THREADS_MAX ? c->threads : POOL_THREADS_MAX, &r.pool, e);
    }
    if (rc == ERR_OK) {
        rc = run_all(&r, &result, e);
    }
    run_done(&r);
    if (rc == ERR_OK) {
        *out = result;
    } else {
        train_result_done(&result);
    }
    return rc;
}

void train_result_done(struct train_result *r)
{
    bins_done(&r->encoding);
    free(r->params);
    free(r->raw_params);
    free(r->balance);
    r->params = r->raw_params = r->balance = NULL;
}

enum err train_forward(const struct train_result *r, const struct train_rows *rows,
                       uint32_t threads, float *out_logit, struct errmsg *e)
{
    struct pool *pool = NULL;
    openblas_set_num_threads(1);
    if (rows->columns != r->shape.columns) {
        return err_set(e, ERR_MISMATCH, "rows of %zu columns for a network of %u", rows->columns,
                       r->shape.columns);
    }
    enum err rc = pool_create(threads, &pool, e);
    if (rc == ERR_OK) {
        rc = score_rows(r, rows, INT64_MIN, pool, out_logit, NULL, e);
    }
    pool_free(pool);
    return rc;
}
