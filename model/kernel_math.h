/* What the parts of a step (kernel_body.h) share: from floats to bytes and back. */
#ifndef FD_MODEL_KERNEL_MATH_H
#define FD_MODEL_KERNEL_MATH_H

#include <math.h>
#include <string.h>

#include "model/lanes_math.h"
#include "model/served.h"

/* Sizes that loops run over.  A step is compiled twice: for the product's own sizes, as constants,
 * so that loops are unrolled, and for any. */
struct dims {
    uint32_t width, width_p, bytes_stride, acc_stride;
    uint32_t heads, rank, half, content_p, rotary_p;
    uint32_t groups, group_bytes; /* of 16 slots in a card's cache */
    uint32_t experts, experts_p, top, hidden_p, shared_p;
};

#define DIMS_USUAL                                                                                 \
    ((struct dims){.width = 96,                                                                    \
                   .width_p = 96,                                                                  \
                   .bytes_stride = 96,                                                             \
                   .acc_stride = 176,                                                              \
                   .heads = 4,                                                                     \
                   .rank = 16,                                                                     \
                   .half = 8,                                                                      \
                   .content_p = 64,                                                                \
                   .rotary_p = 48,                                                                 \
                   .groups = 1,                                                                    \
                   .group_bytes = 512,                                                             \
                   .experts = 16,                                                                  \
                   .experts_p = 16,                                                                \
                   .top = 2,                                                                       \
                   .hidden_p = 16,                                                                 \
                   .shared_p = 32})

static inline struct dims dims_of(const struct model *m)
{
    const struct served_sizes *z = &m->sizes;
    return (struct dims){.width = m->shape.width,
                         .width_p = z->width_p,
                         .bytes_stride = z->bytes_stride,
                         .acc_stride = z->acc_stride,
                         .heads = m->shape.heads,
                         .rank = m->shape.rank,
                         .half = z->half,
                         .content_p = z->content_p,
                         .rotary_p = z->rotary_p,
                         .groups = z->window_p / 16,
                         .group_bytes = (uint32_t)z->cache_group_bytes,
                         .experts = m->shape.experts,
                         .experts_p = z->experts_p,
                         .top = m->shape.top,
                         .hidden_p = z->hidden_p,
                         .shared_p = z->shared_p};
}

static inline int dims_equal(const struct dims *a, const struct dims *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* out[i] = round(x[i] / scale) + 128 where top is the largest magnitude.  Returns the scale. */
LANES_INLINE float pack_bytes(const float *x, size_t blocks, float top, uint8_t *out)
{
    vf inverse = vf_all(top > SERVED_TINY ? 127.0F / top : 0.0F);
    vi middle = vi_all(128);
#pragma GCC unroll 4
    for (size_t b = 0; b < blocks; b++) {
        vi q = vf_round(vf_mul(vf_load(x + b * 16), inverse));
        vi_store_low(out + b * 16, vi_add(q, middle));
    }
    return top * (1.0F / 127.0F);
}

LANES_INLINE float largest(const float *x, size_t blocks)
{
    vf top = vf_all(0);
#pragma GCC unroll 4
    for (size_t b = 0; b < blocks; b++) {
        top = vf_max(vf_abs(vf_load(x + b * 16)), top);
    }
    return vf_top(top);
}

LANES_INLINE float inverse_rms(float squares, uint32_t count)
{
    return 1.0F / sqrtf(squares / (float)count + NET_NORM_EPS);
}

/* Bytes of x / rms(x) * weight; returns their scale.  tmp: [blocks * 16]. */
LANES_INLINE float norm_bytes(const float *x, const float *weight, uint32_t count, size_t blocks,
                              float *tmp, uint8_t *out)
{
    vf squares = vf_all(0);
    vf top = vf_all(0);
#pragma GCC unroll 4
    for (size_t b = 0; b < blocks; b++) {
        vf v = vf_load(x + b * 16);
        vf y = vf_mul(v, vf_load(weight + b * 16));
        squares = vf_add(squares, vf_mul(v, v));
        top = vf_max(vf_abs(y), top);
        vf_store(tmp + b * 16, y);
    }
    float scale = pack_bytes(tmp, blocks, vf_top(top), out);
    return scale * inverse_rms(vf_sum(squares), count);
}

/* Outputs of a product as floats. */
LANES_INLINE vf scaled(const int32_t *acc, const float *scale, vf row_scale)
{
    return vf_mul(vf_mul(vi_float(vi_load(acc)), vf_load(scale)), row_scale);
}

/* Bytes of every row's normed residual. */
LANES_INLINE void norm_rows(struct dims d, const struct model_work *w, size_t n,
                            const float *weight)
{
    for (size_t i = 0; i < n; i++) {
        w->scale[i] = norm_bytes(w->h + i * d.width_p, weight, d.width, d.width_p / 16, w->row,
                                 w->bytes + i * d.bytes_stride);
    }
}

#endif
