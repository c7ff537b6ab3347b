/* Fraud in episodes.  Each day a Poisson number of episodes of each pattern starts, so that the
 * frauds' share of all rows meets the configuration; how many rows an episode makes is learned as
 * the simulation runs.
 *
 * 1. A fraud is planned at or after the day on which it is decided.
 * 2. One row alone seldom gives a fraud away: amounts, hours, categories and addresses overlap with
 *    the legitimate life.  Testing and mules are told from it by the order of the card's events
 *    (sim_habits.c plays the same events backwards), terminals and collusion by the place's record.
 * 3. A card is in one episode at a time. */
#include "base/detmath.h"
#include "daemon/sim_world.h"

/* Rows of an average episode, before any was seen. */
static const double EXPECTED_ROWS[SIM_PATTERN_COUNT] = {0.0, 5.5, 12.0, 4.5, 4.0, 9.5, 12.0, 1.0};
/* Share of the frauds, before and after the drift. */
static const double WEIGHT_BEFORE[SIM_PATTERN_COUNT] = {0.0, .20, .20, .18, .16, .11, .12, .03};
static const double WEIGHT_AFTER[SIM_PATTERN_COUNT] = {0.0, .06, .10, .32, .26, .08, .15, .03};

static bool drifted(const struct sim *s, int32_t day)
{
    return s->conf.drift_us > 0 && s->conf.start_us + day * SIM_DAY_US >= s->conf.drift_us;
}

double sim_pattern_weight(const struct sim *s, enum sim_pattern p, int32_t day)
{
    if (p == s->conf.new_pattern && s->conf.start_us + day * SIM_DAY_US < s->conf.new_from_us) {
        return 0.0;
    }
    return drifted(s, day) ? WEIGHT_AFTER[p] : WEIGHT_BEFORE[p];
}

/* A card that is in use and in no episode, busy ones likelier; NULL when 24 draws find none. */
static struct sim_card *pick_victim(struct sim *s, struct rng *r, int32_t day)
{
    for (int tries = 0; tries < 24; tries++) {
        struct sim_card *c = &s->card[rng_below(r, s->conf.cards)];
        if (sim_chance(r, c->rate / 2.5) && day >= c->active_from && day < c->active_until &&
            day >= c->episode_until) {
            return c;
        }
    }
    return NULL;
}

/* The owner notices after some days, and mostly gets a new number. */
static void close_episode(struct sim *s, struct sim_card *c, int64_t last_us, double replace)
{
    struct rng *r = &s->fraud_rng;
    int32_t day = (int32_t)((last_us - s->conf.start_us) / SIM_DAY_US);
    c->episode_until = day + 2 + (int32_t)(4.0 * rng_exponential(r));
    if (sim_chance(r, replace)) {
        c->replace_on = c->episode_until;
    }
}

static int64_t later(struct rng *r, int64_t us, double mean_hours)
{
    int64_t ms = (int64_t)(3600000.0 * mean_hours * rng_exponential(r)) + 1000;
    return us + ms * 1000;
}

/* An address of the thief's choice: a mobile network of the victim's country, a VPN, a home. */
static uint32_t thief_ip(struct sim *s, const struct sim_card *c)
{
    struct rng *r = &s->fraud_rng;
    double u = rng_uniform(r);
    if (u < .35) {
        return sim_new_ip(r, c->country) & 0xff000fffU;
    }
    if (u < .5) {
        return 198U << 24 | (uint32_t)rng_below(r, 24);
    }
    return sim_new_ip(r, u < .85 ? c->country : sim_pick_country(r, true));
}

/* When the owner might shop, so that the hour tells nothing. */
static double usual_hour(struct rng *r, const struct sim_card *c)
{
    double hour = (sim_chance(r, .5) ? c->hour_a : c->hour_b) + 1.8 * rng_normal(r);
    return hour < 0.0 ? hour + 24.0 : hour >= 24.0 ? hour - 24.0 : hour;
}

