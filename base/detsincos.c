/* det_sincos_many (detmath.h): fdlibm's k_sin and k_cos after a reduction in three steps, eight
 * arguments at a time.
 *
 * 1. Each line is one rounded operation (the build forbids contraction), so the three paths and
 *    every position in a vector give the same bits.
 * 2. No branch on the argument. */
#include <string.h>

#include "base/detmath.h"

#define LANES 8

typedef double lanes __attribute__((vector_size(64)));
typedef uint64_t lanes_bits __attribute__((vector_size(64)));

#define TWO_OVER_PI 6.36619772367581382433e-01
/* pi/2 in parts of 33 bits: their products with a small whole number are exact */
#define PI_HALF_1 1.57079632673412561417e+00
#define PI_HALF_2 6.07710050630396597660e-11
#define PI_HALF_3 2.02226624879595063154e-21
/* Adding this to |z| < 2^51 leaves round-to-even(z) in the low bits of the sum. */
#define ROUND 6755399441055744.0
#define SIGN_BIT (UINT64_C(1) << 63)

#define S1 (-1.66666666666666324348e-01)
#define S2 8.33333333332248946124e-03
#define S3 (-1.98412698298579493134e-04)
#define S4 2.75573137070700676789e-06
#define S5 (-2.50507602534068634195e-08)
#define S6 1.58969099521155010221e-10
#define C1 4.16666666666666019037e-02
#define C2 (-1.38888888888741095749e-03)
#define C3 2.48015872894767294178e-05
#define C4 (-2.75573143513906633035e-07)
#define C5 2.08757232129817482790e-09
#define C6 (-1.13596475577881948265e-11)

static inline __attribute__((always_inline)) void sincos_lanes(const double *x, double *s,
                                                               double *c)
{
    lanes a;
    memcpy(&a, x, sizeof a);
    lanes shifted = a * TWO_OVER_PI + ROUND;
    lanes k = shifted - ROUND;
    lanes r = a - k * PI_HALF_1;
    r = r - k * PI_HALF_2;
    r = r - k * PI_HALF_3;
    lanes z = r * r;
    lanes sine = r + z * r * (S1 + z * (S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)))));
    lanes cosine =
        1.0 - (0.5 * z - z * z * (C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6))))));
    /* the quadrant in its low bits: an odd one swaps them, the second bit turns signs */
    lanes_bits quadrant;
    lanes_bits sine_bits;
    lanes_bits cosine_bits;
    memcpy(&quadrant, &shifted, sizeof quadrant);
    memcpy(&sine_bits, &sine, sizeof sine_bits);
    memcpy(&cosine_bits, &cosine, sizeof cosine_bits);
    lanes_bits swap = 0 - (quadrant & 1);
    lanes_bits sine_sign = (quadrant << 62) & SIGN_BIT;
    lanes_bits cosine_sign = ((quadrant + 1) << 62) & SIGN_BIT;
    lanes_bits out_s = ((sine_bits & ~swap) | (cosine_bits & swap)) ^ sine_sign;
    lanes_bits out_c = ((cosine_bits & ~swap) | (sine_bits & swap)) ^ cosine_sign;
    memcpy(s, &out_s, sizeof out_s);
    memcpy(c, &out_c, sizeof out_c);
}

static inline __attribute__((always_inline)) void sincos_all(const double *x, double *s, double *c,
                                                             size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        sincos_lanes(x + i, s + i, c + i);
    }
    if (i < n) {
        double rest[3][LANES] = {{0}};
        memcpy(rest[0], x + i, (n - i) * sizeof *x);
        sincos_lanes(rest[0], rest[1], rest[2]);
        memcpy(s + i, rest[1], (n - i) * sizeof *x);
        memcpy(c + i, rest[2], (n - i) * sizeof *x);
    }
}

void det_sincos_many_portable(const double *x, double *s, double *c, size_t n)
{
    sincos_all(x, s, c, n);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void sincos_avx2(const double *x, double *s, double *c,
                                                        size_t n)
{
    sincos_all(x, s, c, n);
}

__attribute__((target("avx512f"))) static void sincos_avx512(const double *x, double *s, double *c,
                                                             size_t n)
{
    sincos_all(x, s, c, n);
}
#endif

void det_sincos_many(const double *x, double *s, double *c, size_t n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        sincos_avx512(x, s, c, n);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        sincos_avx2(x, s, c, n);
        return;
    }
#endif
    sincos_all(x, s, c, n);
}
