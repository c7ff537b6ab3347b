/* A histogram of durations with two significant digits: powers of two cut in 32 (as HdrHistogram
 * does), from 1 ns to 2^40 ns.  A plain value; adding is a few instructions.  One writer; a reader
 * in another thread may see counts a moment old, never torn ones. */
#ifndef FD_BASE_LATENCY_H
#define FD_BASE_LATENCY_H

#include <stddef.h>
#include <stdint.h>

#define LATENCY_SUB 32
#define LATENCY_BUCKETS (36 * LATENCY_SUB)

struct latency {
    _Atomic uint64_t count;
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
    _Atomic uint64_t bucket[LATENCY_BUCKETS];
};

void latency_add(struct latency *h, uint64_t ns);
/* Adds `count` equal ones. */
void latency_add_many(struct latency *h, uint64_t ns, uint32_t count);
/* Upper bound of the bucket that holds quantile q (0 to 1); 0 where nothing was added. */
uint64_t latency_quantile(const struct latency *h, double q);
/* How many are at most `ns` (to the bucket's width): what a cumulative histogram shows. */
uint64_t latency_count_below(const struct latency *h, uint64_t ns);
/* The same for n rising bounds at once: out_below: [n].  Returns the number of all. */
uint64_t latency_cumulative(const struct latency *h, const uint64_t *bounds_ns, size_t n,
                            uint64_t *out_below);

#endif
