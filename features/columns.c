/* The formulas of features/columns.def, group by group. */
#include <math.h>
#include <string.h>

#include "base/detmath.h"
#include "base/timefmt.h"
#include "features/internal.h"

#define RATIO_CLIP 4.6
#define MEAN_MIN 0.1
#define GAP_NONE 16.2F
#define EARTH_KM 6371.0
#define RADIANS (3.14159265358979323846 / 180)
/* the weight of a new location in the card's home is at least one in so many */
#define HOME_EVENTS 50

enum { W_1H, W_6H, W_1D, W_3D, W_7D, W_14D, W_30D, W_90D, W_COUNT };
static const int64_t WINDOWS[W_COUNT] = {TIME_HOUR,    6 * TIME_HOUR, TIME_DAY,      3 * TIME_DAY,
                                         7 * TIME_DAY, 14 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};

/* One event while its columns are computed. */
struct work {
    struct feat_state *s;
    const struct tx *t;
    const struct touched *at;
    float *x;
    double amount; /* reference units */
    double self;   /* 1 where this event counts in payment windows */
};

static float ln_count(const struct feat_state *s, double n)
{
    if (n >= 0 && n < LN_COUNTS && n - (double)(int)n <= 0) {
        return s->ln_count[(int)n];
    }
    return (float)det_log1p(n > 0 ? n : 0);
}

static float clip(double v, double bound)
{
    return (float)(v > bound ? bound : v < -bound ? -bound : v);
}

/* ln(amount / mean), both bounded away from zero. */
static float ratio_to(double amount, double mean)
{
    double least = amount > 0.01 ? amount : 0.01;
    return clip(det_log(least / (mean > MEAN_MIN ? mean : MEAN_MIN)), RATIO_CLIP);
}

static float ratio_of(const struct work *w, const struct sums *others)
{
    return others->n > 0 ? ratio_to(w->amount, others->sum / others->n) : 0;
}

static double deviation(const struct sums *s)
{
    double mean = s->sum / s->n;
    double variance = s->square / s->n - mean * mean;
    return variance > 0 ? sqrt(variance) : 0;
}

static float z_of(const struct work *w, const struct sums *others)
{
    if (others->n < 2) {
        return 0;
    }
    double sd = deviation(others);
    return clip((w->amount - others->sum / others->n) / (sd > 1 ? sd : 1), 10);
}

/* ln(1 + mean) with this event. */
static float mean_with(const struct work *w, const struct sums *others)
{
    double n = others->n + w->self;
    return n > 0 ? (float)det_log1p((others->sum + w->self * w->amount) / n) : 0;
}

static float count_with(const struct work *w, const struct sums *others)
{
    return ln_count(w->s, others->n + w->self);
}

static float ln_seconds(int64_t us)
{
    return (float)det_log1p((double)(us > 0 ? us : 0) / 1e6);
}

static float ln_days(int64_t us)
{
    return (float)det_log1p((double)(us > 0 ? us : 0) / (double)TIME_DAY);
}

static void amount_columns(const struct work *w)
{
    const struct tx *t = w->t;
    float *x = w->x;
    x[FEAT_amount] = (float)w->amount;
    x[FEAT_amount_log] = (float)det_log1p(w->amount);
    x[FEAT_amount_tail] = amounts_tail(&w->s->amounts, t->amount_ref);
    x[FEAT_amount_cents] = (float)(t->amount_ref % 100) / 100;
    x[FEAT_amount_round] = t->amount_ref > 0 && t->amount_ref % 1000 == 0 ? 1 : 0;
    x[FEAT_is_cash] = t->type == TX_CASH ? 1 : 0;
    x[FEAT_is_check] = t->type == TX_CHECK ? 1 : 0;
    x[FEAT_is_refund] = t->type == TX_REFUND || t->type == TX_REVERSAL ? 1 : 0;
}

static void calendar_columns(const struct work *w)
{
    int64_t day = time_day(w->t->event_us);
    double angle =
        2 * 3.14159265358979323846 * (double)(w->t->event_us - day * TIME_DAY) / (double)TIME_DAY;
    w->x[FEAT_day_sin] = (float)det_sin(angle);
    w->x[FEAT_day_cos] = (float)det_cos(angle);
    w->x[FEAT_weekday] = (float)(((day + 3) % 7 + 7) % 7);
}

