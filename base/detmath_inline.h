/* det_expf where it can be inlined, and its constants for the vector kernels.
 *
 * Cephes' expf: x = n ln 2 + r, |r| <= ln 2 / 2, exp(r) by a polynomial of degree 7, times 2^n by
 * its exponent bits.  Every line is one rounded operation; the build forbids contraction to fused
 * ones. */
#ifndef FD_BASE_DETMATH_INLINE_H
#define FD_BASE_DETMATH_INLINE_H

#include <stdint.h>
#include <string.h>

/* Outside these the argument is clamped: the result stays normal and finite. */
#define DET_EXPF_LOW (-87.0F)
#define DET_EXPF_HIGH 88.0F
#define DET_EXPF_LOG2E 1.44269504088896341F
/* Adding this to |z| < 2^22 leaves round-to-even(z) in the low bits of the sum. */
#define DET_EXPF_ROUND 12582912.0F
#define DET_EXPF_LN2_HIGH 0.693359375F
#define DET_EXPF_LN2_LOW (-2.12194440e-4F)
#define DET_EXPF_P0 1.9875691500e-4F
#define DET_EXPF_P1 1.3981999507e-3F
#define DET_EXPF_P2 8.3334519073e-3F
#define DET_EXPF_P3 4.1665795894e-2F
#define DET_EXPF_P4 1.6666665459e-1F
#define DET_EXPF_P5 5.0000001201e-1F

/* As det_expf. */
static inline float det_expf_inline(float x)
{
    x = x > DET_EXPF_LOW ? x : DET_EXPF_LOW;
    x = x < DET_EXPF_HIGH ? x : DET_EXPF_HIGH;
    float shifted = x * DET_EXPF_LOG2E + DET_EXPF_ROUND;
    float n = shifted - DET_EXPF_ROUND;
    float r = x - n * DET_EXPF_LN2_HIGH;
    r = r - n * DET_EXPF_LN2_LOW;
    float p = DET_EXPF_P0;
    p = p * r + DET_EXPF_P1;
    p = p * r + DET_EXPF_P2;
    p = p * r + DET_EXPF_P3;
    p = p * r + DET_EXPF_P4;
    p = p * r + DET_EXPF_P5;
    p = p * (r * r) + r;
    p = p + 1.0F;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000U; /* the low bits of `shifted` are n */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
