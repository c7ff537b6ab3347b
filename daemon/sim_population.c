/* Who lives in the simulator: merchants sorted by place, and cards with their habits.
 *
 * 1. Merchants are sorted by (online, country, city), so a place is a range; popularity is a
 * running sum, so a weighted draw from a range is a binary search.
 * 2. Every city has a cash point, which is the first merchant of its range.
 * 3. Nothing here draws from a stream of days or fraud. */
#include "base/detmath.h"
#include "daemon/sim_world.h"

#define ONLINE_SHARE .3

static int32_t degrees_e4(double degrees)
{
    return (int32_t)(degrees * 10000.0);
}

/* Share of a country's life: homes count more than journeys. */
static double country_weight(unsigned country, bool travel)
{
    const struct sim_country *k = &SIM_COUNTRY[country];
    return travel ? k->travel_weight : k->home_weight;
}

uint8_t sim_pick_country(struct rng *r, bool travel)
{
    double total = 0.0;
    for (unsigned i = 0; i < SIM_COUNTRIES; i++) {
        total += country_weight(i, travel);
    }
    double at = rng_uniform(r) * total;
    for (uint8_t i = 0; i + 1 < SIM_COUNTRIES; i++) {
        at -= country_weight(i, travel);
        if (at < 0.0) {
            return i;
        }
    }
    return travel ? SIM_COUNTRIES - 1 : 0;
}

/* The first city of a country is its largest. */
static uint8_t pick_city_index(struct rng *r)
{
    double u = rng_uniform(r);
    return u < .5 ? 0 : u < .8 ? 1 : 2;
}

static uint8_t pick_kind(struct rng *r, bool online)
{
    double total = 0.0;
    for (unsigned i = 0; i < SIM_MCCS; i++) {
        total += online ? SIM_MCC[i].online_weight : SIM_MCC[i].shop_weight;
    }
    double at = rng_uniform(r) * total;
    for (uint8_t i = 0; i < SIM_MCCS; i++) {
        at -= online ? SIM_MCC[i].online_weight : SIM_MCC[i].shop_weight;
        if (at < 0.0) {
            return i;
        }
    }
    return 1;
}

static void fill_merchant(struct sim *s, struct rng *r, uint32_t index, bool cash_point)
{
    struct sim_merchant *m = &s->merchant[index];
    m->kind = cash_point ? 0 : pick_kind(r, m->online);
    const struct sim_mcc *k = &SIM_MCC[m->kind];
    m->log_price = .3 * rng_normal(r);
    /* Pareto with exponent 1.5: few big, many small; capped, so that one shop is not the market. */
    double size = det_pow(1.0 - rng_uniform(r), -1.0 / 1.5);
    size = cash_point ? 6.0 : size < 25.0 ? size : 25.0;
    m->popularity_until = size + (index > 0 ? s->merchant[index - 1].popularity_until : 0.0);
    m->open_h = k->open_h;
    m->close_h = k->close_h;
    if (k->close_h - k->open_h < 24 && sim_chance(r, .5)) {
        m->open_h = (uint8_t)(k->open_h + rng_below(r, 2));
        m->close_h = (uint8_t)(k->close_h - rng_below(r, 3));
    }
    if (!m->online) {
        m->terminal_count = (uint16_t)(1 + (uint32_t)(size * .4));
        m->first_terminal = s->terminals + 1;
        s->terminals += m->terminal_count;
        m->lat_e4 = degrees_e4(s->city_lat[m->country][m->city] + .06 * rng_normal(r));
        m->lon_e4 = degrees_e4(s->city_lon[m->country][m->city] + .09 * rng_normal(r));
    }
}

/* How many of `total` shops stand in a city: homes weigh more, every city has its cash point. */
static uint32_t shops_in(uint32_t total, unsigned country, unsigned city)
{
    static const double city_share[SIM_CITIES] = {.5, .3, .2};
    double weight = .85 * country_weight(country, false) / 100.0;
    double travel = 0.0;
    for (unsigned i = 0; i < SIM_COUNTRIES; i++) {
        travel += country_weight(i, true);
    }
    weight += .15 * country_weight(country, true) / travel;
    return 1 + (uint32_t)(total * weight * city_share[city]);
}

static uint32_t fill_place(struct sim *s, struct rng *r, uint32_t first, uint32_t count,
                           unsigned country, unsigned city)
{
    s->place[country][city] = (struct sim_range){first, first + count};
    s->cash_point[country][city] = first;
    const struct sim_country *k = &SIM_COUNTRY[country];
    s->city_lat[country][city] = k->lat + k->spread_deg * sim_between(r, -.7, .7);
    s->city_lon[country][city] = k->lon + k->spread_deg * sim_between(r, -.9, .9);
    for (uint32_t i = first; i < first + count; i++) {
        s->merchant[i].country = (uint8_t)country;
        s->merchant[i].city = (uint8_t)city;
        fill_merchant(s, r, i, i == first);
    }
    return first + count;
}

