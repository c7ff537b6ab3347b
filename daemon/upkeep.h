/* What the database wants done now and then by somebody who is always there: `sink` does it.  One
 * thread. */
#ifndef FD_DAEMON_UPKEEP_H
#define FD_DAEMON_UPKEEP_H

#include <stdint.h>

#include "base/err.h"
#include "storage/db.h"

/* A plain value; zero to begin with. */
struct upkeep {
    int64_t done_us; /* monotonic */
};

/* Once a second: opens cases whose lease or snooze is over, chains new rows of the audit trail.
 * now_us: monotonic. */
FD_MUSTCHECK enum err upkeep_turn(struct upkeep *u, struct db *d, int64_t now_us, struct errmsg *e);

#endif
