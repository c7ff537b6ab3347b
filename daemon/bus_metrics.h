/* What a bus shows on a page of metrics. */
#ifndef FD_DAEMON_BUS_METRICS_H
#define FD_DAEMON_BUS_METRICS_H

#include <stdbool.h>

#include "daemon/bus.h"
#include "daemon/metrics.h"
#include "daemon/schemas.h"

/* produces: the numbers of its writing half, too. */
void bus_metrics_fill(const struct bus_counters *c, bool produces, struct metrics_page *page);

/* What writers' schemas show; NULL: payments are JSON. */
void bus_metrics_schemas(const struct schemas *s, struct metrics_page *page);

#endif
