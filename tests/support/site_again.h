/* What a site (tests/support/site.h) decided, decided again by a new process from the logs and
 * their recorded order alone, and compared.  Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_SITE_AGAIN_H
#define FD_TESTS_SUPPORT_SITE_AGAIN_H

#include <stdint.h>

#include "tests/support/child.h"
#include "tests/support/site.h"

/* Waits for the end of a `fraudd` that was told to end; it must be a good one. */
void site_ended_well(struct child *c);
/* Has a new `score` decide everything, until there are so many decisions; waits at most so long. */
void site_decide_again(const struct site *s, int64_t decisions, int64_t patience_us);
/* Compares decisions or alerts with those made again: the same ids, the same bytes; none that was
 * sent twice with other bytes, none of a transaction that there is not.  Returns the number of
 * different ids; out_repeats: messages beyond the first of each. */
uint64_t site_check_again(const struct site *s, enum bus_topic which, uint64_t *out_repeats);

#endif
