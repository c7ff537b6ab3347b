/* Columns of the card's own history: groups INTERVAL (but places' gaps), CARD_WINDOW, USUAL, PAIR,
 * CARD_LABEL and hour_habit. */
#include "base/timefmt.h"
#include "features/internal.h"

#define NEAR_US (90 * TIME_MIN)
#define GAPS 5

enum { W_1H, W_6H, W_1D, W_3D, W_7D, W_14D, W_30D, W_90D, W_COUNT };
static const int64_t WINDOWS[W_COUNT] = {TIME_HOUR,    6 * TIME_HOUR, TIME_DAY,      3 * TIME_DAY,
                                         7 * TIME_DAY, 14 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};

/* What one look through the card's entries finds besides sums of windows. */
struct glance {
    struct sums fraud;     /* of payments known to be fraud, 90 days */
    uint32_t largest_30d;  /* where payments_30d > 0 */
    uint32_t payments_30d; /* kept one by one */
    uint32_t same_1d, checks_1d, refunds_30d, near_hour;
    uint32_t gaps;        /* how many of these there are */
    int64_t gap_us[GAPS]; /* to the k-th event back */
};

static void glance_gaps(const struct view *v, struct glance *g)
{
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        for (uint32_t i = view_count_in(v, c); i-- > 0;) {
            int64_t age = v->at_us - c->entry[i].time_us;
            if (g->gaps == GAPS || age >= 90 * TIME_DAY || c->entry[i].time_us <= v->after_us) {
                return;
            }
            g->gap_us[g->gaps++] = age;
        }
    }
}

/* Everything that looks back a day: same amounts and checks. */
static void glance_day(const struct view *v, uint32_t amount, struct glance *g)
{
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        for (uint32_t i = view_count_in(v, c); i-- > 0;) {
            const struct entry *e = &c->entry[i];
            if (v->at_us - e->time_us >= TIME_DAY || e->time_us <= v->after_us) {
                return;
            }
            g->same_1d += (e->tag & ENTRY_PAYMENT) != 0 && e->amount == amount;
            g->checks_1d += (e->tag & ENTRY_IS_CHECK) != 0;
        }
    }
}

/* Everything that looks back 30 days.  The age within its day (near: at most 90 min from either
 * end) is kept by subtracting whole days as they pass, newest first. */
static void glance_month(const struct view *v, struct glance *g)
{
    int64_t day_us = v->at_us;
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        for (uint32_t i = view_count_in(v, c); i-- > 0;) {
            const struct entry *e = &c->entry[i];
            if (v->at_us - e->time_us >= 30 * TIME_DAY || e->time_us <= v->after_us) {
                return;
            }
            if ((e->tag & ENTRY_PAYMENT) == 0) {
                g->refunds_30d += (e->tag & ENTRY_IS_REFUND) != 0;
                continue;
            }
            while (day_us - e->time_us >= TIME_DAY) {
                day_us -= TIME_DAY;
            }
            int64_t part = day_us - e->time_us;
            g->near_hour += (part <= NEAR_US) | (part >= TIME_DAY - NEAR_US);
            g->payments_30d++;
            g->largest_30d = e->amount > g->largest_30d ? e->amount : g->largest_30d;
        }
    }
}

/* Known frauds of 90 days. */
static void glance_frauds(const struct view *v, struct glance *g)
{
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        if (c->frauds == 0) {
            continue;
        }
        for (uint32_t i = view_count_in(v, c); i-- > 0;) {
            const struct entry *e = &c->entry[i];
            if (v->at_us - e->time_us >= 90 * TIME_DAY || e->time_us <= v->after_us) {
                return;
            }
            if ((e->tag & ENTRY_FRAUD) != 0) {
                g->fraud.n++;
                g->fraud.sum += e->amount;
                g->fraud.square += (uint64_t)e->amount * e->amount;
            }
        }
    }
}

static void glance_card(const struct view *v, uint32_t amount, struct glance *g)
{
    *g = (struct glance){.gaps = 0};
    glance_gaps(v, g);
    glance_day(v, amount, g);
    glance_month(v, g);
    glance_frauds(v, g);
}

static void interval_columns(struct work *w, const struct glance *g)
{
    static const struct {
        size_t column;
        uint32_t back;
    } GAP[] = {{FEAT_card_gap, 1}, {FEAT_card_gap2, 2}, {FEAT_card_gap5, 5}};
    for (size_t i = 0; i < sizeof GAP / sizeof *GAP; i++) {
        if (g->gaps >= GAP[i].back) {
            ln_time_later(w, GAP[i].column, g->gap_us[GAP[i].back - 1], TIME_S);
        }
    }
    if (g->gaps > 0) {
        uint32_t n = g->payments_30d + w->self;
        double usual_gap = 30 * 86400.0 / (n > 1 ? n : 1);
        ln_later(w, FEAT_card_gap_ratio, (1 + (double)g->gap_us[0] / 1e6) / (1 + usual_gap));
    }
    ln_time_later(w, FEAT_card_age, w->t->event_us - w->at->card->e.first_us, TIME_DAY);
    ln_later(w, FEAT_hour_habit, (double)(g->near_hour + 1) / (double)(g->payments_30d + 8) * 8);
}

