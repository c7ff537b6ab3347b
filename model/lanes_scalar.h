/* Vectors of 16 lanes in plain loops: what kernel_body.h is written in, for any processor.  The
 * lanes_avx*.h give the same functions with the same bits.
 *
 * Every function is one rounded operation a lane.  Sums over lanes add lane i and i + 8, then i and
 * i + 4, i + 2, i + 1. */
#ifndef FD_MODEL_LANES_H
#define FD_MODEL_LANES_H

#include <stdint.h>
#include <string.h>

#include "base/detmath_inline.h"
#include "model/served.h"

typedef struct {
    float v[16];
} vf;
typedef struct {
    int32_t v[16];
} vi;

#define LANES_INLINE static inline __attribute__((always_inline))
#define LANES_OF(out, expression)                                                                  \
    for (int i = 0; i < 16; i++) {                                                                 \
        (out).v[i] = (expression);                                                                 \
    }

LANES_INLINE vf vf_load(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}

LANES_INLINE void vf_store(float *p, vf a)
{
    memcpy(p, &a, sizeof a);
}

LANES_INLINE vf vf_all(float x)
{
    vf r;
    LANES_OF(r, x)
    return r;
}

LANES_INLINE vf vf_add(vf a, vf b)
{
    LANES_OF(a, a.v[i] + b.v[i])
    return a;
}

LANES_INLINE vf vf_sub(vf a, vf b)
{
    LANES_OF(a, a.v[i] - b.v[i])
    return a;
}

LANES_INLINE vf vf_mul(vf a, vf b)
{
    LANES_OF(a, a.v[i] * b.v[i])
    return a;
}

LANES_INLINE vf vf_div(vf a, vf b)
{
    LANES_OF(a, a.v[i] / b.v[i])
    return a;
}

LANES_INLINE vf vf_sqrt(vf a)
{
    LANES_OF(a, __builtin_sqrtf(a.v[i]))
    return a;
}

/* a where it is larger (smaller), else b: also where a is NAN. */
LANES_INLINE vf vf_max(vf a, vf b)
{
    LANES_OF(a, a.v[i] > b.v[i] ? a.v[i] : b.v[i])
    return a;
}

LANES_INLINE vf vf_min(vf a, vf b)
{
    LANES_OF(a, a.v[i] < b.v[i] ? a.v[i] : b.v[i])
    return a;
}

LANES_INLINE vf vf_abs(vf a)
{
    LANES_OF(a, __builtin_fabsf(a.v[i]))
    return a;
}

/* Bit i: a > b in lane i. */
LANES_INLINE uint32_t vf_above(vf a, vf b)
{
    uint32_t mask = 0;
    for (int i = 0; i < 16; i++) {
        mask |= (uint32_t)(a.v[i] > b.v[i]) << i;
    }
    return mask;
}

/* a where the mask has a bit, else b. */
LANES_INLINE vf vf_pick(uint32_t mask, vf a, vf b)
{
    LANES_OF(b, (mask >> i & 1) != 0 ? a.v[i] : b.v[i])
    return b;
}

LANES_INLINE float vf_sum(vf a)
{
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            a.v[i] = a.v[i] + a.v[i + half];
        }
    }
    return a.v[0];
}

/* Largest lane; none is NAN. */
LANES_INLINE float vf_top(vf a)
{
    float top = a.v[0];
    for (int i = 1; i < 16; i++) {
        top = a.v[i] > top ? a.v[i] : top;
    }
    return top;
}

LANES_INLINE vf vf_exp(vf a)
{
    LANES_OF(a, det_expf_inline(a.v[i]))
    return a;
}

/* Nearest integer, ties to even; |a| < 2^22. */
LANES_INLINE vi vf_round(vf a)
{
    vi r;
    for (int i = 0; i < 16; i++) {
        float shifted = a.v[i] + DET_EXPF_ROUND;
        memcpy(&r.v[i], &shifted, sizeof shifted);
        r.v[i] -= 0x4b400000;
    }
    return r;
}

LANES_INLINE vi vi_load(const int32_t *p)
{
    vi r;
    memcpy(&r, p, sizeof r);
    return r;
}

LANES_INLINE void vi_store(int32_t *p, vi a)
{
    memcpy(p, &a, sizeof a);
}

