/* A backtest as text for people and as JSON for jobs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/backtest.h"
#include "daemon/table.h"

/* The figures told of a segment: whether its probabilities mean what they say. */
static const enum figure SEGMENT_FIGURE[] = {FIGURE_EXPECTED, FIGURE_SLOPE, FIGURE_ERROR};
#define SEGMENT_FIGURES (sizeof SEGMENT_FIGURE / sizeof *SEGMENT_FIGURE)

void backtest_figure_text(const struct figures *g, enum figure f, char out[BACKTEST_TEXT_MAX])
{
    if (f == FIGURE_CARD_PRECISION) {
        snprintf(out, BACKTEST_TEXT_MAX, "CP@%zu", g->top_cards);
    } else {
        snprintf(out, BACKTEST_TEXT_MAX, "%s", FIGURES[f].text);
    }
}

/* "0.7512", or "-" for what has no meaning. */
static void number(double v, int digits, bool sign, char out[BACKTEST_TEXT_MAX])
{
    if (isnan(v)) {
        snprintf(out, BACKTEST_TEXT_MAX, "-");
    } else {
        snprintf(out, BACKTEST_TEXT_MAX, sign ? "%+.*f" : "%.*f", digits, v);
    }
}

static void print_value(FILE *f, double v, struct interval i, int digits, bool sign,
                        bool has_interval)
{
    char value[BACKTEST_TEXT_MAX];
    char low[BACKTEST_TEXT_MAX];
    char high[BACKTEST_TEXT_MAX];
    number(v, digits, sign, value);
    fprintf(f, "  %9s", value);
    if (has_interval) {
        number(i.low, digits, sign, low);
        number(i.high, digits, sign, high);
        fprintf(f, "  %8s to %8s", low, high);
    }
}

static void print_figure(FILE *f, const struct figures *g, size_t sides, enum figure k)
{
    bool intervals = g[0].resamples > 0;
    int digits = FIGURES[k].digits;
    for (size_t s = 0; s < sides; s++) {
        print_value(f, g[s].value[k], figures_interval(&g[s], k), digits, false, intervals);
    }
    if (sides == 2) {
        struct difference d = figures_difference(&g[0], &g[1], k);
        print_value(f, d.value, d.interval, digits, true, intervals);
        if (intervals && !isnan(d.in_favour)) {
            fprintf(f, "  %5.1f %%", 100 * d.in_favour);
        }
    }
}

static void print_heading(FILE *f, const char *first, int width, const struct figures *g,
                          size_t sides)
{
    static const char *const SIDE[] = {"model", "against"};
    fprintf(f, "  %-*s", width, first);
    for (size_t i = 0; i < sides + (sides == 2); i++) {
        fprintf(f, "  %9s", i == 2 ? "difference" : SIDE[i]);
        if (g->resamples > 0) {
            fprintf(f, "  %20s", "95 % interval");
        }
    }
    fprintf(f, "%s\n", sides == 2 && g->resamples > 0 ? "  in favour" : "");
}

static void print_population(FILE *f, const struct backtest *b, const struct backtest_population *p)
{
    const struct figures *g = p->figures;
    fprintf(f, "%s: %zu payments of %zu cards, %zu frauds, %zu days\n", p->title, g->payments,
            g->cards, g->frauds, g->days);
    for (size_t s = 0; s < b->sides; s++) {
        fprintf(f, "  %s%zu alerts (%.1f a day), %zu of them frauds; %.1f frauds expected\n",
                b->sides == 1 ? ""
                : s == 0      ? "model: "
                              : "against: ",
                g[s].alerts, g->days > 0 ? (double)g[s].alerts / (double)g->days : 0, g[s].caught,
                g[s].expected);
    }
    print_heading(f, "", 19, g, b->sides);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        char text[BACKTEST_TEXT_MAX];
        backtest_figure_text(g, (enum figure)k, text);
        fprintf(f, "  %-19s", text);
        print_figure(f, g, b->sides, (enum figure)k);
        fputc('\n', f);
    }
}

static void print_segments(FILE *f, const struct backtest *b)
{
    for (size_t k = 0; k < SEGMENT_FIGURES && b->segments > 0; k++) {
        char heading[2 * BACKTEST_TEXT_MAX];
        snprintf(heading, sizeof heading, "%s", FIGURES[SEGMENT_FIGURE[k]].text);
        fprintf(f, "%s by %s, all payments\n", heading, SEGMENT_KIND[b->conf.segment]);
        print_heading(f, "              payments   frauds", 32, b->population[0].figures, b->sides);
        for (size_t i = 0; i < b->segments; i++) {
            const struct backtest_segment *t = &b->segment[i];
            fprintf(f, "  %-14s %9zu %7zu", t->name, t->figures->payments, t->figures->frauds);
            print_figure(f, t->figures, b->sides, SEGMENT_FIGURE[k]);
            fputc('\n', f);
        }
    }
}

