/* The formulas of features/columns.def: what all groups share, and the groups that look at the
 * event itself or at the card's latest things. */
#include <math.h>
#include <string.h>

#include "base/detmath.h"
#include "base/timefmt.h"
#include "features/internal.h"

#define EARTH_KM 6371.0
#define RADIANS (3.14159265358979323846 / 180)
/* the weight of a new location in the card's home is at least one in so many */
#define HOME_EVENTS 50

static const float MISSING[FEAT_DIM] = {
#define COLUMN(name, group, unit, missing, low, high, formula) missing,
#include "features/columns.def"
#undef COLUMN
};
static const float LOW[FEAT_DIM] = {
#define COLUMN(name, group, unit, missing, low, high, formula) low,
#include "features/columns.def"
#undef COLUMN
};
static const float HIGH[FEAT_DIM] = {
#define COLUMN(name, group, unit, missing, low, high, formula) high,
#include "features/columns.def"
#undef COLUMN
};

void count_column(struct work *w, size_t column, const struct sums *others)
{
    ln1p_later(w, column, sums_n(others) + w->self);
}

void mean_column(struct work *w, size_t column, const struct sums *others)
{
    double n = sums_n(others) + w->self;
    double sum = (double)others->sum + others->pane_sum + (double)w->self * w->t->amount_ref;
    ln1p_later(w, column, n > 0 ? sum / n / 100 : 0);
}

void ratio_to_column(struct work *w, size_t column, double mean)
{
    double amount = w->amount > 0.01 ? w->amount : 0.01;
    ln_later(w, column, amount / (mean > MEAN_MIN ? mean : MEAN_MIN));
}

void ratio_column(struct work *w, size_t column, const struct sums *others)
{
    if (sums_n(others) > 0) {
        ratio_to_column(w, column, sums_mean(others));
    }
}

void z_column(struct work *w, size_t column, const struct sums *others)
{
    if (sums_n(others) < 2) {
        return;
    }
    double sd = sums_deviation(others);
    w->x[column] = (float)((w->amount - sums_mean(others)) / (sd > 1 ? sd : 1));
}

static void amount_columns(struct work *w)
{
    const struct tx *t = w->t;
    float *x = w->x;
    x[FEAT_amount] = (float)w->amount;
    ln1p_later(w, FEAT_amount_log, w->amount);
    x[FEAT_amount_tail] = amounts_tail(&w->world->core->amounts, t->amount_ref);
    x[FEAT_amount_cents] = (float)(t->amount_ref % 100) / 100;
    x[FEAT_amount_round] = t->amount_ref > 0 && t->amount_ref % 1000 == 0 ? 1 : 0;
    x[FEAT_is_cash] = t->type == TX_CASH ? 1 : 0;
    x[FEAT_is_check] = t->type == TX_CHECK ? 1 : 0;
    x[FEAT_is_refund] = t->type == TX_REFUND || t->type == TX_REVERSAL ? 1 : 0;
}

/* What the card's tables say includes this event, as the device's and IP's do. */
static void device_columns(struct work *w)
{
    float *x = w->x;
    int64_t at = w->t->event_us;
    struct card *c = w->at->card;
    if (w->at->device != NULL) {
        struct seen before = seen_touch(c->devices, short_id(w->t->device), at);
        int64_t first_us = (int64_t)before.first_s * TIME_S;
        x[FEAT_device_new] = before.id == 0 ? 1 : 0;
        ln_time_later(w, FEAT_device_days, before.id == 0 ? 0 : at - first_us, TIME_DAY);
        const struct seen *cards = w->at->device->cards;
        x[FEAT_device_cards_1d] = (float)seen_count(cards, at, TIME_DAY);
        x[FEAT_device_cards_30d] = (float)seen_count(cards, at, 30 * TIME_DAY);
    }
    x[FEAT_card_devices_30d] = (float)seen_count(c->devices, at, 30 * TIME_DAY);
    if (w->at->ip != NULL) {
        x[FEAT_ip_new] = seen32_touch(c->ips, short_id(w->t->ip)) ? 0 : 1;
        x[FEAT_ip_cards_1d] = (float)seen_count(w->at->ip->cards, at, TIME_DAY);
    }
    if (w->t->country != 0) {
        x[FEAT_country_new] = seen16_touch(c->countries, w->t->country) ? 0 : 1;
    }
    if (w->t->mcc != 0) {
        x[FEAT_mcc_new] = seen16_touch(c->mccs, w->t->mcc) ? 0 : 1;
    }
}