/* Payments in a day below a tenth of the 30-day mean, this one included. */
static uint32_t small_payments(const struct work *w, const struct view *v, const struct sums *month)
{
    double n = sums_n(month) + w->self;
    double sum = (double)month->sum + month->pane_sum + (double)w->self * w->t->amount_ref;
    double bound = n > 0 ? sum / n / 10 : 0; /* in 1/100 units */
    uint32_t small = w->self > 0 && w->t->amount_ref < bound;
    for (const struct chunk *c = v->top; c != NULL; c = view_older(v, c)) {
        for (uint32_t i = view_count_in(v, c); i-- > 0;) {
            const struct entry *e = &c->entry[i];
            if (v->at_us - e->time_us >= TIME_DAY || e->time_us <= v->after_us) {
                return small;
            }
            small += (e->tag & ENTRY_PAYMENT) != 0 && e->amount < bound;
        }
    }
    return small;
}

static void window_columns(struct work *w, const struct view *v, const struct glance *g,
                           const struct sums *s)
{
    static const uint8_t MEAN[] = {W_1D, W_7D, W_30D, W_90D};
    static const uint8_t RATIO[] = {W_6H, W_1D, W_3D, W_7D, W_30D, W_90D};
    static const uint8_t Z[] = {W_7D, W_30D, W_90D};
    for (size_t k = 0; k < W_COUNT; k++) {
        count_column(w, FEAT_card_count_1h + k, &s[k]);
    }
    for (size_t k = 0; k < sizeof MEAN; k++) {
        mean_column(w, FEAT_card_mean_1d + k, &s[MEAN[k]]);
    }
    for (size_t k = 0; k < sizeof RATIO; k++) {
        ratio_column(w, FEAT_card_ratio_6h + k, &s[RATIO[k]]);
    }
    for (size_t k = 0; k < sizeof Z; k++) {
        z_column(w, FEAT_card_z_7d + k, &s[Z[k]]);
    }
    if (g->payments_30d > 0) {
        ratio_to_column(w, FEAT_card_max_ratio, (double)g->largest_30d / 100);
    }
    ln1p_later(w, FEAT_card_same_amount_1d, g->same_1d);
    ln1p_later(w, FEAT_card_small_1d, small_payments(w, v, &s[W_30D]));
    ln1p_later(w, FEAT_card_checks_1d, g->checks_1d + (w->t->type == TX_CHECK ? 1U : 0U));
    bool refund = w->t->type == TX_REFUND || w->t->type == TX_REVERSAL;
    ln1p_later(w, FEAT_card_refunds_30d, g->refunds_30d + (refund ? 1U : 0U));
}

static void usual_columns(struct work *w, const struct glance *g, const struct sums *quarter,
                          struct feat_facts *facts)
{
    struct sums u = *quarter;
    u.n -= g->fraud.n;
    u.sum -= g->fraud.sum;
    u.square -= g->fraud.square;
    if (!(sums_n(&u) > 0)) {
        return;
    }
    double mean = sums_mean(&u);
    ratio_column(w, FEAT_usual_ratio, &u);
    z_column(w, FEAT_usual_z, &u);
    ln1p_later(w, FEAT_usual_mean, mean);
    ln1p_later(w, FEAT_usual_sd, sums_deviation(&u));
    facts->usual_ratio = (float)(w->amount / (mean > MEAN_MIN ? mean : MEAN_MIN));
}

static void pair_columns(struct work *w, const struct view *v)
{
    static const int64_t WINDOW[] = {30 * TIME_DAY, 90 * TIME_DAY};
    uint32_t place = place_tag(w->t->terminal, w->t->merchant);
    uint32_t n[2];
    if (place == 0) {
        w->x[FEAT_pair_days] = -1;
        return;
    }
    int64_t last_us = view_place(v, place, WINDOW, 2, n);
    ln1p_later(w, FEAT_pair_count_30d, n[0] + w->self);
    ln1p_later(w, FEAT_pair_count_90d, n[1] + w->self);
    if (last_us != INT64_MIN) {
        ln_time_later(w, FEAT_pair_days, v->at_us - last_us, TIME_DAY);
    }
}

static void label_columns(struct work *w, const struct view *v, const struct frauds *f)
{
    static const int64_t DAYS[] = {7 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};
    known_columns(w, FEAT_card_fraud_days, v, f);
    for (size_t k = 0; k < 3 && f->n > 0; k++) {
        ln1p_later(w, FEAT_card_fraud_7d + k,
                   frauds_known_in(v->region, f, v->at_us, DAYS[k], false));
        w->x[FEAT_card_risk_7d + k] = frauds_risk(v, f, DAYS[k], w->world->params.maturity_us);
    }
}

void columns_card(struct work *w, struct feat_facts *facts)
{
    const struct entity *e = &w->at->card->e;
    struct view v = history_view(&w->s->region, &e->history, &w->s->card_history, w->t->event_us);
    struct sums s[W_COUNT];
    struct glance g;
    view_windows(&v, WINDOWS, W_COUNT, s);
    glance_card(&v, w->t->amount_ref, &g);
    facts->card_events = w->at->card->events;
    interval_columns(w, &g);
    window_columns(w, &v, &g, s);
    usual_columns(w, &g, &s[W_90D], facts);
    pair_columns(w, &v);
    label_columns(w, &v, &e->frauds);
}
