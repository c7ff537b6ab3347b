/* Every resample is the same sorted rows under other weights, so nothing is sorted again.  The
 * measures themselves: model/metrics.h and model/reliability.h. */
#include "daemon/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/reliability.h"

const struct figure_info FIGURES[FIGURE_COUNT] = {
    [FIGURE_AUC] = {"auc", "AUC", AIM_HIGH, 4},
    [FIGURE_AP] = {"ap", "AP", AIM_HIGH, 4},
    [FIGURE_CARD_PRECISION] = {"card_precision", "card precision", AIM_HIGH, 4},
    [FIGURE_RECALL] = {"recall", "recall at budget", AIM_HIGH, 4},
    [FIGURE_PRECISION] = {"precision", "precision at budget", AIM_HIGH, 4},
    [FIGURE_VALUE] = {"value", "fraud value found", AIM_HIGH, 4},
    [FIGURE_EXPECTED] = {"expected_over_observed", "expected/observed", AIM_ONE, 4},
    [FIGURE_SLOPE] = {"calibration_slope", "calibration slope", AIM_ONE, 4},
    [FIGURE_ERROR] = {"calibration_error", "calibration error", AIM_LOW, 5},
};

/* Sums over the rows, in weight. */
struct sums {
    double frauds, alerts, caught, value, caught_value, expected;
};

static struct sums add_up(const struct judged_set *s, const float *weight)
{
    struct sums t = {0};
    for (size_t i = 0; i < s->n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        t.expected += w * (double)s->score[i];
        if (s->fraud[i]) {
            t.frauds += w;
            t.value += w * s->amount[i];
        }
        if (s->alert[i]) {
            t.alerts += w;
            t.caught += s->fraud[i] ? w : 0;
            t.caught_value += s->fraud[i] ? w * s->amount[i] : 0;
        }
    }
    return t;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : (double)NAN;
}

/* weight: [n] and copies: [cards] say the same by row and by card; NULL: once each.  line: where
 * the search for the calibration line starts. */
static struct sums measure(const struct judged_set *s, const float *weight, const uint32_t *copies,
                           size_t top_cards, const double line[2], double out[FIGURE_COUNT])
{
    struct reliability_group group[EVALUATE_GROUPS];
    struct sums t = add_up(s, weight);
    double at[2] = {line[0], line[1]};
    metrics_rank_sorted(s->score, s->fraud, weight, s->n, &out[FIGURE_AUC], &out[FIGURE_AP]);
    out[FIGURE_CARD_PRECISION] = metrics_cards_precision(s->by_card, copies, top_cards);
    out[FIGURE_RECALL] = ratio(t.caught, t.frauds);
    out[FIGURE_PRECISION] = ratio(t.caught, t.alerts);
    out[FIGURE_VALUE] = ratio(t.caught_value, t.value);
    out[FIGURE_EXPECTED] = ratio(t.expected, t.frauds);
    out[FIGURE_SLOPE] =
        reliability_line(s->logit, s->fraud, weight, s->n, at) ? at[1] : (double)NAN;
    reliability_groups(s->score, s->fraud, weight, s->n, RELIABILITY_PAYMENTS, EVALUATE_GROUPS,
                       group);
    out[FIGURE_ERROR] = reliability_error(group, EVALUATE_GROUPS);
    return t;
}

static enum err resample(const struct judged_set *s, const struct evaluate_conf *c,
                         const double line[2], struct figures *g, struct errmsg *e)
{
    struct rng rng;
    float *weight = malloc((s->n + 1) * sizeof *weight);
    uint32_t *copies = malloc((s->cards + 1) * sizeof *copies);
    g->resampled = malloc((c->resamples + 1) * FIGURE_COUNT * sizeof *g->resampled);
    if (weight == NULL || copies == NULL || g->resampled == NULL) {
        free(weight);
        free(copies);
        return err_set(e, ERR_NOMEM, "cannot resample %zu payments: no memory", s->n);
    }
    rng_init(&rng, c->seed);
    for (size_t r = 0; r < c->resamples; r++) {
        memset(copies, 0, s->cards * sizeof *copies);
        for (size_t i = 0; i < s->cards; i++) {
            copies[rng_below(&rng, s->cards)]++;
        }
        for (size_t i = 0; i < s->n; i++) {
            weight[i] = (float)copies[s->card[i]];
        }
        measure(s, weight, copies, c->top_cards, line, g->resampled + r * FIGURE_COUNT);
    }
    g->resamples = c->resamples;
    free(weight);
    free(copies);
    return ERR_OK;
}

