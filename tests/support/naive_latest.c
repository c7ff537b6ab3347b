/* Columns of the 8 latest things and of locations, and which fields are missing, by their text in
 * features/columns.def. */
#include <math.h>
#include <string.h>

#include "tests/support/naive_internal.h"

#define LATEST 8

struct seen {
    uint64_t id;
    int64_t first_s, last_s;
};

typedef uint64_t (*what_of)(const struct tx *t);

static uint64_t device_of(const struct tx *t)
{
    return t->device;
}
static uint64_t ip_of(const struct tx *t)
{
    return t->ip;
}
static uint64_t country_of(const struct tx *t)
{
    return t->country;
}
static uint64_t mcc_of(const struct tx *t)
{
    return t->mcc;
}
static uint64_t card_of(const struct tx *t)
{
    return t->card;
}

/* Puts the thing first in the list of the 8 latest; returns how it was before. */
static struct seen touch(struct seen *list, uint64_t id, int64_t s)
{
    struct seen before = {0, 0, 0};
    size_t at = 0;
    while (at < LATEST && list[at].id != id) {
        at++;
    }
    if (at < LATEST) {
        before = list[at];
    } else {
        at = LATEST - 1;
    }
    for (; at > 0; at--) {
        list[at] = list[at - 1];
    }
    list[0] = (struct seen){id, before.id != 0 && before.first_s < s ? before.first_s : s,
                            before.id != 0 && before.last_s > s ? before.last_s : s};
    return before;
}

/* The latest `what` of events of the same `whose` as t, t last; returns how t's was before. */
static struct seen replay(const struct look *l, what_of whose, what_of what, struct seen *list)
{
    memset(list, 0, LATEST * sizeof *list);
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct tx *e = &l->n->events[i].tx;
        if (whose(e) == whose(l->t) && what(e) != 0) {
            (void)touch(list, what(e), e->event_us / 1000000);
        }
    }
    struct seen none = {0, 0, 0};
    return what(l->t) != 0 ? touch(list, what(l->t), l->t->event_us / 1000000) : none;
}

static float seen_in(const struct look *l, const struct seen *list, int64_t window_days)
{
    int64_t now = l->t->event_us / 1000000;
    float found = 0;
    for (size_t i = 0; i < LATEST; i++) {
        found +=
            list[i].id != 0 && list[i].first_s <= now && list[i].last_s > now - window_days * 86400
                ? 1.0F
                : 0.0F;
    }
    return found;
}

static void latest_things(const struct look *l)
{
    struct seen list[LATEST];
    float *x = l->x;
    struct seen before = replay(l, card_of, device_of, list);
    x[FEAT_card_devices_30d] = seen_in(l, list, 30);
    if (l->t->device != 0) {
        x[FEAT_device_new] = before.id == 0;
        double s = (double)l->t->event_us / 1e6 - (double)before.first_s;
        x[FEAT_device_days] = before.id == 0 ? 0 : (float)log(1 + fmax(s, 0) / 86400);
        (void)replay(l, device_of, card_of, list);
        x[FEAT_device_cards_1d] = seen_in(l, list, 1);
        x[FEAT_device_cards_30d] = seen_in(l, list, 30);
    }
    if (l->t->ip != 0) {
        x[FEAT_ip_new] = replay(l, card_of, ip_of, list).id == 0;
        (void)replay(l, ip_of, card_of, list);
        x[FEAT_ip_cards_1d] = seen_in(l, list, 1);
    }
    if (l->t->country != 0) {
        x[FEAT_country_new] = replay(l, card_of, country_of, list).id == 0;
    }
    if (l->t->mcc != 0) {
        x[FEAT_mcc_new] = replay(l, card_of, mcc_of, list).id == 0;
    }
}

/* Great-circle distance by the angle between two vectors: not the formula of features/. */
static double km_between(float lat1, float lon1, float lat2, float lon2)
{
    double a = (double)lat1 * NAIVE_PI / 180;
    double b = (double)lat2 * NAIVE_PI / 180;
    double d = ((double)lon2 - (double)lon1) * NAIVE_PI / 180;
    double y = sqrt(pow(cos(b) * sin(d), 2) + pow(cos(a) * sin(b) - sin(a) * cos(b) * cos(d), 2));
    return 6371 * atan2(y, sin(a) * sin(b) + cos(a) * cos(b) * cos(d));
}

static bool located(const struct tx *t)
{
    return t->has_location && t->lat >= -90 && t->lat <= 90 && t->lon >= -180 && t->lon <= 180;
}

static void geography(const struct look *l)
{
    const struct tx *last = NULL;
    float home_lat = 0;
    float home_lon = 0;
    float seen = 0;
    for (size_t i = 0; i < l->n->event_count; i++) {
        const struct tx *e = &l->n->events[i].tx;
        if (e->card == l->t->card && located(e)) {
            last = e;
            seen += 1;
            home_lat += (e->lat - home_lat) * (1 / fminf(seen, 50));
            home_lon += (e->lon - home_lon) * (1 / fminf(seen, 50));
        }
    }
    if (last == NULL || !located(l->t)) {
        return;
    }
    double km = km_between(last->lat, last->lon, l->t->lat, l->t->lon);
    double hours = fabs((double)(l->t->event_us - last->event_us)) / 3.6e9;
    l->x[FEAT_geo_distance] = (float)log(1 + km);
    l->x[FEAT_geo_speed] = (float)log(1 + km / fmax(hours, 1.0 / 60));
    l->x[FEAT_geo_home] = (float)log(1 + km_between(home_lat, home_lon, l->t->lat, l->t->lon));
}

static void fields(const struct look *l)
{
    const struct tx *t = l->t;
    float *x = l->x;
    x[FEAT_channel] = t->channel;
    x[FEAT_entry_mode] = t->entry;
    x[FEAT_currency_foreign] = t->foreign_currency;
    x[FEAT_no_terminal] = t->terminal == 0;
    x[FEAT_no_merchant] = t->merchant == 0;
    x[FEAT_no_device] = t->device == 0;
    x[FEAT_no_ip] = t->ip == 0;
    x[FEAT_no_location] = !located(t);
    x[FEAT_no_mcc] = t->mcc == 0;
    x[FEAT_no_country] = t->country == 0;
}

void naive_latest(const struct look *l)
{
    latest_things(l);
    geography(l);
    fields(l);
}