/* What one look through the card's entries finds besides sums of windows. */
struct glance {
    struct sums usual;  /* others in 90 d, not known to be fraud */
    double largest_30d; /* -1: none */
    double same_1d, checks_1d, refunds_30d, near_hour, payments_30d, pair_30d, pair_90d;
    int64_t pair_last_us; /* INT64_MIN: none */
    int64_t gap_us[5];    /* to the k-th event back; -1: none */
};

static bool near_in_day(int64_t a_us, int64_t b_us)
{
    int64_t d = (a_us - b_us) % TIME_DAY;
    d = d < 0 ? d + TIME_DAY : d;
    return d <= 90 * TIME_MIN || d >= TIME_DAY - 90 * TIME_MIN;
}

static void glance_payment(const struct work *w, const struct entry *e, uint32_t tag,
                           struct glance *g)
{
    int64_t age = w->t->event_us - e->time_us;
    double amount = (double)e->amount / 100;
    if (age < 30 * TIME_DAY) {
        g->payments_30d += 1;
        g->near_hour += near_in_day(e->time_us, w->t->event_us) ? 1 : 0;
        g->largest_30d = amount > g->largest_30d ? amount : g->largest_30d;
        g->pair_30d += tag != 0 && e->tag >> 8 == tag ? 1 : 0;
    }
    g->same_1d += age < TIME_DAY && e->amount == w->t->amount_ref ? 1 : 0;
    if (tag != 0 && e->tag >> 8 == tag) {
        g->pair_90d += 1;
        g->pair_last_us = e->time_us > g->pair_last_us ? e->time_us : g->pair_last_us;
    }
    if ((e->tag & ENTRY_FRAUD) == 0) {
        g->usual.n += 1;
        g->usual.sum += amount;
        g->usual.square += amount * amount;
    }
}

static void glance_card(const struct work *w, struct glance *g)
{
    const struct history *h = &w->at->card->e.history;
    const struct entry *e = history_entries(&w->s->region, h);
    uint32_t tag = place_tag(w->t);
    uint32_t top = history_upper(&w->s->region, h, w->t->event_us);
    *g = (struct glance){.largest_30d = -1, .pair_last_us = INT64_MIN};
    for (uint32_t k = 0; k < 5; k++) {
        g->gap_us[k] = top > k ? w->t->event_us - e[top - 1 - k].time_us : -1;
    }
    for (uint32_t i = top; i-- > 0;) {
        int64_t age = w->t->event_us - e[i].time_us;
        if (age >= 90 * TIME_DAY) {
            break;
        }
        if ((e[i].tag & ENTRY_PAYMENT) != 0) {
            glance_payment(w, &e[i], tag, g);
        }
        g->checks_1d += age < TIME_DAY && (e[i].tag & ENTRY_IS_CHECK) != 0 ? 1 : 0;
        g->refunds_30d += age < 30 * TIME_DAY && (e[i].tag & ENTRY_IS_REFUND) != 0 ? 1 : 0;
    }
}

static void interval_columns(const struct work *w, const struct glance *g)
{
    float *x = w->x;
    x[FEAT_card_gap] = g->gap_us[0] >= 0 ? ln_seconds(g->gap_us[0]) : GAP_NONE;
    x[FEAT_card_gap2] = g->gap_us[1] >= 0 ? ln_seconds(g->gap_us[1]) : GAP_NONE;
    x[FEAT_card_gap5] = g->gap_us[4] >= 0 ? ln_seconds(g->gap_us[4]) : GAP_NONE;
    double n = g->payments_30d + w->self;
    double usual_gap = 30 * 86400.0 / (n > 1 ? n : 1);
    x[FEAT_card_gap_ratio] =
        g->gap_us[0] >= 0 ? (float)det_log((1 + (double)g->gap_us[0] / 1e6) / (1 + usual_gap)) : 0;
    x[FEAT_card_age] = ln_days(w->t->event_us - w->at->card->e.first_us);
    x[FEAT_hour_habit] = (float)det_log((g->near_hour + 1) / (g->payments_30d + 8) * 8);
}

