/* Runs the simulated days and hands their rows out in order of time.
 *
 * 1. A day is planned whole before its first row leaves; plans reach forward only, so no row comes
 *    after a later one.
 * 2. The agenda is a binary heap by (event_us, order of planning): a total order, so equal times
 *    have one result.
 * 3. What is planned beyond the last day is dropped. */
#include "daemon/simulate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/sim_world.h"

/* Rows of a card and a day at rate_scale 1, as measured (tests/bench/simulator_check.py prints it).
 */
#define ROWS_PER_CARD_DAY .913

void sim_conf_default(struct sim_conf *conf)
{
    *conf = (struct sim_conf){.seed = 1,
                              .cards = 5000,
                              .merchants = 2000,
                              .days = 180,
                              .start_us = INT64_C(1767225600000000), /* 2026-01-01 */
                              .fraud_share = .007,
                              .label_max_days = 120};
}

static enum err check_conf(const struct sim_conf *k, struct errmsg *e)
{
    if (k->cards < 10 || k->cards > 2000000) {
        return err_set(e, ERR_INVALID, "%u cards: between 10 and 2000000 can be simulated",
                       k->cards);
    }
    if (k->merchants < 100 || k->merchants > 1000000) {
        return err_set(e, ERR_INVALID, "%u merchants: between 100 and 1000000 can be simulated",
                       k->merchants);
    }
    if (k->days < 1 || k->days > 3660) {
        return err_set(e, ERR_INVALID, "%u days: between 1 and 3660 can be simulated", k->days);
    }
    int64_t last_us = INT64_C(4102444800000000) - (int64_t)k->days * SIM_DAY_US;
    if (k->start_us % SIM_DAY_US != 0 || k->start_us < INT64_C(946684800000000) ||
        k->start_us > last_us) {
        return err_set(e, ERR_INVALID,
                       "the days must lie between 2000-01-01 and 2099-12-31 and begin at midnight");
    }
    if (!(k->fraud_share >= 0.0 && k->fraud_share <= .05)) {
        return err_set(e, ERR_INVALID, "a fraud share of %g: between 0 and 0.05 can be simulated",
                       k->fraud_share);
    }
    if ((unsigned)k->new_pattern >= SIM_PATTERN_COUNT) {
        return err_set(e, ERR_INVALID, "pattern %u cannot be the new one: there are %u",
                       (unsigned)k->new_pattern, (unsigned)SIM_PATTERN_COUNT - 1);
    }
    if (k->label_max_days < 1 || k->label_max_days > 365) {
        return err_set(e, ERR_INVALID, "a label delay of %u days: 1 to 365 are possible",
                       k->label_max_days);
    }
    double rows = (double)k->transactions / ((double)k->cards * (double)k->days);
    if (k->transactions > 0 && (rows < .02 || rows > 30.0)) {
        return err_set(e, ERR_INVALID,
                       "%llu transactions are %.3g a card and day: between 0.02 and 30 can be "
                       "simulated, so change the number of cards or days",
                       (unsigned long long)k->transactions, rows);
    }
    return ERR_OK;
}

static bool allocate(struct sim *s)
{
    s->merchant = calloc(s->conf.merchants, sizeof *s->merchant);
    s->card = calloc(s->conf.cards, sizeof *s->card);
    s->bad_merchant = calloc(s->conf.merchants, sizeof *s->bad_merchant);
    /* Marks of bad places are 16 bits. */
    uint32_t places = 64 + s->conf.merchants / 20;
    s->bad_places = places < 65000 ? places : 65000;
    s->bad = calloc(s->bad_places, sizeof *s->bad);
    s->agenda_size = 4096;
    s->agenda = malloc(s->agenda_size * sizeof *s->agenda);
    if (s->merchant == NULL || s->card == NULL || s->bad_merchant == NULL || s->bad == NULL ||
        s->agenda == NULL) {
        return false;
    }
    sim_make_merchants(s);
    s->bad_terminal = calloc((size_t)s->terminals + 1, sizeof *s->bad_terminal);
    return s->bad_terminal != NULL;
}

