/* One decision about one payment: what is written to the decisions and alerts topics.
 *
 * Invariants
 *  1. Nothing in it depends on a clock, a machine or how payments were grouped.
 *  2. (log, partition, offset) identifies it: a second copy has the same bytes. */
#ifndef FD_DAEMON_DECISION_H
#define FD_DAEMON_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/wire.h"
#include "features/schema.h"

#define DECISION_REASONS_MAX 4

/* The group of a reason that is no column's: a control (daemon/control.h). */
#define REASON_CONTROL GROUP_COUNT

enum decision_outcome { DECISION_APPROVE = 0, DECISION_REVIEW, DECISION_DECLINE };

/* Why a payment stands out: one group of columns. */
struct reason {
    enum feature_group group; /* or REASON_CONTROL: then it decided, and weight is 0 */
    float weight;             /* how far the group moved the logit; finite */
    char text[160];           /* a sentence, zero-terminated */
};

/* A plain value; the slices borrow from whoever filled them. */
struct decision {
    struct slice tx;    /* the transaction's id */
    struct slice log;   /* this incarnation of the transactions topic, from the configuration */
    int32_t partition;  /* >= 0 */
    int64_t offset;     /* >= 0 */
    int64_t event_us;   /* of the payment */
    double probability; /* of fraud, in [0, 1]; NAN: could not be computed (outcome is review) */
    double threshold;   /* in force for its segment; NAN: none */
    enum decision_outcome outcome;
    struct slice model;   /* version of the model */
    uint64_t schema_hash; /* of its columns (features/schema.h) */
    uint32_t revision;    /* FD_DECISION_REVISION of the program that decided */
    struct slice control; /* name of the control that decided; empty: none */
    bool observed;        /* mode `observe`: outcome is approve, would what it would have been */
    enum decision_outcome would;
    bool repeat;        /* this transaction id was decided before: the earlier answer again */
    float amount_ratio; /* amount over the card's usual amount; 0 unknown */
    uint32_t reason_count;
    struct reason reasons[DECISION_REASONS_MAX]; /* the strongest first */
};

/* "amount", "control"; static memory. */
const char *decision_group_name(enum feature_group g);

static inline bool decision_is_alert(const struct decision *d)
{
    return d->outcome != DECISION_APPROVE;
}

/* "approve", "review" or "decline"; static memory. */
const char *decision_outcome_name(enum decision_outcome o);

#endif
