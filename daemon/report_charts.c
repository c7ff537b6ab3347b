/* The page's charts: of all payments; the curve of precision and recall also of the handbook's
 * population where it was asked for. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/chart.h"
#include "daemon/report.h"
#include "model/reliability.h"

#define GROUPS 20 /* of the reliability plot */
#define BINS 44   /* of the score distribution */
#define LOW_SCORE 1e-5
#define HIGH_SCORE (1 - 1e-5)
#define LOW_RATE 1e-5 /* of the reliability plot */
#define DATES 10      /* named on the axis of days at most */

static const char *const SIDE_STYLE[BACKTEST_SIDES] = {"a", "b"};
static const char *const SIDE_DASHED[BACKTEST_SIDES] = {"a dashed", "b dashed"};
static const char *const SIDE_NAME[BACKTEST_SIDES] = {"model", "against"};

static void begin(const struct chart *c, const char *heading)
{
    fputs("<figure><figcaption><h2>", c->f);
    chart_text(c->f, heading);
    fputs("</h2><p>", c->f);
    chart_text(c->f, c->about);
    fputs("</p></figcaption>\n", c->f);
    chart_begin(c);
}

static void end(const struct chart *c)
{
    chart_end(c);
    fputs("<ul class=\"legend\">", c->f);
}

enum sample { SAMPLE_LINE, SAMPLE_POINT, SAMPLE_BAR };

/* One entry of the legend. */
static void legend(FILE *f, enum sample sample, const char *style, const char *side,
                   const char *text)
{
    fputs("<li><svg class=\"sample\" viewBox=\"0 0 26 12\" aria-hidden=\"true\">", f);
    switch (sample) {
    case SAMPLE_LINE:
        fprintf(f, "<path class=\"line %s\" d=\"M1 6H25\"/>", style);
        break;
    case SAMPLE_POINT:
        fprintf(f, "<circle class=\"%s\" cx=\"13\" cy=\"6\" r=\"4\"/>", style);
        break;
    case SAMPLE_BAR:
        fprintf(f, "<rect class=\"%s\" x=\"5\" y=\"1\" width=\"16\" height=\"10\"/>", style);
        break;
    }
    fputs("</svg>", f);
    chart_text(f, side);
    fputs(side[0] != '\0' && text[0] != '\0' ? ": " : "", f);
    chart_text(f, text);
    fputs("</li>", f);
}

/* The side's name, nothing where there is one side only. */
static const char *name_of(const struct backtest *b, size_t side)
{
    return b->sides == 1 ? "" : SIDE_NAME[side];
}

static void finish(FILE *f)
{
    fputs("</ul></figure>\n", f);
}

/* ---- precision and recall ---- */

/* One point a distinct score: recall in x, precision in y, [n].  Returns how many. */
static size_t curve(const struct judged_set *s, double *x, double *y)
{
    size_t points = 0;
    double hit = 0;
    for (size_t i = 0; i < s->n; i++) {
        hit += s->fraud[i];
        if (i + 1 == s->n || s->score[i + 1] < s->score[i]) {
            x[points] = hit / (double)s->frauds;
            y[points++] = hit / (double)(i + 1);
        }
    }
    return s->frauds > 0 ? points : 0;
}

static void precision_recall(const struct backtest *b, FILE *f, double *x, double *y)
{
    const struct chart c = {
        .f = f,
        .id = "precision",
        .title = "Precision over recall",
        .about = "Every threshold is a point; the area under a curve is its average precision. "
                 "The ring is what the alerts reached.",
        .x = {"recall: share of the frauds found", CHART_LINEAR, 0, 1, true, false},
        .y = {"precision: share of fraud in what is flagged", CHART_LINEAR, 0, 1, true, false}};
    begin(&c, c.title);
    for (size_t p = b->populations; p-- > 0;) {
        for (size_t s = b->sides; s-- > 0;) {
            size_t n = curve(b->population[p].set[s], x, y);
            chart_line(&c, p == 0 ? SIDE_STYLE[s] : SIDE_DASHED[s], x, y, n);
        }
    }
    for (size_t s = b->sides; s-- > 0;) {
        const struct figures *g = &b->population[0].figures[s];
        chart_point(&c, s == 0 ? "ring a" : "ring b", g->value[FIGURE_RECALL],
                    g->value[FIGURE_PRECISION], 5);
    }
    end(&c);
    for (size_t p = 0; p < b->populations; p++) {
        for (size_t s = 0; s < b->sides; s++) {
            legend(f, SAMPLE_LINE, p == 0 ? SIDE_STYLE[s] : SIDE_DASHED[s], name_of(b, s),
                   b->population[p].title);
        }
    }
    finish(f);
}

