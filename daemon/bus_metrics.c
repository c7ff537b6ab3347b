#include "daemon/bus_metrics.h"

void bus_metrics_fill(const struct bus_counters *c, bool produces, struct metrics_page *page)
{
    metrics_put(page, METRIC_CONSUMED, (double)c->consumed);
    metrics_put(page, METRIC_GAPS, (double)c->gaps);
    metrics_put(page, METRIC_OFFSET_REPEATS, (double)c->repeats);
    metrics_put(page, METRIC_BROKER_ERRORS, (double)c->broker_errors);
    metrics_put(page, METRIC_REBALANCES, (double)c->rebalances);
    metrics_put(page, METRIC_LAG, (double)c->lag);
    if (produces) {
        metrics_put(page, METRIC_PRODUCED, (double)c->produced);
        metrics_put(page, METRIC_ACKED, (double)c->acked);
        metrics_put(page, METRIC_UNACKED, (double)c->queued);
        metrics_put(page, METRIC_PRODUCE_ERRORS, (double)c->produce_errors);
    }
}
