/* What the scoring loop shows on its page of metrics. */
#ifndef FD_DAEMON_SCORE_METRICS_H
#define FD_DAEMON_SCORE_METRICS_H

#include "daemon/metrics.h"
#include "daemon/score.h"

/* Adds the loop's numbers and sets `ready` and `why`.  From the loop's thread. */
void score_metrics_fill(const struct score *s, struct metrics_page *page);

#endif
