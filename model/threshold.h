/* From a score to a decision: alerts a day that meet the analysts' budget, whatever the score
 * distribution does, and a bound above which a payment is declined.
 *
 * Invariants
 *  1. Time is event time (the partition's clock, which never goes back); nothing else is read.
 *  2. The threshold in force changes at multiples of THRESHOLD_STEP_US of the clock only, so that a
 *     replay in any batching finds the same one.
 *  3. A score at or above `floor` alerts even when the budget is spent.
 *  4. Within a day, at most `burst` budgets are spent on scores below the floor.
 *
 * Method: scores are counted in buckets of their log-odds (width 1/32), a pane a day.  The next
 * step's threshold is the streaming quantile of the last THRESHOLD_DAYS complete days and today, at
 * the share (budget left today) / (payments still expected today) where what is expected comes from
 * the same days' hours.  So a day that begins with many alerts is tightened before its evening, and
 * a shift of the distribution is followed within days while the day's budget bounds the harm at
 * once.  One owner; a plain value without pointers: a checkpoint may copy it as bytes. */
#ifndef FD_MODEL_THRESHOLD_H
#define FD_MODEL_THRESHOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define THRESHOLD_DAYS 14
#define THRESHOLD_BUCKETS 1024 /* log-odds -16 .. 16 */
#define THRESHOLD_HOURS 24
#define THRESHOLD_STEP_US (INT64_C(600) * 1000000)

enum outcome { OUTCOME_APPROVE = 0, OUTCOME_REVIEW, OUTCOME_DECLINE };

struct threshold_conf {
    double budget;         /* alerts a day of this partition; 0: only the floor alerts */
    double burst;          /* most budgets a day; >= 1 */
    int64_t day_offset_us; /* the day starts this long after 00:00 UTC */
    double floor;          /* probability from which nothing is suppressed */
    double decline;        /* probability from which a payment is declined; above 1: never */
    double decline_cost;   /* and probability * amount (reference units) at least this */
};

struct threshold_pane {
    uint32_t bucket[THRESHOLD_BUCKETS];
    uint32_t hour[THRESHOLD_HOURS];
    uint32_t events;
};

struct threshold {
    struct threshold_conf conf;
    int64_t clock_us; /* largest time so far; INT64_MIN before the first event */
    int64_t day;      /* of the clock, after the offset */
    int64_t step;     /* of the clock */
    uint32_t panes;   /* complete days kept */
    uint32_t newest;  /* index of today's pane */
    uint32_t alerts_today;
    double probability; /* in force */
    uint64_t events, alerts, declined;
    uint64_t suppressed; /* at or above the plain quantile, but the day's budget was spent */
    struct threshold_pane pane[THRESHOLD_DAYS + 1];
};

struct threshold_answer {
    enum outcome outcome;
    double threshold; /* probability in force for this event */
};

/* ERR_INVALID names the setting that is out of range. */
FD_MUSTCHECK enum err threshold_init(struct threshold *t, const struct threshold_conf *c,
                                     struct errmsg *e);

/* Other bounds from the next payment on; what is known of the stream stays.  The threshold in force
 * follows at its next step.  ERR_INVALID as threshold_init, or another day_offset_us: nothing
 * changed. */
FD_MUSTCHECK enum err threshold_change(struct threshold *t, const struct threshold_conf *c,
                                       struct errmsg *e);

/* The two change places, as their models do; what was decided until now (the counts of the stream
 * and today's alerts, which are the budget spent) stays with the place. */
void threshold_swap(struct threshold *served, struct threshold *other);

/* Decides one payment and counts it.  logit: calibrated log-odds; probability its logistic. */
struct threshold_answer threshold_decide(struct threshold *t, int64_t clock_us, double probability,
                                         double amount);

#endif
