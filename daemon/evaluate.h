/* What a model's scores are worth on a stretch of history: the figures of `backtest` and `demo`. */
#ifndef FD_DAEMON_EVALUATE_H
#define FD_DAEMON_EVALUATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* One judged payment. */
struct judged {
    uint64_t card;
    int64_t event_us;
    double score;  /* probability */
    double amount; /* reference units */
    bool fraud;
    bool alert;      /* by the threshold in force */
    bool known_card; /* left out by the book's rule */
};

struct figures {
    size_t payments, frauds, alerts, caught, days;
    double auc, ap, card_precision; /* at 100 cards a day */
    double recall, precision;       /* of the alerts */
    double value_share;             /* of the frauds' amounts in alerted payments */
    double expected;                /* sum of probabilities: frauds the model expects */
    double calibration_error;       /* 10 groups of equal size */
};

/* Marks, by the handbook's rule, the payments of cards with a fraud between 14 and 8 days before
 * the test day.  frauds: every fraud of the history (card, event time), any order. */
struct card_fraud {
    uint64_t card;
    int64_t event_us;
};
FD_MUSTCHECK enum err evaluate_mark_known(struct judged *j, size_t n, struct card_fraud *frauds,
                                          size_t fraud_count, int64_t first_day_us,
                                          struct errmsg *e);

/* skip_known: leaves marked payments out.  Reorders nothing; allocates and frees scratch. */
FD_MUSTCHECK enum err evaluate(const struct judged *j, size_t n, bool skip_known,
                               struct figures *out, struct errmsg *e);
void figures_print(FILE *f, const char *title, const struct figures *g);

#endif
