#include "daemon/backtest.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/replay.h"

/* What a backtest's threshold does beside the budget: nothing is declined, and the floor and the
 * burst are those of `score`'s settings. */
#define BURST 1.5
#define FLOOR 0.999
#define DECLINE_NEVER 2

void backtest_init(struct backtest *b, const struct backtest_conf *c)
{
    memset(b, 0, sizeof *b);
    b->conf = *c;
}

void backtest_done(struct backtest *b)
{
    for (size_t s = 0; s < BACKTEST_SIDES; s++) {
        free(b->judged[s]);
        for (size_t p = 0; p < BACKTEST_POPULATIONS; p++) {
            judged_set_free(b->population[p].set[s]);
            figures_done(&b->population[p].figures[s]);
        }
        for (size_t i = 0; i < BACKTEST_SEGMENTS; i++) {
            figures_done(&b->segment[i].figures[s]);
        }
    }
    memset(b, 0, sizeof *b);
}

struct replaying {
    const struct backtest *b;
    struct judged *judged; /* NULL: columns only */
    size_t n, unlabelled;
    backtest_visit visit;
    void *ctx;
};

static void on_scored(void *ctx, const struct scored *s)
{
    struct replaying *r = ctx;
    const struct past *past = r->b->conf.past;
    const struct past_row *row = &past->rows[s->tag];
    if (row->tx.event_us < r->b->conf.from_us) {
        return;
    }
    if (r->visit != NULL) {
        r->visit(r->ctx, row, past_id(past, s->tag), s);
    }
    if (r->judged == NULL || !(tx_is_payment(&row->tx) || row->tx.type == TX_CHECK)) {
        return;
    }
    int kind = r->b->conf.segment;
    r->unlabelled += row->known_us == INT64_MAX;
    r->judged[r->n++] = (struct judged){
        .card = row->tx.card,
        .event_us = row->tx.event_us,
        .amount = (double)row->tx.amount_ref / 100,
        .score = (float)s->probability,
        .segment = kind >= 0 ? segment_of((enum segment_kind)kind, &row->tx) : (uint16_t)0,
        .fraud = row->fraud,
        .alert = s->outcome != OUTCOME_APPROVE};
}

static bool same_payments(const struct judged *a, const struct judged *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i].card != b[i].card || a[i].event_us != b[i].event_us) {
            return false;
        }
    }
    return true;
}

enum err backtest_replay(struct backtest *b, const struct model *m, const char *file,
                         backtest_visit visit, void *ctx, struct errmsg *e)
{
    const struct past *past = b->conf.past;
    struct replaying r = {.b = b, .visit = visit, .ctx = ctx};
    struct replay_conf rc = {
        .model = m,
        .job = b->sides == 0 ? "backtest" : "backtest of the other model",
        .threshold = {
            .budget = b->conf.budget, .burst = BURST, .floor = FLOOR, .decline = DECLINE_NEVER}};
    feature_params_default(&rc.params);
    rc.params.rates_version = b->conf.rates_version;
    if (m != NULL) {
        const struct model_lineage *l = model_lineage(m);
        rc.params.maturity_us = l->maturity_us;
        rc.params.blame_ratio = l->blame_ratio;
        rc.params.blame_tail = l->blame_tail;
        size_t room = past->n - past_find(past, b->conf.from_us);
        r.judged = malloc((room + 1) * sizeof *r.judged);
        if (r.judged == NULL) {
            return err_set(e, ERR_NOMEM, "cannot evaluate %zu payments: no memory", room);
        }
    }
    enum err err = replay_run(past, &rc, on_scored, &r, e);
    if (err == ERR_OK && b->sides > 0 &&
        (r.n != b->n || !same_payments(r.judged, b->judged[0], r.n))) {
        err = err_set(e, ERR_MISMATCH, "%s judged %zu payments and %s %zu others", b->file[0], b->n,
                      file, r.n);
    }
    if (err != ERR_OK || m == NULL) {
        free(r.judged);
        return err;
    }
    b->model[b->sides] = m;
    b->file[b->sides] = file;
    b->judged[b->sides++] = r.judged;
    b->n = r.n;
    b->unlabelled = r.unlabelled;
    return ERR_OK;
}

