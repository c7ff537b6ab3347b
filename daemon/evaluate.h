/* What a model's scores are worth on a stretch of history: the figures of `backtest` and `demo`,
 * with intervals, and the difference of two models. */
#ifndef FD_DAEMON_EVALUATE_H
#define FD_DAEMON_EVALUATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/judged.h"

enum figure {
    FIGURE_AUC,
    FIGURE_AP,
    FIGURE_CARD_PRECISION,
    FIGURE_RECALL,    /* of the alerts */
    FIGURE_PRECISION, /* of the alerts */
    FIGURE_VALUE,     /* share of the frauds' amounts in alerted payments */
    FIGURE_EXPECTED,  /* expected over observed frauds */
    FIGURE_SLOPE,     /* of Cox's calibration line */
    FIGURE_ERROR,     /* equal-mass calibration error */
    FIGURE_COUNT
};

enum figure_aim { AIM_HIGH, AIM_LOW, AIM_ONE };

struct figure_info {
    const char *name; /* in JSON: "auc" */
    const char *text; /* for people: "AUC" */
    enum figure_aim aim;
    int digits; /* after the point */
};
extern const struct figure_info FIGURES[FIGURE_COUNT];

/* The groups of the equal-mass calibration error. */
#define EVALUATE_GROUPS 10

#define EVALUATE_RESAMPLES_MAX 10000

struct evaluate_conf {
    size_t top_cards; /* examined a day, for card precision; > 0 */
    size_t resamples; /* of the bootstrap, EVALUATE_RESAMPLES_MAX at most; 0: no intervals */
    uint64_t seed;
};

struct figures {
    size_t payments, frauds, cards, days, alerts, caught;
    size_t top_cards;
    double expected; /* sum of the probabilities */
    /* NAN where a figure has no meaning (no fraud, no alert ..) */
    double value[FIGURE_COUNT];
    size_t resamples;
    double *resampled; /* [resamples, FIGURE_COUNT] owned; NULL without */
};

/* Measures.  The bootstrap draws whole cards with replacement (a card's payments are one story, so
 * they stay together): the resamples of two models of the same payments are the same ones.  One
 * thread uses s.  ERR_INVALID too many resamples;  ERR_NOMEM */
FD_MUSTCHECK enum err evaluate(const struct judged_set *s, const struct evaluate_conf *c,
                               struct figures *out, struct errmsg *e);
void figures_done(struct figures *g);

/* 95 % of the resamples are inside (percentiles); NAN without resamples that have the figure. */
struct interval {
    double low, high;
};
struct interval figures_interval(const struct figures *g, enum figure f);

/* a minus b, with the share of resamples that favour a: higher, lower or nearer to one as the
 * figure's aim is, ties half. */
struct difference {
    double value;
    struct interval interval;
    double in_favour;
};
struct difference figures_difference(const struct figures *a, const struct figures *b,
                                     enum figure f);

#endif
