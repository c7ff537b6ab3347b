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

void bus_metrics_schemas(const struct schemas *s, struct metrics_page *page)
{
    struct schemas_stats t = {0};
    if (s != NULL) {
        schemas_stats(s, &t);
    }
    metrics_put(page, METRIC_SCHEMAS, (double)t.known);
    metrics_put(page, METRIC_REGISTRY_ANSWERS, (double)t.answers);
    metrics_put(page, METRIC_REGISTRY_FAILURES, (double)t.failures);
    metrics_put(page, METRIC_REGISTRY_WAITS, t.waiting);
}
