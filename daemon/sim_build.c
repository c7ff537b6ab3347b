/* Puts one payment together: who, where, when, how much.
 *
 * 1. An event lies within the UTC day it is planned for, or later: never before what has left the
 *    agenda.
 * 2. Times are whole milliseconds, amounts whole minor units, degrees whole ten-thousandths: no
 *    floating-point number is printed. */
#include <string.h>

#include "base/detmath.h"
#include "daemon/sim_world.h"

void sim_begin(const struct sim *s, struct sim_tx *t, const struct sim_card *c, uint32_t merchant,
               int64_t event_us)
{
    const struct sim_merchant *m = &s->merchant[merchant];
    const struct sim_country *k = &SIM_COUNTRY[m->country];
    memset(t, 0, sizeof *t);
    t->event_us = event_us;
    t->card = c->number;
    t->merchant = merchant + 1;
    t->mcc = SIM_MCC[m->kind].mcc;
    t->minor_digits = k->minor_digits;
    memcpy(t->currency, k->currency, sizeof t->currency);
    memcpy(t->country, k->code, 3);
    t->type = TX_PURCHASE;
}

void sim_at_shop(const struct sim *s, struct rng *r, struct sim_tx *t, double contactless)
{
    const struct sim_merchant *m = &s->merchant[t->merchant - 1];
    t->channel = CHANNEL_POS;
    t->terminal = m->first_terminal + (uint32_t)rng_below(r, m->terminal_count);
    t->has_location = sim_chance(r, .97);
    if (t->has_location) {
        t->lat_e4 = m->lat_e4;
        t->lon_e4 = m->lon_e4;
    }
    t->entry = sim_chance(r, SIM_COUNTRY[m->country].magstripe) ? ENTRY_MAGSTRIPE
               : sim_chance(r, contactless)                     ? ENTRY_CONTACTLESS
               : sim_chance(r, .003)                            ? ENTRY_MANUAL
                                                                : ENTRY_CHIP;
}

void sim_at_cash_point(const struct sim *s, struct rng *r, struct sim_tx *t)
{
    sim_at_shop(s, r, t, .05);
    t->type = TX_CASH;
    t->channel = CHANNEL_ATM;
}

/* Money somebody counts out comes in tens; the rest ends in the merchant's habits. */
static double round_price(const struct sim_tx *t, double local, double per_ref)
{
    if (t->type == TX_CASH) {
        double note = per_ref < 2.0 ? 10.0 : per_ref < 15.0 ? 50.0 : per_ref < 60.0 ? 500.0 : 1e4;
        double notes = (double)(int64_t)(local / note + .5);
        return note * (notes < 1.0 ? 1.0 : notes);
    }
    if (t->mcc == 8398 || t->mcc == 4829) {
        double step = per_ref < 2.0 ? 5.0 : 20.0;
        double steps = (double)(int64_t)(local / step + .5);
        return step * (steps < 1.0 ? 1.0 : steps);
    }
    if (t->channel == CHANNEL_ECOMMERCE && (t->event_us / 1000) % 5 < 3) {
        return (double)(int64_t)local + .99;
    }
    return local;
}

void sim_amount(const struct sim *s, struct sim_tx *t, double reference_units)
{
    const struct sim_country *k = &SIM_COUNTRY[s->merchant[t->merchant - 1].country];
    double units = reference_units < .3 ? .3 : reference_units > 2e4 ? 2e4 : reference_units;
    double local = round_price(t, units * k->per_ref, k->per_ref);
    double minor = k->minor_digits == 0 ? local : local * 100.0;
    t->amount_minor = (int64_t)(minor + .5);
    if (t->amount_minor < 1) {
        t->amount_minor = 1;
    }
}

double sim_usual(const struct sim *s, struct rng *r, const struct sim_card *c, uint32_t merchant)
{
    const struct sim_merchant *m = &s->merchant[merchant];
    const struct sim_mcc *k = &SIM_MCC[m->kind];
    return sim_lognormal(r, det_log(k->median) + c->log_level + m->log_price, k->sigma * .75);
}

int64_t sim_at_hour(const struct sim *s, struct rng *r, int32_t day, double local_hour,
                    unsigned country)
{
    double utc = local_hour - (double)SIM_COUNTRY[country].utc_offset_h;
    while (utc < 0.0) {
        utc += 24.0;
    }
    while (utc >= 24.0) {
        utc -= 24.0;
    }
    int64_t ms = (int64_t)(utc * 3600000.0) + (int64_t)rng_below(r, 1000);
    if (ms >= 86400000) {
        ms = 86399999;
    }
    return s->conf.start_us + day * SIM_DAY_US + ms * 1000;
}

double sim_open_hour(const struct sim *s, struct rng *r, uint32_t merchant, double hour)
{
    const struct sim_merchant *m = &s->merchant[merchant];
    if (hour >= m->open_h && hour < m->close_h) {
        return hour;
    }
    return sim_between(r, m->open_h, m->close_h);
}
