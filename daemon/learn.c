#include "daemon/learn.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/region.h"
#include "base/timefmt.h"
#include "daemon/replay.h"
#include "daemon/version.h"
#include "model/model.h"
#include "model/model_format.h"

/* From here on the rows lie in a file that the kernel may write out. */
#define MEMORY_MAX_BYTES ((size_t)6 << 30)

struct rows {
    const struct past *past;
    size_t n;
    uint32_t *position; /* [n] row of the event in training order */
    float *x;           /* [n, FEAT_DIM] */
    bool mapped;
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight;
};

void learn_conf_default(struct learn_conf *c)
{
    memset(c, 0, sizeof *c);
    feature_params_default(&c->params);
    train_conf_default(&c->train);
    c->holdout_us = 7 * TIME_DAY;
    c->warmup_us = 30 * TIME_DAY;
}

static const struct past *sorting; /* qsort has no context; training is single */

static int by_card(const void *a, const void *b)
{
    const uint32_t i = *(const uint32_t *)a;
    const uint32_t k = *(const uint32_t *)b;
    uint64_t x = sorting->rows[i].tx.card;
    uint64_t y = sorting->rows[k].tx.card;
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return i < k ? -1 : i > k; /* past is in order of time */
}

static bool counts_in_loss(const struct past_row *r, int64_t from_us)
{
    bool judged = tx_is_payment(&r->tx) || r->tx.type == TX_CHECK;
    return judged && r->known_us != INT64_MAX && r->tx.event_us >= from_us;
}

static enum err rows_init(struct rows *r, const struct past *past, int64_t weight_from_us,
                          struct errmsg *e)
{
    size_t n = past->n;
    size_t x_bytes = n * FEAT_DIM * sizeof *r->x;
    r->past = past;
    r->n = n;
    uint32_t *order = malloc(n * sizeof *order);
    r->position = malloc(n * sizeof *r->position);
    r->event_us = malloc(n * sizeof *r->event_us);
    r->card = malloc(n * sizeof *r->card);
    r->label = malloc(n);
    r->weight = malloc(n * sizeof *r->weight);
    if (order == NULL || r->position == NULL || r->event_us == NULL || r->card == NULL ||
        r->label == NULL || r->weight == NULL) {
        free(order);
        return err_set(e, ERR_NOMEM, "cannot train on %zu payments: no memory", n);
    }
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    sorting = past;
    qsort(order, n, sizeof *order, by_card);
    uint32_t card = 0;
    for (size_t k = 0; k < n; k++) {
        const struct past_row *row = &past->rows[order[k]];
        card += k > 0 && row->tx.card != past->rows[order[k - 1]].tx.card;
        r->position[order[k]] = (uint32_t)k;
        r->event_us[k] = row->tx.event_us;
        r->card[k] = card;
        r->label[k] = row->fraud;
        r->weight[k] = counts_in_loss(row, weight_from_us) ? 1 : 0;
    }
    free(order);
    if (x_bytes <= MEMORY_MAX_BYTES) {
        r->x = region_array(n * FEAT_DIM, sizeof *r->x);
        return r->x != NULL ? ERR_OK
                            : err_set(e, ERR_NOMEM, "cannot hold %zu bytes of features", x_bytes);
    }
    void *x = NULL;
    const char *dir = getenv("TMPDIR");
    enum err err = file_map_scratch(dir != NULL ? dir : "/var/tmp", x_bytes, &x, e);
    r->x = x;
    r->mapped = err == ERR_OK;
    return err;
}

static void rows_done(struct rows *r)
{
    if (r->mapped) {
        file_unmap(r->x, r->n * FEAT_DIM * sizeof *r->x);
    } else {
        region_array_free(r->x, r->n * FEAT_DIM, sizeof *r->x);
    }
    free(r->position);
    free(r->event_us);
    free(r->card);
    free(r->label);
    free(r->weight);
}

static void keep_row(void *ctx, const struct scored *s)
{
    struct rows *r = ctx;
    memcpy(r->x + (size_t)r->position[s->tag] * FEAT_DIM, s->x, FEAT_DIM * sizeof *s->x);
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

static enum err pack(const struct train_result *r, const struct learn_conf *c,
                     const struct past *past, struct learnt *out, struct errmsg *e)
{
    struct model *model = NULL;
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
    snprintf(l.code_version, sizeof l.code_version, "%s", version_revision());
    snprintf(l.blas_core, sizeof l.blas_core, "%s", train_blas_core());
    enum err err = model_pack(r, &l, &out->model, &out->model_len, e);
    if (err == ERR_OK) {
        err = model_load(out->model, out->model_len, &model, e);
    }
    if (err == ERR_OK) {
        snprintf(out->version, sizeof out->version, "%s", model_lineage(model)->version);
        err = train_state_pack(r, model_hash(model), &out->state, &out->state_len, e);
    }
    model_free(model);
    out->rows = r->rows_fit;
    out->frauds = r->frauds_fit;
    out->holdout_auc = r->holdout_auc;
    out->holdout_ap = r->holdout_ap;
    out->layers = r->shape.layers;
    memcpy(out->share_low, r->share_low, sizeof out->share_low);
    memcpy(out->share_high, r->share_high, sizeof out->share_high);
    return err;
}

enum err learn(const struct past *past, const struct learn_conf *c,
               int (*progress)(void *ctx, const struct train_progress *p), void *ctx,
               struct learnt *out, struct errmsg *e)
{
    struct rows r = {0};
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
    err = rows_init(&r, past, first + warmup, e);
    if (err == ERR_OK) {
        err = replay_run(past, &rc, keep_row, &r, e);
    }
    if (err == ERR_OK) {
        struct train_conf tc = c->train;
        tc.holdout_from_us = c->until_us - c->holdout_us;
        const struct train_rows rows = {.n = r.n,
                                        .columns = FEAT_DIM,
                                        .x = r.x,
                                        .event_us = r.event_us,
                                        .card = r.card,
                                        .label = r.label,
                                        .weight = r.weight};
        err = train_run(&tc, &rows, progress, ctx, &result, e);
    }
    if (err == ERR_OK) {
        err = pack(&result, c, past, out, e);
    }
    train_result_done(&result);
    rows_done(&r);
    return err;
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
