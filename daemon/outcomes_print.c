/* Outcomes as text for people and as JSON for jobs. */
#include <math.h>

#include "base/timefmt.h"
#include "daemon/backtest.h"
#include "daemon/outcomes.h"
#include "daemon/table.h"

/* "0.7512", or "-" where there is nothing to divide by. */
static void print_ratio(FILE *f, double part, double whole)
{
    if (whole > 0) {
        fprintf(f, "  %9.4f", part / whole);
    } else {
        fprintf(f, "  %9s", "-");
    }
}

static double band_top(size_t band)
{
    return band + 1 < SCORE_BANDS ? (double)SCORE_BAND_TOP[band] : 1;
}

static void print_figure(FILE *f, const struct figures *g, enum figure k)
{
    char text[BACKTEST_TEXT_MAX];
    const struct interval i = figures_interval(g, k);
    const int digits = FIGURES[k].digits;
    backtest_figure_text(g, k, text);
    fprintf(f, "  %-19s", text);
    if (isnan(g->value[k])) {
        fprintf(f, "  %9s\n", "-");
    } else if (isnan(i.low)) {
        fprintf(f, "  %9.*f\n", digits, g->value[k]);
    } else {
        fprintf(f, "  %9.*f  %8.*f to %8.*f\n", digits, g->value[k], digits, i.low, digits, i.high);
    }
}

static void print_version(FILE *f, const struct outcomes *o, const struct outcomes_version *v)
{
    const struct figures *g = &v->figures;
    char text[OUTCOMES_TEXT_MAX];
    fprintf(f,
            "model %s: %zu payments of %zu cards, %zu frauds, %.1f expected; %zu alerts, %zu of "
            "them frauds\n",
            v->name, g->payments, g->cards, g->frauds, g->expected, g->alerts, g->caught);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        print_figure(f, g, (enum figure)k);
    }
    for (int b = 0; b < OUTCOMES_BOUNDS; b++) {
        if (v->breach[b] != NULL) {
            outcomes_breach_text(o, v, (enum outcomes_bound)b, text);
            fprintf(f, "  MISSED: %s\n", text);
        }
    }
    if (g->frauds < o->conf.frauds_min) {
        fprintf(f, "  no bound is judged below %zu frauds (outcomes.frauds)\n", o->conf.frauds_min);
    }
}

static void print_sums_heading(FILE *f, const char *first)
{
    fprintf(f, "%-16s %9s %7s %9s %9s  %9s  %9s  %9s\n", first, "payments", "frauds", "expected",
            "alerts", "precision", "recall", "value");
}

static void print_sums(FILE *f, const char *name, const struct outcome_sums *s)
{
    fprintf(f, "  %-14s %9zu %7zu %9.1f %9zu", name, s->payments, s->frauds, s->expected,
            s->alerts);
    print_ratio(f, (double)s->caught, (double)s->alerts);
    print_ratio(f, (double)s->caught, (double)s->frauds);
    print_ratio(f, s->caught_value, s->value);
    fputc('\n', f);
}

void outcomes_print(const struct outcomes *o, FILE *f)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format(from, o->conf.from_us);
    time_format(to, o->conf.to_us);
    fprintf(f, "decisions on payments from %s to %s\n", from, to);
    for (size_t v = 0; v < o->versions; v++) {
        print_version(f, o, &o->version[v]);
    }
    print_sums_heading(f, "by score");
    for (size_t b = 0; b < SCORE_BANDS; b++) {
        char name[40];
        snprintf(name, sizeof name, "%g to %g", b > 0 ? (double)SCORE_BAND_TOP[b - 1] : 0,
                 band_top(b));
        print_sums(f, name, &o->band[b]);
    }
    print_sums_heading(f, SEGMENT_KIND[o->conf.segment]);
    for (size_t i = 0; i < o->segments; i++) {
        print_sums(f, o->segment[i].name, &o->segment[i].sums);
    }
    print_sums_heading(f, "not the model");
    print_sums(f, "lists, rules", &o->controlled);
    fprintf(f,
            "left out: %zu declined without a verdict, %zu without a score, %zu refunds and "
            "reversals\n",
            o->unknown, o->unscored, o->others);
}

/* ---- JSON ---- */

static void json_sums(FILE *f, const struct outcome_sums *s)
{
    fprintf(f,
            "\"payments\":%zu,\"frauds\":%zu,\"expected\":%.9g,\"alerts\":%zu,\"caught\":%zu,"
            "\"value\":%.9g,\"caught_value\":%.9g}",
            s->payments, s->frauds, s->expected, s->alerts, s->caught, s->value, s->caught_value);
}

static void json_version(FILE *f, const struct outcomes_version *v)
{
    const char *comma = "";
    fputs("{\"version\":", f);
    table_print_json(f, v->name);
    fprintf(f, ",\"payments\":%zu,\"cards\":%zu,\"frauds\":%zu,\"figures\":", v->figures.payments,
            v->figures.cards, v->figures.frauds);
    backtest_json_figures(f, &v->figures);
    fputs(",\"missed\":[", f);
    for (int b = 0; b < OUTCOMES_BOUNDS; b++) {
        if (v->breach[b] != NULL) {
            fputs(comma, f);
            table_print_json(f, v->breach[b]);
            comma = ",";
        }
    }
    fputs("]}", f);
}

void outcomes_print_json(const struct outcomes *o, FILE *f)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format(from, o->conf.from_us);
    time_format(to, o->conf.to_us);
    fprintf(f, "{\"from\":\"%s\",\"to\":\"%s\",\"models\":[", from, to);
    for (size_t v = 0; v < o->versions; v++) {
        fputs(v > 0 ? "," : "", f);
        json_version(f, &o->version[v]);
    }
    fputs("],\"bands\":[", f);
    for (size_t b = 0; b < SCORE_BANDS; b++) {
        fprintf(f, "%s{\"below\":%.9g,", b > 0 ? "," : "", band_top(b));
        json_sums(f, &o->band[b]);
    }
    fprintf(f, "],\"segment\":\"%s\",\"segments\":[", SEGMENT_KIND[o->conf.segment]);
    for (size_t i = 0; i < o->segments; i++) {
        fprintf(f, "%s{\"name\":", i > 0 ? "," : "");
        table_print_json(f, o->segment[i].name);
        fputc(',', f);
        json_sums(f, &o->segment[i].sums);
    }
    fputs("],\"controlled\":{", f);
    json_sums(f, &o->controlled);
    fprintf(f, ",\"unknown\":%zu,\"unscored\":%zu,\"others\":%zu}\n", o->unknown, o->unscored,
            o->others);
}