/* ---- budget ---- */

/* Alerting the b highest scores of every day finds so many frauds and so much value: x[b - 1] = b.
 * rank: [days] scratch.  Returns the number of budgets, at most n. */
static size_t by_budget(const struct judged_set *s, uint32_t *rank, double *x, double *frauds,
                        double *value)
{
    size_t most = 0;
    memset(rank, 0, s->days * sizeof *rank);
    for (size_t i = 0; i < s->n; i++) {
        frauds[i] = value[i] = 0;
        x[i] = (double)(i + 1);
    }
    for (size_t i = 0; i < s->n; i++) {
        size_t k = rank[s->day[i]]++;
        frauds[k] += s->fraud[i];
        value[k] += s->fraud[i] ? s->amount[i] : 0;
        most = k + 1 > most ? k + 1 : most;
    }
    double all_frauds = 0;
    double all_value = 0;
    for (size_t k = 0; k < most; k++) {
        frauds[k] = all_frauds += frauds[k];
        value[k] = all_value += value[k];
    }
    for (size_t k = 0; k < most; k++) { /* without any: not a number, which is not drawn */
        frauds[k] = all_frauds > 0 ? frauds[k] / all_frauds : (double)NAN;
        value[k] = all_value > 0 ? value[k] / all_value : (double)NAN;
    }
    return most;
}

static double alerts_a_day(const struct figures *g)
{
    return g->days > 0 ? (double)g->alerts / (double)g->days : (double)NAN;
}

static void budget(const struct backtest *b, FILE *f, double *room, uint32_t *rank)
{
    double most = 10;
    for (size_t s = 0; s < b->sides; s++) {
        most = fmax(most, 20 * fmax(b->conf.budget, alerts_a_day(&b->population[0].figures[s])));
    }
    const struct chart c = {
        .f = f,
        .id = "budget",
        .title = "What a budget of alerts finds",
        .about = "If the day's highest scores were the alerts. The ring is what the threshold "
                 "reached, which does not know the rest of its day.",
        .x = {"alerts a day", CHART_LOG, 1, most, false, false},
        .y = {"share found", CHART_LINEAR, 0, 1, true, false}};
    begin(&c, c.title);
    const double at[] = {b->conf.budget, b->conf.budget};
    const double full[] = {0, 1};
    chart_line(&c, "rule", at, full, b->conf.budget >= 1 ? 2 : 0);
    for (size_t s = b->sides; s-- > 0;) {
        const struct judged_set *set = b->population[0].set[s];
        const struct figures *g = &b->population[0].figures[s];
        double *frauds = room + b->n + 1;
        double *value = frauds + b->n + 1;
        size_t n = by_budget(set, rank, room, frauds, value);
        n = (double)n <= most ? n : (size_t)most; /* the axis ends there */
        chart_line(&c, SIDE_DASHED[s], room, value, n);
        chart_line(&c, SIDE_STYLE[s], room, frauds, n);
        chart_point(&c, s == 0 ? "ring a" : "ring b", alerts_a_day(g), g->value[FIGURE_RECALL], 5);
    }
    end(&c);
    for (size_t s = 0; s < b->sides; s++) {
        legend(f, SAMPLE_LINE, SIDE_STYLE[s], name_of(b, s), "share of the frauds");
        legend(f, SAMPLE_LINE, SIDE_DASHED[s], name_of(b, s), "share of their value");
    }
    legend(f, SAMPLE_LINE, "rule", "", "the budget");
    finish(f);
}

/* ---- calibration ---- */

/* Wilson's interval (1927) of a share of n. */
static void wilson(double share, double n, double *low, double *high)
{
    const double z = 1.959964;
    double middle = share + z * z / (2 * n);
    double reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *low = (middle - reach) / (1 + z * z / n);
    *high = (middle + reach) / (1 + z * z / n);
}

