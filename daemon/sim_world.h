/* The simulator's inside: the tables of countries and merchant categories, the population, and what
 * its files share.  Nobody else includes this. */
#ifndef FD_DAEMON_SIM_WORLD_H
#define FD_DAEMON_SIM_WORLD_H

#include "base/rng.h"
#include "daemon/simulate.h"

#define SIM_COUNTRIES 18
#define SIM_CITIES 3 /* a country */
#define SIM_MCCS 28
#define SIM_FAV_SHOPS 9
#define SIM_FAV_ONLINE 5
#define SIM_DEVICES 3
#define SIM_SUBSCRIPTIONS 3
#define SIM_GANG_DEVICES 6
#define SIM_VISITORS 48 /* remembered by a colluding merchant */

#define SIM_HOUR_US INT64_C(3600000000)
#define SIM_DAY_US (24 * SIM_HOUR_US)

struct sim_country {
    char code[4];
    char currency[4];
    uint8_t minor_digits;
    int8_t utc_offset_h;
    double per_ref; /* units of its currency for one reference unit (EUR) */
    double lat, lon;
    double spread_deg;    /* of its cities around the centre */
    double home_weight;   /* share of the cards */
    double travel_weight; /* as a destination */
    double magstripe;     /* share of payments at a shop */
};

struct sim_mcc {
    uint16_t mcc;
    uint8_t open_h, close_h; /* local; 0..24: always */
    double median;           /* reference units */
    double sigma;            /* of ln(amount) */
    double shop_weight;      /* how often a shop is one of these */
    double online_weight;
    double resale; /* how much a thief likes it */
    bool monthly;  /* sells subscriptions */
};

extern const struct sim_country SIM_COUNTRY[SIM_COUNTRIES];
extern const struct sim_mcc SIM_MCC[SIM_MCCS];

struct sim_merchant {
    double log_price;        /* against others of its category */
    double popularity_until; /* running sum over the merchants, this one included */
    uint32_t first_terminal; /* 1.. ; 0 where online */
    int32_t lat_e4, lon_e4;
    uint16_t terminal_count;
    uint8_t kind; /* index into SIM_MCC */
    uint8_t country, city;
    uint8_t open_h, close_h;
    bool online;
};

struct sim_card {
    uint64_t device[SIM_DEVICES]; /* the first is the one in daily use */
    double log_level;             /* of amounts */
    double rate;                  /* payments of habit a day */
    double online_share;
    double contactless_share;
    double explore;        /* share of payments at a place that is no favourite */
    double hour_a, hour_b; /* local hours of the two busy times of the day */
    uint32_t number;       /* of the card in use */
    uint32_t shop[SIM_FAV_SHOPS];
    uint32_t online[SIM_FAV_ONLINE];
    uint32_t subscription[SIM_SUBSCRIPTIONS];
    int32_t subscription_cents[SIM_SUBSCRIPTIONS];
    uint32_t home_ip;
    int32_t lat_e4, lon_e4;
    int32_t travel_until; /* days; the first one at home again */
    int32_t episode_until;
    int32_t lost_until; /* its owner has no plastic before this day */
    int32_t replace_on; /* a new number from this day; -1 none */
    int32_t active_from, active_until;
    uint8_t subscription_day[SIM_SUBSCRIPTIONS]; /* 0..27 */
    uint8_t subscriptions;
    uint8_t country, city;
    uint8_t away_country, away_city;
};

/* A range of the merchants, sorted by place; online shops are the last range. */
struct sim_range {
    uint32_t first, end;
};

/* A terminal or merchant gone bad. */
struct sim_bad_place {
    uint32_t visitor[SIM_VISITORS]; /* cards seen; collusion charges them again */
    uint32_t merchant;
    uint32_t terminal; /* 0: the whole merchant */
    uint32_t visitors; /* so far; the ring keeps the last ones */
    int32_t from, until;
    int32_t frauds_left;
    int64_t amount_cents; /* collusion's favourite */
};

/* Something planned; the agenda is a binary heap ordered by (event_us, order). */
struct sim_plan {
    struct sim_tx tx;
    uint64_t order;
};

