#include "model/threshold.h"

#include <math.h>
#include <string.h>

#include "base/detmath.h"

#define DAY_US (INT64_C(86400) * 1000000)
#define HOUR_US (INT64_C(3600) * 1000000)
#define LOGIT_LOW (-16.0)
#define BUCKETS_PER_UNIT 32.0
/* before anything is known of the stream: alert where the model is surer than not */
#define FIRST_PROBABILITY 0.5
/* with fewer payments than this the quantile is noise */
#define EVENTS_MIN 200U

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static enum err check_conf(const struct threshold_conf *c, struct errmsg *e)
{
    if (!(c->budget >= 0 && c->budget <= 1e9)) {
        return err_set(e, ERR_INVALID, "an alert budget of %g a day is not allowed; give 0 to 1e9",
                       c->budget);
    }
    if (!(c->burst >= 1 && c->burst <= 100)) {
        return err_set(e, ERR_INVALID, "alert burst %g is not allowed; give 1 to 100", c->burst);
    }
    if (!(c->floor > 0) || !(c->decline > 0) || !(c->decline_cost >= 0)) {
        return err_set(e, ERR_INVALID,
                       "alert floor %g, decline bound %g and cost %g must be positive", c->floor,
                       c->decline, c->decline_cost);
    }
    return ERR_OK;
}

enum err threshold_init(struct threshold *t, const struct threshold_conf *c, struct errmsg *e)
{
    enum err err = check_conf(c, e);
    if (err != ERR_OK) {
        return err;
    }
    memset(t, 0, sizeof *t);
    t->conf = *c;
    t->clock_us = INT64_MIN;
    t->probability = FIRST_PROBABILITY;
    return ERR_OK;
}

enum err threshold_change(struct threshold *t, const struct threshold_conf *c, struct errmsg *e)
{
    if (c->day_offset_us != t->conf.day_offset_us) {
        return err_set(e, ERR_INVALID, "the day's beginning cannot change while it runs");
    }
    enum err err = check_conf(c, e);
    if (err == ERR_OK) {
        t->conf = *c;
    }
    return err;
}

static uint32_t bucket_of(double probability)
{
    double logit = det_log(probability) - det_log1p(-probability);
    double at = (logit - LOGIT_LOW) * BUCKETS_PER_UNIT;
    if (!(at > 0)) {
        return 0;
    }
    return at < THRESHOLD_BUCKETS - 1 ? (uint32_t)at : THRESHOLD_BUCKETS - 1;
}

/* Lower edge of a bucket as a probability. */
static double edge_of(uint32_t bucket)
{
    return det_sigmoid(LOGIT_LOW + (double)bucket / BUCKETS_PER_UNIT);
}

static struct threshold_pane *today(struct threshold *t)
{
    return &t->pane[t->newest];
}

static void next_day(struct threshold *t)
{
    t->newest = (t->newest + 1) % (THRESHOLD_DAYS + 1);
    t->panes += t->panes < THRESHOLD_DAYS;
    memset(today(t), 0, sizeof *today(t));
    t->alerts_today = 0;
}

/* Payments still expected today: what the kept days saw after this time of day, a day. */
static double expected_rest(const struct threshold *t, int64_t in_day_us)
{
    double rest = 0;
    uint32_t hour = (uint32_t)(in_day_us / HOUR_US);
    double part = 1.0 - (double)(in_day_us % HOUR_US) / (double)HOUR_US;
    for (uint32_t i = 1; i <= t->panes; i++) {
        const struct threshold_pane *p =
            &t->pane[(t->newest + THRESHOLD_DAYS + 1 - i) % (THRESHOLD_DAYS + 1)];
        rest += part * (double)p->hour[hour];
        for (uint32_t h = hour + 1; h < THRESHOLD_HOURS; h++) {
            rest += (double)p->hour[h];
        }
    }
    if (t->panes > 0) {
        return rest / (double)t->panes;
    }
    /* first day: as many an hour as so far */
    double so_far = (double)t->pane[t->newest].events;
    return in_day_us > 0 ? so_far * (double)(DAY_US - in_day_us) / (double)in_day_us : so_far;
}

