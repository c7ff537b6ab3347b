/* Training from beginning to end: which rows fit what, when to stop, calibration.
 *
 * Invariants
 *  1. Nothing of a row at or after holdout_from_us reaches the fit that is judged or its teacher;
 *     its calibration and measures are therefore those of rows it has not seen.
 *  2. Results do not depend on the number of threads: every sum has a fixed order. */
#include "model/train.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins.h"
#include "model/train_fisher.h"
#include "model/train_fit.h"
#include "model/train_held.h"
#include "model/train_rows.h"
#include "model/train_teacher.h"

/* Rows with weight that a fit is shown, all passes together, and bounds of the passes. */
#define ROWS_SHOWN 4000000U
#define EPOCHS_LEAST 5U
#define EPOCHS_MOST 10U

struct run {
    const struct train_conf *conf;
    const struct train_rows *rows;
    struct pool *pool;
    float *target;  /* [rows] what the fit learns; NULL: the labels */
    struct fit fit; /* the one that is running */
    int (*progress)(void *ctx, const struct train_progress *p);
    void *ctx;
    struct train_progress at;
    uint64_t steps_before, events_before; /* of the fits before */
    struct held held;                     /* what the fit without the last rows is judged by */
};

void train_conf_default(struct train_conf *c)
{
    *c = (struct train_conf){.seed = 1,
                             .threads = 1,
                             .final_fit = true,
                             .piece = 96,
                             .context = 32,
                             .batch = 16,
                             .shards = 8,
                             .bin_leaves = 8,
                             .bin_quantiles = 5,
                             .learning_rate = 2e-3F,
                             .weight_decay = 0.05F,
                             .table_decay = 0.05F,
                             .input_decay = 2.0F,
                             .beta1 = 0.9F,
                             .beta2 = 0.98F,
                             .warmup_steps = 100,
                             .dropout = 0.2F,
                             .input_dropout = 0.15F,
                             .ema = 0.99F,
                             .clip = 0.1F,
                             .next_weight = 0.3F,
                             .distillation = 0.7F,
                             .teacher_trees = 300};
    net_shape_default(&c->shape, 1, 1);
}

uint32_t train_passes(uint64_t rows, uint64_t shown, uint32_t least, uint32_t most)
{
    uint64_t passes = rows > 0 ? (shown + rows / 2) / rows : most;
    passes = passes > least ? passes : least;
    return (uint32_t)(passes < most ? passes : most);
}

uint32_t train_epochs(uint64_t rows)
{
    return train_passes(rows, ROWS_SHOWN, EPOCHS_LEAST, EPOCHS_MOST);
}

static uint64_t rows_with_weight(const struct train_rows *rows)
{
    uint64_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        n += rows->weight[i] > 0;
    }
    return n;
}

struct limit {
    const char *name;
    double value, low, high;
};

enum err train_conf_check(const struct train_conf *c, struct errmsg *e)
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
        {"distillation", (double)c->distillation, 0, 1},
        {"teacher_trees", c->teacher_trees, 1, 1e4},
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

