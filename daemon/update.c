#include "daemon/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/timefmt.h"
#include "daemon/replay.h"
#include "model/model.h"
#include "model/model_format.h"
#include "model/train_update.h"

/* Payments that an update is shown, all passes together, and bounds of the passes: few new ones are
 * learnt by being seen more often, and of many an update's time allows no more. */
#define PAYMENTS_SHOWN 170000U
#define EPOCHS_LEAST 2U
#define EPOCHS_MOST 4U

struct updating {
    const struct past *past;
    const struct update_conf *c;
    struct learn_conf learn; /* with the model's feature parameters */
    struct model *served;
    struct train_result before;
    struct train_result result;
    struct update_rows rows;
    float *weight;         /* [rows.n] in the loss */
    float *probability[2]; /* [rows.n] by the served and by the new model */
    int64_t sealed_from_us;
};

void update_conf_default(struct update_conf *c)
{
    memset(c, 0, sizeof *c);
    learn_conf_default(&c->learn);
}

void update_conf_read(const struct conf *c, struct update_conf *out)
{
    out->learn.holdout_us = conf_duration_us(c, "update.sealed");
    out->learn.train.epochs = (uint32_t)conf_int(c, "update.epochs");
    out->learn.train.learning_rate = (float)conf_real(c, "update.learning-rate");
    out->learn.train.distillation = (float)conf_real(c, "update.distillation");
    out->learn.train.teacher_trees = (uint32_t)conf_int(c, "update.teacher-trees");
    out->split_bins = conf_bool(c, "update.split-bins");
    out->fresh = (size_t)conf_int(c, "update.fresh");
    out->replay = (size_t)conf_int(c, "update.replay");
    out->replay_weight = (float)conf_real(c, "update.replay-weight");
    out->decay = (float)conf_real(c, "update.decay");
    out->consolidation = (float)conf_real(c, "update.consolidation");
    out->fisher_stays = (float)conf_real(c, "update.fisher-stays");
    out->drift = conf_real(c, "update.drift");
    gate_conf_read(c, &out->gate);
}

uint32_t update_epochs(size_t payments)
{
    return train_passes(payments, PAYMENTS_SHOWN, EPOCHS_LEAST, EPOCHS_MOST);
}