static void plot_groups(const struct chart *c, const struct judged_set *s,
                        enum reliability_mass mass, const char *style, const char *bar)
{
    struct reliability_group g[GROUPS];
    reliability_groups(s->score, s->fraud, NULL, s->n, mass, GROUPS, g);
    for (size_t i = 0; i < GROUPS; i++) {
        double low = 0;
        double high = 0;
        if (!(g[i].weight > 0)) {
            continue;
        }
        wilson(g[i].seen / g[i].weight, g[i].weight, &low, &high);
        double x = g[i].expected / g[i].weight;
        if (bar != NULL) {
            chart_range(c, bar, x, low, high);
        }
        chart_point(c, style, x, g[i].seen / g[i].weight, bar != NULL ? 3.5 : 3);
    }
}

static void calibration(const struct backtest *b, FILE *f)
{
    const struct chart c = {
        .f = f,
        .id = "calibration",
        .title = "Expected and observed fraud",
        .about = "Payments in 20 groups by score, twice. On the diagonal a probability is what it "
                 "says; bars are 95 % of chance; a group without fraud lies at the lower edge.",
        .x = {"expected: mean probability", CHART_LOG, LOW_RATE, 1, true, false},
        .y = {"observed: share of fraud", CHART_LOG, LOW_RATE, 1, true, false}};
    static const char *const DOT[] = {"dot a", "dot b"};
    static const char *const RING[] = {"small ring a", "small ring b"};
    static const char *const BAR[] = {"bar a", "bar b"};
    const double diagonal[] = {LOW_RATE, 1};
    begin(&c, c.title);
    chart_line(&c, "rule", diagonal, diagonal, 2);
    for (size_t s = b->sides; s-- > 0;) {
        const struct judged_set *set = b->population[0].set[s];
        plot_groups(&c, set, RELIABILITY_PAYMENTS, RING[s], NULL);
        plot_groups(&c, set, RELIABILITY_EXPECTED, DOT[s], BAR[s]);
    }
    end(&c);
    for (size_t s = 0; s < b->sides; s++) {
        legend(f, SAMPLE_POINT, DOT[s], name_of(b, s), "equal expected frauds");
        legend(f, SAMPLE_POINT, RING[s], name_of(b, s), "equally many payments");
    }
    finish(f);
}

/* ---- score distribution ---- */

static double bin_edge(size_t i)
{
    double low = log(LOW_SCORE) - log1p(-LOW_SCORE);
    double high = log(HIGH_SCORE) - log1p(-HIGH_SCORE);
    double z = low + (high - low) * (double)i / BINS;
    return 1 / (1 + exp(-z));
}

/* Share of the frauds (or of the others) in each bin; returns the largest. */
static double histogram(const struct judged_set *s, uint8_t fraud, double share[BINS])
{
    double most = 0;
    double all = fraud ? (double)s->frauds : (double)(s->n - s->frauds);
    double low = log(LOW_SCORE) - log1p(-LOW_SCORE);
    memset(share, 0, BINS * sizeof *share);
    for (size_t i = 0; i < s->n; i++) {
        if (s->fraud[i] != fraud) {
            continue;
        }
        double at = BINS * ((double)s->logit[i] - low) / (-2 * low);
        size_t bin = at < 0 ? 0 : at >= BINS ? BINS - 1 : (size_t)at;
        share[bin] += 1 / all;
        most = share[bin] > most ? share[bin] : most;
    }
    return most;
}

static void outline(const struct chart *c, const char *style, const double share[BINS])
{
    double x[2 * BINS];
    double y[2 * BINS];
    for (size_t i = 0; i < BINS; i++) {
        x[2 * i] = bin_edge(i);
        x[2 * i + 1] = bin_edge(i + 1);
        y[2 * i] = y[2 * i + 1] = share[i];
    }
    chart_line(c, style, x, y, (size_t)2 * BINS);
}

static void distribution(const struct backtest *b, FILE *f)
{
    static const char *const STYLE[BACKTEST_SIDES][2] = {{"legitimate", "fraud"},
                                                         {"legitimate dashed", "fraud dashed"}};
    double share[BACKTEST_SIDES][2][BINS] = {{{0}}};
    double most = 0;
    for (size_t s = 0; s < b->sides; s++) {
        for (uint8_t k = 0; k < 2; k++) {
            most = fmax(most, histogram(b->population[0].set[s], k, share[s][k]));
        }
    }
    const struct chart c = {
        .f = f,
        .id = "scores",
        .title = "Scores of frauds and of others",
        .about = "Shares of the frauds and of the legitimate payments, each adding up to 100 %, "
                 "over the log-odds of the score.",
        .x = {"score", CHART_LOGIT, LOW_SCORE, HIGH_SCORE, true, false},
        .y = {"share of its kind", CHART_LINEAR, 0, most > 0 ? 1.05 * most : 1, true, false}};
    begin(&c, c.title);
    for (size_t i = 0; i < BINS; i++) {
        for (int k = 0; k < 2; k++) {
            if (share[0][k][i] > 0) {
                chart_bar(&c, k == 0 ? "legitimate" : "fraud", bin_edge(i), bin_edge(i + 1),
                          share[0][k][i]);
            }
        }
    }
    for (size_t s = b->sides; s-- > 0;) {
        outline(&c, STYLE[s][0], share[s][0]);
        outline(&c, STYLE[s][1], share[s][1]);
    }
    end(&c);
    for (size_t s = 0; s < b->sides; s++) {
        legend(f, SAMPLE_LINE, STYLE[s][1], name_of(b, s), "frauds");
        legend(f, SAMPLE_LINE, STYLE[s][0], name_of(b, s), "legitimate payments");
    }
    finish(f);
}

