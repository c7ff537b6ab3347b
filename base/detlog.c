/* det_log_many (detmath.h): fdlibm's e_log, eight at a time.
 *
 * 1. Each line is one rounded operation (the build forbids contraction), so the three paths and
 *    every position in a vector give the same bits.
 * 2. No table, no branch on the argument. */
#include <string.h>

#include "base/detmath.h"

#define LANES 8

typedef double lanes __attribute__((vector_size(64)));
typedef uint64_t lanes_bits __attribute__((vector_size(64)));

/* The mantissa is brought to [sqrt(1/2), sqrt(2)): adding the distance of sqrt(1/2) from 1 moves
 * the cut between exponents there. */
#define SQRT_HALF (UINT64_C(0x3fe6a09e) << 32)
#define ONE (UINT64_C(0x3ff00000) << 32)
#define MANTISSA UINT64_C(0x000fffffffffffff)
/* 2^52: an integer below it in the low bits of a double reads as 2^52 + that integer */
#define TWO52_BITS (UINT64_C(0x433) << 52)
#define TWO52 4503599627370496.0
#define EXPONENT_BIAS 1023.0
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define LG1 6.666666666666735130e-01
#define LG2 3.999999999940941908e-01
#define LG3 2.857142874366239149e-01
#define LG4 2.222219843214978396e-01
#define LG5 1.818357216161805012e-01
#define LG6 1.531383769920937332e-01
#define LG7 1.479819860511658591e-01

static inline __attribute__((always_inline)) void log_lanes(double *x)
{
    lanes_bits bits;
    memcpy(&bits, x, sizeof bits);
    bits += ONE - SQRT_HALF;
    lanes_bits exponent = (bits >> 52) | TWO52_BITS;
    lanes_bits mantissa = (bits & MANTISSA) + SQRT_HALF;
    lanes k;
    lanes f;
    memcpy(&k, &exponent, sizeof k);
    memcpy(&f, &mantissa, sizeof f);
    k = k - TWO52 - EXPONENT_BIAS;
    f = f - 1.0;
    lanes s = f / (f + 2.0);
    lanes z = s * s;
    lanes w = z * z;
    lanes odd = w * (LG2 + w * (LG4 + w * LG6));
    lanes even = z * (LG1 + w * (LG3 + w * (LG5 + w * LG7)));
    lanes half = 0.5 * f * f;
    lanes y = k * LN2_HIGH - ((half - (s * (half + (even + odd)) + k * LN2_LOW)) - f);
    memcpy(x, &y, sizeof y);
}

static inline __attribute__((always_inline)) void log_all(double *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        log_lanes(x + i);
    }
    if (i < n) {
        double rest[LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
        memcpy(rest, x + i, (n - i) * sizeof *x);
        log_lanes(rest);
        memcpy(x + i, rest, (n - i) * sizeof *x);
    }
}

void det_log_many_portable(double *x, size_t n)
{
    log_all(x, n);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void log_avx2(double *x, size_t n)
{
    log_all(x, n);
}

__attribute__((target("avx512f"))) static void log_avx512(double *x, size_t n)
{
    log_all(x, n);
}
#endif

void det_log_many(double *x, size_t n)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        log_avx512(x, n);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        log_avx2(x, n);
        return;
    }
#endif
    log_all(x, n);
}
