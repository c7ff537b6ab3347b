/* The legitimate life of a card on one day, with all that looks like fraud and is none: journeys,
 * new devices and addresses, big one-off purchases, shopping sprees, a series of cash after pay
 * day, a payment for somebody else, account checks, refunds and reversals.
 *
 * 1. Draws come from the stream of (card, day) alone.
 * 2. All that is planned lies on this day or later. */
#include "base/detmath.h"
#include "daemon/sim_world.h"

struct today {
    struct sim *s;
    struct sim_card *c;
    uint32_t index; /* of the card */
    int32_t day;
    uint8_t country, city; /* where it is */
    bool away;
    struct rng r;
};

/* ---- changes in a life ---- */

static void renew_number(struct sim *s, struct sim_card *c, int32_t day)
{
    if (c->replace_on >= 0 && day >= c->replace_on) {
        c->number = s->next_card++;
        c->replace_on = -1;
    }
}

static void change_life(struct today *d)
{
    struct sim_card *c = d->c;
    if (sim_chance(&d->r, .003)) {
        c->device[0] = rng_next(&d->r) | 1; /* a new telephone */
    }
    if (sim_chance(&d->r, .02)) {
        c->home_ip = sim_new_ip(&d->r, c->country);
    }
    if (sim_chance(&d->r, .01)) {
        c->shop[rng_below(&d->r, SIM_FAV_SHOPS)] = sim_pick_city(d->s, &d->r, c->country, c->city);
        c->online[rng_below(&d->r, SIM_FAV_ONLINE)] = sim_pick_in(d->s, &d->r, d->s->online);
    }
    if (d->day >= c->travel_until && sim_chance(&d->r, .006)) {
        c->away_country = sim_chance(&d->r, .45) ? c->country : sim_pick_country(&d->r, true);
        c->away_city = (uint8_t)rng_below(&d->r, SIM_CITIES);
        c->travel_until = d->day + 2 + (int32_t)sim_poisson(&d->r, 4.0);
    }
    d->away = d->day < c->travel_until;
    d->country = d->away ? c->away_country : c->country;
    d->city = d->away ? c->away_city : c->city;
}

/* Two busy times a day, and now and then any hour. */
static double habit_hour(struct today *d)
{
    double u = rng_uniform(&d->r);
    double hour = u < .08   ? sim_between(&d->r, 0.0, 24.0)
                  : u < .52 ? d->c->hour_a + 1.8 * rng_normal(&d->r)
                            : d->c->hour_b + 1.6 * rng_normal(&d->r);
    while (hour < 0.0) {
        hour += 24.0;
    }
    while (hour >= 24.0) {
        hour -= 24.0;
    }
    return hour;
}

/* ---- payments ---- */

/* Money given back: a refund days later, or a reversal within minutes. */
static void maybe_give_back(struct today *d, const struct sim_tx *paid)
{
    bool clothes = paid->mcc == 5651 || paid->mcc == 5999 || paid->mcc == 5732;
    bool refund = sim_chance(&d->r, clothes && paid->channel == CHANNEL_ECOMMERCE ? .08 : .006);
    bool reversal = !refund && sim_chance(&d->r, .003);
    if (!refund && !reversal) {
        return;
    }
    struct sim_tx t = *paid;
    t.type = refund ? TX_REFUND : TX_REVERSAL;
    int64_t wait_ms = refund ? (int64_t)(86400000.0 * (2.0 + 4.0 * rng_exponential(&d->r)))
                             : (int64_t)(60000.0 * (.3 + 4.0 * rng_exponential(&d->r)));
    t.event_us += wait_ms * 1000;
    if (refund && sim_chance(&d->r, .3)) {
        t.amount_minor = 1 + (int64_t)rng_below(&d->r, (uint64_t)t.amount_minor);
    }
    sim_plan(d->s, &t);
}

/* The owner pays, and one day denies it. */
static double denial_chance(const struct today *d)
{
    const struct sim_conf *k = &d->s->conf;
    return k->fraud_share * sim_pattern_weight(d->s, SIM_FRIENDLY, d->day) / .27;
}

