#include "daemon/update_report.h"

#include <inttypes.h>
#include <math.h>

#include "base/timefmt.h"
#include "daemon/chart.h"
#include "daemon/report_page.h"

#define LOW_SCORE 5e-5 /* where the axis begins and the lowest bin with it */
#define LOW_SHARE 1e-5

/* A cell; nothing where there is no number. */
static void cell(FILE *f, double v, int digits)
{
    fputs("<td>", f);
    if (isnan(v)) {
        fputs("\u2013", f);
    } else {
        fprintf(f, "%.*f", digits, v);
    }
    fputs("</td>", f);
}

static void head(const struct update_outcome *u, FILE *f)
{
    char title[120];
    char day[TIME_TEXT_MAX];
    char misses[GATE_TEXT_MAX];
    snprintf(title, sizeof title, "Update of %s: %s", u->parent,
             u->gate.passed ? u->learnt.version : "stopped by the gate");
    report_page_begin(f, title);
    time_format_date(day, u->learnt_until_us);
    fprintf(f,
            "<p>%zu payments since %s, %zu of them frauds; again the %zu before (%zu frauds) and "
            "%zu older ones (%zu frauds). ",
            u->news, day, u->news_frauds, u->young, u->young_frauds, u->replay, u->replay_frauds);
    if (!u->gate.measured) {
        fputs("Their labels are not believed, so nothing was learnt. ", f);
    }
    if (!u->gate.passed) {
        gate_misses(&u->gate, misses);
        fputs("Nothing was changed: ", f);
        chart_text(f, misses);
        fputs(".", f);
    }
    fputs("</p></header>\n", f);
}

static const char *verdict(const struct gate_row *r, bool of_labels)
{
    return r->measured ? r->passed ? "passed" : "<strong>missed</strong>"
           : of_labels ? "too little is expected"
                       : "not measured";
}

static void gate_table(const struct gate_report *g, FILE *f)
{
    fprintf(f,
            "<section><h2>Gate</h2><p>%zu payments and %zu frauds of the sealed week that nothing "
            "was learnt from; labels of both weeks, as the served model sees them.</p><table>"
            "<thead><tr><th scope=\"col\">measure</th><th scope=\"col\">value</th>"
            "<th scope=\"col\">bound</th><th scope=\"col\"></th><th scope=\"col\">of</th>"
            "<th scope=\"col\">and</th><th scope=\"col\">found in</th></tr></thead><tbody>\n",
            g->payments, g->frauds);
    for (int i = 0; i < GATE_COUNT; i++) {
        const struct gate_row *r = &g->row[i];
        const struct gate_words *w = gate_measure_words((enum gate_measure)i);
        fprintf(f, "<tr><th scope=\"row\">%s</th>", w->text);
        cell(f, r->value, 4);
        fprintf(f, "<td>%s %g</td><td>%s</td><td>%s ", w->at_least ? "at least" : "at most",
                g->bound[i], verdict(r, i >= GATE_LABELS), w->first);
        fprintf(f, isnan(r->served) ? "\u2013" : "%.5g", r->served);
        fprintf(f, "</td><td>%s ", w->second);
        fprintf(f, isnan(r->made) ? "\u2013" : "%.5g", r->made);
        fputs("</td><td>", f);
        chart_text(f, r->where);
        fputs("</td></tr>\n", f);
    }
    fputs("</tbody></table></section>\n", f);
}

static void figures(const struct update_outcome *u, FILE *f)
{
    const struct gate_report *g = &u->gate;
    const double seconds[] = {u->reading_s, u->features_s, u->training_s, u->judging_s};
    static const char *const PART[] = {"reading", "features", "training", "judging"};
    fputs("<section><h2>The new model</h2><p>On the gate's payments; seconds are of CPU.</p>"
          "<table><tbody>\n<tr><th scope=\"row\">AUC</th>",
          f);
    cell(f, g->auc, 4);
    fputs("</tr>\n<tr><th scope=\"row\">average precision (served one's)</th><td>", f);
    if (g->measured) {
        fprintf(f, "%.4f (%.4f)", g->ap, g->row[GATE_AP].served);
    } else {
        fputs("\u2013", f);
    }
    fputs("</td></tr>\n<tr><th scope=\"row\">Brier score</th>", f);
    cell(f, g->brier, 5);
    fprintf(f, "</tr>\n<tr><th scope=\"row\">passes</th><td>%" PRIu32 "</td></tr>\n", u->epochs);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        fprintf(f, "<tr><th scope=\"row\">seconds, %s</th>", PART[i]);
        cell(f, seconds[i], 1);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></section>\n", f);
}

/* ---- drift ---- */

