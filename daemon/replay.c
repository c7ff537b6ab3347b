#include "daemon/replay.h"

#include <string.h>

#include "base/hash.h"
#include "base/progress.h"

struct replay {
    const struct past *past;
    struct feat_world *world;
    struct lane *lane;
    uint64_t next_number; /* of the labels' source */
    uint64_t refused;     /* labels that found the queue full */
    void (*visit)(void *ctx, const struct scored *s);
    void *ctx;
};

static void queue_label(struct replay *r, const struct past_row *row, float usual_ratio)
{
    const struct tx *t = &row->tx;
    const struct label l = {.source = hash_id("history", 7),
                            .number = ++r->next_number,
                            .tx_id = t->id,
                            .card = t->card,
                            .merchant = t->merchant,
                            .terminal = t->terminal,
                            .device = t->device,
                            .ip = t->ip,
                            .event_us = t->event_us,
                            .known_us = row->known_us,
                            .amount_ref = t->amount_ref,
                            .usual_ratio = usual_ratio,
                            .mcc = t->mcc,
                            .country = t->country,
                            .verdict = LABEL_FRAUD};
    r->refused += feat_label(r->world, &l) != ERR_OK;
}

static void look_ahead(const struct replay *r, size_t from)
{
    struct tx next[FEAT_PREFETCH_MAX];
    size_t n = 0;
    for (; n < FEAT_PREFETCH_MAX && from + n < r->past->n; n++) {
        next[n] = r->past->rows[from + n].tx;
    }
    pipeline_prefetch(r->lane, next, n);
}

static void on_scored(void *ctx, const struct scored *s)
{
    struct replay *r = ctx;
    const struct past_row *row = &r->past->rows[s->tag];
    if (row->fraud) {
        queue_label(r, row, s->facts->usual_ratio);
    }
    r->visit(r->ctx, s);
}

enum err replay_run(const struct past *past, const struct replay_conf *c,
                    void (*visit)(void *ctx, const struct scored *s), void *ctx, struct errmsg *e)
{
    struct replay r = {.past = past, .visit = visit, .ctx = ctx};
    struct pipeline *p = NULL;
    struct pipeline_conf conf = {
        .model = c->model, .params = c->params, .threshold = c->threshold, .max_future_us = -1};
    const struct pipeline_out out = {.ctx = &r, .scored = on_scored};
    struct progress progress;
    struct feat_world_limits limits;
    feat_limits_default(&conf.limits);
    feat_world_limits_default(&limits);
    enum err err = pipeline_create(&conf, &out, NULL, &p, e);
    if (err == ERR_OK) {
        err = feat_world_create(&c->params, &limits, &r.world, e);
    }
    if (err == ERR_OK) {
        err = lane_create(p, r.world, 0, &r.lane, e);
    }
    if (err != ERR_OK) {
        goto out;
    }
    progress_begin(&progress, c->job, (double)past->n);
    for (size_t i = 0; i < past->n; i++) {
        if (i % FEAT_PREFETCH_MAX == 0) {
            look_ahead(&r, i);
        }
        pipeline_tx(p, r.lane, &past->rows[i].tx, i);
        if (i % 4096 == 0) {
            progress_update(&progress, (double)i, NULL);
        }
    }
    pipeline_flush(p);
    progress_end(&progress, (double)past->n);
    if (r.refused > 0) {
        err = err_set(e, ERR_FULL, "%llu labels found the queue of %zu full",
                      (unsigned long long)r.refused, limits.label_queue_max);
    }
out:
    lane_free(r.lane);
    feat_world_free(r.world);
    pipeline_free(p);
    return err;
}