static enum err mark_known(struct backtest *b, struct errmsg *e)
{
    const struct past *past = b->conf.past;
    size_t n = 0;
    struct card_fraud *frauds = malloc((past->n + 1) * sizeof *frauds);
    if (frauds == NULL) {
        return err_set(e, ERR_NOMEM, "cannot evaluate %zu payments: no memory", past->n);
    }
    for (size_t i = 0; i < past->n; i++) {
        if (past->rows[i].fraud) {
            frauds[n++] = (struct card_fraud){past->rows[i].tx.card, past->rows[i].tx.event_us};
        }
    }
    for (size_t s = 0; s < b->sides; s++) {
        judged_mark_known(b->judged[s], b->n, frauds, n, b->conf.from_us);
    }
    free(frauds);
    return ERR_OK;
}

static enum err measure_population(struct backtest *b, const char *name, const char *title,
                                   judged_with with, struct errmsg *e)
{
    struct backtest_population *p = &b->population[b->populations++];
    enum err err = ERR_OK;
    p->name = name;
    p->title = title;
    for (size_t s = 0; s < b->sides && err == ERR_OK; s++) {
        err = judged_set_create(b->judged[s], b->n, with, NULL, &p->set[s], e);
        if (err == ERR_OK) {
            err = evaluate(p->set[s], &b->conf.evaluate, &p->figures[s], e);
        }
    }
    return err;
}

static bool in_segment(const struct judged *j, void *ctx)
{
    const uint16_t *segment = ctx;
    return j->segment == *segment;
}

static enum err measure_segment(struct backtest *b, uint16_t segment, struct errmsg *e)
{
    struct backtest_segment *t = &b->segment[b->segments++];
    enum err err = ERR_OK;
    segment_name((enum segment_kind)b->conf.segment, segment, t->name);
    for (size_t s = 0; s < b->sides && err == ERR_OK; s++) {
        struct judged_set *set = NULL;
        err = judged_set_create(b->judged[s], b->n, in_segment, &segment, &set, e);
        if (err == ERR_OK) {
            err = evaluate(set, &b->conf.evaluate, &t->figures[s], e);
        }
        judged_set_free(set);
    }
    return err;
}

/* The segments with the most payments, in order of their number; those of the rest become "other".
 * Returns how many there are to measure. */
static size_t choose_segments(struct backtest *b, uint16_t chosen[BACKTEST_SEGMENTS],
                              struct errmsg *e, enum err *out_err)
{
    size_t *payments = calloc((size_t)UINT16_MAX + 1, sizeof *payments);
    uint8_t *is_chosen = calloc((size_t)UINT16_MAX + 1, 1);
    size_t count = 0;
    if (payments == NULL || is_chosen == NULL) {
        *out_err = err_set(e, ERR_NOMEM, "cannot split %zu payments: no memory", b->n);
        goto out;
    }
    size_t different = 0;
    for (size_t i = 0; i < b->n; i++) {
        different += payments[b->judged[0][i].segment]++ == 0;
    }
    size_t most = different <= BACKTEST_SEGMENTS ? different : BACKTEST_SEGMENTS - 1;
    for (size_t k = 0; k < most; k++) {
        uint16_t best = 0;
        for (uint32_t i = 0; i <= UINT16_MAX; i++) {
            bool more = is_chosen[best] || payments[i] > payments[best];
            best = !is_chosen[i] && more ? (uint16_t)i : best;
        }
        is_chosen[best] = 1;
    }
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        if (is_chosen[i]) {
            chosen[count++] = (uint16_t)i;
        }
    }
    if (different > most) {
        chosen[count++] = SEGMENT_OTHER;
    }
    for (size_t s = 0; s < b->sides; s++) {
        for (size_t i = 0; i < b->n; i++) {
            struct judged *j = &b->judged[s][i];
            j->segment = is_chosen[j->segment] ? j->segment : SEGMENT_OTHER;
        }
    }
    *out_err = ERR_OK;
out:
    free(payments);
    free(is_chosen);
    return count;
}

static enum err measure_segments(struct backtest *b, struct errmsg *e)
{
    uint16_t chosen[BACKTEST_SEGMENTS];
    enum err err = ERR_OK;
    size_t count = choose_segments(b, chosen, e, &err);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = measure_segment(b, chosen[i], e);
    }
    return err;
}

enum err backtest_measure(struct backtest *b, struct errmsg *e)
{
    enum err err = measure_population(b, "all", "all payments", NULL, e);
    if (err == ERR_OK && b->conf.leave_out_known) {
        err = mark_known(b, e);
    }
    if (err == ERR_OK && b->conf.leave_out_known) {
        err = measure_population(b, "not_known", "without cards known to be defrauded",
                                 judged_not_known, e);
    }
    if (err == ERR_OK && b->conf.segment >= 0) {
        err = measure_segments(b, e);
    }
    return err;
}
