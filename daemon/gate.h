/* The gate of an update: whether the new model may become a candidate.  It is measured on payments
 * that no one has learnt (the sealed stretch, the gate's half of the cards), beside the model in
 * service on the same payments, and the labels themselves are measured by the model in service. */
#ifndef FD_DAEMON_GATE_H
#define FD_DAEMON_GATE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/update_rows.h"
#include "model/model.h"

enum gate_measure {
    GATE_AP,             /* new over served, as the next three */
    GATE_CARD_PRECISION, /* at the half's share of the budget */
    GATE_PRECISION,      /* of the alerts within the budget */
    GATE_VALUE,          /* share of the frauds' amounts that these find */
    GATE_EXPECTED_LOW,   /* expected over observed frauds of the new model .. */
    GATE_EXPECTED_HIGH,  /* .. from below and from above */
    GATE_FORGETTING,     /* AP of the replayed payments, new over served */
    /* of news and of sealed payments, the worse: */
    GATE_LABEL_RATE,     /* share of frauds over that of the replay */
    GATE_LABEL_SURE,     /* frauds, with what chance may take of them, over expected ones where the
                            served model is sure of fraud */
    GATE_LABEL_UNLIKELY, /* the same where it is sure of none, less what chance may add */
    GATE_LABEL_GROUP,    /* as SURE, of the worst segment or part of the merchants */
    GATE_COUNT
};
#define GATE_LABELS GATE_LABEL_RATE /* the first one that judges labels, not models */

struct gate_conf {
    double bound[GATE_COUNT];
    double budget; /* alerts a day, of all cards */
};

#define GATE_WHERE_MAX 64

struct gate_row {
    double value;  /* what the bound is about; NAN: cannot be measured */
    double served; /* figures it was made of: served and new model, or observed and expected */
    double made;   /* (NAN where there are none) */
    bool measured, passed;
    char where[GATE_WHERE_MAX]; /* it was found, or "" */
};

struct gate_report {
    struct gate_row row[GATE_COUNT];
    size_t payments, frauds; /* of the gate */
    double auc, ap, brier;   /* of the new model on it */
    double bound[GATE_COUNT];
    bool measured; /* false: the labels were not believed, so there is no new model */
    bool passed;
};

/* The options "gate.*", one a measure; a part of the settings' table. */
#define GATE_OPTIONS                                                                               \
    {"gate.ap",                                                                                    \
     CONF_REAL,                                                                                    \
     0,                                                                                            \
     ".95",                                                                                        \
     0,                                                                                            \
     2,                                                                                            \
     "an update's average precision over that of the model in service, at least"},                 \
        {"gate.card-precision",                                                                    \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".9",                                                                                     \
         0,                                                                                        \
         2,                                                                                        \
         "the same of card precision at the budget"},                                              \
        {"gate.precision", CONF_REAL, 0, ".9", 0, 2, "the same of the alerts' precision"},         \
        {"gate.value", CONF_REAL, 0, ".85", 0, 2, "the same of the fraud value the alerts find"},  \
        {"gate.expected-low",                                                                      \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".7",                                                                                     \
         0,                                                                                        \
         1,                                                                                        \
         "an update's expected frauds over the observed ones, at least"},                          \
        {"gate.expected-high",                                                                     \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "1.4",                                                                                    \
         1,                                                                                        \
         100,                                                                                      \
         "an update's expected frauds over the observed ones, at most"},                           \
        {"gate.forgetting",                                                                        \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".97",                                                                                    \
         0,                                                                                        \
         2,                                                                                        \
         "average precision on replayed older payments over that of the model in service, at "     \
         "least"},                                                                                 \
        {"gate.label-rate",                                                                        \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "2.5",                                                                                    \
         1,                                                                                        \
         1000,                                                                                     \
         "share of frauds among new labels over that of older ones, at most"},                     \
        {"gate.label-sure",                                                                        \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         ".95",                                                                                    \
         0,                                                                                        \
         1,                                                                                        \
         "where the model in service is sure of fraud: new labels of fraud, and two standard "     \
         "deviations more, over expected ones, at least"},                                         \
        {"gate.label-unlikely",                                                                    \
         CONF_REAL,                                                                                \
         0,                                                                                        \
         "1.2",                                                                                    \
         1,                                                                                        \
         1000,                                                                                     \
         "where it is sure of none: new labels of fraud, less two standard deviations, over "      \
         "expected ones, at most"},                                                                \
    {                                                                                              \
        "gate.label-group", CONF_REAL, 0, ".6", 0, 1,                                              \
            "as gate.label-sure with three deviations, in the worst channel, country, mcc, type, " \
            "amount band or sixteenth of the merchants, at least"                                  \
    }

void gate_conf_read(const struct conf *c, struct gate_conf *out);

/* Probabilities of all kept payments as the served network gives them, in the same bytes where a
 * payment's context is complete.  out: [r->n]. */
FD_MUSTCHECK enum err gate_score(const struct model *m, const struct update_rows *r, float *out,
                                 struct errmsg *e);

/* The labels alone, before anything is learnt from them.  served: [r->n] probabilities of the model
 * in service.  ERR_NOMEM */
FD_MUSTCHECK enum err gate_judge_labels(const struct gate_conf *c, const struct update_rows *r,
                                        const float *served, struct gate_report *out,
                                        struct errmsg *e);

/* Adds what the new model is worth.  made: [r->n] its probabilities; out: of gate_judge_labels.
 * ERR_NOMEM;  ERR_NUMERIC a probability is NAN */
FD_MUSTCHECK enum err gate_judge(const struct gate_conf *c, const struct update_rows *r,
                                 const float *served, const float *made, struct gate_report *out,
                                 struct errmsg *e);

/* How a measure is spoken of.  Static memory. */
struct gate_words {
    const char *option, *text;
    bool at_least;              /* else at most */
    const char *first, *second; /* what `served` and `made` of its row are */
};
const struct gate_words *gate_measure_words(enum gate_measure m);

/* One line a measure. */
void gate_print(const struct gate_report *g, FILE *f);

/* Sentences on the bounds that were missed and by how much; "" where none was. */
#define GATE_TEXT_MAX 1200
void gate_misses(const struct gate_report *g, char out[GATE_TEXT_MAX]);

#endif
