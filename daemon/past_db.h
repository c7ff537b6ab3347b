/* Payment history out of PostgreSQL: the same rows in memory as the same payments in CSV give. */
#ifndef FD_DAEMON_PAST_DB_H
#define FD_DAEMON_PAST_DB_H

#include <stdint.h>

#include "base/err.h"
#include "daemon/past.h"
#include "daemon/rates.h"
#include "storage/db.h"
#include "storage/payments.h"

/* Adds payments with from_us <= event time < until_us, in order.  A payment without a verdict
 * becomes legitimate maturity_us after it, as in `score`; one that was declined has none at all.
 * Amounts are converted by `rates`, whatever was in force when they were scored.  Shows progress.
 * ERR_MISMATCH a currency that is not in `rates`, or a word that this program does not know. */
FD_MUSTCHECK enum err past_read_db(struct past *p, struct db *d, const struct rates *rates,
                                   int64_t from_us, int64_t until_us, int64_t maturity_us,
                                   struct errmsg *e);

/* One stored payment as the columns see it.  reference: of rates.  ERR_MISMATCH as above. */
FD_MUSTCHECK enum err past_db_tx(const struct rates *rates, const struct rate *reference,
                                 const struct payment_row *row, struct tx *out, struct errmsg *e);

#endif
