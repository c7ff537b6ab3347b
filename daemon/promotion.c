#include "daemon/promotion.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/scrape.h"

#define ANSWER_MS 2000

/* Pages that have this model in shadow. */
static int pages_with(const char *text, const char *version)
{
    struct scrape_sample s;
    char is[64];
    int n = 0;
    while (scrape_next(&text, "fraudd_shadow_info", &s)) {
        n += scrape_label(&s, "version", is, sizeof is) && strcmp(is, version) == 0;
    }
    return n;
}

/* Whether every page knows how many cards are complete. */
static bool all_looked(const char *text, int pages)
{
    struct scrape_sample s;
    int n = 0;
    while (scrape_next(&text, "fraudd_shadow_cards", &s)) {
        n += !isnan(s.value);
    }
    return n >= 2 * pages;
}

enum err promotion_judge(const char *text, int pages, long partitions, const char *version,
                         double share, struct errmsg *e)
{
    const double read = scrape_sum(text, "fraudd_partitions", NULL, NULL);
    const int shadows = pages_with(text, version);
    if (!(fabs(read - (double)partitions) < .5)) {
        return err_set(e, ERR_REFUSED,
                       "the %d scoring processes asked have %.0f of %ld partitions between them; "
                       "name all with --score HOST:PORT,..",
                       pages, isnan(read) ? 0 : read, partitions);
    }
    if (shadows < pages) {
        return err_set(e, ERR_REFUSED,
                       "model %s is in shadow in %d of %d scoring processes; `fraudd model shadow "
                       "%s` puts it there",
                       version, shadows, pages, version);
    }
    const double whole = scrape_sum(text, "fraudd_shadow_cards", "cache", "complete");
    const double part = scrape_sum(text, "fraudd_shadow_cards", "cache", "incomplete");
    if (!all_looked(text, pages)) {
        return err_set(
            e, ERR_REFUSED,
            "not all scoring processes have looked at all their cards yet; wait a minute");
    }
    if (whole < share * (whole + part)) {
        return err_set(e, ERR_REFUSED,
                       "model %s has seen enough of %.2f %% of the cards active in 90 days, and "
                       "promote.complete asks for %g %%",
                       version, 100 * whole / (whole + part), 100 * share);
    }
    return ERR_OK;
}

enum err promotion_pages(const char *addresses, char **text, int *pages, struct errmsg *e)
{
    char *rest = NULL;
    char *own = strdup(addresses);
    size_t len = 0;
    *text = NULL;
    *pages = 0;
    enum err err = own != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "cannot hold the addresses");
    for (char *a = own != NULL ? strtok_r(own, ", ", &rest) : NULL; a != NULL && err == ERR_OK;
         a = strtok_r(NULL, ", ", &rest)) {
        err = scrape_fetch(a, ANSWER_MS, text, &len, e);
        ++*pages;
    }
    free(own);
    if (err == ERR_OK && *text == NULL) {
        *text = strdup("");
        err = *text != NULL ? ERR_OK : err_set(e, ERR_NOMEM, "cannot hold a page");
    }
    return err;
}

enum err promotion_check(const char *addresses, long partitions, const char *version, double share,
                         struct errmsg *e)
{
    char *text = NULL;
    int pages = 0;
    enum err err = promotion_pages(addresses, &text, &pages, e);
    if (err == ERR_OK) {
        err = promotion_judge(text, pages, partitions, version, share, e);
    }
    free(text);
    return err;
}

/* ---- by rule ---- */

static double compared(const char *text, const char *alert)
{
    return scrape_sum(text, "fraudd_shadow_decisions_total", "alerts", alert);
}

void promotion_figures(const char *text, struct promotion_figures *out)
{
    const double both = compared(text, "both");
    const double champion = compared(text, "champion");
    const double challenger = compared(text, "challenger");
    const double low = scrape_min(text, "fraudd_shadow_score_shift");
    const double high = scrape_max(text, "fraudd_shadow_score_shift");
    *out = (struct promotion_figures){
        .payments = both + champion + challenger + compared(text, "neither"),
        .champion = both + champion,
        .challenger = both + challenger,
        .alike = both / (both + champion + challenger),
        .shift = fabs(low) > fabs(high) ? low : high,
        .complete = scrape_sum(text, "fraudd_shadow_cards", "cache", "complete"),
        .incomplete = scrape_sum(text, "fraudd_shadow_cards", "cache", "incomplete")};
}