/* ---- alerts a day ---- */

static void name_days(const struct chart *c, const struct judged_set *s)
{
    size_t every = (s->days + DATES - 1) / DATES;
    for (size_t d = 0; d < s->days; d += every) {
        char date[TIME_TEXT_MAX];
        time_format_date(date, s->date[d] * TIME_DAY);
        chart_x_text(c, (double)d + 0.5, date + 5); /* month and day */
    }
}

static void alerts(const struct backtest *b, FILE *f, double *count)
{
    size_t days = b->population[0].set[0]->days;
    double most = b->conf.budget;
    memset(count, 0, 2 * BACKTEST_SIDES * days * sizeof *count);
    for (size_t s = 0; s < b->sides; s++) {
        const struct judged_set *set = b->population[0].set[s];
        double *all = count + 2 * s * days;
        for (size_t i = 0; i < set->n; i++) {
            all[set->day[i]] += set->alert[i];
            all[days + set->day[i]] += set->alert[i] && set->fraud[i];
        }
        for (size_t d = 0; d < days; d++) {
            most = fmax(most, all[d]);
        }
    }
    const struct chart c = {
        .f = f,
        .id = "alerts",
        .title = "Alerts a day",
        .about = "Alerts of each UTC day against the budget; the darker part were frauds.",
        .x = {"day", CHART_LINEAR, 0, days > 0 ? (double)days : 1, false, true},
        .y = {"alerts", CHART_LINEAR, 0, most > 0 ? 1.05 * most : 1, false, false}};
    begin(&c, c.title);
    for (size_t s = 0; s < b->sides; s++) {
        double width = 0.7 / (double)b->sides;
        for (size_t d = 0; d < days; d++) {
            double from = (double)d + 0.15 + (double)s * width;
            chart_bar(&c, s == 0 ? "pale a" : "pale b", from, from + 0.95 * width,
                      count[2 * s * days + d]);
            chart_bar(&c, s == 0 ? "full a" : "full b", from, from + 0.95 * width,
                      count[(2 * s + 1) * days + d]);
        }
    }
    const double ends[] = {0, (double)days};
    const double rule[] = {b->conf.budget, b->conf.budget};
    chart_line(&c, "rule", ends, rule, days > 0 ? 2 : 0);
    name_days(&c, b->population[0].set[0]);
    end(&c);
    for (size_t s = 0; s < b->sides; s++) {
        legend(f, SAMPLE_BAR, s == 0 ? "full a" : "full b", name_of(b, s), "frauds");
        legend(f, SAMPLE_BAR, s == 0 ? "pale a" : "pale b", name_of(b, s), "legitimate payments");
    }
    legend(f, SAMPLE_LINE, "rule", "", "the budget");
    finish(f);
}

enum err report_charts(const struct backtest *b, FILE *f, struct errmsg *e)
{
    assert(b->sides >= 1 && b->sides <= BACKTEST_SIDES);
    /* three columns of a point a payment; days are no more than payments */
    double *room = malloc((4 * b->n + 4) * sizeof *room);
    uint32_t *rank = malloc((b->n + 1) * sizeof *rank);
    if (room == NULL || rank == NULL) {
        free(room);
        free(rank);
        return err_set(e, ERR_NOMEM, "cannot draw %zu payments: no memory", b->n);
    }
    precision_recall(b, f, room, room + b->n + 1);
    budget(b, f, room, rank);
    calibration(b, f);
    distribution(b, f);
    alerts(b, f, room);
    free(room);
    free(rank);
    return ERR_OK;
}
