/* What is asked of the entries of one chunk, by the CPU's widest integers.  All paths give the same
 * numbers: they are whole.  Tests compare the paths. */
#ifndef FD_FEATURES_CHUNK_KERNEL_H
#define FD_FEATURES_CHUNK_KERNEL_H

#include "features/history.h"

struct chunk_kernel {
    /* Adds the payments among n ascending entries with time > edge_us to *s. */
    void (*window_part)(const struct entry *e, uint32_t n, int64_t edge_us, struct sums *s);
    /* Bit i is set where entry i of n (at most 32) is a payment at the place. */
    uint32_t (*at_place)(const struct entry *e, uint32_t n, uint32_t place);
};

extern const struct chunk_kernel CHUNK_KERNEL_PORTABLE;
/* The fastest on this CPU. */
const struct chunk_kernel *chunk_kernel_best(void);
/* That for AVX2, or NULL: this CPU has none. */
const struct chunk_kernel *chunk_kernel_avx2(void);

#endif
