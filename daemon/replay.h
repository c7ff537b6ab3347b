/* Runs history through the pipeline that serves, labels arriving when they became known.
 *
 * A fraud's verdict enters the features of later events at its time known; what has no verdict
 * becomes known-legitimate at its maturity (features/state.h), so legitimate verdicts need no
 * message. */
#ifndef FD_DAEMON_REPLAY_H
#define FD_DAEMON_REPLAY_H

#include "daemon/past.h"
#include "daemon/pipeline.h"

struct replay_conf {
    const struct model *model; /* NULL: features only */
    struct feature_params params;
    struct threshold_conf threshold;
    const char *job; /* for the progress line */
};

/* visit: each row in order, s->tag is its index in past. */
FD_MUSTCHECK enum err replay_run(const struct past *past, const struct replay_conf *c,
                                 void (*visit)(void *ctx, const struct scored *s), void *ctx,
                                 struct errmsg *e);

#endif
