/* The labels that a history's payments get: complete label messages, in the order in which their
 * verdicts became known.
 *
 * Invariants
 *  1. Numbers rise strictly: a label's number is its time known in microseconds, or one more than
 *     the last where two became known at once.  So sending the same stretch again repeats numbers,
 *     and the stretch after it goes on above them.
 *  2. amount_ratio is computed as `score` does it, with the frauds known until then left out.
 * One owner. */
#ifndef FD_DAEMON_VERDICTS_H
#define FD_DAEMON_VERDICTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/feed.h"
#include "features/schema.h"

struct verdicts;

/* source: the labels' source, borrowed.  Returns owned. */
FD_MUSTCHECK enum err verdicts_create(const struct feature_params *p, const char *source,
                                      struct verdicts **out, struct errmsg *e);
void verdicts_free(struct verdicts *v);

/* Takes a payment in order of the file and keeps (a copy of) its verdict where it has one. */
FD_MUSTCHECK enum err verdicts_see(struct verdicts *v, const struct feed_item *item,
                                   struct errmsg *e);

/* A label to send; slices hold until the next call. */
struct verdict {
    int64_t known_us;
    struct slice json; /* the message */
    struct slice card; /* its key */
};

/* The next label known at or before until_us.  ERR_END: none. */
FD_MUSTCHECK enum err verdicts_next(struct verdicts *v, int64_t until_us, struct verdict *out,
                                    struct errmsg *e);

/* Verdicts not handed out yet. */
size_t verdicts_waiting(const struct verdicts *v);

#endif