/* A payment over the net with somebody's device. */
static void online_fraud(struct sim *s, struct sim_tx *t, struct sim_card *c, uint32_t merchant,
                         int64_t at_us)
{
    struct rng *r = &s->fraud_rng;
    sim_begin(s, t, c, merchant, at_us);
    t->channel = CHANNEL_ECOMMERCE;
    t->entry = sim_chance(r, .7) ? ENTRY_MANUAL : ENTRY_CREDENTIAL_ON_FILE;
}

static void shop_fraud(struct sim *s, struct sim_tx *t, const struct sim_card *c, uint32_t merchant,
                       int32_t day, double hour)
{
    struct rng *r = &s->fraud_rng;
    hour = sim_open_hour(s, r, merchant, hour);
    sim_begin(s, t, c, merchant, sim_at_hour(s, r, day, hour, s->merchant[merchant].country));
    sim_at_shop(s, r, t, .3);
}

/* ---- 1: the plastic is stolen ---- */

static void steal_card(struct sim *s, int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_card *c = pick_victim(s, r, day);
    if (c == NULL) {
        return;
    }
    bool away = day < c->travel_until;
    unsigned country = away ? c->away_country : c->country;
    unsigned city = away ? c->away_city : c->city;
    if (sim_chance(r, .6)) {
        city = (city + 1 + (unsigned)rng_below(r, SIM_CITIES - 1)) % SIM_CITIES; /* the next town */
    }
    struct sim_range place = s->place[country][city];
    double hour = sim_between(r, 9.0, 19.0);
    uint32_t n = 3 + sim_poisson(r, 3.0);
    int64_t last = s->conf.start_us + day * SIM_DAY_US;
    for (uint32_t i = 0; i < n && hour < 24.0; i++) {
        uint32_t merchant = sim_pick_loot(s, r, place);
        struct sim_tx t;
        shop_fraud(s, &t, c, merchant, day, hour);
        if (s->merchant[merchant].kind == 0) {
            sim_at_cash_point(s, r, &t);
        }
        t.pattern = SIM_STOLEN;
        double amount = sim_usual(s, r, c, merchant) * sim_lognormal(r, 1.2, .4);
        if (t.entry == ENTRY_CONTACTLESS && amount > 50.0) {
            amount = sim_between(r, 22.0, 50.0); /* the limit without a PIN */
        }
        sim_amount(s, &t, amount);
        sim_plan(s, &t);
        last = t.event_us > last ? t.event_us : last;
        hour += .03 + .2 * rng_exponential(r);
    }
    c->lost_until = day + 1 + (int32_t)rng_below(r, 3);
    close_episode(s, c, last, .9);
}

/* ---- 2 and 6: bad places ---- */

static struct sim_bad_place *free_bad_place(struct sim *s, int32_t day)
{
    for (uint32_t i = 0; i < s->bad_places; i++) {
        struct sim_bad_place *b = &s->bad[i];
        if (b->until <= day) {
            return b;
        }
    }
    return NULL;
}

/* Forgets the bad place that was in this slot, if any. */
static void clear_bad_place(struct sim *s, struct sim_bad_place *b)
{
    uint16_t mark = (uint16_t)(b - s->bad + 1);
    if (b->terminal != 0 && s->bad_terminal[b->terminal] == mark) {
        s->bad_terminal[b->terminal] = 0;
    }
    if (b->terminal == 0 && s->bad_merchant[b->merchant] == mark) {
        s->bad_merchant[b->merchant] = 0;
    }
}