/* Payments in a day below a tenth of the 30-day mean, this one included. */
static double small_payments(const struct work *w, const struct sums *month)
{
    const struct history *h = &w->at->card->e.history;
    const struct entry *e = history_entries(&w->s->region, h);
    double n = month->n + w->self;
    double bound = n > 0 ? (month->sum + w->self * w->amount) / n / 10 : 0;
    double small = w->self > 0 && w->amount < bound ? 1 : 0;
    for (uint32_t i = history_upper(&w->s->region, h, w->t->event_us);
         i-- > 0 && w->t->event_us - e[i].time_us < TIME_DAY;) {
        small += (e[i].tag & ENTRY_PAYMENT) != 0 && (double)e[i].amount / 100 < bound ? 1 : 0;
    }
    return small;
}

static void card_columns(const struct work *w, const struct glance *g)
{
    struct sums s[W_COUNT];
    float *x = w->x;
    history_windows(&w->s->region, &w->at->card->e.history, w->t->event_us, WINDOWS, W_COUNT, s);
    for (int k = 0; k < W_COUNT; k++) {
        x[FEAT_card_count_1h + k] = count_with(w, &s[k]);
    }
    x[FEAT_card_mean_1d] = mean_with(w, &s[W_1D]);
    x[FEAT_card_mean_7d] = mean_with(w, &s[W_7D]);
    x[FEAT_card_mean_30d] = mean_with(w, &s[W_30D]);
    x[FEAT_card_mean_90d] = mean_with(w, &s[W_90D]);
    x[FEAT_card_ratio_6h] = ratio_of(w, &s[W_6H]);
    x[FEAT_card_ratio_1d] = ratio_of(w, &s[W_1D]);
    x[FEAT_card_ratio_3d] = ratio_of(w, &s[W_3D]);
    x[FEAT_card_ratio_7d] = ratio_of(w, &s[W_7D]);
    x[FEAT_card_ratio_30d] = ratio_of(w, &s[W_30D]);
    x[FEAT_card_ratio_90d] = ratio_of(w, &s[W_90D]);
    x[FEAT_card_z_7d] = z_of(w, &s[W_7D]);
    x[FEAT_card_z_30d] = z_of(w, &s[W_30D]);
    x[FEAT_card_z_90d] = z_of(w, &s[W_90D]);
    x[FEAT_card_max_ratio] = g->largest_30d >= 0 ? ratio_to(w->amount, g->largest_30d) : 0;
    x[FEAT_card_same_amount_1d] = ln_count(w->s, g->same_1d);
    x[FEAT_card_small_1d] = ln_count(w->s, small_payments(w, &s[W_30D]));
    x[FEAT_card_checks_1d] = ln_count(w->s, g->checks_1d + (w->t->type == TX_CHECK ? 1 : 0));
    x[FEAT_card_refunds_30d] =
        ln_count(w->s, g->refunds_30d + (double)(x[FEAT_is_refund] > 0 ? 1 : 0));
}

static void usual_columns(const struct work *w, const struct glance *g, struct feat_facts *facts)
{
    const struct sums *u = &g->usual;
    double mean = u->n > 0 ? u->sum / u->n : 0;
    w->x[FEAT_usual_ratio] = ratio_of(w, u);
    w->x[FEAT_usual_z] = z_of(w, u);
    w->x[FEAT_usual_mean] = (float)det_log1p(mean);
    w->x[FEAT_usual_sd] = u->n > 0 ? (float)det_log1p(deviation(u)) : 0;
    facts->usual_ratio = u->n > 0 ? (float)(w->amount / (mean > MEAN_MIN ? mean : MEAN_MIN)) : 0;
}

static void terminal_columns(const struct work *w)
{
    const struct place *p = w->at->terminal;
    if (p == NULL) {
        return;
    }
    static const int64_t WINDOW[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY,
                                     90 * TIME_DAY};
    struct sums s[5];
    float *x = w->x;
    const struct history *h = &p->e.history;
    history_windows(&w->s->region, h, w->t->event_us, WINDOW, 5, s);
    for (int k = 0; k < 5; k++) {
        x[FEAT_terminal_count_1h + k] = count_with(w, &s[k]);
    }
    x[FEAT_terminal_mean_30d] = mean_with(w, &s[3]);
    x[FEAT_terminal_ratio_1d] = ratio_of(w, &s[1]);
    x[FEAT_terminal_ratio_7d] = ratio_of(w, &s[2]);
    x[FEAT_terminal_ratio_30d] = ratio_of(w, &s[3]);
    x[FEAT_terminal_z_30d] = z_of(w, &s[3]);
    uint32_t top = history_upper(&w->s->region, h, w->t->event_us);
    if (top > 0) {
        x[FEAT_terminal_gap] =
            ln_seconds(w->t->event_us - history_entries(&w->s->region, h)[top - 1].time_us);
    }
    x[FEAT_terminal_age] = ln_days(w->t->event_us - p->e.first_us);
}

