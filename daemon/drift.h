/* How far the newest payments have moved from those that the model in service has learnt, without
 * any label: the population stability index, sum over bins of (new - old) ln(new / old) of their
 * shares. By custom below .1 is little and above .25 is much.  Columns are counted in the model's
 * own bins, since only what crosses an edge of them looks new to its tables. */
#ifndef FD_DAEMON_DRIFT_H
#define FD_DAEMON_DRIFT_H

#include <stdio.h>

#include "base/err.h"
#include "daemon/update_rows.h"
#include "features/schema.h"
#include "model/net.h"
#include "model/stability.h"

#define DRIFT_TOP 5 /* columns that are named */

struct drift {
    double column[FEAT_DIM];      /* 0 where the model has one bin */
    double group[GROUP_COUNT];    /* mean of its columns with bins; NAN without any */
    double score;                 /* of the model in service */
    double share[2][SCORE_BANDS]; /* of the old and the new payments by score */
    size_t old, fresh;            /* payments: the replay, by weight; news and sealed ones */
    size_t top[DRIFT_TOP];        /* columns that moved most, most first */
};

/* served: [r->n] probabilities of the model in service, whose encoding `enc` is.  ERR_NOMEM */
FD_MUSTCHECK enum err drift_measure(const struct update_rows *r, const struct net_encoding *enc,
                                    const float *served, struct drift *out, struct errmsg *e);

/* Columns above the bound. */
size_t drift_count_above(const struct drift *d, double bound);

/* A line for score and groups, one for the columns, one where columns are above the bound. */
void drift_print(const struct drift *d, double bound, FILE *f);

#endif
