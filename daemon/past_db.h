/* Payment history out of PostgreSQL: the same rows in memory as the same payments in CSV give. */
#ifndef FD_DAEMON_PAST_DB_H
#define FD_DAEMON_PAST_DB_H

#include <stdint.h>

#include "base/err.h"
#include "daemon/past.h"
#include "daemon/rates.h"
#include "storage/db.h"

/* Adds payments with from_us <= event time < until_us, in order.  A payment without a verdict
 * becomes legitimate maturity_us after it, as in `score`; one that was declined has none at all.
 * Amounts are converted by `rates`, whatever was in force when they were scored.  Shows progress.
 * ERR_MISMATCH a currency that is not in `rates`, or a word that this program does not know. */
FD_MUSTCHECK enum err past_read_db(struct past *p, struct db *d, const struct rates *rates,
                                   int64_t from_us, int64_t until_us, int64_t maturity_us,
                                   struct errmsg *e);

#endif