static enum err tell(const struct run *r, struct errmsg *e)
{
    if (r->progress != NULL && r->progress(r->ctx, &r->at) != 0) {
        return err_set(e, ERR_REFUSED, "training was stopped after %llu steps",
                       (unsigned long long)r->at.step);
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
    return tell(r, e);
}

static void run_done(struct run *r)
{
    fit_done(&r->fit);
    held_done(&r->held);
    free(r->target);
    pool_free(r->pool);
}

static enum err after_tree(void *ctx, struct errmsg *e)
{
    struct run *r = ctx;
    r->at.epoch++;
    r->at.step++;
    return tell(r, e);
}

/* What the fit of the rows before until_us is to learn. */
static enum err ask_teacher(struct run *r, int64_t until_us, struct errmsg *e)
{
    const struct train_conf *c = r->conf;
    const struct trees_conf conf = {c->teacher_trees, c->seed};
    struct trees trees;
    free(r->target);
    r->target = NULL;
    r->at.stage = TRAIN_TEACHER;
    r->at.epoch = 0;
    r->at.epochs = c->teacher_trees;
    r->at.loss = (double)NAN;
    enum err rc = trees_fit(&conf, r->rows, until_us, r->pool, after_tree, r, &trees, e);
    if (rc == ERR_OK) {
        rc = teacher_trees(&trees, r->rows, until_us, c->distillation, r->pool, &r->target, e);
        trees_done(&trees);
    }
    return rc;
}

/* Begins a fit on the rows before until_us in the place of the one before, if any, with what it is
 * to learn; `fits` are planned from here on. */
static enum err begin(struct run *r, enum train_stage stage, int64_t until_us, uint32_t fits,
                      struct errmsg *e)
{
    const struct train_conf *c = r->conf;
    const uint32_t trees = c->distillation > 0 ? c->teacher_trees : 0;
    fit_done(&r->fit);
    enum err rc = fit_init(&r->fit, c, r->rows, until_us, r->pool, e);
    if (rc == ERR_OK && c->distillation > 0) {
        r->at.steps = r->at.step + fits * (r->fit.steps + trees);
        rc = ask_teacher(r, until_us, e);
    }
    r->fit.target = r->target;
    r->at.stage = stage;
    r->at.epochs = c->epochs;
    r->steps_before = r->at.step;
    r->events_before = r->at.events;
    r->at.steps = r->at.step + fits * r->fit.steps + (fits - 1) * trees;
    return rc;
}

/* Runs the fit for as many epochs, whatever is held out. */
static enum err run_epochs(struct run *r, uint32_t epochs, struct errmsg *e)
{
    enum err rc = ERR_OK;
    for (uint32_t epoch = 1; epoch <= epochs && rc == ERR_OK; epoch++) {
        r->at.epoch = epoch;
        rc = fit_epoch(&r->fit, after_step, r, e);
    }
    return rc == ERR_OK ? fit_even_out(&r->fit, e) : rc;
}

static uint64_t epoch_steps(const struct fit *f)
{
    return f->steps / f->conf->epochs;
}

/* The fit that is judged by the rows held out. */
static enum err run_held(struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct train_conf *c = r->conf;
    enum err rc = begin(r, TRAIN_HELD_OUT, c->holdout_from_us, c->final_fit ? 2 : 1, e);
    if (rc == ERR_OK) {
        rc = held_init(&r->held, &r->fit, r->rows->weight, c->holdout_from_us, c->epochs, e);
    }
    if (rc == ERR_OK && (r->held.any || !c->final_fit)) {
        rc = held_fit(&r->held, &r->fit, &r->at, after_step, r, e);
    }
    return rc == ERR_OK ? held_judge(&r->held, out, e) : rc;
}

/* The fit on all rows. */
static enum err run_final(struct run *r, struct train_result *out, struct errmsg *e)
{
    struct fit *f = &r->fit;
    enum err rc = begin(r, TRAIN_ALL_ROWS, INT64_MAX, 1, e);
    if (rc != ERR_OK) {
        return rc;
    }
    r->at.epochs = r->held.best_epochs;
    f->steps = epoch_steps(f) * r->held.best_epochs; /* the whole schedule in that time */
    r->at.steps = r->steps_before + f->steps;
    rc = run_epochs(r, r->held.best_epochs, e);
    if (rc == ERR_OK) {
        held_take(f, &f->ema, &f->params, &f->even, out);
    }
    return rc;
}

/* What the weights mean to the rows that they were learnt from. */
static enum err weigh(const struct run *r, struct train_result *out, struct errmsg *e)
{
    int64_t until_us = r->conf->final_fit ? INT64_MAX : r->conf->holdout_from_us;
    out->learnt_until_us = INT64_MIN;
    for (size_t i = 0; i < r->rows->n; i++) {
        int64_t at = r->rows->event_us[i];
        if (at < until_us && at >= out->learnt_until_us) {
            out->learnt_until_us = at + 1;
        }
    }
    const struct fisher_span span = {r->rows, r->conf, INT64_MIN, until_us, r->pool};
    return fisher_of(out, &span, NULL, 0, e);
}

static enum err run_all(struct run *r, struct train_result *out, struct errmsg *e)
{
    const struct train_conf *c = r->conf;
    enum err rc = train_rows_check(r->rows, r->pool, &out->rows_hash, e);
    r->at = (struct train_progress){.holdout_ap = (double)NAN};
    if (rc == ERR_OK) {
        rc = run_held(r, out, e);
    }
    if (rc == ERR_OK && c->final_fit) {
        rc = run_final(r, out, e);
    } else if (rc == ERR_OK) {
        held_take(&r->fit, &r->held.best_params, &r->held.best_raw, &r->held.best_balance, out);
    }
    out->epochs_done = r->held.best_epochs;
    if (rc == ERR_OK) {
        rc = held_shares(&r->held, r->pool, out, e);
    }
    return rc == ERR_OK ? weigh(r, out, e) : rc;
}

const char *train_stage_name(enum train_stage stage)
{
    static const char *const names[] = {"teacher", "held_out", "all_rows"};
    return names[stage];
}

enum err train_run(const struct train_conf *c, const struct train_rows *rows,
                   int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                   struct train_result *out, struct errmsg *e)
{
    struct train_conf own = *c;
    own.epochs = c->epochs > 0 ? c->epochs : train_epochs(rows_with_weight(rows));
    struct run r = {.conf = &own, .rows = rows, .progress = progress, .ctx = ctx};
    struct train_result result = {0};
    openblas_set_num_threads(1);
    enum err rc = train_conf_check(&own, e);
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
    free(r->fisher);
    r->params = r->raw_params = r->balance = r->fisher = NULL;
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
        rc = held_score(r, rows, INT64_MIN, pool, out_logit, NULL, e);
    }
    pool_free(pool);
    return rc;
}