void backtest_print(const struct backtest *b, FILE *f)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format(from, b->conf.from_us);
    time_format(to, b->conf.to_us);
    for (size_t s = 0; s < b->sides; s++) {
        fprintf(f, "%s %s (%s)\n", s == 0 ? "model" : "against",
                model_lineage(b->model[s])->version, b->file[s]);
    }
    fprintf(f, "%s from %s to %s, %g alerts a day\n", b->conf.input, from, to, b->conf.budget);
    if (b->unlabelled > 0) {
        fprintf(f, "%zu of %zu payments have no verdict and count as legitimate\n", b->unlabelled,
                b->n);
    }
    for (size_t i = 0; i < b->populations; i++) {
        print_population(f, b, &b->population[i]);
    }
    print_segments(f, b);
}

/* ---- JSON ---- */

/* A number, or null. */
static void json_number(FILE *f, const char *name, double v)
{
    fprintf(f, ",\"%s\":", name);
    fprintf(f, isfinite(v) ? "%.9g" : "null", v);
}

static void json_interval(FILE *f, struct interval i, bool has)
{
    if (has) {
        json_number(f, "low", i.low);
        json_number(f, "high", i.high);
    }
}

void backtest_json_figures(FILE *f, const struct figures *g)
{
    fprintf(f, "{\"alerts\":%zu,\"caught\":%zu", g->alerts, g->caught);
    json_number(f, "expected", g->expected);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        fprintf(f, ",\"%s\":{\"value\":", FIGURES[k].name);
        fprintf(f, isfinite(g->value[k]) ? "%.9g" : "null", g->value[k]);
        json_interval(f, figures_interval(g, (enum figure)k), g->resamples > 0);
        fputc('}', f);
    }
    fputc('}', f);
}

static void json_difference(FILE *f, const struct figures *g)
{
    fputc('{', f);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        struct difference d = figures_difference(&g[0], &g[1], (enum figure)k);
        fprintf(f, "%s\"%s\":{\"value\":", k > 0 ? "," : "", FIGURES[k].name);
        fprintf(f, isfinite(d.value) ? "%.9g" : "null", d.value);
        json_interval(f, d.interval, g->resamples > 0);
        if (g->resamples > 0) {
            json_number(f, "in_favour", d.in_favour);
        }
        fputc('}', f);
    }
    fputc('}', f);
}

/* One population's or segment's members, after its name. */
static void json_sides(FILE *f, const struct figures *g, size_t sides)
{
    fprintf(f,
            ",\"payments\":%zu,\"cards\":%zu,\"frauds\":%zu,\"days\":%zu,\"model\":", g->payments,
            g->cards, g->frauds, g->days);
    backtest_json_figures(f, &g[0]);
    if (sides == 2) {
        fputs(",\"against\":", f);
        backtest_json_figures(f, &g[1]);
        fputs(",\"difference\":", f);
        json_difference(f, g);
    }
    fputc('}', f);
}

static void json_model(FILE *f, const struct backtest *b, size_t side)
{
    const struct model_lineage *l = model_lineage(b->model[side]);
    char until[TIME_TEXT_MAX];
    time_format(until, l->data_until_us);
    fprintf(f, ",\"%s\":{\"version\":", side == 0 ? "model" : "against");
    table_print_json(f, l->version);
    fputs(",\"file\":", f);
    table_print_json(f, b->file[side]);
    fprintf(f, ",\"hash\":\"%016" PRIx64 "\",\"data_until\":\"%s\"}", model_hash(b->model[side]),
            until);
}

void backtest_print_json(const struct backtest *b, FILE *f)
{
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format(from, b->conf.from_us);
    time_format(to, b->conf.to_us);
    fputs("{\"input\":", f);
    table_print_json(f, b->conf.input);
    fprintf(f, ",\"from\":\"%s\",\"to\":\"%s\"", from, to);
    json_number(f, "budget", b->conf.budget);
    fprintf(f, ",\"top_cards\":%zu,\"unlabelled\":%zu", b->conf.evaluate.top_cards, b->unlabelled);
    fprintf(f, ",\"bootstrap\":{\"resamples\":%zu,\"seed\":%" PRIu64 ",\"unit\":\"card\"}",
            b->conf.evaluate.resamples, b->conf.evaluate.seed);
    for (size_t s = 0; s < b->sides; s++) {
        json_model(f, b, s);
    }
    fputs(",\"populations\":[", f);
    for (size_t i = 0; i < b->populations; i++) {
        fprintf(f, "%s{\"name\":\"%s\"", i > 0 ? "," : "", b->population[i].name);
        json_sides(f, b->population[i].figures, b->sides);
    }
    fputs("]", f);
    if (b->conf.segment >= 0) {
        fprintf(f, ",\"segment\":\"%s\",\"segments\":[", SEGMENT_KIND[b->conf.segment]);
        for (size_t i = 0; i < b->segments; i++) {
            fprintf(f, "%s{\"name\":", i > 0 ? "," : "");
            table_print_json(f, b->segment[i].name);
            json_sides(f, b->segment[i].figures, b->sides);
        }
        fputs("]", f);
    }
    fputs("}\n", f);
}