static bool has_location(const struct tx *t)
{
    return t->has_location && fabsf(t->lat) <= 90.0F && fabsf(t->lon) <= 180.0F;
}

/* Angles whose sines and cosines the event needs, taken all at once. */
enum {
    ANGLE_DAY,
    ANGLE_LAT,      /* this event's */
    ANGLE_LAST_LAT, /* of the card's latest location */
    ANGLE_LAST_DLAT,
    ANGLE_LAST_DLON, /* half the differences to it */
    ANGLE_HOME_LAT,
    ANGLE_HOME_DLAT,
    ANGLE_HOME_DLON,
    ANGLES
};

struct angles {
    double sine[ANGLES], cosine[ANGLES];
};

/* Great-circle distance by the haversine formula; place: ANGLE_LAST_LAT or ANGLE_HOME_LAT. */
static double distance_km(const struct angles *a, size_t place)
{
    double lat = a->sine[place + 1];
    double lon = a->sine[place + 2];
    double h = lat * lat + a->cosine[ANGLE_LAT] * a->cosine[place] * lon * lon;
    double root = sqrt(h < 1 ? h : 1);
    return 2 * EARTH_KM * det_asin(root);
}

static void place_angles(const struct tx *t, double lat, double lon, double *out)
{
    out[0] = lat * RADIANS;
    out[1] = ((double)t->lat - lat) * RADIANS / 2;
    out[2] = ((double)t->lon - lon) * RADIANS / 2;
}

static void angle_columns(struct work *w)
{
    const struct card *c = w->at->card;
    const struct tx *t = w->t;
    bool located = c->located > 0 && has_location(t);
    int64_t day = time_day(t->event_us);
    double angle[ANGLES] = {2 * 3.14159265358979323846 * (double)(t->event_us - day * TIME_DAY) /
                            (double)TIME_DAY};
    struct angles a = {0};
    if (located) {
        angle[ANGLE_LAT] = (double)t->lat * RADIANS;
        place_angles(t, (double)c->lat, (double)c->lon, &angle[ANGLE_LAST_LAT]);
        place_angles(t, (double)c->home_lat, (double)c->home_lon, &angle[ANGLE_HOME_LAT]);
    }
    det_sincos_many(angle, a.sine, a.cosine, ANGLES);
    w->x[FEAT_day_sin] = (float)a.sine[ANGLE_DAY];
    w->x[FEAT_day_cos] = (float)a.cosine[ANGLE_DAY];
    w->x[FEAT_weekday] = (float)(((day + 3) % 7 + 7) % 7);
    if (located) {
        double km = distance_km(&a, ANGLE_LAST_LAT);
        double hours = (double)(t->event_us - c->located_us) / (double)TIME_HOUR;
        hours = hours < 0 ? -hours : hours;
        ln1p_later(w, FEAT_geo_distance, km);
        ln1p_later(w, FEAT_geo_speed, km / (hours > 1.0 / 60 ? hours : 1.0 / 60));
        ln1p_later(w, FEAT_geo_home, distance_km(&a, ANGLE_HOME_LAT));
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

static void category_columns(struct work *w)
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

/* All logarithms at once, then the clip ranges. */
static void finish(struct work *w)
{
    float *x = w->x;
    det_log_many(w->ln_of, w->ln_count);
    for (uint32_t i = 0; i < w->ln_count; i++) {
        x[w->ln_column[i]] = (float)w->ln_of[i];
    }
    for (size_t i = 0; i < FEAT_DIM; i++) {
        float v = x[i] > LOW[i] ? x[i] : LOW[i]; /* not a number counts as low */
        x[i] = v < HIGH[i] ? v : HIGH[i];
    }
}

void columns_compute(const struct feat_state *s, const struct tx *t, const struct touched *at,
                     float *out, struct feat_facts *facts)
{
    struct work w;
    w.s = s;
    w.world = s->world;
    w.t = t;
    w.at = at;
    w.x = out;
    w.amount = (double)t->amount_ref / 100;
    w.self = tx_is_payment(t);
    w.ln_count = 0;
    memcpy(out, MISSING, sizeof MISSING);
    amount_columns(&w);
    columns_card(&w, facts);
    columns_places(&w);
    device_columns(&w);
    angle_columns(&w);
    category_columns(&w);
    finish(&w);
}

bool columns_learn(struct feat_state *s, const struct tx *t, struct card *c)
{
    bool kept = entity_remember(&s->region, &c->e, &s->card_history, t,
                                place_tag(t->terminal, t->merchant));
    c->events += c->events < UINT32_MAX;
    learn_location(c, t);
    entity_seen(&c->e, t->event_us);
    return kept;
}
