#include "daemon/report.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#include "base/timefmt.h"
#include "daemon/chart.h"
#include "daemon/report_page.h"

static const char *const SIDE_NAME[BACKTEST_SIDES] = {"model", "against"};

static void number(FILE *f, double v, int digits, bool sign)
{
    if (isnan(v)) {
        fputs("\u2013", f);
    } else {
        fprintf(f, sign ? "%+.*f" : "%.*f", digits, v);
    }
}

/* A value and, where there are resamples, its interval: beside it, or under it where two models
 * share the row. */
static void value_cells(FILE *f, double v, struct interval i, int digits, bool sign, bool has)
{
    fputs("<td><span class=\"v\">", f);
    number(f, v, digits, sign);
    fputs("</span>", f);
    if (has) {
        fputs("<span class=\"of\">", f);
        number(f, i.low, digits, sign);
        if (!isnan(i.low)) {
            fputs(" to ", f);
            number(f, i.high, digits, sign);
        }
        fputs("</span>", f);
    }
    fputs("</td>", f);
}

static void figure_cells(FILE *f, const struct backtest *b, const struct figures *g, enum figure k)
{
    bool has = g[0].resamples > 0;
    int digits = FIGURES[k].digits;
    for (size_t s = 0; s < b->sides; s++) {
        value_cells(f, g[s].value[k], figures_interval(&g[s], k), digits, false, has);
    }
    if (b->sides == 2) {
        struct difference d = figures_difference(&g[0], &g[1], k);
        value_cells(f, d.value, d.interval, digits, true, has);
        if (has) {
            fputs("<td>", f);
            number(f, 100 * d.in_favour, 1, false);
            fputs("</td>", f);
        }
    }
}

/* The heads of what figure_cells writes. */
static void figure_heads(FILE *f, const struct backtest *b, const struct figures *g)
{
    for (size_t s = 0; s < b->sides; s++) {
        fprintf(f, "<th scope=\"col\">%s</th>",
                b->sides == 2      ? SIDE_NAME[s]
                : g->resamples > 0 ? "value and interval"
                                   : "value");
    }
    if (b->sides == 2) {
        fputs("<th scope=\"col\">difference</th>", f);
        fputs(g[0].resamples > 0 ? "<th scope=\"col\">% in favour</th>" : "", f);
    }
}

