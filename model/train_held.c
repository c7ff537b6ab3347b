#include "model/train_held.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/calibrate.h"
#include "model/metrics.h"
#include "model/train_score.h"

#define PATIENCE 2 /* epochs clearly below the best after which a fit ends */
/* A week's average precision is uncertain by about this much; within it the longer fit is taken,
 * because only the last epochs of the schedule run at a small rate. */
#define AP_NOISE 0.01

enum err held_init(struct held *h, const struct fit *f, const float *weight, int64_t from_us,
                   uint32_t epochs, struct errmsg *e)
{
    const struct net_shape *s = &f->net.shape;
    const struct train_rows *rows = f->rows;
    size_t total = f->net.layout.total;
    bool seen[2] = {false, false};
    *h = (struct held){.rows = rows,
                       .row_weight = weight,
                       .from_us = from_us,
                       .latest_ap = (double)NAN,
                       .top_ap = (double)NAN,
                       .best_epochs = epochs};
    for (size_t i = 0; i < rows->n; i++) {
        h->n += rows->event_us[i] >= from_us;
    }
    h->label = calloc(h->n + 1, sizeof *h->label);
    h->weight = calloc(h->n + 1, sizeof *h->weight);
    h->logit = calloc(h->n + 1, sizeof *h->logit);
    h->best_logit = calloc(h->n + 1, sizeof *h->best_logit);
    h->best_params = calloc(total, sizeof *h->best_params);
    h->best_raw = calloc(total, sizeof *h->best_raw);
    h->best_balance = calloc((size_t)s->layers * s->experts, sizeof *h->best_balance);
    if (h->label == NULL || h->weight == NULL || h->logit == NULL || h->best_logit == NULL ||
        h->best_params == NULL || h->best_raw == NULL || h->best_balance == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the scores of %zu rows", h->n);
    }
    for (size_t i = 0, k = 0; i < rows->n; i++) {
        if (rows->event_us[i] < from_us) {
            continue;
        }
        h->label[k] = rows->label[i];
        h->weight[k++] = weight[i];
        seen[rows->label[i]] |= weight[i] > 0;
    }
    h->any = seen[0] && seen[1];
    return ERR_OK;
}

void held_done(struct held *h)
{
    free(h->label);
    free(h->weight);
    free(h->logit);
    free(h->best_logit);
    free(h->best_params);
    free(h->best_raw);
    free(h->best_balance);
    *h = (struct held){0};
}

static void keep_best(struct held *h, const struct fit *f, uint32_t epochs)
{
    size_t total = f->net.layout.total;
    size_t loads = (size_t)f->net.shape.layers * f->net.shape.experts;
    float *logit = h->logit;
    h->logit = h->best_logit;
    h->best_logit = logit;
    memcpy(h->best_params, f->ema, total * sizeof *f->ema);
    memcpy(h->best_raw, f->params, total * sizeof *f->params);
    memcpy(h->best_balance, f->even, loads * sizeof *f->even);
    memcpy(h->best_uses, h->uses, sizeof h->best_uses);
    h->best_epochs = epochs;
}

/* Scores the held-out rows with the fit's averaged weights after `epoch` epochs and keeps the
 * weights where they are the best so far, or within a week's noise of it.  out_go_on: false when
 * the fit has been clearly below its best for some epochs. */
