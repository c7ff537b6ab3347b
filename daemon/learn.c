#include "daemon/learn.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/learn_rows.h"
#include "daemon/replay.h"
#include "daemon/version.h"
#include "model/model.h"
#include "model/model_format.h"

void learn_conf_default(struct learn_conf *c)
{
    memset(c, 0, sizeof *c);
    feature_params_default(&c->params);
    train_conf_default(&c->train);
    c->holdout_us = 7 * TIME_DAY;
    c->warmup_us = 30 * TIME_DAY;
}

static void keep_row(void *ctx, const struct scored *s)
{
    learn_rows_put(ctx, s->tag, s->x);
}

static enum err check(const struct past *past, const struct learn_conf *c, struct errmsg *e)
{
    if (past->n == 0 || past->n > UINT32_MAX) {
        return err_set(e, ERR_CORRUPT, "%zu payments before the end date; give 1 to 4 billion",
                       past->n);
    }
    int64_t span = c->until_us - past->rows[0].tx.event_us;
    if (span < 2 * c->holdout_us) {
        return err_set(e, ERR_INVALID,
                       "the history spans %lld days before the end date; at least %lld are needed",
                       (long long)(span / TIME_DAY), (long long)(2 * c->holdout_us / TIME_DAY));
    }
    return ERR_OK;
}

enum err learn_pack(const struct train_result *r, const struct learn_conf *c,
                    const struct past *past, const char *parent, struct learnt *out,
                    struct errmsg *e)
{
    struct model *model = NULL;
    struct learnt made = {.rows = r->rows_fit,
                          .frauds = r->frauds_fit,
                          .holdout_auc = r->holdout_auc,
                          .holdout_ap = r->holdout_ap,
                          .layers = r->shape.layers};
    struct model_lineage l = {.data_from_us = past->rows[0].tx.event_us,
                              .data_until_us = c->until_us,
                              .rows_hash = r->rows_hash,
                              .rows = r->rows_fit,
                              .frauds = r->frauds_fit,
                              .seed = c->train.seed,
                              .schema_hash = feature_schema_hash(&c->params),
                              .maturity_us = c->params.maturity_us,
                              .blame_ratio = c->params.blame_ratio,
                              .blame_tail = c->params.blame_tail,
                              .rates_version = c->params.rates_version,
                              .holdout_auc = r->holdout_auc,
                              .holdout_ap = r->holdout_ap,
                              .holdout_brier = r->holdout_brier};
    memcpy(l.score_share, r->score_share, sizeof l.score_share);
    snprintf(l.parent, sizeof l.parent, "%s", parent);
    snprintf(l.code_version, sizeof l.code_version, "%s", version_revision());
    snprintf(l.blas_core, sizeof l.blas_core, "%s", train_blas_core());
    enum err err = model_pack(r, &l, &made.model, &made.model_len, e);
    if (err == ERR_OK) {
        err = model_load(made.model, made.model_len, &model, e);
    }
    if (err == ERR_OK) {
        snprintf(made.version, sizeof made.version, "%s", model_lineage(model)->version);
        err = train_state_pack(r, model_hash(model), &made.state, &made.state_len, e);
    }
    model_free(model);
    memcpy(made.share_low, r->share_low, sizeof made.share_low);
    memcpy(made.share_high, r->share_high, sizeof made.share_high);
    if (err != ERR_OK) {
        learnt_done(&made);
        return err;
    }
    *out = made;
    return ERR_OK;
}

enum err learn(const struct past *past, const struct learn_conf *c,
               int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
               struct learnt *out, struct errmsg *e)
{
    struct learn_rows r = {0};
    struct train_result result = {0};
    enum err err = check(past, c, e);
    if (err != ERR_OK) {
        return err;
    }
    int64_t first = past->rows[0].tx.event_us;
    int64_t warmup = (c->until_us - first) / 5;
    warmup = c->warmup_us < warmup ? c->warmup_us : warmup;
    const struct replay_conf rc = {.params = c->params,
                                   .threshold = {.budget = 0, .burst = 1, .floor = 1, .decline = 2},
                                   .job = "features"};
    err = learn_rows_init(&r, past, first + warmup, c->scratch, LEARN_RANGE_ROWS, e);
    if (err == ERR_OK) {
        err = replay_run(past, &rc, keep_row, &r, e);
    }
    if (err == ERR_OK) {
        err = learn_rows_finish(&r, e);
    }
    if (err == ERR_OK) {
        struct train_conf tc = c->train;
        tc.holdout_from_us = c->until_us - c->holdout_us;
        const struct train_rows rows = learn_rows_view(&r);
        err = train_run(&tc, &rows, progress, ctx, &result, e);
    }
    if (err == ERR_OK) {
        /* to the day's end, though the last payment lies before it */
        result.learnt_until_us = c->until_us - (c->train.final_fit ? 0 : c->holdout_us);
        err = learn_pack(&result, c, past, "", out, e);
    }
    train_result_done(&result);
    learn_rows_done(&r);
    return err;
}

void learn_show(const struct train_progress *p, struct progress *progress)
{
    char detail[96];
    if (p->stage == TRAIN_TEACHER) {
        snprintf(detail, sizeof detail, "fit=%s tree=%" PRIu32 "/%" PRIu32,
                 train_stage_name(p->stage), p->epoch, p->epochs);
    } else {
        snprintf(detail, sizeof detail,
                 "fit=%s epoch=%" PRIu32 "/%" PRIu32 " loss=%.4f held_out_ap=%.3f",
                 train_stage_name(p->stage), p->epoch, p->epochs, p->loss, p->holdout_ap);
    }
    progress->total = (double)p->steps;
    progress_update(progress, (double)p->step, detail);
}

enum err learnt_write(const struct learnt *l, const char *path, struct errmsg *e)
{
    char state[PATH_MAX];
    snprintf(state, sizeof state, "%s.state", path);
    enum err err = file_write(state, l->state, l->state_len, e);
    return err == ERR_OK ? file_write(path, l->model, l->model_len, e) : err;
}

void learnt_done(struct learnt *l)
{
    free(l->model);
    free(l->state);
    memset(l, 0, sizeof *l);
}
