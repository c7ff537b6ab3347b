/* Invariants
 *  1. Constants and edges of `from` are the result's, byte for byte; edges may be added.
 *  2. No row at or after holdout_from_us moves a weight or the Fisher information.
 *  3. Results do not depend on the number of threads. */
#include "model/train_update.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#include "model/bins.h"
#include "model/train_finer.h"
#include "model/train_fisher.h"
#include "model/train_fit.h"
#include "model/train_held.h"
#include "model/train_rows.h"
#include "model/train_teacher.h"

struct run {
    const struct train_update *u;
    const struct train_rows *rows;
    const struct train_result *from; /* what the fit starts from: u->from, or: */
    struct train_result finer;       /* the same with bins split */
    struct pool *pool;
    float *target; /* [rows] what is learnt; NULL: the labels */
    struct fit fit;
    struct held held;
    int (*progress)(void *ctx, const struct train_progress *p);
    void *ctx;
    struct train_progress at;
};

static enum err tell(const struct run *r, struct errmsg *e)
{
    if (r->progress != NULL && r->progress(r->ctx, &r->at) != 0) {
        return err_set(e, ERR_REFUSED, "the update was stopped after %llu steps",
                       (unsigned long long)r->at.step);
    }
    return ERR_OK;
}

static enum err after_step(void *ctx, struct errmsg *e)
{
    struct run *r = ctx;
    r->at.step = r->at.steps - r->fit.steps + r->fit.step;
    r->at.events = r->fit.events;
    r->at.loss = r->fit.loss_sum / (double)r->fit.loss_count;
    return tell(r, e);
}

static enum err after_tree(void *ctx, struct errmsg *e)
{
    struct run *r = ctx;
    r->at.epoch++;
    r->at.step++;
    return tell(r, e);
}

/* Whether there is anything new to learn. */
static enum err check(const struct train_update *u, const struct train_rows *rows, struct errmsg *e)
{
    enum err rc = train_conf_check(u->conf, e);
    if (rc != ERR_OK) {
        return rc;
    }
    if (!(u->consolidation >= 0 && u->decay >= 0 && u->fisher_stays >= 0 && u->fisher_stays <= 1)) {
        return err_set(e, ERR_INVALID, "consolidation, decay or fisher_stays is out of range");
    }
    if (rows->columns != u->from->shape.columns) {
        return err_set(e, ERR_MISMATCH, "rows of %zu columns for a network of %u", rows->columns,
                       u->from->shape.columns);
    }
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->weight[i] > 0 && rows->event_us[i] >= u->new_from_us &&
            rows->event_us[i] < u->conf->holdout_from_us) {
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INVALID, "there is nothing new to learn");
}

/* What trees, fitted to all that is learnt, make of young rows, as in a training. */
static enum err ask_trees(struct run *r, struct errmsg *e)
{
    const struct train_conf *c = r->u->conf;
    const struct trees_conf conf = {c->teacher_trees, c->seed};
    struct trees trees;
    r->at.stage = TRAIN_TEACHER;
    r->at.epochs = c->teacher_trees;
    enum err rc = trees_fit(&conf, r->rows, c->holdout_from_us, r->pool, after_tree, r, &trees, e);
    if (rc == ERR_OK) {
        rc = teacher_trees(&trees, r->rows, c->holdout_from_us, c->distillation, r->pool,
                           &r->target, e);
        trees_done(&trees);
    }
    return rc;
}

/* Older rows teach what the served network makes of them, besides their labels: so they hold it to
 * what it does with payments like them, and not to the labels that it has learnt by heart. */
