/* Whether a model may become champion: it must be in shadow everywhere, and know the cards. */
#ifndef FD_DAEMON_PROMOTION_H
#define FD_DAEMON_PROMOTION_H

#include "base/err.h"

/* Judges pages of metrics of all scoring processes, one behind the other (daemon/scrape.h).
 * pages: how many; partitions: of the transactions topic, so that none is missing; share: of the
 * cards active in 90 days that must have a complete latent cache, in [0, 1].
 * ERR_REFUSED says what is missing. */
FD_MUSTCHECK enum err promotion_judge(const char *text, int pages, long partitions,
                                      const char *version, double share, struct errmsg *e);
/* The same of the pages at these addresses, by commas.  ERR_UNAVAILABLE one does not answer. */
FD_MUSTCHECK enum err promotion_check(const char *addresses, long partitions, const char *version,
                                      double share, struct errmsg *e);

#endif