struct sim {
    struct sim_conf conf;
    struct sim_merchant *merchant; /* [conf.merchants] */
    struct sim_card *card;         /* [conf.cards] */
    uint16_t *bad_terminal;        /* [terminals + 1]: index into bad + 1 */
    struct sim_bad_place *bad;     /* [bad_places] */
    uint16_t *bad_merchant;        /* [conf.merchants] */
    struct sim_plan *agenda;
    size_t agenda_count, agenda_size;
    uint64_t planned, emitted;
    struct sim_range place[SIM_COUNTRIES][SIM_CITIES];
    struct sim_range in_country[SIM_COUNTRIES];
    struct sim_range online;
    uint32_t cash_point[SIM_COUNTRIES][SIM_CITIES]; /* a merchant */
    double city_lat[SIM_COUNTRIES][SIM_CITIES];
    double city_lon[SIM_COUNTRIES][SIM_CITIES];
    double episodes[SIM_PATTERN_COUNT];
    double frauds[SIM_PATTERN_COUNT]; /* planned */
    uint64_t gang_device[SIM_GANG_DEVICES];
    struct rng fraud_rng, label_rng;
    double rate_scale;
    uint32_t next_card, terminals, bad_places;
    int32_t day; /* being planned next */
    uint64_t planned_today;
    bool out_of_memory;
};

/* Streams of random numbers: one a purpose, so that one part's draws never shift another's. */
enum sim_stream { STREAM_MERCHANT = 1, STREAM_CARD, STREAM_DAY, STREAM_FRAUD, STREAM_LABEL };
void sim_stream(const struct sim *s, enum sim_stream which, uint64_t a, uint64_t b, struct rng *r);

/* ---- draws ---- */
bool sim_chance(struct rng *r, double p);
double sim_between(struct rng *r, double low, double high);
double sim_lognormal(struct rng *r, double log_mean, double sigma);
uint32_t sim_poisson(struct rng *r, double mean);

/* Cash in growing amounts at shrinking intervals: a mule; read from its end, somebody's wages. */
#define SIM_SERIES_MAX 20
struct sim_series {
    double amount[SIM_SERIES_MAX]; /* reference units */
    double at_day[SIM_SERIES_MAX]; /* from 0 */
    uint32_t count;
};
void sim_draw_series(struct rng *r, double log_level, struct sim_series *out);

/* ---- population (sim_population.c) ---- */
void sim_make_merchants(struct sim *s);
void sim_make_cards(struct sim *s);
uint32_t sim_pick_in(const struct sim *s, struct rng *r, struct sim_range range);
uint32_t sim_pick_city(const struct sim *s, struct rng *r, unsigned country, unsigned city);
uint32_t sim_pick_loot(const struct sim *s, struct rng *r, struct sim_range range);
uint32_t sim_new_ip(struct rng *r, unsigned country);
uint8_t sim_pick_country(struct rng *r, bool travel);

/* ---- building a payment (sim_build.c) ---- */
/* A payment of the card at the merchant at an absolute time: names, place, currency. */
void sim_begin(const struct sim *s, struct sim_tx *t, const struct sim_card *c, uint32_t merchant,
               int64_t event_us);
/* At the counter: terminal, location, entry mode. */
void sim_at_shop(const struct sim *s, struct rng *r, struct sim_tx *t, double contactless);
void sim_at_cash_point(const struct sim *s, struct rng *r, struct sim_tx *t);
/* Amount in reference units into the currency of the merchant's country. */
void sim_amount(const struct sim *s, struct sim_tx *t, double reference_units);
/* What the card would usually pay there. */
double sim_usual(const struct sim *s, struct rng *r, const struct sim_card *c, uint32_t merchant);
/* Local hour on a day as absolute time, within that UTC day. */
int64_t sim_at_hour(const struct sim *s, struct rng *r, int32_t day, double local_hour,
                    unsigned country);
/* An hour in which the merchant is open, near the wanted one. */
double sim_open_hour(const struct sim *s, struct rng *r, uint32_t merchant, double hour);
/* Puts it on the agenda; counts frauds. */
void sim_plan(struct sim *s, const struct sim_tx *t);

/* ---- life and crime ---- */
void sim_live_day(struct sim *s, uint32_t card, int32_t day);
void sim_visit(struct sim *s, uint32_t card, const struct sim_tx *t); /* tells bad places */
void sim_crime_day(struct sim *s, int32_t day);
double sim_pattern_weight(const struct sim *s, enum sim_pattern p, int32_t day);
int64_t sim_label_delay_us(struct sim *s, enum sim_pattern p);

#endif