static void merchant_columns(const struct work *w)
{
    const struct place *p = w->at->merchant;
    if (p == NULL) {
        return;
    }
    static const int64_t WINDOW[] = {TIME_HOUR, TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY};
    struct sums s[4];
    float *x = w->x;
    const struct history *h = &p->e.history;
    history_windows(&w->s->region, h, w->t->event_us, WINDOW, 4, s);
    x[FEAT_merchant_count_1h] = count_with(w, &s[0]);
    x[FEAT_merchant_count_1d] = count_with(w, &s[1]);
    x[FEAT_merchant_count_30d] = count_with(w, &s[3]);
    x[FEAT_merchant_mean_30d] = mean_with(w, &s[3]);
    x[FEAT_merchant_ratio_7d] = ratio_of(w, &s[2]);
    x[FEAT_merchant_ratio_30d] = ratio_of(w, &s[3]);
    uint32_t top = history_upper(&w->s->region, h, w->t->event_us);
    if (top > 0) {
        x[FEAT_merchant_gap] =
            ln_seconds(w->t->event_us - history_entries(&w->s->region, h)[top - 1].time_us);
    }
}

static void pair_columns(const struct work *w, const struct glance *g)
{
    if (place_tag(w->t) == 0) {
        w->x[FEAT_pair_days] = -1;
        return;
    }
    w->x[FEAT_pair_count_30d] = ln_count(w->s, g->pair_30d + w->self);
    w->x[FEAT_pair_count_90d] = ln_count(w->s, g->pair_90d + w->self);
    if (g->pair_last_us != INT64_MIN) {
        w->x[FEAT_pair_days] = ln_days(w->t->event_us - g->pair_last_us);
    }
}

static void known_columns(const struct work *w)
{
    static const int64_t DAYS[] = {7 * TIME_DAY, 30 * TIME_DAY, 90 * TIME_DAY};
    static const int64_t BLAMED[] = {7 * TIME_DAY, 14 * TIME_DAY, 28 * TIME_DAY};
    static const int64_t SHORT[] = {TIME_DAY, 7 * TIME_DAY, 30 * TIME_DAY};
    const struct region *r = &w->s->region;
    int64_t at = w->t->event_us;
    int64_t maturity = w->s->params.maturity_us;
    const struct entity *card = &w->at->card->e;
    known_state(r, &card->frauds, &card->history, at, maturity, w->x + FEAT_card_fraud_days);
    for (int k = 0; k < 3; k++) {
        w->x[FEAT_card_fraud_7d + k] =
            ln_count(w->s, frauds_known_in(r, &card->frauds, at, DAYS[k], false));
        w->x[FEAT_card_risk_7d + k] =
            frauds_risk(r, &card->frauds, &card->history, at, DAYS[k], maturity);
    }
    if (w->at->terminal == NULL) {
        return;
    }
    const struct entity *t = &w->at->terminal->e;
    known_state(r, &t->frauds, &t->history, at, maturity, w->x + FEAT_terminal_fraud_days);
    for (int k = 0; k < 3; k++) {
        w->x[FEAT_terminal_blamed_7d + k] =
            ln_count(w->s, frauds_known_in(r, &t->frauds, at, BLAMED[k], true));
        w->x[FEAT_terminal_fraud_1d + k] =
            ln_count(w->s, frauds_known_in(r, &t->frauds, at, SHORT[k], false));
        w->x[FEAT_terminal_risk_7d + k] =
            frauds_risk(r, &t->frauds, &t->history, at, DAYS[k], maturity);
    }
}