static void turn_bad(struct sim *s, int32_t day, bool terminal)
{
    struct rng *r = &s->fraud_rng;
    struct sim_bad_place *b = free_bad_place(s, day);
    struct sim_range where = s->in_country[sim_pick_country(r, false)];
    uint32_t m = sim_pick_in(s, r, where);
    uint32_t t =
        s->merchant[m].first_terminal + (uint32_t)rng_below(r, s->merchant[m].terminal_count);
    if (b == NULL || s->merchant[m].kind == 0 || s->bad_terminal[t] != 0 ||
        s->bad_merchant[m] != 0) {
        return;
    }
    clear_bad_place(s, b);
    *b = (struct sim_bad_place){.merchant = m, .terminal = terminal ? t : 0, .from = day};
    b->until = day + 20 + (int32_t)rng_below(r, 40);
    b->frauds_left = 10 + (int32_t)rng_below(r, 40);
    b->amount_cents = 100 * (5 + (int64_t)rng_below(r, 60)) + (sim_chance(r, .6) ? 90 : 0);
    uint16_t mark = (uint16_t)(b - s->bad + 1);
    if (terminal) {
        s->bad_terminal[t] = mark;
    } else {
        s->bad_merchant[m] = mark;
    }
}

/* A copied card is charged again at the terminal where it was copied. */
static int64_t charge_copy_here(struct sim *s, const struct sim_card *c,
                                const struct sim_bad_place *b, const struct sim_tx *visit,
                                int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_tx t;
    shop_fraud(s, &t, c, b->merchant, day, sim_between(r, 8.0, 22.0));
    t.terminal = b->terminal;
    t.card = visit->card;
    t.pattern = SIM_TERMINAL;
    sim_amount(s, &t, sim_usual(s, r, c, b->merchant) * sim_lognormal(r, 1.0, .4));
    sim_plan(s, &t);
    return t.event_us;
}

/* ... or used elsewhere: over the net, or its magnetic stripe in another country. */
static int64_t use_copy_elsewhere(struct sim *s, struct sim_card *c, const struct sim_tx *visit,
                                  int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_range abroad = s->in_country[sim_pick_country(r, true)];
    bool online = sim_chance(r, .4);
    uint64_t device = sim_chance(r, .4) ? 0 : rng_next(r) | 1;
    uint32_t ip = thief_ip(s, c);
    double hour = sim_between(r, 8.0, 20.0);
    int64_t last = visit->event_us;
    for (uint32_t n = 1 + sim_poisson(r, 1.4); n > 0; n--) {
        uint32_t m = sim_pick_loot(s, r, online ? s->online : abroad);
        struct sim_tx t;
        if (online) {
            online_fraud(s, &t, c, m, sim_at_hour(s, r, day, hour, c->country));
            t.device = device;
            t.ip = ip;
        } else {
            shop_fraud(s, &t, c, m, day, hour);
            t.entry = sim_chance(r, .85) ? ENTRY_MAGSTRIPE : t.entry;
        }
        t.card = visit->card;
        t.pattern = SIM_TERMINAL;
        sim_amount(s, &t, sim_usual(s, r, c, m) * sim_lognormal(r, 1.2, .4));
        sim_plan(s, &t);
        last = t.event_us > last ? t.event_us : last;
        hour += .1 + .5 * rng_exponential(r);
    }
    return last;
}

static void use_copy(struct sim *s, struct sim_card *c, const struct sim_bad_place *b,
                     const struct sim_tx *visit)
{
    struct rng *r = &s->fraud_rng;
    int32_t day = (int32_t)((visit->event_us - s->conf.start_us) / SIM_DAY_US) + 1;
    int64_t last = 0;
    if (sim_chance(r, .5)) {
        last = charge_copy_here(s, c, b, visit, day + (int32_t)(2.0 * rng_exponential(r)));
    } else {
        last = use_copy_elsewhere(s, c, visit, day + (int32_t)(6.0 * rng_exponential(r)));
    }
    close_episode(s, c, last, .7);
}

