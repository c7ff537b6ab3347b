#include "daemon/gate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/evaluate.h"
#include "daemon/gate_labels.h"
#include "daemon/judged.h"
#include "features/schema.h"
#include "model/metrics.h"

#define LANES 32U /* histories that are scored side by side */
#define CACHE_ALIGN 64

#define AT_LEAST true
#define AT_MOST false

static const struct gate_words MEASURES[GATE_COUNT] = {
    [GATE_AP] = {"gate.ap", "average precision", AT_LEAST, "served", "new"},
    [GATE_CARD_PRECISION] = {"gate.card-precision", "card precision", AT_LEAST, "served", "new"},
    [GATE_PRECISION] = {"gate.precision", "precision at budget", AT_LEAST, "served", "new"},
    [GATE_VALUE] = {"gate.value", "value at budget", AT_LEAST, "served", "new"},
    [GATE_EXPECTED_LOW] = {"gate.expected-low", "expected over observed frauds", AT_LEAST,
                           "observed", "expected"},
    [GATE_EXPECTED_HIGH] = {"gate.expected-high", "expected over observed frauds", AT_MOST,
                            "observed", "expected"},
    [GATE_FORGETTING] = {"gate.forgetting", "average precision on older payments", AT_LEAST,
                         "served", "new"},
    [GATE_LABEL_RATE] = {"gate.label-rate", "share of frauds among new labels", AT_MOST, "older",
                         "new"},
    [GATE_LABEL_SURE] = {"gate.label-sure", "frauds where the served model is sure of fraud",
                         AT_LEAST, "expected", "labelled"},
    [GATE_LABEL_UNLIKELY] = {"gate.label-unlikely", "frauds where the served model is sure of none",
                             AT_MOST, "expected", "labelled"},
    [GATE_LABEL_GROUP] = {"gate.label-group", "frauds where it is sure, of the worst group",
                          AT_LEAST, "expected", "labelled"},
};

void gate_conf_read(const struct conf *c, struct gate_conf *out)
{
    for (size_t i = 0; i < GATE_COUNT; i++) {
        out->bound[i] = conf_real(c, MEASURES[i].option);
    }
    out->budget = (double)conf_int(c, "alert.budget");
}

/* ---- scoring ---- */

struct scorer {
    const struct model *m;
    const struct update_rows *r;
    struct model_work *work;
    char *cache; /* [LANES] */
    size_t cache_bytes;
    size_t at[LANES]; /* next row of the lane's run */
    size_t end[LANES];
    size_t lanes, next; /* in use; first row of the next run */
    float *x;           /* [LANES, FEAT_DIM] */
};

/* Gives the lane the next run.  False: there is none. */
static bool take_run(struct scorer *s, size_t lane)
{
    const struct update_rows *r = s->r;
    if (s->next == r->n) {
        return false;
    }
    s->at[lane] = s->next;
    while (s->next < r->n && r->run[s->next] == r->run[s->at[lane]]) {
        s->next++;
    }
    s->end[lane] = s->next;
    memset(s->cache + lane * s->cache_bytes, 0, s->cache_bytes);
    return true;
}

/* One payment of each lane.  A lane whose run is over takes the next one, or the last lane's. */
static void score_wave(struct scorer *s, float *out)
{
    int64_t event_us[LANES];
    void *cache[LANES];
    float logit[LANES] = {0};
    for (size_t i = 0; i < s->lanes; i++) {
        memcpy(s->x + i * FEAT_DIM, (const float *)s->r->columns.base + s->at[i] * FEAT_DIM,
               FEAT_DIM * sizeof *s->x);
        event_us[i] = s->r->event_us[s->at[i]];
        cache[i] = s->cache + i * s->cache_bytes;
    }
    model_step(s->m, s->work, s->lanes, s->x, event_us, cache, logit);
    for (size_t i = 0; i < s->lanes; i++) {
        out[s->at[i]++] = (float)model_probability(s->m, (double)logit[i]);
    }
    for (size_t i = 0; i < s->lanes;) {
        if (s->at[i] < s->end[i] || take_run(s, i)) {
            i++;
            continue;
        }
        size_t last = --s->lanes;
        s->at[i] = s->at[last];
        s->end[i] = s->end[last];
        memmove(s->cache + i * s->cache_bytes, s->cache + last * s->cache_bytes, s->cache_bytes);
    }
}

enum err gate_score(const struct model *m, const struct update_rows *r, float *out,
                    struct errmsg *e)
{
    struct scorer s = {.m = m, .r = r, .cache_bytes = model_cache_bytes(m)};
    enum err err = model_work_create(m, LANES, &s.work, e);
    if (err != ERR_OK) {
        return err;
    }
    s.cache = aligned_alloc(CACHE_ALIGN, LANES * s.cache_bytes);
    s.x = malloc(LANES * FEAT_DIM * sizeof *s.x);
    if (s.cache == NULL || s.x == NULL) {
        err = err_set(e, ERR_NOMEM, "no memory to score %zu payments", r->n);
    } else {
        while (s.lanes < LANES && take_run(&s, s.lanes)) {
            s.lanes++;
        }
        while (s.lanes > 0) {
            score_wave(&s, out);
        }
    }
    free(s.cache);
    free(s.x);
    model_work_free(s.work);
    return err;
}