static enum err measure(struct held *h, const struct fit *f, uint32_t epoch, struct pool *pool,
                        bool *out_go_on, struct errmsg *e)
{
    struct tape_net net = fit_averaged(f);
    struct tape_data data = fit_data(f);
    double auc;
    double ap = (double)NAN;
    *out_go_on = true;
    if (h->any) {
        const struct score_span span = {h->from_us, INT64_MAX, h->row_weight};
        const struct score_out out = {.logit = h->logit, .uses = h->uses};
        enum err rc = train_score(&net, &data, &span, pool, &out, e);
        if (rc == ERR_OK) {
            rc = metrics_rank(h->logit, h->label, h->weight, h->n, &auc, &ap, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
    }
    h->latest_ap = ap;
    h->top_ap = !h->measured || ap > h->top_ap ? ap : h->top_ap;
    h->measured = true;
    if (!h->any || ap >= h->top_ap - AP_NOISE) {
        keep_best(h, f, epoch);
    } else {
        *out_go_on = epoch - h->best_epochs < PATIENCE;
    }
    return ERR_OK;
}

enum err held_fit(struct held *h, struct fit *f, struct train_progress *at,
                  enum err (*after_step)(void *ctx, struct errmsg *e), void *ctx, struct errmsg *e)
{
    bool go_on = true;
    for (uint32_t epoch = 1; epoch <= f->conf->epochs && go_on; epoch++) {
        at->epoch = epoch;
        enum err rc = fit_epoch(f, after_step, ctx, e);
        if (rc == ERR_OK) {
            rc = fit_even_out(f, e);
        }
        if (rc == ERR_OK) {
            rc = measure(h, f, epoch, f->pool, &go_on, e);
        }
        if (rc != ERR_OK) {
            return rc;
        }
        at->holdout_ap = h->latest_ap;
    }
    return ERR_OK;
}

enum err held_whole(struct held *h, struct fit *f, struct train_progress *at,
                    enum err (*after_step)(void *ctx, struct errmsg *e), void *ctx,
                    struct errmsg *e)
{
    bool go_on;
    enum err rc = ERR_OK;
    for (uint32_t epoch = 1; epoch <= f->conf->epochs && rc == ERR_OK; epoch++) {
        at->epoch = epoch;
        rc = fit_epoch(f, after_step, ctx, e);
    }
    if (rc == ERR_OK) {
        rc = fit_even_out(f, e);
    }
    if (rc == ERR_OK) {
        rc = measure(h, f, f->conf->epochs, f->pool, &go_on, e);
    }
    at->holdout_ap = h->latest_ap;
    return rc;
}

enum err held_judge(const struct held *h, struct train_result *out, struct errmsg *e)
{
    const uint8_t *label = h->label;
    size_t n = h->n;
    out->holdout_auc = out->holdout_ap = out->holdout_brier = (double)NAN;
    out->calibration[0] = out->calibration[1] = 1;
    out->calibration[2] = 0;
    if (!h->any) {
        return ERR_OK;
    }
    enum err rc = calibrate_fit(h->best_logit, label, h->weight, n, out->calibration, e);
    if (rc == ERR_OK) {
        rc = metrics_rank(h->best_logit, label, h->weight, n, &out->holdout_auc, &out->holdout_ap,
                          e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    double *probability = calloc(n + 1, sizeof *probability);
    if (probability == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the probabilities of %zu rows", n);
    }
    double weight = 0;
    double share[SCORE_BANDS] = {0};
    for (size_t i = 0; i < n; i++) {
        if (h->weight[i] > 0) {
            probability[i] = calibrate_probability(out->calibration, (double)h->best_logit[i]);
            share[score_band((float)probability[i])] += (double)h->weight[i];
            weight += (double)h->weight[i];
        }
    }
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        out->score_share[i] = (float)(share[i] / weight);
    }
    out->holdout_brier = metrics_brier(probability, label, h->weight, n);
    free(probability);
    return ERR_OK;
}

void held_take(struct fit *f, float **params, float **raw, float **balance,
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

enum err held_score(const struct train_result *r, const struct train_rows *rows, int64_t from_us,
                    struct pool *pool, float *out_logit, uint64_t *out_uses, struct errmsg *e)
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
        const struct score_span span = {from_us, INT64_MAX, NULL};
        const struct score_out out = {.logit = out_logit, .uses = out_uses};
        rc = train_score(&net, &data, &span, pool, &out, e);
    }
    bins_finder_done(&finder);
    return rc;
}

/* uses: [layers, experts] */
static void take_shares(const uint64_t *uses, struct train_result *out)
{
    const struct net_shape *s = &out->shape;
    for (uint32_t layer = 0; layer < s->layers; layer++) {
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
}

void held_best_shares(const struct held *h, struct train_result *out)
{
    take_shares(h->best_uses, out);
}

enum err held_shares(const struct held *h, struct pool *pool, struct train_result *out,
                     struct errmsg *e)
{
    uint64_t uses[NET_LAYERS_MAX * NET_EXPERTS_MAX];
    enum err rc = held_score(out, h->rows, h->from_us, pool, NULL, uses, e);
    if (rc == ERR_OK) {
        take_shares(uses, out);
    }
    return rc;
}
