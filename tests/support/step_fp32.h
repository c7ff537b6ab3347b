/* The served step in FP32, for benchmarks: what INT8 is compared with.  Written as the served one
 * is, for AVX-512: absorbed projections, a cache of latents and rotated keys a card, rows of a
 * batch through each matrix together, chosen experts only.  Matrix products by our own loop or by
 * OpenBLAS.  Sizes are those of net_shape_default, with columns a multiple of 16. */
#ifndef FD_TESTS_SUPPORT_STEP_FP32_H
#define FD_TESTS_SUPPORT_STEP_FP32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/train.h"

#define STEP_FP32_ROWS 64U /* of a batch at most */

struct model;
struct step_fp32;

struct step_fp32_ops {
    /* m: the same network packed, for its constants of the rotation; both are borrowed.  NULL
     * without memory, or for other sizes. */
    struct step_fp32 *(*create)(const struct train_result *r, const struct model *m);
    void (*free)(struct step_fp32 *s);
    /* Products by OpenBLAS instead of our own loop. */
    void (*use_blas)(struct step_fp32 *s, bool blas);
    /* Scores n events of n different cards and adds each to its cache; a card's events in order of
     * time.  x: [n, columns] finite */
    void (*run)(struct step_fp32 *s, size_t n, const float *x, const int64_t *event_us,
                void *const *cache, float *out_logit);
    /* y [n, m] = x [n, k] w [k, m], m a multiple of 16; our own loop. */
    void (*product)(const float *w, size_t k, size_t m, size_t n, const float *x, float *y);
    size_t cache_bytes; /* of a card; 64-byte aligned, all zero means empty */
};

/* NULL without AVX-512. */
const struct step_fp32_ops *step_fp32_ops(void);

#endif