enum err evaluate(const struct judged_set *s, const struct evaluate_conf *c, struct figures *out,
                  struct errmsg *e)
{
    struct figures g = {.payments = s->n,
                        .frauds = s->frauds,
                        .cards = s->cards,
                        .days = s->days,
                        .top_cards = c->top_cards};
    if (c->resamples > EVALUATE_RESAMPLES_MAX) {
        return err_set(e, ERR_INVALID, "%zu resamples are more than %d", c->resamples,
                       EVALUATE_RESAMPLES_MAX);
    }
    double line[2] = {0, 1};
    enum err err = ERR_OK;
    struct sums t = measure(s, NULL, NULL, c->top_cards, line, g.value);
    g.alerts = (size_t)t.alerts;
    g.caught = (size_t)t.caught;
    g.expected = t.expected;
    if (c->resamples > 0) {
        (void)reliability_line(s->logit, s->fraud, NULL, s->n, line); /* else they start at 0, 1 */
        err = resample(s, c, line, &g, e);
    }
    if (err != ERR_OK) {
        figures_done(&g);
        return err;
    }
    *out = g;
    return ERR_OK;
}

void figures_done(struct figures *g)
{
    free(g->resampled);
    memset(g, 0, sizeof *g);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Value below which a share q of list[0, n), sorted, lies; between two values in proportion. */
static double quantile(const double *list, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at;
    size_t high = low + 1 < n ? low + 1 : low;
    return list[low] + (at - (double)low) * (list[high] - list[low]);
}

/* The middle 95 % of values that are numbers; puts them in order.  NAN where there is none. */
static struct interval middle(double *value, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isnan(value[i])) {
            value[kept++] = value[i];
        }
    }
    if (kept == 0) {
        return (struct interval){(double)NAN, (double)NAN};
    }
    qsort(value, kept, sizeof *value, by_value);
    return (struct interval){quantile(value, kept, 0.025), quantile(value, kept, 0.975)};
}

struct interval figures_interval(const struct figures *g, enum figure f)
{
    double value[EVALUATE_RESAMPLES_MAX];
    for (size_t r = 0; r < g->resamples; r++) {
        value[r] = g->resampled[r * FIGURE_COUNT + f];
    }
    return middle(value, g->resamples);
}

/* How much worse than the best a value is. */
static double badness(enum figure_aim aim, double v)
{
    return aim == AIM_HIGH ? -v : aim == AIM_LOW ? v : fabs(v - 1);
}

struct difference figures_difference(const struct figures *a, const struct figures *b,
                                     enum figure f)
{
    double value[EVALUATE_RESAMPLES_MAX];
    double favour = 0;
    size_t counted = 0;
    size_t n = a->resamples < b->resamples ? a->resamples : b->resamples;
    for (size_t r = 0; r < n; r++) {
        double x = a->resampled[r * FIGURE_COUNT + f];
        double y = b->resampled[r * FIGURE_COUNT + f];
        double bad_x = badness(FIGURES[f].aim, x);
        double bad_y = badness(FIGURES[f].aim, y);
        value[r] = x - y;
        if (!isnan(value[r])) {
            counted++;
            favour += bad_x < bad_y ? 1 : bad_x > bad_y ? 0 : 0.5;
        }
    }
    return (struct difference){a->value[f] - b->value[f], middle(value, n),
                               ratio(favour, (double)counted)};
}