/* Smallest bucket edge with at most `share` of the kept payments at or above it. */
static double quantile(const struct threshold *t, double share)
{
    double total = 0;
    for (uint32_t i = 0; i <= t->panes; i++) {
        total +=
            (double)t->pane[(t->newest + THRESHOLD_DAYS + 1 - i) % (THRESHOLD_DAYS + 1)].events;
    }
    double allowed = share * total;
    double above = 0;
    for (uint32_t b = THRESHOLD_BUCKETS; b-- > 0;) {
        double here = 0;
        for (uint32_t i = 0; i <= t->panes; i++) {
            here += (double)t->pane[(t->newest + THRESHOLD_DAYS + 1 - i) % (THRESHOLD_DAYS + 1)]
                        .bucket[b];
        }
        if (above + here > allowed) {
            return edge_of(b + 1);
        }
        above += here;
    }
    return edge_of(0);
}

static void retune(struct threshold *t, int64_t in_day_us)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i <= t->panes; i++) {
        known += t->pane[(t->newest + THRESHOLD_DAYS + 1 - i) % (THRESHOLD_DAYS + 1)].events;
    }
    if (known < EVENTS_MIN) {
        return;
    }
    double left = t->conf.budget - (double)t->alerts_today;
    double rest = expected_rest(t, in_day_us);
    double share = left > 0 && rest > 0 ? left / rest : 0;
    t->probability = quantile(t, share < 1 ? share : 1);
}

static void advance(struct threshold *t, int64_t clock_us)
{
    int64_t local = clock_us - t->conf.day_offset_us;
    int64_t day = floor_div(local, DAY_US);
    int64_t step = floor_div(local, THRESHOLD_STEP_US);
    if (t->clock_us == INT64_MIN) {
        t->day = day;
        t->step = step;
    }
    if (day > t->day) {
        /* days without any payment say nothing about the stream: one pane, not many empty ones */
        next_day(t);
        t->day = day;
    }
    if (step > t->step) {
        t->step = step;
        retune(t, local - day * DAY_US);
    }
    t->clock_us = clock_us;
}

/* What was decided in a place until now. */
struct counts {
    uint32_t alerts_today;
    uint64_t events, alerts, declined, suppressed;
};

static struct counts counts_of(const struct threshold *t)
{
    return (struct counts){t->alerts_today, t->events, t->alerts, t->declined, t->suppressed};
}

static void set_counts(struct threshold *t, const struct counts *c)
{
    t->alerts_today = c->alerts_today;
    t->events = c->events;
    t->alerts = c->alerts;
    t->declined = c->declined;
    t->suppressed = c->suppressed;
}

void threshold_swap(struct threshold *served, struct threshold *other)
{
    const struct counts of_served = counts_of(served);
    const struct counts of_other = counts_of(other);
    const struct threshold was = *served;
    *served = *other;
    *other = was;
    set_counts(served, &of_served);
    set_counts(other, &of_other);
}

struct threshold_answer threshold_decide(struct threshold *t, int64_t clock_us, double probability,
                                         double amount)
{
    if (clock_us > t->clock_us) {
        advance(t, clock_us);
    }
    int64_t local = t->clock_us - t->conf.day_offset_us;
    struct threshold_pane *p = today(t);
    p->bucket[bucket_of(probability)]++;
    p->hour[(local - t->day * DAY_US) / HOUR_US]++;
    p->events++;
    t->events++;
    struct threshold_answer a = {OUTCOME_APPROVE, t->probability};
    if (a.threshold > t->conf.floor) {
        a.threshold = t->conf.floor;
    }
    bool spent = (double)t->alerts_today >= t->conf.budget * t->conf.burst;
    if (probability >= a.threshold) {
        if (spent && probability < t->conf.floor) {
            t->suppressed++;
        } else {
            a.outcome = OUTCOME_REVIEW;
            t->alerts_today++;
            t->alerts++;
        }
    }
    if (probability >= t->conf.decline && probability * amount >= t->conf.decline_cost) {
        a.outcome = OUTCOME_DECLINE;
        t->declined++;
    }
    return a;
}