void sim_make_merchants(struct sim *s)
{
    struct rng r;
    sim_stream(s, STREAM_MERCHANT, 0, 0, &r);
    uint32_t count = s->conf.merchants;
    uint32_t online = (uint32_t)(count * ONLINE_SHARE);
    uint32_t shops = count - online - SIM_COUNTRIES * SIM_CITIES;
    uint32_t at = 0;
    for (unsigned i = 0; i < SIM_COUNTRIES; i++) {
        uint32_t first = at;
        for (unsigned j = 0; j < SIM_CITIES; j++) {
            at = fill_place(s, &r, at, shops_in(shops, i, j), i, j);
        }
        s->in_country[i] = (struct sim_range){first, at};
    }
    s->online = (struct sim_range){at, count};
    for (; at < count; at++) {
        struct sim_merchant *m = &s->merchant[at];
        m->online = true;
        /* Online shops sit where the cards live, and some far away. */
        m->country = sim_pick_country(&r, sim_chance(&r, .25));
        fill_merchant(s, &r, at, false);
    }
}

uint32_t sim_pick_in(const struct sim *s, struct rng *r, struct sim_range range)
{
    double low = range.first > 0 ? s->merchant[range.first - 1].popularity_until : 0.0;
    double at = sim_between(r, low, s->merchant[range.end - 1].popularity_until);
    uint32_t first = range.first, end = range.end - 1;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (s->merchant[middle].popularity_until > at) {
            end = middle;
        } else {
            first = middle + 1;
        }
    }
    return first;
}

uint32_t sim_pick_city(const struct sim *s, struct rng *r, unsigned country, unsigned city)
{
    struct sim_range shops = s->place[country][city];
    if (shops.end - shops.first > 1) {
        shops.first++; /* not the cash point */
        return sim_pick_in(s, r, shops);
    }
    return sim_pick_in(s, r, s->in_country[country]);
}

/* Of three offers mostly the dearest to sell on: what a thief takes, and what a big purchase is. */
uint32_t sim_pick_loot(const struct sim *s, struct rng *r, struct sim_range range)
{
    uint32_t best = sim_pick_in(s, r, range);
    for (int i = 0; i < 2; i++) {
        uint32_t other = sim_pick_in(s, r, range);
        double a = SIM_MCC[s->merchant[best].kind].resale * rng_uniform(r);
        double b = SIM_MCC[s->merchant[other].kind].resale * rng_uniform(r);
        if (b > a) {
            best = other;
        }
    }
    return best;
}

/* Each country has four blocks of /8 between 31 and 102: none is private or reserved. */
uint32_t sim_new_ip(struct rng *r, unsigned country)
{
    uint32_t block = 31 + country * 4 + (uint32_t)rng_below(r, 4);
    return block << 24 | (uint32_t)rng_below(r, 1U << 24);
}

static void fill_favourites(struct sim *s, struct rng *r, struct sim_card *c)
{
    for (unsigned i = 0; i < SIM_FAV_SHOPS; i++) {
        c->shop[i] = sim_pick_city(s, r, c->country, c->city);
    }
    for (unsigned i = 0; i < SIM_FAV_ONLINE; i++) {
        c->online[i] = sim_pick_in(s, r, s->online);
    }
    c->subscriptions = 0;
    uint32_t wanted = sim_poisson(r, 1.4);
    for (unsigned tries = 0; tries < 40 && c->subscriptions < wanted; tries++) {
        uint32_t m = sim_pick_in(s, r, s->online);
        const struct sim_mcc *k = &SIM_MCC[s->merchant[m].kind];
        if (k->monthly && c->subscriptions < SIM_SUBSCRIPTIONS) {
            unsigned i = c->subscriptions++;
            c->subscription[i] = m;
            c->subscription_day[i] = (uint8_t)rng_below(r, 28);
            double price = sim_lognormal(r, det_log(k->median), k->sigma);
            c->subscription_cents[i] = (int32_t)price * 100 + 99;
        }
    }
}

static void fill_card(struct sim *s, uint32_t index)
{
    struct rng r;
    sim_stream(s, STREAM_CARD, index, 0, &r);
    struct sim_card *c = &s->card[index];
    c->number = index + 1;
    c->country = sim_pick_country(&r, false);
    c->city = pick_city_index(&r);
    c->lat_e4 = degrees_e4(s->city_lat[c->country][c->city] + .07 * rng_normal(&r));
    c->lon_e4 = degrees_e4(s->city_lon[c->country][c->city] + .1 * rng_normal(&r));
    c->log_level = .45 * rng_normal(&r);
    c->rate = sim_lognormal(&r, det_log(.72), .6);
    double online = rng_uniform(&r);
    c->online_share = .05 + .6 * online * online;
    c->contactless_share = sim_chance(&r, .2) ? .1 : sim_between(&r, .4, .9);
    c->explore = sim_between(&r, .12, .45);
    c->hour_a = 12.0 + 2.0 * rng_normal(&r);
    c->hour_b = 18.5 + 1.8 * rng_normal(&r);
    for (unsigned i = 0; i < SIM_DEVICES; i++) {
        c->device[i] = rng_next(&r) | 1;
    }
    if (index % 9 == 0 && index > 0) {
        c->device[1] = s->card[index - 1].device[1]; /* one household, one tablet */
    }
    c->home_ip = sim_new_ip(&r, c->country);
    c->replace_on = -1;
    /* One card in eight is opened in the course, one in twenty closed. */
    int32_t days = (int32_t)s->conf.days;
    c->active_from = sim_chance(&r, .12) ? (int32_t)(rng_uniform(&r) * days) : 0;
    c->active_until = sim_chance(&r, .05) ? (int32_t)(rng_uniform(&r) * days) : days;
    fill_favourites(s, &r, c);
}

void sim_make_cards(struct sim *s)
{
    for (uint32_t i = 0; i < s->conf.cards; i++) {
        fill_card(s, i);
    }
    s->next_card = s->conf.cards + 1;
}
