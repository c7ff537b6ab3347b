/* What decisions turned out to be worth once verdicts are known: per model version, segment and
 * band of score, from what was decided and stored, not from a replay.  One owner. */
#ifndef FD_DAEMON_OUTCOMES_H
#define FD_DAEMON_OUTCOMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/evaluate.h"
#include "daemon/judged.h"
#include "daemon/segments.h"
#include "features/tx.h"
#include "model/stability.h"

#define OUTCOMES_VERSIONS 16 /* model versions of one stretch at most */
#define OUTCOMES_SEGMENTS 24 /* with more, those with the fewest payments become "other" */
#define OUTCOMES_VERSION_MAX 64

/* Bounds that every model version with enough frauds has to keep. */
enum outcomes_bound {
    OUTCOMES_PRECISION, /* of its alerts, at least */
    OUTCOMES_VALUE,     /* share of the frauds' amounts in alerted payments, at least */
    OUTCOMES_EXPECTED_LOW,
    OUTCOMES_EXPECTED_HIGH, /* expected over observed frauds */
    OUTCOMES_BOUNDS
};

struct outcomes_conf {
    int64_t from_us, to_us; /* event times, to_us not included */
    enum segment_kind segment;
    double bound[OUTCOMES_BOUNDS];
    size_t frauds_min; /* of a version, below which its bounds are not judged */
    struct evaluate_conf evaluate;
};

/* A stored decision with what is known of its payment. */
struct outcome_row {
    const struct tx *tx;
    const char *model;  /* version */
    double probability; /* NAN: could not be computed */
    bool alerted;       /* reviewed or declined, or would have been but for mode `observe` */
    bool controlled;    /* a list or rule decided, or mode `kill` */
    bool has_verdict, fraud;
    bool declined; /* it did not go through */
};

/* Sums over payments. */
struct outcome_sums {
    size_t payments, frauds, alerts, caught;
    double expected;            /* frauds, by the probabilities */
    double value, caught_value; /* of frauds, reference units */
};

struct outcomes_version {
    char name[OUTCOMES_VERSION_MAX];
    struct figures figures;
    const char *breach[OUTCOMES_BOUNDS]; /* name of the setting that is missed, or NULL */
};

struct outcomes_segment {
    char name[SEGMENT_NAME_MAX];
    struct outcome_sums sums;
};

struct outcomes {
    struct outcomes_conf conf;
    size_t versions;
    struct outcomes_version version[OUTCOMES_VERSIONS];
    size_t segments;
    struct outcomes_segment segment[OUTCOMES_SEGMENTS];
    struct outcome_sums band[SCORE_BANDS];
    struct outcome_sums controlled; /* decided by people: no model is judged by them */
    size_t unscored;                /* probability could not be computed: reviewed, not judged */
    size_t unknown;                 /* declined and without a verdict: neither fraud nor not */
    size_t others;                  /* refunds and reversals, which nobody judges */
    /* inside: */
    struct judged *judged; /* [n]; segment is the version's number */
    size_t n, room;
    struct outcome_sums *by_segment; /* [UINT16_MAX + 1] */
};

/* The options "outcomes.*", one a bound; a part of the settings' table. */
#define OUTCOMES_OPTIONS                                                                           \
    {"outcomes.precision",                                                                         \
     CONF_REAL,                                                                                    \
     0,                                                                                            \
     ".05",                                                                                        \
     0,                                                                                            \
     1,                                                                                            \
     "`fraudd outcomes` fails where fewer of a model's alerts are frauds"},                        \
        {"outcomes.value",                                                                         \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".2",                                                                                     \
         0,                                                                                        \
         1,                                                                                        \
         "`fraudd outcomes` fails where a model's alerts hold a smaller share of the frauds' "     \
         "amounts"},                                                                               \
        {"outcomes.expected-low",                                                                  \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".5",                                                                                     \
         0,                                                                                        \
         1e6,                                                                                      \
         "`fraudd outcomes` fails where a model expected fewer frauds than this for each one "     \
         "observed"},                                                                              \
        {"outcomes.expected-high",                                                                 \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "2",                                                                                      \
         0,                                                                                        \
         1e6,                                                                                      \
         "`fraudd outcomes` fails where a model expected more frauds than this for each one "      \
         "observed"},                                                                              \
    {                                                                                              \
        "outcomes.frauds", CONF_INT, 0, "30", 1, 1e9,                                              \
            "frauds of a model below which it is not judged"                                       \
    }

/* Reads the bounds. */
void outcomes_bounds(const struct conf *c, struct outcomes_conf *out);

/* ERR_NOMEM */
FD_MUSTCHECK enum err outcomes_init(struct outcomes *o, const struct outcomes_conf *c,
                                    struct errmsg *e);
/* In order of event time.  ERR_NOMEM;  ERR_MISMATCH too many model versions. */
FD_MUSTCHECK enum err outcomes_add(struct outcomes *o, const struct outcome_row *row,
                                   struct errmsg *e);
/* Fills versions, segments and breaches.  ERR_NOMEM */
FD_MUSTCHECK enum err outcomes_measure(struct outcomes *o, struct errmsg *e);
void outcomes_done(struct outcomes *o);

/* How many bounds are missed, by all versions. */
size_t outcomes_breaches(const struct outcomes *o);
/* One of a version in words: "precision .031 of its alerts, outcomes.precision asks for .05". */
#define OUTCOMES_TEXT_MAX 160
void outcomes_breach_text(const struct outcomes *o, const struct outcomes_version *v,
                          enum outcomes_bound b, char out[OUTCOMES_TEXT_MAX]);

/* outcomes_print.c */
void outcomes_print(const struct outcomes *o, FILE *f);
void outcomes_print_json(const struct outcomes *o, FILE *f);

#endif