/* Of all threads: what an update costs does not depend on what else the machine does. */
static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The model in service and its training state; whether columns are still what they were. */
static enum err load(struct updating *u, const struct update_base *base, struct errmsg *e)
{
    uint64_t of_model = 0;
    enum err err = model_load(base->model, base->model_len, &u->served, e);
    if (err == ERR_OK) {
        err = train_state_load(base->state, base->state_len, &u->before, &of_model, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    const struct model_lineage *l = model_lineage(u->served);
    struct feature_params *p = &u->learn.params;
    if (of_model != model_hash(u->served)) {
        return err_set(e, ERR_MISMATCH, "the training state belongs to another model than %s",
                       l->version);
    }
    p->maturity_us = l->maturity_us;
    p->blame_ratio = l->blame_ratio;
    p->blame_tail = l->blame_tail;
    if (feature_schema_hash(p) != l->schema_hash) {
        return err_set(
            e, ERR_MISMATCH,
            "model %s was trained on other columns (schema %016llx, now %016llx); only a "
            "full training helps",
            l->version, (unsigned long long)l->schema_hash,
            (unsigned long long)feature_schema_hash(p));
    }
    return ERR_OK;
}

static enum err say_nothing_new(const struct updating *u, struct errmsg *e)
{
    char learnt[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];
    time_format(learnt, u->before.learnt_until_us);
    time_format(until, u->learn.until_us);
    return err_set(e, ERR_END,
                   "nothing new to learn: model %s has learnt all before %s, and of the history "
                   "before %s the newest %lld days stay sealed",
                   model_lineage(u->served)->version, learnt, until,
                   (long long)(u->learn.holdout_us / TIME_DAY));
}

static enum err choose(struct updating *u, struct errmsg *e)
{
    const struct past *past = u->past;
    const struct net_shape *s = &u->before.shape;
    if (past->n == 0 || past->n > UINT32_MAX - 1) {
        return err_set(e, ERR_CORRUPT, "%zu payments before the end date; give 1 to 4 billion",
                       past->n);
    }
    int64_t first = past->rows[0].tx.event_us;
    int64_t warmup = (u->learn.until_us - first) / 5;
    warmup = u->learn.warmup_us < warmup ? u->learn.warmup_us : warmup;
    u->sealed_from_us = u->learn.until_us - u->learn.holdout_us;
    if (u->sealed_from_us <= u->before.learnt_until_us) {
        return say_nothing_new(u, e);
    }
    const struct update_rows_conf rc = {.warm_until_us = first + warmup,
                                        .learnt_until_us = u->before.learnt_until_us,
                                        .sealed_from_us = u->sealed_from_us,
                                        .fresh = u->c->fresh,
                                        .replay = u->c->replay,
                                        .context = s->window,
                                        .sealed_context = s->layers * (s->window - 1),
                                        .seed = u->learn.train.seed,
                                        .scratch = u->learn.scratch};
    enum err err = update_rows_create(past, &rc, &u->rows, e);
    return err == ERR_OK && u->rows.count[USE_NEWS] == 0 ? say_nothing_new(u, e) : err;
}

static void keep_row(void *ctx, const struct scored *s)
{
    float *x = update_rows_columns(ctx, s->tag);
    if (x != NULL) {
        memcpy(x, s->x, FEAT_DIM * sizeof *x);
    }
}

static enum err compute(struct updating *u, struct errmsg *e)
{
    const struct replay_conf rc = {.params = u->learn.params,
                                   .threshold = {.budget = 0, .burst = 1, .floor = 1, .decline = 2},
                                   .job = "features"};
    return replay_run(u->past, &rc, keep_row, &u->rows, e);
}

/* The rows' own weights stay what they are: the gate measures what was forgotten by them. */
static enum err weigh(struct updating *u, struct errmsg *e)
{
    u->weight = malloc((u->rows.n + 1) * sizeof *u->weight);
    if (u->weight == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the weights of %zu payments", u->rows.n);
    }
    for (size_t i = 0; i < u->rows.n; i++) {
        float times = u->rows.use[i] == USE_REPLAY ? u->c->replay_weight : 1;
        u->weight[i] = u->rows.weight[i] * times;
    }
    return ERR_OK;
}

static enum err train(struct updating *u,
                      int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                      struct errmsg *e)
{
    struct train_conf tc = u->learn.train;
    tc.shape = u->before.shape;
    tc.context = u->before.shape.window;
    tc.holdout_from_us = u->sealed_from_us;
    struct train_rows rows = update_rows_train(&u->rows);
    if (tc.epochs == 0) {
        const size_t *count = u->rows.count;
        tc.epochs = update_epochs(count[USE_REPLAY] + count[USE_YOUNG] + count[USE_NEWS]);
    }
    const struct train_update t = {.conf = &tc,
                                   .from = &u->before,
                                   .judge = u->rows.judge,
                                   .new_from_us = u->before.learnt_until_us,
                                   .young_from_us = u->rows.young_from_us,
                                   .finer = u->c->split_bins,
                                   .consolidation = u->c->consolidation,
                                   .decay = u->c->decay,
                                   .fisher_stays = u->c->fisher_stays};
    enum err err = weigh(u, e);
    rows.weight = u->weight;
    return err == ERR_OK ? train_update_run(&t, &rows, progress, ctx, &u->result, e) : err;
}

/* What the served model makes of the payments: drift, and whether their labels are believed, which
 * is asked before anything is learnt from them. */
static enum err judge_served(struct updating *u, struct update_outcome *out, struct errmsg *e)
{
    u->probability[0] = malloc((u->rows.n + 1) * sizeof(float));
    u->probability[1] = malloc((u->rows.n + 1) * sizeof(float));
    if (u->probability[0] == NULL || u->probability[1] == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to judge %zu payments", u->rows.n);
    }
    enum err err = gate_score(u->served, &u->rows, u->probability[0], e);
    if (err == ERR_OK) {
        err = drift_measure(&u->rows, &u->before.encoding, u->probability[0], &out->drift, e);
    }
    return err == ERR_OK
               ? gate_judge_labels(&u->c->gate, &u->rows, u->probability[0], &out->gate, e)
               : err;
}

/* Scores as served, so the model is packed first; its figures are the gate's, so again after. */
static enum err judge(struct updating *u, struct update_outcome *out, struct errmsg *e)
{
    struct model *made = NULL;
    enum err err = learn_pack(&u->result, &u->learn, u->past, out->parent, &out->learnt, e);
    if (err == ERR_OK) {
        err = model_load(out->learnt.model, out->learnt.model_len, &made, e);
    }
    if (err == ERR_OK) {
        err = gate_score(made, &u->rows, u->probability[1], e);
    }
    if (err == ERR_OK) {
        err =
            gate_judge(&u->c->gate, &u->rows, u->probability[0], u->probability[1], &out->gate, e);
    }
    if (err == ERR_OK) {
        u->result.holdout_auc = out->gate.auc;
        u->result.holdout_ap = out->gate.ap;
        u->result.holdout_brier = out->gate.brier;
        learnt_done(&out->learnt);
        err = learn_pack(&u->result, &u->learn, u->past, out->parent, &out->learnt, e);
    }
    model_free(made);
    return err;
}

/* What can be trained and judged of the rows whose features are there. */
static enum err learn_and_judge(struct updating *u,
                                int (*progress)(void *ctx, const struct train_progress *p),
                                void *ctx, struct update_outcome *out, struct errmsg *e)
{
    double start = cpu_s();
    enum err err = judge_served(u, out, e);
    out->judging_s = cpu_s() - start;
    if (err != ERR_OK || !out->gate.passed) {
        return err;
    }
    start = cpu_s();
    err = train(u, progress, ctx, e);
    out->training_s = cpu_s() - start;
    if (err == ERR_OK) {
        start = cpu_s();
        err = judge(u, out, e);
        out->judging_s += cpu_s() - start;
    }
    return err;
}

static enum err run_all(struct updating *u, const struct update_base *base,
                        int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                        struct update_outcome *out, struct errmsg *e)
{
    double start = cpu_s();
    enum err err = load(u, base, e);
    out->reading_s = start;
    if (err == ERR_OK) {
        snprintf(out->parent, sizeof out->parent, "%s", model_lineage(u->served)->version);
        out->learnt_until_us = u->before.learnt_until_us;
        err = choose(u, e);
    }
    if (err == ERR_OK) {
        err = compute(u, e);
        out->features_s = cpu_s() - start;
    }
    if (err == ERR_OK) {
        err = learn_and_judge(u, progress, ctx, out, e);
    }
    out->epochs = u->result.epochs_done;
    out->kept = u->rows.n;
    out->news = u->rows.count[USE_NEWS];
    out->news_frauds = u->rows.frauds[USE_NEWS];
    out->young = u->rows.count[USE_YOUNG];
    out->young_frauds = u->rows.frauds[USE_YOUNG];
    out->replay = u->rows.count[USE_REPLAY];
    out->replay_frauds = u->rows.frauds[USE_REPLAY];
    return err;
}

enum err update_run(const struct past *past, const struct update_conf *c,
                    const struct update_base *base,
                    int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
                    struct update_outcome *out, struct errmsg *e)
{
    struct updating u = {.past = past, .c = c, .learn = c->learn};
    struct update_outcome o = {.news = 0};
    enum err err = run_all(&u, base, progress, ctx, &o, e);
    update_rows_done(&u.rows);
    train_result_done(&u.result);
    train_result_done(&u.before);
    model_free(u.served);
    free(u.weight);
    free(u.probability[0]);
    free(u.probability[1]);
    if (err != ERR_OK) {
        update_outcome_done(&o);
        return err;
    }
    *out = o;
    return ERR_OK;
}

void update_outcome_done(struct update_outcome *u)
{
    learnt_done(&u->learnt);
}
