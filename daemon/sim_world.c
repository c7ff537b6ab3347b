/* The simulator's fixed tables, streams and draws.  Exchange rates, locations and prices are round
 * numbers of the right size: they need to be plausible and stable, not current. */
#include "daemon/sim_world.h"

#include "base/detmath.h"
#include "base/hash.h"

/* clang-format off */
const struct sim_country SIM_COUNTRY[SIM_COUNTRIES] = {
    {"DE", "EUR", 2, 1, 1.0, 51.1, 10.0, 2.2, 40.0, 6.0, .004},
    {"FR", "EUR", 2, 1, 1.0, 46.8, 2.5, 2.4, 14.0, 9.0, .003},
    {"NL", "EUR", 2, 1, 1.0, 52.2, 5.3, .6, 8.0, 5.0, .003},
    {"IT", "EUR", 2, 1, 1.0, 43.0, 12.0, 2.0, 8.0, 10.0, .008},
    {"ES", "EUR", 2, 1, 1.0, 40.2, -3.6, 2.2, 8.0, 12.0, .006},
    {"AT", "EUR", 2, 1, 1.0, 47.6, 14.1, 1.0, 5.0, 7.0, .004},
    {"BE", "EUR", 2, 1, 1.0, 50.7, 4.5, .6, 4.0, 4.0, .003},
    {"PL", "PLN", 2, 1, 4.3, 52.0, 19.4, 1.8, 5.0, 5.0, .01},
    {"GB", "GBP", 2, 0, .86, 52.5, -1.5, 1.6, 3.0, 8.0, .004},
    {"CH", "CHF", 2, 1, .96, 46.9, 8.2, .7, 3.0, 5.0, .004},
    {"CZ", "CZK", 2, 1, 25.0, 49.8, 15.3, 1.0, 1.0, 4.0, .01},
    {"SE", "SEK", 2, 1, 11.4, 59.0, 15.5, 2.0, 1.0, 3.0, .004},
    {"US", "USD", 2, -5, 1.08, 39.5, -85.0, 6.0, 0.0, 6.0, .16},
    {"TR", "TRY", 2, 3, 35.0, 38.8, 30.0, 2.2, 0.0, 6.0, .05},
    {"TH", "THB", 2, 7, 38.0, 14.0, 100.5, 2.5, 0.0, 3.0, .12},
    {"JP", "JPY", 0, 9, 160.0, 35.5, 137.5, 2.0, 0.0, 2.0, .06},
    {"AE", "AED", 2, 4, 4.0, 24.8, 55.0, .5, 0.0, 2.0, .05},
    {"BR", "BRL", 2, -3, 5.9, -21.0, -45.5, 3.0, 0.0, 1.0, .09},
};

const struct sim_mcc SIM_MCC[SIM_MCCS] = {
    {6011, 0, 24, 90.0, .55, 0.0, 0.0, 0.0, false},  /* cash points: placed by hand */
    {5411, 7, 22, 24.0, .80, 22.0, 1.0, .4, false},  /* groceries */
    {5499, 7, 23, 9.0, .70, 8.0, .0, .3, false},     /* convenience */
    {5541, 5, 24, 48.0, .45, 9.0, .0, .8, false},    /* fuel */
    {5812, 11, 24, 31.0, .65, 11.0, .0, .3, false},  /* restaurants */
    {5814, 7, 24, 9.5, .50, 11.0, 3.0, .2, false},   /* fast food */
    {5462, 6, 19, 5.5, .50, 7.0, .0, .05, false},    /* bakeries */
    {5912, 8, 20, 16.0, .70, 5.0, 2.0, .5, false},   /* pharmacies */
    {5311, 9, 21, 42.0, .80, 4.0, 4.0, 1.2, false},  /* department stores */
    {5651, 9, 21, 52.0, .70, 5.0, 8.0, 1.2, false},  /* clothing */
    {5732, 9, 20, 110.0, 1.0, 2.0, 7.0, 3.0, false}, /* electronics */
    {5944, 10, 19, 140.0, 1.0, .7, 1.0, 2.6, false}, /* jewellery */
    {5712, 10, 20, 160.0, 1.0, .8, 2.0, .5, false},  /* furniture */
    {5200, 8, 20, 38.0, .90, 2.0, 2.0, .7, false},   /* home supplies */
    {4111, 0, 24, 4.2, .60, 6.0, 2.0, .1, false},    /* local transport */
    {4121, 0, 24, 18.0, .55, 2.0, 2.0, .3, false},   /* taxis */
    {4511, 0, 24, 190.0, .80, 0.0, 2.5, 1.2, false}, /* airlines */
    {7011, 0, 24, 130.0, .70, 1.2, 2.5, .8, false},  /* hotels */
    {7832, 13, 24, 22.0, .40, .8, 1.0, .2, false},   /* cinemas */
    {5942, 9, 20, 17.0, .60, 1.0, 3.0, .2, false},   /* books */
    {5999, 9, 20, 33.0, .95, 1.5, 16.0, 1.0, false}, /* mixed retail */
    {5816, 0, 24, 6.0, .90, 0.0, 9.0, .9, false},    /* digital goods */
    {7995, 0, 24, 26.0, .95, .0, 2.0, .8, false},    /* betting */
    {8398, 0, 24, 15.0, .80, .0, 1.5, .3, false},    /* charities */
    {4829, 0, 24, 120.0, .85, .0, 2.0, 1.5, false},  /* money transfer */
    {4899, 0, 24, 11.0, .40, .0, 3.0, .05, true},    /* streaming */
    {4814, 0, 24, 24.0, .50, .3, 2.5, .4, true},     /* telephone */
    {6300, 0, 24, 47.0, .60, .0, 2.0, .05, true},    /* insurance */
};
/* clang-format on */

void sim_stream(const struct sim *s, enum sim_stream which, uint64_t a, uint64_t b, struct rng *r)
{
    rng_init(r, hash_pair(hash_pair(s->conf.seed, (uint64_t)which), hash_pair(a, b)));
}

bool sim_chance(struct rng *r, double p)
{
    return rng_uniform(r) < p;
}

double sim_between(struct rng *r, double low, double high)
{
    return low + (high - low) * rng_uniform(r);
}

double sim_lognormal(struct rng *r, double log_mean, double sigma)
{
    return det_exp(log_mean + sigma * rng_normal(r));
}

/* Knuth's product of uniforms, in portions whose exp() does not vanish. */
uint32_t sim_poisson(struct rng *r, double mean)
{
    uint32_t n = 0;
    double left = mean;
    while (left > 0.0) {
        double limit = det_exp(-(left < 30.0 ? left : 30.0));
        double product = rng_uniform(r);
        while (product > limit) {
            product *= rng_uniform(r);
            n++;
        }
        left -= 30.0;
    }
    return n;
}

void sim_draw_series(struct rng *r, double log_level, struct sim_series *out)
{
    uint32_t count = 6 + sim_poisson(r, 4.0);
    out->count = count < SIM_SERIES_MAX ? count : SIM_SERIES_MAX;
    double amount = 60.0 * sim_lognormal(r, log_level, .4);
    double gap_days = sim_between(r, 1.2, 4.5);
    double at_day = 0.0;
    for (uint32_t i = 0; i < out->count; i++) {
        out->amount[i] = amount * sim_between(r, .9, 1.1);
        out->at_day[i] = at_day;
        amount *= sim_between(r, 1.1, 1.4);
        gap_days *= sim_between(r, .74, 1.0);
        at_day += gap_days;
    }
}