/* ---- measuring ---- */

struct side {
    struct judged *judged; /* [n] the gate's payments, in order of time */
    size_t n;
    struct figures figures;
    double old_ap;
};

/* Alerts of each day: the `most` payments with the highest scores. */
static enum err alert(struct side *s, size_t most, struct errmsg *e)
{
    float *score = malloc((s->n + 1) * sizeof *score);
    uint32_t *order = malloc((s->n + 1) * sizeof *order);
    size_t *taken = NULL;
    enum err err = ERR_OK;
    int64_t first = s->n > 0 ? time_day(s->judged[0].event_us) : 0;
    size_t days = s->n > 0 ? (size_t)(time_day(s->judged[s->n - 1].event_us) - first) + 1 : 1;
    taken = calloc(days, sizeof *taken);
    if (score == NULL || order == NULL || taken == NULL) {
        err = err_set(e, ERR_NOMEM, "no memory to judge %zu payments", s->n);
        goto out;
    }
    for (size_t i = 0; i < s->n; i++) {
        score[i] = s->judged[i].score;
    }
    err = metrics_order(score, s->n, order, e);
    for (size_t i = 0; err == ERR_OK && i < s->n; i++) {
        struct judged *j = &s->judged[order[i]];
        size_t *of_day = &taken[time_day(j->event_us) - first];
        j->alert = *of_day < most;
        *of_day += 1;
    }
out:
    free(score);
    free(order);
    free(taken);
    return err;
}

static enum err gather(const struct update_rows *r, const float *probability, struct side *s,
                       struct errmsg *e)
{
    s->judged = calloc(r->count[USE_GATE] + 1, sizeof *s->judged);
    if (s->judged == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to judge %zu payments", r->count[USE_GATE]);
    }
    for (size_t i = 0; i < r->past->n; i++) {
        uint32_t at = r->position[i];
        if (at == UINT32_MAX || r->use[at] != USE_GATE) {
            continue;
        }
        const struct past_row *row = &r->past->rows[i];
        s->judged[s->n++] = (struct judged){.card = row->tx.card,
                                            .event_us = row->tx.event_us,
                                            .amount = (double)row->tx.amount_ref / 100,
                                            .score = probability[at],
                                            .fraud = row->fraud};
    }
    return ERR_OK;
}

/* Average precision of the replay, weighted as in training. */
static enum err measure_old(const struct update_rows *r, const float *probability, double *out,
                            struct errmsg *e)
{
    double auc = 0;
    float *weight = calloc(r->n + 1, sizeof *weight);
    if (weight == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to judge %zu payments", r->n);
    }
    for (size_t i = 0; i < r->n; i++) {
        weight[i] = r->use[i] == USE_REPLAY ? r->weight[i] : 0;
    }
    enum err err = metrics_rank(probability, r->label, weight, r->n, &auc, out, e);
    free(weight);
    return err;
}

static enum err measure(const struct update_rows *r, const float *probability, size_t budget,
                        struct side *s, struct errmsg *e)
{
    const struct evaluate_conf c = {.top_cards = budget, .resamples = 0, .seed = 0};
    struct judged_set *set = NULL;
    enum err err = gather(r, probability, s, e);
    if (err == ERR_OK) {
        err = alert(s, budget, e);
    }
    if (err == ERR_OK) {
        err = judged_set_create(s->judged, s->n, NULL, NULL, &set, e);
    }
    if (err == ERR_OK) {
        err = evaluate(set, &c, &s->figures, e);
    }
    if (err == ERR_OK) {
        err = measure_old(r, probability, &s->old_ap, e);
    }
    judged_set_free(set);
    return err;
}

static struct gate_row over(double first, double second)
{
    return (struct gate_row){
        .value = first > 0 ? second / first : (double)NAN, .served = first, .made = second};
}

/* Too few expected frauds say nothing about labels; a missing figure of the models says that the
 * gate cannot be passed. */
static void apply_bounds(struct gate_report *g)
{
    g->passed = true;
    for (size_t i = 0; i < GATE_COUNT; i++) {
        struct gate_row *row = &g->row[i];
        bool of_labels = i >= GATE_LABELS;
        row->measured = of_labels ? !isnan(row->value) : g->measured;
        row->passed =
            (of_labels && !row->measured) ||
            (MEASURES[i].at_least ? row->value >= g->bound[i] : row->value <= g->bound[i]);
        g->passed = g->passed && (row->passed || (!of_labels && !g->measured));
    }
}

static double brier_of(const struct side *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        double d = (double)s->judged[i].score - (s->judged[i].fraud ? 1 : 0);
        sum += d * d;
    }
    return s->n > 0 ? sum / (double)s->n : (double)NAN;
}