void sim_visit(struct sim *s, uint32_t card, const struct sim_tx *t)
{
    uint16_t mark = t->terminal != 0 ? s->bad_terminal[t->terminal] : 0;
    uint16_t shop = s->bad_merchant[t->merchant - 1];
    if (mark == 0 && shop == 0) {
        return;
    }
    struct sim_bad_place *b = &s->bad[(mark != 0 ? mark : shop) - 1];
    struct sim_card *c = &s->card[card];
    int32_t day = (int32_t)((t->event_us - s->conf.start_us) / SIM_DAY_US);
    if (day >= b->until) {
        return;
    }
    if (mark == 0) {
        b->visitor[b->visitors++ % SIM_VISITORS] = card;
    } else if (b->frauds_left > 0 && day >= c->episode_until && sim_chance(&s->fraud_rng, .35)) {
        b->frauds_left--;
        use_copy(s, c, b, t);
    }
}

/* A colluding merchant charges some of its earlier visitors again. */
static void charge_again(struct sim *s, struct sim_bad_place *b, int32_t day)
{
    struct rng *r = &s->fraud_rng;
    uint32_t known = b->visitors < SIM_VISITORS ? b->visitors : SIM_VISITORS;
    uint32_t n = known < 3 ? 0 : sim_poisson(r, .9);
    for (uint32_t i = 0; i < n && b->frauds_left > 0; i++) {
        struct sim_card *c = &s->card[b->visitor[rng_below(r, known)]];
        if (day >= c->active_until) {
            continue;
        }
        struct sim_tx t;
        shop_fraud(s, &t, c, b->merchant, day, sim_between(r, 8.0, 22.0));
        t.pattern = SIM_COLLUSION;
        double amount = (double)b->amount_cents / 100.0;
        sim_amount(s, &t, sim_chance(r, .85) ? amount : sim_usual(s, r, c, b->merchant));
        sim_plan(s, &t);
        b->frauds_left--;
    }
}

/* One of the few machines of a gang, or a fresh one. */
static uint64_t gang_device(struct sim *s)
{
    struct rng *r = &s->fraud_rng;
    uint64_t *device = &s->gang_device[rng_below(r, SIM_GANG_DEVICES)];
    if (*device == 0 || sim_chance(r, .3)) {
        *device = rng_next(r) | 1;
    }
    return sim_chance(r, .5) ? *device : rng_next(r) | 1;
}

/* ---- 3: the account is taken over ---- */

static void take_over(struct sim *s, int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_card *c = pick_victim(s, r, day);
    if (c == NULL) {
        return;
    }
    /* After the drift half of them work from the owner's own, infected device. */
    bool own = drifted(s, day) && sim_chance(r, .5);
    uint64_t device = own ? c->device[0] : gang_device(s);
    uint32_t ip = own ? c->home_ip : thief_ip(s, c);
    int64_t at = sim_at_hour(s, r, day, sim_between(r, 0.0, 24.0), c->country);
    uint32_t n = 2 + sim_poisson(r, 2.2);
    double times = sim_lognormal(r, 1.0, .4);
    bool check = sim_chance(r, .3);
    for (uint32_t i = 0; i < n + check; i++) {
        struct sim_tx t;
        uint32_t m = sim_chance(r, .3) ? c->online[rng_below(r, SIM_FAV_ONLINE)]
                                       : sim_pick_loot(s, r, s->online);
        online_fraud(s, &t, c, m, at);
        t.device = device;
        t.ip = ip;
        t.pattern = SIM_TAKEOVER;
        sim_amount(s, &t, times * sim_usual(s, r, c, m));
        if (check && i == 0) {
            t.type = TX_CHECK;
            t.amount_minor = 0;
        }
        sim_plan(s, &t);
        times *= sim_lognormal(r, .3, .2);
        at = later(r, at, 2.0);
    }
    close_episode(s, c, at, .8);
}

/* ---- 4: a list of stolen numbers is tried out ---- */

