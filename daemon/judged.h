/* Judged payments made ready for measuring: one population of a backtest, its rows from the highest
 * score to the lowest, cards and days numbered. */
#ifndef FD_DAEMON_JUDGED_H
#define FD_DAEMON_JUDGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/metrics.h"

/* One judged payment. */
struct judged {
    uint64_t card;
    int64_t event_us;
    double amount;    /* reference units */
    float score;      /* probability as a decision carries it */
    uint16_t segment; /* daemon/segments.h, where figures are told apart */
    bool fraud;
    bool alert;      /* by the threshold in force */
    bool known_card; /* left out by the handbook's rule */
};

struct card_fraud {
    uint64_t card;
    int64_t event_us;
};

/* Marks, by the Fraud Detection Handbook's rule (ch. 3 and 4), the payments of test day D of cards
 * with a fraud on the days from `first day - 14` to D - 8.  frauds: every fraud of the history;
 * they are put in order. */
void judged_mark_known(struct judged *j, size_t n, struct card_fraud *frauds, size_t fraud_count,
                       int64_t first_day_us);

/* A plain struct to read; arrays are [n]. */
struct judged_set {
    size_t n, frauds, cards, days;
    float *score;   /* descending, ties in order of event */
    float *logit;   /* of the score */
    double *amount; /* reference units */
    uint8_t *fraud; /* 0 or 1 */
    uint8_t *alert;
    uint32_t
        *card;     /* number below `cards`, in order of the first event: the same for every model */
    uint32_t *day; /* number below `days`, in order of time */
    int64_t *date; /* [days] UTC day number */
    struct metrics_cards *by_card;
};

/* Which payments are in. */
typedef bool (*judged_with)(const struct judged *j, void *ctx);
/* Leaves the marked ones out. */
bool judged_not_known(const struct judged *j, void *ctx);

/* j: in order of event time.  with: NULL takes all.  Returns an owned set.
 * ERR_NOMEM;  ERR_NUMERIC a score is NAN */
FD_MUSTCHECK enum err judged_set_create(const struct judged *j, size_t n, judged_with with,
                                        void *ctx, struct judged_set **out, struct errmsg *e);
void judged_set_free(struct judged_set *s);

#endif