const char *promotion_figures_text(const struct promotion_figures *f, char out[PROMOTION_TEXT_MAX])
{
    char cards[64] = "not all cards have been looked at yet";
    char alerts[96] = "";
    if (!isnan(f->complete)) {
        snprintf(cards, sizeof cards, "%.2f %% of the active cards complete",
                 100 * f->complete / fmax(f->complete + f->incomplete, 1));
    }
    if (f->payments > 0) {
        snprintf(alerts, sizeof alerts,
                 ", %.0f alerts where the champion has %.0f, %.0f %% alike, mean score %+.4f",
                 f->challenger, f->champion, isnan(f->alike) ? 100 : 100 * f->alike, f->shift);
    }
    snprintf(out, PROMOTION_TEXT_MAX, "%s; %.0f payments compared%s", cards,
             isnan(f->payments) ? 0 : f->payments, alerts);
    return out;
}

enum err promotion_rule_read(const struct conf *c, struct promotion_rule *out, struct errmsg *e)
{
    const char *rule = conf_text(c, "promote.rule");
    if (strcmp(rule, "never") != 0 && strcmp(rule, "agree") != 0) {
        return err_set(e, ERR_INVALID, "promote.rule = \"%s\" is neither never nor agree", rule);
    }
    *out = (struct promotion_rule){.agree = strcmp(rule, "agree") == 0,
                                   .complete = conf_real(c, "promote.complete") / 100,
                                   .shadow_s =
                                       (double)conf_duration_us(c, "promote.shadow-time") / 1e6,
                                   .payments = conf_real(c, "promote.payments"),
                                   .alike = conf_real(c, "promote.alike") / 100,
                                   .shift = conf_real(c, "promote.shift"),
                                   .alerts = conf_real(c, "promote.alerts") / 100,
                                   .outcomes_us = conf_duration_us(c, "promote.outcomes")};
    return ERR_OK;
}

/* Sentences that are put behind one another. */
struct misses {
    char *out;
    size_t len, n;
};

static void miss(struct misses *m, const char *fmt, ...) FD_PRINTF(2, 3);
static void miss(struct misses *m, const char *fmt, ...)
{
    va_list args;
    char text[sizeof((struct errmsg *)NULL)->text + 128];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const size_t room = PROMOTION_TEXT_MAX - m->len;
    const int n = snprintf(m->out + m->len, room, "%s%s", m->n > 0 ? "; " : "", text);
    m->len += (size_t)n < room ? (size_t)n : room - 1;
    m->n++;
}

static void compare(const struct promotion_rule *r, const struct promotion_figures *f,
                    struct misses *m)
{
    if (!(f->payments >= r->payments)) {
        miss(m, "%.0f payments are compared, promote.payments asks for %.0f",
             isnan(f->payments) ? 0 : f->payments, r->payments);
    }
    if (f->alike < r->alike) {
        miss(m, "%.1f %% of the alerts of either are alerts of both, promote.alike asks for %g %%",
             100 * f->alike, 100 * r->alike);
    }
    if (!(fabs(f->shift) <= r->shift)) {
        miss(m, "the mean probabilities differ by %.4f, promote.shift allows %g", f->shift,
             r->shift);
    }
    if (fabs(f->challenger - f->champion) > r->alerts * f->champion) {
        miss(m,
             "it would raise %.0f alerts where the champion raises %.0f, promote.alerts allows %g "
             "%% difference",
             f->challenger, f->champion, 100 * r->alerts);
    }
}

size_t promotion_misses(const struct promotion_rule *r, const struct promotion_case *c,
                        char out[PROMOTION_TEXT_MAX])
{
    struct misses m = {.out = out};
    struct promotion_figures f;
    struct errmsg e = {""};
    out[0] = '\0';
    if (!r->agree) {
        miss(&m, "promote.rule is never");
        return m.n;
    }
    if (!(c->shadow_s >= r->shadow_s)) {
        miss(&m, "it has been in shadow for %.1f days, promote.shadow-time asks for %.1f",
             c->shadow_s / 86400, r->shadow_s / 86400);
    }
    if (c->missed != NULL) {
        miss(&m, "a bound of outcomes was missed less than promote.outcomes ago (%s)", c->missed);
    }
    if (promotion_judge(c->text, c->pages, c->partitions, c->version, r->complete, &e) != ERR_OK) {
        miss(&m, "%s", e.text);
    }
    promotion_figures(c->text, &f);
    compare(r, &f, &m);
    return m.n;
}