static void finish_online(struct today *d, struct sim_tx *t, uint32_t merchant, bool known_place)
{
    const struct sim_card *c = d->c;
    t->channel = CHANNEL_ECOMMERCE;
    t->entry = sim_chance(&d->r, known_place ? .7 : .2) ? ENTRY_CREDENTIAL_ON_FILE : ENTRY_MANUAL;
    double u = rng_uniform(&d->r);
    uint64_t device = u < .72    ? c->device[0]
                      : u < .92  ? c->device[1]
                      : u < .985 ? c->device[2]
                                 : rng_next(&d->r) | 1; /* an unknown one: a browser wiped clean */
    t->device = sim_chance(&d->r, .1) ? 0 : device;
    double v = rng_uniform(&d->r);
    t->ip = d->away || v < .25 ? sim_new_ip(&d->r, d->country) & 0xff000fffU /* a mobile network */
            : v < .28          ? (198U << 24 | (uint32_t)rng_below(&d->r, 24)) /* a VPN */
                               : c->home_ip;
    t->ip = sim_chance(&d->r, .05) ? 0 : t->ip;
    t->has_location = t->device != 0 && sim_chance(&d->r, .3);
    if (t->has_location) {
        const struct sim *s = d->s;
        t->lat_e4 = d->away ? (int32_t)(s->city_lat[d->country][d->city] * 1e4) : c->lat_e4;
        t->lon_e4 = d->away ? (int32_t)(s->city_lon[d->country][d->city] * 1e4) : c->lon_e4;
    }
    sim_amount(d->s, t, sim_usual(d->s, &d->r, c, merchant));
    if (sim_chance(&d->r, denial_chance(d))) {
        t->pattern = SIM_FRIENDLY;
    }
}

static void pay_online(struct today *d, double hour)
{
    struct sim_card *c = d->c;
    bool known = !sim_chance(&d->r, c->explore);
    double u = rng_uniform(&d->r);
    uint32_t merchant = known ? c->online[(uint32_t)(u * u * SIM_FAV_ONLINE)]
                              : sim_pick_in(d->s, &d->r, d->s->online);
    int64_t at = sim_at_hour(d->s, &d->r, d->day, hour, d->country);
    struct sim_tx t;
    sim_begin(d->s, &t, c, merchant, at);
    finish_online(d, &t, merchant, known);
    if (!known && sim_chance(&d->r, .25)) {
        struct sim_tx check = t;
        check.type = TX_CHECK;
        check.amount_minor = 0;
        check.pattern = SIM_LEGITIMATE;
        sim_plan(d->s, &check);
        t.event_us += (int64_t)(1000.0 * (5.0 + 60.0 * rng_exponential(&d->r))) * 1000;
    }
    sim_plan(d->s, &t);
    maybe_give_back(d, &t);
}

/* Where the card stands today, or now and then somebody of the family at home. */
static uint32_t choose_shop(struct today *d)
{
    struct sim_card *c = d->c;
    bool at_home = !d->away || sim_chance(&d->r, .1);
    if (at_home && !sim_chance(&d->r, c->explore)) {
        double u = rng_uniform(&d->r);
        return c->shop[(uint32_t)(u * u * SIM_FAV_SHOPS)];
    }
    return at_home ? sim_pick_city(d->s, &d->r, c->country, c->city)
                   : sim_pick_city(d->s, &d->r, d->country, d->city);
}

static void pay_at(struct today *d, uint32_t merchant, double hour, double times_usual)
{
    const struct sim_merchant *m = &d->s->merchant[merchant];
    double open = sim_open_hour(d->s, &d->r, merchant, hour);
    struct sim_tx t;
    sim_begin(d->s, &t, d->c, merchant, sim_at_hour(d->s, &d->r, d->day, open, m->country));
    double amount = times_usual * sim_usual(d->s, &d->r, d->c, merchant);
    sim_at_shop(d->s, &d->r, &t, amount < 50.0 ? d->c->contactless_share : .05);
    sim_amount(d->s, &t, amount);
    if (sim_chance(&d->r, .004)) {
        t.channel = CHANNEL_MOTO; /* by telephone */
        t.entry = ENTRY_MANUAL;
        t.terminal = 0;
        t.has_location = false;
        t.lat_e4 = t.lon_e4 = 0;
    }
    sim_plan(d->s, &t);
    sim_visit(d->s, d->index, &t);
    maybe_give_back(d, &t);
}

static void draw_cash(struct today *d, double hour, double amount)
{
    uint32_t merchant = d->s->cash_point[d->country][d->city];
    struct sim_tx t;
    sim_begin(d->s, &t, d->c, merchant, sim_at_hour(d->s, &d->r, d->day, hour, d->country));
    sim_at_cash_point(d->s, &d->r, &t);
    sim_amount(d->s, &t, amount);
    sim_plan(d->s, &t);
}

static void pay_by_habit(struct today *d)
{
    double hour = habit_hour(d);
    double u = rng_uniform(&d->r);
    bool plastic = d->day >= d->c->lost_until;
    if (u < d->c->online_share) {
        pay_online(d, hour);
    } else if (!plastic) {
        return;
    } else if (u > .955) {
        draw_cash(d, hour, 90.0 * sim_lognormal(&d->r, d->c->log_level, .55));
    } else {
        pay_at(d, choose_shop(d), hour, 1.0);
    }
}

/* ---- what looks like fraud ---- */

/* Hours of shopping, one shop after the other. */
static void shopping_spree(struct today *d)
{
    double hour = sim_between(&d->r, 10.0, 17.0);
    uint32_t n = 3 + sim_poisson(&d->r, 2.5);
    for (uint32_t i = 0; i < n; i++) {
        pay_at(d, sim_pick_city(d->s, &d->r, d->country, d->city), hour,
               sim_lognormal(&d->r, .3, .5));
        hour += .1 + .5 * rng_exponential(&d->r);
    }
}

