/* Columns of terminal, merchant, device and IP: their windows and what is known of them. */
#include "base/timefmt.h"
#include "features/internal.h"

void known_columns(struct work *w, size_t first, const struct view *v, const struct frauds *f)
{
    enum { STREAK_LEN = FEAT_card_streak_len - FEAT_card_fraud_days };
    float *x = w->x + first;
    known_state(v, f, w->world->params.maturity_us, x);
    if (x[STREAK_LEN] > 0) {
        ln1p_later(w, first + STREAK_LEN, (double)x[STREAK_LEN]);
    }
}

static void gap_column(struct work *w, size_t column, const struct view *v)
{
    int64_t last_us = view_newest(v);
    if (last_us > v->at_us - 90 * TIME_DAY) {
        ln_time_later(w, column, v->at_us - last_us, TIME_S);
    }
}

static void terminal_labels(struct work *w, const struct view *v, const struct frauds *f)
{
    static const int64_t BLAMED[] = {7 * TIME_DAY, 14 * TIME_DAY, 28 * TIME_DAY};
    static const int64_t ALL[] = {TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY};
    static const int64_t RISK[] = {7 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};
    known_columns(w, FEAT_terminal_fraud_days, v, f);
    for (size_t k = 0; k < 3 && f->n > 0; k++) {
        ln1p_later(w, FEAT_terminal_blamed_7d + k,
                   frauds_known_in(v->region, f, v->at_us, BLAMED[k], true));
        ln1p_later(w, FEAT_terminal_fraud_1d + k,
                   frauds_known_in(v->region, f, v->at_us, ALL[k], false));
        w->x[FEAT_terminal_risk_7d + k] = frauds_risk(v, f, RISK[k], w->world->params.maturity_us);
    }
}

static void terminal_columns(struct work *w)
{
    static const int64_t WINDOW[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY,
                                     90 * TIME_DAY};
    const struct place *p = w->at->terminal;
    if (p == NULL) {
        return;
    }
    struct view v =
        history_view(&w->world->region, &p->e.history, &w->world->place_history, w->t->event_us);
    struct sums s[5];
    view_windows(&v, WINDOW, 5, s);
    for (size_t k = 0; k < 5; k++) {
        count_column(w, FEAT_terminal_count_1h + k, &s[k]);
    }
    mean_column(w, FEAT_terminal_mean_30d, &s[3]);
    ratio_column(w, FEAT_terminal_ratio_1d, &s[1]);
    ratio_column(w, FEAT_terminal_ratio_7d, &s[2]);
    ratio_column(w, FEAT_terminal_ratio_30d, &s[3]);
    z_column(w, FEAT_terminal_z_30d, &s[3]);
    gap_column(w, FEAT_terminal_gap, &v);
    ln_time_later(w, FEAT_terminal_age, w->t->event_us - p->e.first_us, TIME_DAY);
    terminal_labels(w, &v, &p->e.frauds);
}

static void merchant_columns(struct work *w)
{
    static const int64_t WINDOW[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY};
    const struct place *p = w->at->merchant;
    if (p == NULL) {
        return;
    }
    struct view v =
        history_view(&w->world->region, &p->e.history, &w->world->place_history, w->t->event_us);
    struct sums s[4];
    view_windows(&v, WINDOW, 4, s);
    count_column(w, FEAT_merchant_count_1h, &s[0]);
    count_column(w, FEAT_merchant_count_1d, &s[1]);
    count_column(w, FEAT_merchant_count_30d, &s[3]);
    mean_column(w, FEAT_merchant_mean_30d, &s[3]);
    ratio_column(w, FEAT_merchant_ratio_7d, &s[2]);
    ratio_column(w, FEAT_merchant_ratio_30d, &s[3]);
    gap_column(w, FEAT_merchant_gap, &v);
    const struct frauds *f = &p->e.frauds;
    if (f->n > 0) {
        w->x[FEAT_merchant_fraud_days] = frauds_days(v.region, f, v.at_us, true);
        ln1p_later(w, FEAT_merchant_blamed_7d,
                   frauds_known_in(v.region, f, v.at_us, 7 * TIME_DAY, true));
        ln1p_later(w, FEAT_merchant_blamed_30d,
                   frauds_known_in(v.region, f, v.at_us, 30 * TIME_DAY, true));
        w->x[FEAT_merchant_risk_30d] =
            frauds_risk(&v, f, 30 * TIME_DAY, w->world->params.maturity_us);
    }
}

/* A device or an IP: frauds of all cards there. */
static void fraud_columns(struct work *w, const struct place *p, size_t days_column,
                          size_t count_column_90d)
{
    if (p == NULL || p->e.frauds.n == 0) {
        return;
    }
    const struct frauds *f = &p->e.frauds;
    w->x[days_column] = frauds_days(&w->world->region, f, w->t->event_us, false);
    ln1p_later(w, count_column_90d,
               frauds_known_in(&w->world->region, f, w->t->event_us, 90 * TIME_DAY, false));
}

void columns_places(struct work *w)
{
    terminal_columns(w);
    merchant_columns(w);
    fraud_columns(w, w->at->device, FEAT_device_fraud_days, FEAT_device_fraud_90d);
    fraud_columns(w, w->at->ip, FEAT_ip_fraud_days, FEAT_ip_fraud_90d);
    if (w->t->mcc != 0) {
        w->x[FEAT_mcc_risk_30d] = w->at->mcc_risk;
    }
    if (w->t->country != 0) {
        w->x[FEAT_country_risk_30d] = w->at->country_risk;
    }
}