static void place_known_columns(const struct work *w)
{
    const struct region *r = &w->s->region;
    int64_t at = w->t->event_us;
    float *x = w->x;
    if (w->at->merchant != NULL) {
        const struct entity *m = &w->at->merchant->e;
        x[FEAT_merchant_fraud_days] = frauds_days(r, &m->frauds, at, true);
        x[FEAT_merchant_blamed_7d] =
            ln_count(w->s, frauds_known_in(r, &m->frauds, at, 7 * TIME_DAY, true));
        x[FEAT_merchant_blamed_30d] =
            ln_count(w->s, frauds_known_in(r, &m->frauds, at, 30 * TIME_DAY, true));
        x[FEAT_merchant_risk_30d] =
            frauds_risk(r, &m->frauds, &m->history, at, 30 * TIME_DAY, w->s->params.maturity_us);
    }
    if (w->at->device != NULL) {
        const struct frauds *f = &w->at->device->e.frauds;
        x[FEAT_device_fraud_days] = frauds_days(r, f, at, false);
        x[FEAT_device_fraud_90d] = ln_count(w->s, frauds_known_in(r, f, at, 90 * TIME_DAY, false));
    }
    if (w->at->ip != NULL) {
        const struct frauds *f = &w->at->ip->e.frauds;
        x[FEAT_ip_fraud_days] = frauds_days(r, f, at, false);
        x[FEAT_ip_fraud_90d] = ln_count(w->s, frauds_known_in(r, f, at, 90 * TIME_DAY, false));
    }
    int64_t day = time_day(w->s->clock_us);
    if (w->t->mcc != 0) {
        x[FEAT_mcc_risk_30d] = category_risk(&w->s->mccs[w->t->mcc], day, w->s->maturity_days);
    }
    if (w->t->country != 0) {
        x[FEAT_country_risk_30d] =
            category_risk(&w->s->countries[w->t->country], day, w->s->maturity_days);
    }
}

/* These tables are brought up to date here, because what they say includes this event. */
static void device_columns(const struct work *w)
{
    float *x = w->x;
    int64_t at = w->t->event_us;
    struct card *c = w->at->card;
    if (w->at->device != NULL) {
        struct seen before = seen_touch(c->devices, short_id(w->t->device), at);
        int64_t first_us = (int64_t)before.first_s * TIME_S;
        x[FEAT_device_new] = before.id == 0 ? 1 : 0;
        x[FEAT_device_days] = before.id == 0 ? 0 : ln_days(at - first_us);
        struct seen *cards = w->at->device->cards;
        (void)seen_touch(cards, short_id(w->t->card), at);
        x[FEAT_device_cards_1d] = (float)seen_count(cards, at, TIME_DAY);
        x[FEAT_device_cards_30d] = (float)seen_count(cards, at, 30 * TIME_DAY);
    }
    x[FEAT_card_devices_30d] = (float)seen_count(c->devices, at, 30 * TIME_DAY);
    if (w->at->ip != NULL) {
        x[FEAT_ip_new] = seen32_touch(c->ips, short_id(w->t->ip)) ? 0 : 1;
        (void)seen_touch(w->at->ip->cards, short_id(w->t->card), at);
        x[FEAT_ip_cards_1d] = (float)seen_count(w->at->ip->cards, at, TIME_DAY);
    }
    if (w->t->country != 0) {
        x[FEAT_country_new] = seen16_touch(c->countries, w->t->country) ? 0 : 1;
    }
    if (w->t->mcc != 0) {
        x[FEAT_mcc_new] = seen16_touch(c->mccs, w->t->mcc) ? 0 : 1;
    }
}

/* Great-circle distance (haversine). */
static double distance_km(double lat1, double lon1, double lat2, double lon2)
{
    double a = det_sin((lat2 - lat1) * RADIANS / 2);
    double b = det_sin((lon2 - lon1) * RADIANS / 2);
    double h = a * a + det_cos(lat1 * RADIANS) * det_cos(lat2 * RADIANS) * b * b;
    double root = sqrt(h < 1 ? h : 1);
    return 2 * EARTH_KM * det_asin(root);
}

static bool has_location(const struct tx *t)
{
    return t->has_location && fabsf(t->lat) <= 90.0F && fabsf(t->lon) <= 180.0F;
}

