/* Reading pages of metrics (Prometheus' text format), of one process or of several one after the
 * other: sums count all.  Pure but for scrape_fetch; any thread. */
#ifndef FD_DAEMON_SCRAPE_H
#define FD_DAEMON_SCRAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Gets http://ADDRESS/metrics and adds it to *text (owned, zero-terminated, NULL: empty), which
 * has *len bytes.  address: host:port.  Waits at most timeout_ms for each step.
 * ERR_INVALID no address; ERR_UNAVAILABLE nobody answers as a daemon of ours does. */
FD_MUSTCHECK enum err scrape_fetch(const char *address, int timeout_ms, char **text, size_t *len,
                                   struct errmsg *e);

struct scrape_sample {
    const char *labels; /* text between { and }, or "" */
    size_t labels_len;
    double value;
};

/* The next sample of this very name from *at on, which moves behind it; false: no more. */
bool scrape_next(const char **at, const char *name, struct scrape_sample *out);
/* The value of a label, cut to what fits (no escapes); false: it has none. */
bool scrape_label(const struct scrape_sample *s, const char *label, char *out, size_t size);

/* Sum over all samples of a name; label and value (may be NULL) choose some.  NaN: there is none.
 */
double scrape_sum(const char *text, const char *name, const char *label, const char *value);
double scrape_min(const char *text, const char *name);
double scrape_max(const char *text, const char *name);
size_t scrape_count(const char *text, const char *name);

/* Quantile q (0 to 1) of what a histogram gained between two pages, interpolated between its bounds
 * as Prometheus does; beyond the last bound that bound.  NaN: nothing gained. */
double scrape_quantile(const char *before, const char *now, const char *name, double q);

#endif
