/* Small pieces that the forward and the backward pass share; sizes in floats. */
#ifndef FD_MODEL_TAPE_MATH_H
#define FD_MODEL_TAPE_MATH_H

#include <cblas.h>
#include <stddef.h>
#include <stdint.h>

#include "base/detmath_inline.h"
#include "model/tape.h"

#define TAPE_LANES 8

/* y [t, out] = x [t, in] w' (+ y where add), w [out, in]. */
static inline void tape_linear(size_t t, size_t in, size_t out, const float *x, const float *w,
                               float *y, float add)
{
    if (t > 0) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t, (int)out, (int)in, 1, x,
                    (int)in, w, (int)in, add, y, (int)out);
    }
}

/* dx [t, in] = dy [t, out] w (+ dx where add). */
static inline void tape_linear_dx(size_t t, size_t in, size_t out, const float *dy, const float *w,
                                  float *dx, float add)
{
    if (t > 0) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)t, (int)in, (int)out, 1, dy,
                    (int)out, w, (int)in, add, dx, (int)in);
    }
}

/* dw [out, in] += dy' [out, t] x [t, in]. */
static inline void tape_linear_dw(size_t t, size_t in, size_t out, const float *dy, const float *x,
                                  float *dw)
{
    if (t > 0) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)in, (int)t, 1, dy,
                    (int)out, x, (int)in, 1, dw, (int)in);
    }
}

/* Sum of products, in lanes that are added in a fixed order. */
static inline float tape_dot(const float *a, const float *b, size_t n)
{
    float lane[TAPE_LANES] = {0};
    size_t i = 0;
    for (; i + TAPE_LANES <= n; i += TAPE_LANES) {
        for (size_t k = 0; k < TAPE_LANES; k++) {
            lane[k] += a[i + k] * b[i + k];
        }
    }
    float rest = 0;
    for (; i < n; i++) {
        rest += a[i] * b[i];
    }
    return rest + (((lane[0] + lane[4]) + (lane[2] + lane[6])) +
                   ((lane[1] + lane[5]) + (lane[3] + lane[7])));
}

/* y += a x */
static inline void tape_axpy(float *restrict y, float a, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

static inline float tape_sigmoid(float x)
{
    return 1.0F / (1.0F + det_expf_inline(-x));
}

/* Draws for one row at one place: out[i] = 0 with probability `rate`, else 1 / (1 - rate).  Four
 * draws of 16 bits from each number of a counter-based generator (splitmix64's mixing).
 * n <= TAPE_WIDTH_MAX */
void tape_draw(uint64_t key, size_t row, uint32_t place, float rate, float *out, size_t n);

/* Inverse of the share kept: what a kept column's table row is multiplied by. */
static inline float tape_input_keep(const struct tape_drop *drop)
{
    if (drop == NULL || !(drop->input > 0)) {
        return 1;
    }
    return 65536.0F / (float)(65536 - (uint32_t)(drop->input * 65536.0F));
}

/* x [T, width] *= draws of the rows; nothing where drop is NULL or its rate 0. */
void tape_drop_rows(const struct tape *t, const struct tape_drop *drop, uint32_t place, float *x);

/* Rotates pairs (k, k + half) of x by +angle (turn 1) or -angle (turn -1). */
static inline void tape_rotate(float *x, const float *c, const float *s, size_t half, float turn)
{
    for (size_t k = 0; k < half; k++) {
        float a = x[k];
        float b = x[k + half];
        float sine = turn * s[k];
        x[k] = a * c[k] - b * sine;
        x[k + half] = a * sine + b * c[k];
    }
}

static inline const float *tape_param(const struct tape_net *net, enum net_tensor_kind kind,
                                      uint32_t layer)
{
    return net->params + net->layout.offset[kind][layer];
}

static inline float *tape_grad(const struct tape_net *net, float *grad, enum net_tensor_kind kind,
                               uint32_t layer)
{
    return grad + net->layout.offset[kind][layer];
}

#endif
