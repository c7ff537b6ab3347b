/* Rules over a past stretch: what they would have decided, and the alerts they would have raised.
 */
#ifndef FD_DAEMON_RULE_TRIAL_H
#define FD_DAEMON_RULE_TRIAL_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "daemon/past.h"
#include "daemon/rule_set.h"
#include "model/model.h"
#include "model/threshold.h"

struct rule_trial_conf {
    const struct rule_set *rules;
    const struct model *model;
    const struct past *past; /* in order; what lies before from_us builds state */
    uint32_t rates_version;
    struct threshold_conf threshold;
    int64_t from_us, to_us;
    FILE *alerts;      /* CSV of those raised: rule,action,tx,ts,amount,score,fraud; NULL: none */
    size_t alerts_max; /* lines of it */
};

/* Of one rule: payments at which it is the first to hold; of them those that the model alone would
 * have approved and that it has reviewed or declined; frauds of those. */
struct rule_trial_counts {
    uint64_t first, raised, raised_frauds;
};

struct rule_trial {
    uint64_t payments, frauds, model_alerts;
    struct rule_trial_counts *of; /* owned, [rule_set_count] */
};

/* out: rule_trial_done frees.  ERR_NOMEM, ERR_MISMATCH as replay_run. */
FD_MUSTCHECK enum err rule_trial_run(const struct rule_trial_conf *c, struct rule_trial *out,
                                     struct errmsg *e);
void rule_trial_done(struct rule_trial *t);

#endif