/* One big thing, with something small afterwards: a cable, a coffee, an app.  The order of card
 * testing backwards. */
static void big_purchase(struct today *d)
{
    struct sim_card *c = d->c;
    double hour = habit_hour(d);
    double times = sim_lognormal(&d->r, 1.2, .4);
    bool online = sim_chance(&d->r, .6);
    if (!online) {
        pay_at(d, sim_pick_city(d->s, &d->r, d->country, d->city), hour, times);
        return;
    }
    int64_t at = sim_at_hour(d->s, &d->r, d->day, hour, d->country);
    uint32_t big = 1 + sim_poisson(&d->r, 1.2);
    uint32_t small = 1 + sim_poisson(&d->r, .8);
    for (uint32_t i = 0; i < big + small; i++) {
        struct sim_range shops = d->s->online;
        uint32_t m = i < big ? sim_pick_loot(d->s, &d->r, shops) : sim_pick_in(d->s, &d->r, shops);
        struct sim_tx t;
        sim_begin(d->s, &t, c, m, at);
        finish_online(d, &t, m, false);
        t.pattern = SIM_LEGITIMATE;
        double amount =
            i < big ? times * sim_usual(d->s, &d->r, c, m) : sim_lognormal(&d->r, .9, .7);
        sim_amount(d->s, &t, amount);
        if (i >= big && sim_chance(&d->r, .15)) {
            t.type = TX_CHECK;
            t.amount_minor = 0;
        }
        sim_plan(d->s, &t);
        double hours = (i < big ? 3.0 : .3) * rng_exponential(&d->r);
        at += ((int64_t)(3600000.0 * hours) + 1000) * 1000;
    }
}

/* Pay day: cash in falling amounts at growing intervals, a mule's series from its end. */
static void spend_wages(struct today *d)
{
    struct sim_series series;
    sim_draw_series(&d->r, d->c->log_level, &series);
    double last_day = series.at_day[series.count - 1];
    struct today then = *d;
    then.country = d->c->country;
    then.city = d->c->city;
    for (uint32_t i = series.count; i-- > 0;) {
        then.day = d->day + (int32_t)(last_day - series.at_day[i]);
        draw_cash(&then, sim_between(&then.r, 7.0, 23.0), series.amount[i]);
    }
    d->r = then.r;
}

static void pay_subscriptions(struct today *d)
{
    const struct sim_card *c = d->c;
    for (unsigned i = 0; i < c->subscriptions; i++) {
        if (d->day % 30 != c->subscription_day[i]) {
            continue;
        }
        uint32_t merchant = c->subscription[i];
        double hour = sim_between(&d->r, 2.0, 6.0);
        struct sim_tx t;
        sim_begin(d->s, &t, c, merchant, sim_at_hour(d->s, &d->r, d->day, hour, c->country));
        t.channel = CHANNEL_RECURRING;
        t.entry = ENTRY_CREDENTIAL_ON_FILE;
        double per_ref = SIM_COUNTRY[d->s->merchant[merchant].country].per_ref;
        double digits = t.minor_digits == 0 ? .01 : 1.0;
        t.amount_minor = 1 + (int64_t)(per_ref * digits * (double)c->subscription_cents[i]);
        sim_plan(d->s, &t);
    }
}

void sim_live_day(struct sim *s, uint32_t card, int32_t day)
{
    struct sim_card *c = &s->card[card];
    if (day < c->active_from || day >= c->active_until) {
        return;
    }
    struct today d = {.s = s, .c = c, .index = card, .day = day};
    sim_stream(s, STREAM_DAY, card, (uint64_t)day, &d.r);
    renew_number(s, c, day);
    change_life(&d);
    pay_subscriptions(&d);
    static const double weekday[7] = {.9, .9, .95, 1.0, 1.2, 1.3, .75}; /* from Monday */
    int64_t since_epoch = s->conf.start_us / SIM_DAY_US + day;
    double rate = c->rate * s->rate_scale * weekday[(since_epoch + 3) % 7];
    uint32_t n = sim_poisson(&d.r, rate * (d.away ? 1.5 : 1.0));
    for (uint32_t i = 0; i < n; i++) {
        pay_by_habit(&d);
    }
    /* The rarer things in proportion to how busy a card is. */
    double busy = rate < 3.0 ? rate : 3.0;
    if (sim_chance(&d.r, .006 * busy) && day >= c->lost_until) {
        shopping_spree(&d);
    }
    if (sim_chance(&d.r, .005 * busy)) {
        big_purchase(&d);
    }
    if (sim_chance(&d.r, .0015 * busy) && day >= c->lost_until) {
        spend_wages(&d);
    }
}