enum err sim_create(const struct sim_conf *conf, struct sim **out_sim, struct errmsg *e)
{
    enum err err = check_conf(conf, e);
    if (err != ERR_OK) {
        return err;
    }
    struct sim *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the simulator");
    }
    s->conf = *conf;
    s->rate_scale = 1.0;
    if (conf->transactions > 0) {
        double natural = ROWS_PER_CARD_DAY * (double)conf->cards * (double)conf->days;
        s->rate_scale = (double)conf->transactions / natural;
    }
    if (!allocate(s)) {
        sim_free(s);
        return err_set(e, ERR_NOMEM, "no memory for %u cards and %u merchants", conf->cards,
                       conf->merchants);
    }
    sim_make_cards(s);
    sim_stream(s, STREAM_FRAUD, 0, 0, &s->fraud_rng);
    sim_stream(s, STREAM_LABEL, 0, 0, &s->label_rng);
    *out_sim = s;
    return ERR_OK;
}

void sim_free(struct sim *s)
{
    if (s == NULL) {
        return;
    }
    free(s->merchant);
    free(s->card);
    free(s->bad_merchant);
    free(s->bad);
    free(s->bad_terminal);
    free(s->agenda);
    free(s);
}

double sim_expected_rows(const struct sim_conf *conf)
{
    return conf->transactions > 0 ? (double)conf->transactions
                                  : ROWS_PER_CARD_DAY * (double)conf->cards * (double)conf->days;
}

/* ---- the agenda ---- */

static bool before(const struct sim_plan *a, const struct sim_plan *b)
{
    return a->tx.event_us < b->tx.event_us ||
           (a->tx.event_us == b->tx.event_us && a->order < b->order);
}

static bool make_room(struct sim *s)
{
    if (s->agenda_count < s->agenda_size) {
        return true;
    }
    struct sim_plan *more = realloc(s->agenda, 2 * s->agenda_size * sizeof *more);
    if (more == NULL) {
        s->out_of_memory = true;
        return false;
    }
    s->agenda = more;
    s->agenda_size *= 2;
    return true;
}

void sim_plan(struct sim *s, const struct sim_tx *t)
{
    int64_t end_us = s->conf.start_us + (int64_t)s->conf.days * SIM_DAY_US;
    assert(t->event_us >= s->conf.start_us + s->day * SIM_DAY_US);
    s->frauds[t->pattern] += 1.0;
    s->planned_today++;
    if (t->event_us >= end_us || !make_room(s)) {
        return;
    }
    struct sim_plan plan = {*t, s->planned++};
    size_t i = s->agenda_count++;
    while (i > 0 && before(&plan, &s->agenda[(i - 1) / 2])) {
        s->agenda[i] = s->agenda[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->agenda[i] = plan;
}

static void take_first(struct sim *s, struct sim_tx *out)
{
    *out = s->agenda[0].tx;
    struct sim_plan last = s->agenda[--s->agenda_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->agenda_count) {
            break;
        }
        if (child + 1 < s->agenda_count && before(&s->agenda[child + 1], &s->agenda[child])) {
            child++;
        }
        if (!before(&s->agenda[child], &last)) {
            break;
        }
        s->agenda[i] = s->agenda[child];
        i = child;
    }
    s->agenda[i] = last;
}

static void plan_day(struct sim *s)
{
    s->planned_today = 0;
    for (uint32_t i = 0; i < s->conf.cards; i++) {
        sim_live_day(s, i, s->day);
    }
    sim_crime_day(s, s->day);
    s->day++;
}

enum err sim_next(struct sim *s, struct sim_tx *out_tx, struct errmsg *e)
{
    /* Rows before the start of the next day to plan are final. */
    while ((uint32_t)s->day < s->conf.days &&
           (s->agenda_count == 0 ||
            s->agenda[0].tx.event_us >= s->conf.start_us + s->day * SIM_DAY_US)) {
        plan_day(s);
    }
    if (s->out_of_memory) {
        return err_set(e, ERR_NOMEM, "no memory for %zu planned payments; simulate fewer cards",
                       s->agenda_count);
    }
    if (s->agenda_count == 0) {
        return ERR_END;
    }
    take_first(s, out_tx);
    out_tx->number = ++s->emitted;
    if (out_tx->pattern != SIM_LEGITIMATE) {
        enum sim_pattern p = (enum sim_pattern)out_tx->pattern;
        out_tx->label_us = out_tx->event_us + sim_label_delay_us(s, p);
    }
    return ERR_OK;
}
