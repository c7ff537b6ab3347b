/* Numbers for the outside: a page of samples, filled by the daemon's loop and rendered as
 * Prometheus text by whoever is asked.  metrics.def lists every metric with its help.
 *
 * A page is a plain value of fixed size: filling it allocates nothing.  One thread. */
#ifndef FD_DAEMON_METRICS_H
#define FD_DAEMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/latency.h"

enum metric {
#define METRIC(id, name, kind, labels, who, help) METRIC_##id,
#include "daemon/metrics.def"
#undef METRIC
    METRIC_COUNT
};

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_STAGES, METRIC_KIND_DELAYS };

struct metric_info {
    const char *name;
    enum metric_kind kind;
    const char *labels;
    const char *who;
    const char *help;
};

extern const struct metric_info METRICS[METRIC_COUNT];

#define METRICS_SAMPLES 6144 /* 1024 partitions times what a partition has, and the rest */
#define METRICS_TEXT ((size_t)160 * 1024)
#define METRICS_HISTOGRAMS 8
#define METRICS_BOUNDS_MAX 18

struct metrics_sample {
    double value;
    uint32_t labels; /* where its text begins in `text`; 0: none */
    uint16_t metric;
};

struct metrics_histogram {
    uint64_t below[METRICS_BOUNDS_MAX]; /* at most the bound */
    uint64_t count;
    double sum_s;
    uint32_t labels;
    uint16_t metric;
};

struct metrics_page {
    bool ready;
    char why[128]; /* what it waits for, where it is not ready */
    size_t samples, histograms, text_len;
    size_t left_out; /* what found no room: 0 */
    struct metrics_sample sample[METRICS_SAMPLES];
    struct metrics_histogram histogram[METRICS_HISTOGRAMS];
    char text[METRICS_TEXT]; /* label values: name="value",.. zero-terminated */
};

void metrics_clear(struct metrics_page *p);
/* Adds a sample.  The further arguments are the values (const char *) of the metric's labels, as
 * many as it has. */
void metrics_put(struct metrics_page *p, enum metric m, double value, ...);
void metrics_put_latency(struct metrics_page *p, enum metric m, const struct latency *h, ...);

/* Prometheus text format 0.0.4. */
void metrics_render(const struct metrics_page *p, FILE *f);
/* The text of etc/metrics.md. */
void metrics_print_doc(FILE *f);

#endif
