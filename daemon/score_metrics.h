/* What the scoring loop shows on its page of metrics. */
#ifndef FD_DAEMON_SCORE_METRICS_H
#define FD_DAEMON_SCORE_METRICS_H

#include "daemon/metrics.h"
#include "daemon/score.h"
#include "model/stability.h"

/* Adds the loop's numbers and sets `ready` and `why`.  From the loop's thread. */
void score_metrics_fill(const struct score *s, struct metrics_page *page);

/* How far the scores of so many payments have moved from the shares that the model was held to
 * (model_lineage); NAN where these are not known, or of too few payments to say. */
double score_metrics_drift(const float share[SCORE_BANDS], const uint64_t by_score[SCORE_BANDS]);

#endif