static void test_card(struct sim *s, int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_card *c = pick_victim(s, r, day);
    if (c == NULL) {
        return;
    }
    int64_t at = sim_at_hour(s, r, day, usual_hour(r, c), c->country);
    uint32_t small = 1 + sim_poisson(r, .8);
    uint32_t big = 1 + sim_poisson(r, 1.2);
    uint64_t device = sim_chance(r, .15) ? 0 : c->device[rng_below(r, 2)]; /* spoofed */
    uint32_t neighbour = (c->home_ip & 0xffffff00U) | (uint32_t)rng_below(r, 256);
    uint32_t ip = sim_chance(r, .5) ? neighbour : thief_ip(s, c);
    double times = sim_lognormal(r, 1.2, .4);
    for (uint32_t i = 0; i < small + big; i++) {
        struct sim_tx t;
        uint32_t m = i < small ? sim_pick_in(s, r, s->online) : sim_pick_loot(s, r, s->online);
        online_fraud(s, &t, c, m, at);
        t.device = device;
        t.ip = ip;
        t.pattern = SIM_TESTING;
        double amount = i < small ? sim_lognormal(r, .9, .7) : times * sim_usual(s, r, c, m);
        sim_amount(s, &t, amount);
        if (i < small && sim_chance(r, .15)) {
            t.type = TX_CHECK;
            t.amount_minor = 0;
        }
        sim_plan(s, &t);
        at = later(r, at, i + 1 < small ? .3 : 3.0);
    }
    close_episode(s, c, at, .9);
}

/* ---- 5: a mule ---- */

static void run_mule(struct sim *s, int32_t day)
{
    struct rng *r = &s->fraud_rng;
    struct sim_card *c = pick_victim(s, r, day);
    if (c == NULL) {
        return;
    }
    struct sim_series series;
    sim_draw_series(r, c->log_level, &series);
    int64_t last = s->conf.start_us + day * SIM_DAY_US;
    for (uint32_t i = 0; i < series.count; i++) {
        uint32_t m = s->cash_point[c->country][c->city];
        struct sim_tx t;
        double hour = sim_between(r, 7.0, 23.0);
        int32_t then = day + (int32_t)series.at_day[i];
        sim_begin(s, &t, c, m, sim_at_hour(s, r, then, hour, c->country));
        sim_at_cash_point(s, r, &t);
        t.pattern = SIM_MULE;
        sim_amount(s, &t, series.amount[i]);
        sim_plan(s, &t);
        last = t.event_us;
    }
    close_episode(s, c, last, 0.0);
}

/* ---- the day ---- */

static void start_episode(struct sim *s, enum sim_pattern p, int32_t day)
{
    s->episodes[p] += 1.0;
    switch (p) {
    case SIM_STOLEN:
        steal_card(s, day);
        return;
    case SIM_TERMINAL:
        turn_bad(s, day, true);
        return;
    case SIM_TAKEOVER:
        take_over(s, day);
        return;
    case SIM_TESTING:
        test_card(s, day);
        return;
    case SIM_MULE:
        run_mule(s, day);
        return;
    case SIM_COLLUSION:
        turn_bad(s, day, false);
        return;
    case SIM_LEGITIMATE:
    case SIM_FRIENDLY: /* sim_habits.c: the owner's own payments */
    case SIM_PATTERN_COUNT:
        return;
    }
}

void sim_crime_day(struct sim *s, int32_t day)
{
    double legitimate = (double)s->planned_today;
    for (uint32_t i = 0; i < s->bad_places; i++) {
        struct sim_bad_place *b = &s->bad[i];
        if (b->until > day && b->terminal == 0) {
            charge_again(s, b, day);
        }
    }
    for (unsigned p = SIM_STOLEN; p < SIM_FRIENDLY; p++) {
        enum sim_pattern which = (enum sim_pattern)p;
        /* Ten imagined episodes of the expected size, then what was seen. */
        double rows = (s->frauds[p] + 10.0 * EXPECTED_ROWS[p]) / (s->episodes[p] + 10.0);
        double wanted = legitimate * s->conf.fraud_share * sim_pattern_weight(s, which, day);
        uint32_t n = sim_poisson(&s->fraud_rng, wanted / (rows > .2 ? rows : .2));
        for (uint32_t i = 0; i < n; i++) {
            start_episode(s, which, day);
        }
    }
}
