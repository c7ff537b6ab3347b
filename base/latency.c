#include "base/latency.h"

#include <stdatomic.h>

static size_t bucket_of(uint64_t ns)
{
    if (ns < LATENCY_SUB) {
        return (size_t)ns;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 5;
    size_t at = (size_t)(shift + 1) * LATENCY_SUB + (size_t)((ns >> shift) - LATENCY_SUB);
    return at < LATENCY_BUCKETS ? at : LATENCY_BUCKETS - 1;
}

static uint64_t upper_of(size_t bucket)
{
    if (bucket < LATENCY_SUB) {
        return bucket;
    }
    unsigned shift = (unsigned)(bucket / LATENCY_SUB) - 1;
    return ((uint64_t)(bucket % LATENCY_SUB + LATENCY_SUB + 1) << shift) - 1;
}

void latency_add_many(struct latency *h, uint64_t ns, uint32_t count)
{
    /* one writer: relaxed loads and stores are enough and cost no locked instruction */
    size_t b = bucket_of(ns);
    atomic_store_explicit(&h->bucket[b],
                          atomic_load_explicit(&h->bucket[b], memory_order_relaxed) + count,
                          memory_order_relaxed);
    atomic_store_explicit(&h->count, atomic_load_explicit(&h->count, memory_order_relaxed) + count,
                          memory_order_relaxed);
    atomic_store_explicit(&h->sum_ns,
                          atomic_load_explicit(&h->sum_ns, memory_order_relaxed) + ns * count,
                          memory_order_relaxed);
    if (ns > atomic_load_explicit(&h->max_ns, memory_order_relaxed)) {
        atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
    }
}

void latency_add(struct latency *h, uint64_t ns)
{
    latency_add_many(h, ns, 1);
}

uint64_t latency_quantile(const struct latency *h, double q)
{
    uint64_t n = atomic_load_explicit(&h->count, memory_order_relaxed);
    uint64_t wanted = (uint64_t)(q * (double)n);
    uint64_t seen = 0;
    for (size_t b = 0; n > 0 && b < LATENCY_BUCKETS; b++) {
        seen += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
        if (seen > wanted || seen >= n) {
            uint64_t max = atomic_load_explicit(&h->max_ns, memory_order_relaxed);
            return upper_of(b) < max ? upper_of(b) : max;
        }
    }
    return atomic_load_explicit(&h->max_ns, memory_order_relaxed);
}

uint64_t latency_count_below(const struct latency *h, uint64_t ns)
{
    uint64_t seen = 0;
    for (size_t b = 0; b <= bucket_of(ns); b++) {
        seen += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
    }
    return seen;
}

uint64_t latency_cumulative(const struct latency *h, const uint64_t *bounds_ns, size_t n,
                            uint64_t *out_below)
{
    uint64_t seen = 0;
    size_t b = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t last = bucket_of(bounds_ns[i]); b <= last; b++) {
            seen += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
        }
        out_below[i] = seen;
    }
    for (; b < LATENCY_BUCKETS; b++) {
        seen += atomic_load_explicit(&h->bucket[b], memory_order_relaxed);
    }
    return seen;
}