static void population_table(FILE *f, const struct backtest *b, const struct backtest_population *p)
{
    const struct figures *g = p->figures;
    fputs("<section><h2>", f);
    fputc(p->title[0] - 'a' + 'A', f); /* titles are ours, in lower case */
    chart_text(f, p->title + 1);
    fprintf(f, "</h2><p>%zu payments of %zu cards on %zu days, %zu of them frauds. ", g->payments,
            g->cards, g->days, g->frauds);
    for (size_t s = 0; s < b->sides; s++) {
        fprintf(f, "%s%zu alerts, %zu of them frauds; %.1f frauds expected. ",
                b->sides == 1 ? ""
                : s == 0      ? "Model: "
                              : "Against: ",
                g[s].alerts, g[s].caught, g[s].expected);
    }
    fputs("</p><table><thead><tr><th scope=\"col\">figure</th>", f);
    figure_heads(f, b, g);
    fputs("</tr></thead><tbody>\n", f);
    for (int k = 0; k < FIGURE_COUNT; k++) {
        char text[BACKTEST_TEXT_MAX];
        backtest_figure_text(g, (enum figure)k, text);
        fprintf(f, "<tr><th scope=\"row\">%s</th>", text);
        figure_cells(f, b, g, (enum figure)k);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></section>\n", f);
}

static void segment_table(FILE *f, const struct backtest *b, enum figure k)
{
    fputs("<section><h2>", f);
    fputc(FIGURES[k].text[0] - 'a' + 'A', f);
    fprintf(f, "%s by %s</h2><p>All payments.</p><table><thead><tr><th scope=\"col\">",
            FIGURES[k].text + 1, SEGMENT_KIND[b->conf.segment]);
    chart_text(f, SEGMENT_KIND[b->conf.segment]);
    fputs("</th><th scope=\"col\">payments</th><th scope=\"col\">frauds</th>", f);
    figure_heads(f, b, b->segment[0].figures);
    fputs("</tr></thead><tbody>\n", f);
    for (size_t i = 0; i < b->segments; i++) {
        const struct backtest_segment *t = &b->segment[i];
        fputs("<tr><th scope=\"row\">", f);
        chart_text(f, t->name);
        fprintf(f, "</th><td>%zu</td><td>%zu</td>", t->figures->payments, t->figures->frauds);
        figure_cells(f, b, t->figures, k);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></section>\n", f);
}

/* ---- lineage ---- */

static void text_row(FILE *f, const char *name, const char *const value[], size_t sides)
{
    fprintf(f, "<tr><th scope=\"row\">%s</th>", name);
    for (size_t s = 0; s < sides; s++) {
        fputs("<td>", f);
        chart_text(f, value[s][0] != '\0' ? value[s] : "none");
        fputs("</td>", f);
    }
    fputs("</tr>\n", f);
}

#define LINEAGE_TEXT 160

/* One model's rows as text, in the order of LINEAGE_ROW. */
enum { LINEAGE_ROWS = 12 };
static const char *const LINEAGE_ROW[LINEAGE_ROWS] = {"file",
                                                      "version",
                                                      "updated from",
                                                      "weights (hash)",
                                                      "learnt from",
                                                      "payments learnt",
                                                      "training rows (hash)",
                                                      "held-out week",
                                                      "feature schema",
                                                      "settings",
                                                      "seed",
                                                      "program, processor"};

static void lineage_texts(const struct backtest *b, size_t side,
                          char text[LINEAGE_ROWS][LINEAGE_TEXT])
{
    const struct model_lineage *l = model_lineage(b->model[side]);
    char from[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];
    char delay[TIME_TEXT_MAX];
    size_t i = 0;
    time_format_date(from, l->data_from_us);
    time_format_date(until, l->data_until_us);
    duration_format(delay, l->maturity_us);
    snprintf(text[i++], LINEAGE_TEXT, "%s", b->file[side]);
    snprintf(text[i++], LINEAGE_TEXT, "%.*s", (int)sizeof l->version, l->version);
    snprintf(text[i++], LINEAGE_TEXT, "%.*s", (int)sizeof l->parent, l->parent);
    snprintf(text[i++], LINEAGE_TEXT, "%016" PRIx64, model_hash(b->model[side]));
    snprintf(text[i++], LINEAGE_TEXT, "%s to %s", from, until);
    snprintf(text[i++], LINEAGE_TEXT, "%" PRIu64 ", %" PRIu64 " of them frauds", l->rows,
             l->frauds);
    snprintf(text[i++], LINEAGE_TEXT, "%016" PRIx64, l->rows_hash);
    snprintf(text[i++], LINEAGE_TEXT, "AUC %.4f, AP %.4f", l->holdout_auc, l->holdout_ap);
    snprintf(text[i++], LINEAGE_TEXT, "%016" PRIx64, l->schema_hash);
    snprintf(text[i++], LINEAGE_TEXT, "maturity %s, blame %g and %g, rates %u", delay,
             (double)l->blame_ratio, (double)l->blame_tail, (unsigned)l->rates_version);
    snprintf(text[i++], LINEAGE_TEXT, "%" PRIu64, l->seed);
    snprintf(text[i++], LINEAGE_TEXT, "%.*s, %.*s", (int)sizeof l->code_version, l->code_version,
             (int)sizeof l->blas_core, l->blas_core);
}

static void lineage(FILE *f, const struct backtest *b)
{
    char text[BACKTEST_SIDES][LINEAGE_ROWS][LINEAGE_TEXT];
    for (size_t s = 0; s < b->sides; s++) {
        lineage_texts(b, s, text[s]);
    }
    fputs("<section class=\"lineage\"><h2>Where the model comes from</h2><table><thead><tr>"
          "<th scope=\"col\"></th>",
          f);
    for (size_t s = 0; s < b->sides; s++) {
        fprintf(f, "<th scope=\"col\">%s</th>", SIDE_NAME[s]);
    }
    fputs("</tr></thead><tbody>\n", f);
    for (size_t i = 0; i < LINEAGE_ROWS; i++) {
        const char *const row[BACKTEST_SIDES] = {text[0][i], b->sides == 2 ? text[1][i] : ""};
        text_row(f, LINEAGE_ROW[i], row, b->sides);
    }
    fputs("</tbody></table></section>\n", f);
}

/* ---- the page ---- */

#define TITLE_MAX 120

static void title(char out[TITLE_MAX], const struct backtest *b)
{
    const char *const version[] = {model_lineage(b->model[0])->version,
                                   b->sides == 2 ? model_lineage(b->model[1])->version : ""};
    snprintf(out, TITLE_MAX, "Backtest of %.32s%s%.32s", version[0],
             b->sides == 2 ? " against " : "", version[1]);
}

static void head(FILE *f, const struct backtest *b)
{
    char title_text[TITLE_MAX];
    char from[TIME_TEXT_MAX];
    char to[TIME_TEXT_MAX];
    time_format(from, b->conf.from_us);
    time_format(to, b->conf.to_us);
    title(title_text, b);
    report_page_begin(f, title_text);
    fputs("<p>", f);
    chart_text(f, b->conf.input);
    fprintf(f, ", %s to %s, replayed through the pipeline that serves; a budget of %g alerts a day",
            from, to, b->conf.budget);
    if (b->unlabelled > 0) {
        fprintf(f, "; %zu of %zu payments have no verdict and count as legitimate", b->unlabelled,
                b->n);
    }
    fputs(".", f);
    if (b->conf.evaluate.resamples > 0) {
        fprintf(f,
                " Intervals hold 95 %% of %zu resamples of the cards (seed %" PRIu64
                "): they say what other cards would have given, not what another week would.",
                b->conf.evaluate.resamples, b->conf.evaluate.seed);
    }
    fputs("</p></header>\n", f);
}

enum err report_render(const struct backtest *b, FILE *f, struct errmsg *e)
{
    static const enum figure SEGMENT_FIGURE[] = {FIGURE_EXPECTED, FIGURE_SLOPE, FIGURE_ERROR};
    assert(b->sides >= 1 && b->sides <= BACKTEST_SIDES);
    head(f, b);
    fprintf(f, "<div class=\"grid%s\">\n", b->sides == 2 ? " wide" : "");
    for (size_t i = 0; i < b->populations; i++) {
        population_table(f, b, &b->population[i]);
    }
    fputs("</div><div class=\"grid\">\n", f);
    enum err err = report_charts(b, f, e);
    lineage(f, b);
    fprintf(f, "</div><div class=\"grid%s\">\n", b->sides == 2 ? " wide" : "");
    for (size_t k = 0; k < sizeof SEGMENT_FIGURE / sizeof *SEGMENT_FIGURE && b->segments > 0; k++) {
        segment_table(f, b, SEGMENT_FIGURE[k]);
    }
    fputs("</div>", f);
    report_page_end(f);
    return err;
}

static enum err render(const void *b, FILE *f, struct errmsg *e)
{
    return report_render(b, f, e);
}

enum err report_write(const struct backtest *b, const char *path, struct errmsg *e)
{
    return report_page_write(path, render, b, e);
}