/* An index with a bar that ends at 1. */
static void index_row(FILE *f, const char *name, double index)
{
    fputs("<tr><th scope=\"row\">", f);
    chart_text(f, name);
    fputs("</th>", f);
    cell(f, index, 3);
    fprintf(f,
            "<td><svg viewBox=\"0 0 200 12\" width=\"200\" height=\"12\" aria-hidden=\"true\">"
            "<rect class=\"a\" x=\"0\" y=\"1\" width=\"%.1f\" height=\"10\"/></svg></td></tr>\n",
            200 * (index < 1 ? index : 1));
}

static void drift_table(const struct drift *d, double bound, FILE *f)
{
    size_t above = drift_count_above(d, bound);
    fprintf(f,
            "<section><h2>Drift</h2><p>Population stability index from %zu older payments to %zu "
            "new ones, without labels; by custom below 0.1 is little and above 0.25 much. ",
            d->old, d->fresh);
    if (above > 0) {
        fprintf(f,
                "<strong>%zu columns have moved further than %g (update.drift): a full training "
                "is due.</strong>",
                above, bound);
    }
    fputs("</p><table><thead><tr><th scope=\"col\">what</th><th scope=\"col\">index</th>"
          "<th scope=\"col\">0 to 1</th></tr></thead><tbody>\n",
          f);
    index_row(f, "score of the served model", d->score);
    for (int g = 0; g < GROUP_COUNT; g++) {
        if (!isnan(d->group[g])) {
            index_row(f, feature_group_words((enum feature_group)g), d->group[g]);
        }
    }
    fputs("</tbody></table><table><thead><tr><th scope=\"col\">columns that moved most</th>"
          "<th scope=\"col\">index</th><th scope=\"col\">0 to 1</th></tr></thead><tbody>\n",
          f);
    for (size_t i = 0; i < DRIFT_TOP; i++) {
        index_row(f, feature_info(d->top[i])->name, d->column[d->top[i]]);
    }
    fputs("</tbody></table></section>\n", f);
}

static double edge(size_t i)
{
    return i == 0 ? LOW_SCORE : i == SCORE_BANDS ? 1 : (double)SCORE_BAND_TOP[i - 1];
}

static void score_chart(const struct drift *d, FILE *f)
{
    static const char *const STYLE[2] = {"a", "b dashed"};
    static const char *const NAME[2] = {"older payments", "new payments"};
    const struct chart c = {.f = f,
                            .id = "scores",
                            .title = "Scores of older and of new payments",
                            .about =
                                "Share of the payments in each band of the served model's score.",
                            .x = {"score", CHART_LOG, LOW_SCORE, 1, true, false},
                            .y = {"share of the payments", CHART_LOG, LOW_SHARE, 1, true, false}};
    fprintf(f, "<figure><figcaption><h2>%s</h2><p>%s</p></figcaption>\n", c.title, c.about);
    chart_begin(&c);
    for (int s = 0; s < 2; s++) {
        double x[2 * SCORE_BANDS];
        double y[2 * SCORE_BANDS];
        for (size_t i = 0; i < SCORE_BANDS; i++) {
            x[2 * i] = edge(i);
            x[2 * i + 1] = edge(i + 1);
            y[2 * i] = y[2 * i + 1] = d->share[s][i];
        }
        chart_line(&c, STYLE[s], x, y, 2 * (size_t)SCORE_BANDS);
    }
    chart_end(&c);
    fputs("<ul class=\"legend\">", f);
    for (int s = 0; s < 2; s++) {
        fprintf(f,
                "<li><svg class=\"sample\" viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path "
                "class=\"line %s\" d=\"M1 6H25\"/></svg>%s</li>",
                STYLE[s], NAME[s]);
    }
    fputs("</ul></figure>\n", f);
}

enum err update_report_render(const struct update_outcome *u, double drift_bound, FILE *f,
                              struct errmsg *e)
{
    head(u, f);
    fputs("<div class=\"grid wide\">\n", f);
    gate_table(&u->gate, f);
    figures(u, f);
    drift_table(&u->drift, drift_bound, f);
    score_chart(&u->drift, f);
    fputs("</div>", f);
    report_page_end(f);
    return ferror(f) ? err_set(e, ERR_NOMEM, "no memory for the page") : ERR_OK;
}

struct page {
    const struct update_outcome *u;
    double drift_bound;
};

static enum err render(const void *ctx, FILE *f, struct errmsg *e)
{
    const struct page *p = ctx;
    return update_report_render(p->u, p->drift_bound, f, e);
}

enum err update_report_write(const struct update_outcome *u, double drift_bound, const char *path,
                             struct errmsg *e)
{
    const struct page p = {u, drift_bound};
    return report_page_write(path, render, &p, e);
}