static void geography_columns(const struct work *w)
{
    struct card *c = w->at->card;
    const struct tx *t = w->t;
    if (!has_location(t)) {
        return;
    }
    if (c->located > 0) {
        double km = distance_km((double)c->lat, (double)c->lon, (double)t->lat, (double)t->lon);
        double hours = (double)(t->event_us - c->located_us) / (double)TIME_HOUR;
        hours = hours < 0 ? -hours : hours;
        w->x[FEAT_geo_distance] = (float)det_log1p(km);
        w->x[FEAT_geo_speed] = (float)det_log1p(km / (hours > 1.0 / 60 ? hours : 1.0 / 60));
        w->x[FEAT_geo_home] = (float)det_log1p(
            distance_km((double)c->home_lat, (double)c->home_lon, (double)t->lat, (double)t->lon));
    }
}

static void learn_location(struct card *c, const struct tx *t)
{
    if (!has_location(t)) {
        return;
    }
    c->located += c->located < UINT32_MAX;
    float weight = 1.0F / (float)(c->located < HOME_EVENTS ? c->located : HOME_EVENTS);
    c->home_lat += (t->lat - c->home_lat) * weight;
    c->home_lon += (t->lon - c->home_lon) * weight;
    c->lat = t->lat;
    c->lon = t->lon;
    c->located_us = t->event_us;
}

static void category_columns(const struct work *w)
{
    const struct tx *t = w->t;
    float *x = w->x;
    x[FEAT_channel] = t->channel;
    x[FEAT_entry_mode] = t->entry;
    x[FEAT_currency_foreign] = t->foreign_currency ? 1 : 0;
    x[FEAT_no_terminal] = t->terminal == 0 ? 1 : 0;
    x[FEAT_no_merchant] = t->merchant == 0 ? 1 : 0;
    x[FEAT_no_device] = t->device == 0 ? 1 : 0;
    x[FEAT_no_ip] = t->ip == 0 ? 1 : 0;
    x[FEAT_no_location] = has_location(t) ? 0 : 1;
    x[FEAT_no_mcc] = t->mcc == 0 ? 1 : 0;
    x[FEAT_no_country] = t->country == 0 ? 1 : 0;
}

void columns_compute(struct feat_state *s, const struct tx *t, const struct touched *at, float *out,
                     struct feat_facts *facts)
{
    struct work w = {s, t, at, out, (double)t->amount_ref / 100, tx_is_payment(t) ? 1 : 0};
    struct glance g;
    for (size_t i = 0; i < FEAT_DIM; i++) {
        out[i] = feature_info(i)->missing;
    }
    glance_card(&w, &g);
    facts->card_events = at->card->e.history.n;
    amount_columns(&w);
    calendar_columns(&w);
    interval_columns(&w, &g);
    card_columns(&w, &g);
    usual_columns(&w, &g, facts);
    terminal_columns(&w);
    merchant_columns(&w);
    pair_columns(&w, &g);
    known_columns(&w);
    place_known_columns(&w);
    device_columns(&w);
    geography_columns(&w);
    category_columns(&w);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const struct feature_info *c = feature_info(i);
        out[i] = out[i] < c->low ? c->low : out[i] > c->high ? c->high : out[i];
    }
}

static uint32_t entry_flags(const struct tx *t)
{
    if (tx_is_payment(t)) {
        return ENTRY_PAYMENT;
    }
    return t->type == TX_CHECK ? ENTRY_IS_CHECK : ENTRY_IS_REFUND;
}

bool columns_learn(struct feat_state *s, const struct tx *t, const struct touched *at)
{
    struct entry e = {t->event_us, t->amount_ref, place_tag(t) << 8 | entry_flags(t)};
    bool kept = history_add(&s->region, &at->card->e.history, &s->card_history, &e);
    /* devices and IPs have no windows of amounts: only who was there, kept above */
    struct place *const places[] = {at->terminal, at->merchant};
    e.tag &= 0xff;
    for (size_t i = 0; i < 2; i++) {
        if (places[i] != NULL) {
            (void)history_add(&s->region, &places[i]->e.history, &s->place_history, &e);
        }
    }
    learn_location(at->card, t);
    if (tx_is_payment(t)) {
        int64_t day = time_day(s->clock_us);
        amounts_add(&s->amounts, t->amount_ref);
        if (t->mcc != 0) {
            category_add_payment(&s->mccs[t->mcc], day);
        }
        if (t->country != 0) {
            category_add_payment(&s->countries[t->country], day);
        }
    }
    return kept;
}