LANES_INLINE vi vi_all(int32_t x)
{
    vi r;
    LANES_OF(r, x)
    return r;
}

LANES_INLINE vi vi_add(vi a, vi b)
{
    LANES_OF(a, a.v[i] + b.v[i])
    return a;
}

LANES_INLINE vi vi_sub(vi a, vi b)
{
    LANES_OF(a, a.v[i] - b.v[i])
    return a;
}

/* acc + step where a > b. */
LANES_INLINE vi vi_step(vi acc, vf a, vf b, vi step)
{
    LANES_OF(acc, acc.v[i] + (a.v[i] > b.v[i] ? step.v[i] : 0))
    return acc;
}

LANES_INLINE vf vi_float(vi a)
{
    vf r;
    LANES_OF(r, (float)a.v[i])
    return r;
}

LANES_INLINE int32_t vi_sum(vi a)
{
    int32_t sum = 0;
    for (int i = 0; i < 16; i++) {
        sum += a.v[i];
    }
    return sum;
}

/* The lowest byte of each lane, and the one above it. */
LANES_INLINE void vi_store_low(uint8_t *p, vi a)
{
    for (int i = 0; i < 16; i++) {
        p[i] = (uint8_t)((uint32_t)a.v[i] & 255);
    }
}

LANES_INLINE void vi_store_high(uint8_t *p, vi a)
{
    for (int i = 0; i < 16; i++) {
        p[i] = (uint8_t)((uint32_t)a.v[i] >> 8 & 255);
    }
}

/* acc + products of 16 outputs [groups][16][4] with 4 * groups bytes. */
LANES_INLINE vi lanes_dot(vi acc, const int8_t *w, const uint8_t *bytes, uint32_t groups)
{
    for (uint32_t g = 0; g < groups; g++) {
        const uint8_t *b = bytes + (size_t)g * 4;
        for (uint32_t lane = 0; lane < 16; lane++) {
            const int8_t *p = w + (size_t)g * 64 + (size_t)lane * 4;
            acc.v[lane] += p[0] * b[0] + p[1] * b[1] + p[2] * b[2] + p[3] * b[3];
        }
    }
    return acc;
}

/* The other way round: acc + sums over 16 slots of byte * w [4][16 slots][4 outputs]. */
LANES_INLINE vi lanes_mix(vi acc, const int8_t *w, const uint8_t *bytes)
{
    for (uint32_t g = 0; g < 4; g++) {
        for (uint32_t slot = 0; slot < 16; slot++) {
            const int8_t *p = w + (size_t)g * 64 + (size_t)slot * 4;
            for (uint32_t i = 0; i < 4; i++) {
                acc.v[g * 4 + i] += p[i] * bytes[slot];
            }
        }
    }
    return acc;
}

/* Sum of 16 bytes. */
LANES_INLINE uint32_t lanes_sum(const uint8_t *bytes)
{
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++) {
        sum += bytes[i];
    }
    return sum;
}

/* sum [4 * 16] += 2^shift * sum of (byte - 128) over `count` <= 256 rows of 64 bytes, of which byte
 * 2 i is output i and byte 2 i + 1 output 32 + i; they lie row[used[i]] bytes from the table's
 * begin. */
LANES_INLINE void lanes_table(vi *sum, const uint8_t *table, const int32_t *row,
                              const uint16_t *used, uint32_t count, int32_t shift)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *p = table + row[used[i]];
        for (int k = 0; k < 16; k++) {
            sum[0].v[k] += (p[2 * k] - 128) * (1 << shift);
            sum[1].v[k] += (p[2 * k + 32] - 128) * (1 << shift);
            sum[2].v[k] += (p[2 * k + 1] - 128) * (1 << shift);
            sum[3].v[k] += (p[2 * k + 33] - 128) * (1 << shift);
        }
    }
}

LANES_INLINE void lanes_product(const struct matrix *a, size_t n, const uint8_t *bytes,
                                size_t stride, int32_t *acc, size_t acc_stride)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t b = 0; b < a->blocks; b++) {
            const int8_t *w = a->w + (size_t)b * a->groups * 64;
            vi sum = lanes_dot(vi_load(a->init + b * 16), w, bytes + i * stride, a->groups);
            memcpy(acc + i * acc_stride + b * 16, &sum, sizeof sum);
        }
    }
}

#endif