static enum err ask_teachers(struct run *r, struct errmsg *e)
{
    const struct train_update *u = r->u;
    float *remembered;
    enum err rc = ask_trees(r, e);
    if (rc == ERR_OK) {
        rc = teacher_network(&r->fit, u->young_from_us, u->conf->distillation, &remembered, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    for (size_t i = 0; i < r->rows->n; i++) {
        if (r->rows->event_us[i] < u->young_from_us) {
            r->target[i] = remembered[i];
        }
    }
    free(remembered);
    r->fit.target = r->target;
    return ERR_OK;
}

/* Splits bins where the rows ask for it. */
static enum err refine(struct run *r, struct errmsg *e)
{
    const struct train_conf *c = r->u->conf;
    const struct train_result *from = r->u->from;
    struct net_encoding encoding;
    enum err rc =
        bins_finer(r->rows, c->holdout_from_us, &from->encoding, c->seed, r->pool, &encoding, e);
    if (rc == ERR_OK) {
        rc = finer_of(from, &encoding, &r->finer, e);
    }
    r->from = &r->finer;
    return rc;
}

static enum err prepare(struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct train_update *u = r->u;
    const struct train_conf *c = u->conf;
    enum err rc = train_rows_check(r->rows, r->pool, &out->rows_hash, e);
    r->from = u->from;
    if (rc == ERR_OK && u->finer) {
        rc = refine(r, e);
    }
    const struct fit_start start = {.from = r->from,
                                    .new_from_us = u->new_from_us,
                                    .consolidation = (double)u->consolidation,
                                    .decay = (double)u->decay};
    if (rc == ERR_OK) {
        rc = fit_resume(&r->fit, c, r->rows, c->holdout_from_us, &start, r->pool, e);
    }
    if (rc == ERR_OK) {
        rc = held_init(&r->held, &r->fit, u->judge, c->holdout_from_us, c->epochs, e);
    }
    if (rc == ERR_OK && !r->held.any) {
        rc = err_set(e, ERR_INVALID, "there is no fraud, or nothing else, to judge an update by");
    }
    const bool taught = c->distillation > 0;
    r->at = (struct train_progress){.steps = r->fit.steps + (taught ? c->teacher_trees : 0),
                                    .loss = (double)NAN,
                                    .holdout_ap = (double)NAN};
    return rc == ERR_OK && taught ? ask_teachers(r, e) : rc;
}

static enum err run_all(struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct train_update *u = r->u;
    enum err rc = prepare(r, out, e);
    if (rc == ERR_OK) {
        r->at.stage = TRAIN_HELD_OUT;
        r->at.epochs = u->conf->epochs;
        rc = held_whole(&r->held, &r->fit, &r->at, after_step, r, e);
    }
    if (rc == ERR_OK) {
        rc = held_judge(&r->held, out, e);
    }
    if (rc != ERR_OK) {
        return rc;
    }
    held_take(&r->fit, &r->held.best_params, &r->held.best_raw, &r->held.best_balance, out);
    out->epochs_done = r->held.best_epochs;
    out->learnt_until_us = u->conf->holdout_from_us;
    held_best_shares(&r->held, out);
    const struct fisher_span span = {r->rows, u->conf, u->new_from_us, u->conf->holdout_from_us,
                                     r->pool};
    return fisher_of(out, &span, r->from, (double)u->fisher_stays, e);
}

enum err train_update_run(const struct train_update *u, const struct train_rows *rows,
                          int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                          struct train_result *out, struct errmsg *e)
{
    struct run r = {.u = u, .rows = rows, .progress = progress, .ctx = ctx};
    struct train_result result = {0};
    uint32_t threads = u->conf->threads;
    openblas_set_num_threads(1);
    enum err rc = check(u, rows, e);
    if (rc == ERR_OK) {
        rc = pool_create(threads < POOL_THREADS_MAX ? threads : POOL_THREADS_MAX, &r.pool, e);
    }
    if (rc == ERR_OK) {
        rc = run_all(&r, &result, e);
    }
    fit_done(&r.fit);
    held_done(&r.held);
    train_result_done(&r.finer);
    free(r.target);
    pool_free(r.pool);
    if (rc == ERR_OK) {
        *out = result;
    } else {
        train_result_done(&result);
    }
    return rc;
}
