/* The measures follow the Fraud Detection Handbook (Le Borgne et al. 2022, ch. 4): AUC ROC with
 * ties at their mean rank, AP with ties as one threshold, card precision top-100 a day over cards
 * not found on an earlier day. */
#include "daemon/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"

#define CARDS_A_DAY 100
#define CALIBRATION_GROUPS 10

static int by_card_time(const void *a, const void *b)
{
    const struct card_fraud *x = a;
    const struct card_fraud *y = b;
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->event_us < y->event_us ? -1 : x->event_us > y->event_us;
}

/* First fraud of the card at or after from_us, or NULL. */
static const struct card_fraud *fraud_from(const struct card_fraud *f, size_t n, uint64_t card,
                                           int64_t from_us)
{
    size_t low = 0;
    size_t high = n;
    const struct card_fraud key = {card, from_us};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_card_time(&f[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n && f[low].card == card ? &f[low] : NULL;
}

enum err evaluate_mark_known(struct judged *j, size_t n, struct card_fraud *frauds,
                             size_t fraud_count, int64_t first_day_us, struct errmsg *e)
{
    (void)e;
    qsort(frauds, fraud_count, sizeof *frauds, by_card_time);
    int64_t first = time_day(first_day_us);
    for (size_t i = 0; i < n; i++) {
        int64_t day = time_day(j[i].event_us);
        /* the book's known cards grow from the first test day's 14 days back */
        int64_t from = (first - 14) * TIME_DAY;
        int64_t to = (day - 7) * TIME_DAY;
        const struct card_fraud *f = fraud_from(frauds, fraud_count, j[i].card, from);
        j[i].known_card = f != NULL && f->event_us < to;
    }
    return ERR_OK;
}

struct scored_row {
    double score;
    const struct judged *j;
};

static int by_score_down(const void *a, const void *b)
{
    const struct scored_row *x = a;
    const struct scored_row *y = b;
    if (x->score > y->score || x->score < y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->j < y->j ? -1 : x->j > y->j;
}

/* AUC and AP from rows in descending order of score. */
static void ranking(const struct scored_row *r, size_t n, struct figures *g)
{
    double frauds = (double)g->frauds;
    double others = (double)n - frauds;
    double pairs = 0; /* (fraud, other) pairs in the right order, ties half */
    double ap = 0;
    double found = 0;
    double passed = 0;
    for (size_t i = 0; i < n;) {
        size_t k = i;
        double tied = 0;
        while (k < n && !(r[k].score < r[i].score)) {
            tied += r[k].j->fraud ? 1 : 0;
            k++;
        }
        double tied_others = (double)(k - i) - tied;
        pairs += tied * (others - passed - tied_others / 2);
        passed += tied_others;
        found += tied;
        ap += tied * found / (double)k;
        i = k;
    }
    g->auc = frauds > 0 && others > 0 ? pairs / (frauds * others) : (double)NAN;
    g->ap = frauds > 0 ? ap / frauds : (double)NAN;
}

struct card_day {
    uint64_t card;
    double best;
    size_t first; /* order of appearance, for ties */
    bool fraud;
};

static int by_card(const void *a, const void *b)
{
    const struct card_day *x = a;
    const struct card_day *y = b;
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

static int by_best(const void *a, const void *b)
{
    const struct card_day *x = a;
    const struct card_day *y = b;
    if (x->best > y->best || x->best < y->best) {
        return x->best > y->best ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

static bool contains(const uint64_t *cards, size_t n, uint64_t card)
{
    for (size_t i = 0; i < n; i++) {
        if (cards[i] == card) {
            return true;
        }
    }
    return false;
}

/* Keeps one row a card: its best score, whether any of its payments is fraud. */
static size_t merge_cards(struct card_day *d, size_t n)
{
    qsort(d, n, sizeof *d, by_card);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && d[kept - 1].card == d[i].card) {
            d[kept - 1].best = d[i].best > d[kept - 1].best ? d[i].best : d[kept - 1].best;
            d[kept - 1].fraud |= d[i].fraud;
        } else {
            d[kept++] = d[i];
        }
    }
    return kept;
}

/* rows in order of event time.  scratch: [n] of each. */
static void card_precision(const struct judged *const *rows, size_t n, struct card_day *day,
                           uint64_t *found, struct figures *g)
{
    size_t found_count = 0;
    double total = 0;
    g->days = 0;
    for (size_t i = 0; i < n;) {
        int64_t today = time_day(rows[i]->event_us);
        size_t m = 0;
        for (; i < n && time_day(rows[i]->event_us) == today; i++) {
            if (!contains(found, found_count, rows[i]->card)) {
                day[m] = (struct card_day){rows[i]->card, rows[i]->score, m, rows[i]->fraud};
                m++;
            }
        }
        m = merge_cards(day, m);
        qsort(day, m, sizeof *day, by_best);
        size_t hits = 0;
        size_t earlier = found_count;
        for (size_t k = 0; k < m && k < CARDS_A_DAY; k++) {
            if (day[k].fraud) {
                found[earlier + hits++] = day[k].card;
            }
        }
        found_count += hits;
        total += (double)hits / CARDS_A_DAY;
        g->days++;
    }
    g->card_precision = g->days > 0 ? total / (double)g->days : (double)NAN;
}

static void calibration(const struct scored_row *r, size_t n, struct figures *g)
{
    double error = 0;
    for (size_t k = 0; k < CALIBRATION_GROUPS; k++) {
        size_t from = n * k / CALIBRATION_GROUPS;
        size_t to = n * (k + 1) / CALIBRATION_GROUPS;
        double expected = 0;
        double seen = 0;
        for (size_t i = from; i < to; i++) {
            expected += r[i].score;
            seen += r[i].j->fraud ? 1 : 0;
        }
        error += fabs(expected - seen);
        g->expected += expected;
    }
    g->calibration_error = n > 0 ? error / (double)n : (double)NAN;
}

static void alert_figures(const struct scored_row *r, size_t n, struct figures *g)
{
    double value = 0;
    double caught_value = 0;
    for (size_t i = 0; i < n; i++) {
        const struct judged *j = r[i].j;
        g->alerts += j->alert;
        g->caught += j->alert && j->fraud;
        value += j->fraud ? j->amount : 0;
        caught_value += j->fraud && j->alert ? j->amount : 0;
    }
    g->recall = g->frauds > 0 ? (double)g->caught / (double)g->frauds : (double)NAN;
    g->precision = g->alerts > 0 ? (double)g->caught / (double)g->alerts : (double)NAN;
    g->value_share = value > 0 ? caught_value / value : (double)NAN;
}

enum err evaluate(const struct judged *j, size_t n, bool skip_known, struct figures *out,
                  struct errmsg *e)
{
    struct figures g = {0};
    enum err err = ERR_OK;
    struct scored_row *r = malloc((n + 1) * sizeof *r);
    const struct judged **rows = malloc((n + 1) * sizeof(const void *));
    struct card_day *day = malloc((n + 1) * sizeof *day);
    uint64_t *found = malloc((n + 1) * sizeof *found);
    if (r == NULL || rows == NULL || day == NULL || found == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot evaluate %zu payments: no memory", n);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        if (skip_known && j[i].known_card) {
            continue;
        }
        r[g.payments] = (struct scored_row){j[i].score, &j[i]};
        rows[g.payments++] = &j[i];
        g.frauds += j[i].fraud;
    }
    card_precision(rows, g.payments, day, found, &g);
    qsort(r, g.payments, sizeof *r, by_score_down);
    ranking(r, g.payments, &g);
    calibration(r, g.payments, &g);
    alert_figures(r, g.payments, &g);
    *out = g;
out:
    free(r);
    free(rows);
    free(day);
    free(found);
    return err;
}

void figures_print(FILE *f, const char *title, const struct figures *g)
{
    fprintf(f, "%s: %zu payments, %zu frauds, %zu days\n", title, g->payments, g->frauds, g->days);
    fprintf(f, "  AUC %.4f  AP %.4f  CP@%d %.4f\n", g->auc, g->ap, CARDS_A_DAY, g->card_precision);
    fprintf(f, "  alerts %zu (%.1f a day): recall %.3f  precision %.3f  fraud value found %.3f\n",
            g->alerts, g->days > 0 ? (double)g->alerts / (double)g->days : 0, g->recall,
            g->precision, g->value_share);
    fprintf(f, "  expected frauds %.1f of %zu seen; calibration error %.5f\n", g->expected,
            g->frauds, g->calibration_error);
}
