/* The step, once for all instruction sets: a kernel_*.c includes its lanes and then this file.
 *
 * Every row passes through the same operations in the same order whatever its batch; sums over
 * lanes have one fixed tree (lanes_scalar.h), products are integers.  So kernels differ in speed
 * only. */
#ifndef FD_MODEL_KERNEL_BODY_H
#define FD_MODEL_KERNEL_BODY_H

#include <math.h>
#include <string.h>

#include "model/kernel_attend.h"
#include "model/kernel_encode.h"
#include "model/kernel_experts.h"

static inline void body_head(const struct model *m, struct model_work *w, size_t n,
                             float *out_logit)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        const float *h = w->h + i * z->width_p;
        vf squares = vf_all(0);
        vf dot = vf_all(0);
        for (uint32_t at = 0; at < z->width_p; at += 16) {
            vf v = vf_load(h + at);
            squares = vf_add(squares, vf_mul(v, v));
            dot = vf_add(dot, vf_mul(v, vf_load(m->head + at)));
        }
        out_logit[i] = vf_sum(dot) * inverse_rms(vf_sum(squares), m->shape.width) + m->head_bias;
    }
}

static inline void body_product(const struct matrix *a, size_t n, const uint8_t *bytes,
                                size_t stride, int32_t *acc, size_t acc_stride)
{
    lanes_product(a, n, bytes, stride, acc, acc_stride);
}

#endif