static void fill(const struct side *served, const struct side *made, struct gate_report *g)
{
    static const struct {
        enum gate_measure measure;
        enum figure figure;
    } RATIOS[] = {{GATE_AP, FIGURE_AP},
                  {GATE_CARD_PRECISION, FIGURE_CARD_PRECISION},
                  {GATE_PRECISION, FIGURE_PRECISION},
                  {GATE_VALUE, FIGURE_VALUE}};
    const struct figures *f = &made->figures;
    for (size_t i = 0; i < sizeof RATIOS / sizeof RATIOS[0]; i++) {
        g->row[RATIOS[i].measure] =
            over(served->figures.value[RATIOS[i].figure], f->value[RATIOS[i].figure]);
    }
    g->row[GATE_EXPECTED_LOW] = g->row[GATE_EXPECTED_HIGH] = over((double)f->frauds, f->expected);
    g->row[GATE_FORGETTING] = over(served->old_ap, made->old_ap);
    g->auc = f->value[FIGURE_AUC];
    g->ap = f->value[FIGURE_AP];
    g->brier = brier_of(made);
}

enum err gate_judge_labels(const struct gate_conf *c, const struct update_rows *r,
                           const float *served, struct gate_report *out, struct errmsg *e)
{
    struct gate_report g = {
        .auc = (double)NAN, .ap = (double)NAN, .brier = (double)NAN, .measured = false};
    for (size_t i = 0; i < GATE_LABELS; i++) {
        g.row[i] =
            (struct gate_row){.value = (double)NAN, .served = (double)NAN, .made = (double)NAN};
    }
    enum err err = gate_labels_judge(r, served, &g, e);
    if (err == ERR_OK) {
        memcpy(g.bound, c->bound, sizeof g.bound);
        g.payments = r->count[USE_GATE];
        g.frauds = r->frauds[USE_GATE];
        apply_bounds(&g);
        *out = g;
    }
    return err;
}

enum err gate_judge(const struct gate_conf *c, const struct update_rows *r, const float *served,
                    const float *made, struct gate_report *out, struct errmsg *e)
{
    struct side side[2] = {{0}, {0}};
    size_t sealed = r->count[USE_CALIBRATE] + r->count[USE_GATE];
    double share = sealed > 0 ? (double)r->count[USE_GATE] / (double)sealed : 0;
    double budget = rint(c->budget * share);
    size_t most = budget >= 1 ? (size_t)budget : 1;
    enum err err = measure(r, served, most, &side[0], e);
    if (err == ERR_OK) {
        err = measure(r, made, most, &side[1], e);
    }
    if (err == ERR_OK) {
        fill(&side[0], &side[1], out);
        out->measured = true;
        apply_bounds(out);
    }
    for (size_t i = 0; i < 2; i++) {
        free(side[i].judged);
        figures_done(&side[i].figures);
    }
    return err;
}

/* ---- saying it ---- */

const struct gate_words *gate_measure_words(enum gate_measure m)
{
    return &MEASURES[m];
}

void gate_print(const struct gate_report *g, FILE *f)
{
    fprintf(f, "gate: %zu payments, %zu frauds that nobody has learnt\n", g->payments, g->frauds);
    for (size_t i = 0; i < GATE_COUNT; i++) {
        const struct gate_row *row = &g->row[i];
        const struct gate_words *m = &MEASURES[i];
        if (!row->measured) {
            fprintf(f, "  %-46s not measured: %s\n", m->text,
                    i >= GATE_LABELS ? "too little is expected" : "the labels are not believed");
            continue;
        }
        fprintf(f, "  %-46s %8.4f  %s %-6.4g %-6s (%s %.5g, %s %.5g%s%s)\n", m->text, row->value,
                m->at_least ? "at least" : "at most ", g->bound[i],
                row->passed ? "passed" : "MISSED", m->first, row->served, m->second, row->made,
                row->where[0] != '\0' ? "; " : "", row->where);
    }
}

void gate_misses(const struct gate_report *g, char out[GATE_TEXT_MAX])
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < GATE_COUNT && at < GATE_TEXT_MAX; i++) {
        const struct gate_row *row = &g->row[i];
        const struct gate_words *m = &MEASURES[i];
        if (row->passed || (!row->measured && !g->measured)) {
            continue;
        }
        int n;
        if (isnan(row->value)) {
            n = snprintf(out + at, GATE_TEXT_MAX - at, "%s%s cannot be measured",
                         at > 0 ? "; " : "", m->text);
        } else {
            n = snprintf(out + at, GATE_TEXT_MAX - at,
                         "%s%s%s%s%s is %.4f, %s %.4g is asked by %s: %.4f %s", at > 0 ? "; " : "",
                         m->text, row->where[0] != '\0' ? " (" : "", row->where,
                         row->where[0] != '\0' ? ")" : "", row->value,
                         m->at_least ? "at least" : "at most", g->bound[i], m->option,
                         fabs(row->value - g->bound[i]), m->at_least ? "too little" : "too much");
        }
        at += n > 0 ? (size_t)n : 0;
    }
}
