/* lanes_scalar.h on AVX-512 with VNNI.  Include it once the target is set (kernel_avx512.c).
 *
 * The dot product is one line of assembler because gcc 12 spills the accumulators of loops written
 * with its intrinsic, which halves the speed. */
#ifndef FD_MODEL_LANES_H
#define FD_MODEL_LANES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base/detmath_inline.h"
#include "model/served.h"

#ifdef FD_LANES_AVX512

typedef __m512 vf;
typedef __m512i vi;

#define LANES_INLINE static inline __attribute__((always_inline))

LANES_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

LANES_INLINE void vf_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}

LANES_INLINE vf vf_all(float x)
{
    return _mm512_set1_ps(x);
}

LANES_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

LANES_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

LANES_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

LANES_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

LANES_INLINE vf vf_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}

/* The second operand where they are equal or one is NAN, as in lanes_scalar.h. */
LANES_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

LANES_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

LANES_INLINE vf vf_abs(vf a)
{
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff)));
}

LANES_INLINE uint32_t vf_above(vf a, vf b)
{
    return _cvtmask16_u32(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ));
}

LANES_INLINE vf vf_pick(uint32_t mask, vf a, vf b)
{
    return _mm512_mask_blend_ps(_cvtu32_mask16(mask), b, a);
}

LANES_INLINE float vf_sum(vf a)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a), high);
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

LANES_INLINE float vf_top(vf a)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    __m256 x = _mm256_max_ps(_mm512_castps512_ps256(a), high);
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

/* det_expf_inline, operation by operation. */
LANES_INLINE vf vf_exp(vf x)
{
    x = vf_max(x, vf_all(DET_EXPF_LOW));
    x = vf_min(x, vf_all(DET_EXPF_HIGH));
    vf shifted = vf_add(vf_mul(x, vf_all(DET_EXPF_LOG2E)), vf_all(DET_EXPF_ROUND));
    vf n = vf_sub(shifted, vf_all(DET_EXPF_ROUND));
    vf r = vf_sub(x, vf_mul(n, vf_all(DET_EXPF_LN2_HIGH)));
    r = vf_sub(r, vf_mul(n, vf_all(DET_EXPF_LN2_LOW)));
    vf p = vf_all(DET_EXPF_P0);
    p = vf_add(vf_mul(p, r), vf_all(DET_EXPF_P1));
    p = vf_add(vf_mul(p, r), vf_all(DET_EXPF_P2));
    p = vf_add(vf_mul(p, r), vf_all(DET_EXPF_P3));
    p = vf_add(vf_mul(p, r), vf_all(DET_EXPF_P4));
    p = vf_add(vf_mul(p, r), vf_all(DET_EXPF_P5));
    p = vf_add(vf_mul(p, vf_mul(r, r)), r);
    p = vf_add(p, vf_all(1.0F));
    __m512i bits = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    bits = _mm512_add_epi32(bits, _mm512_set1_epi32(0x3f800000));
    return vf_mul(p, _mm512_castsi512_ps(bits));
}

LANES_INLINE vi vf_round(vf a)
{
    return _mm512_cvtps_epi32(a);
}

LANES_INLINE vi vi_load(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}

LANES_INLINE void vi_store(int32_t *p, vi a)
{
    _mm512_storeu_si512(p, a);
}

LANES_INLINE vi vi_all(int32_t x)
{
    return _mm512_set1_epi32(x);
}

LANES_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

LANES_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

LANES_INLINE vi vi_step(vi acc, vf a, vf b, vi step)
{
    return _mm512_mask_add_epi32(acc, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), acc, step);
}

LANES_INLINE vf vi_float(vi a)
{
    return _mm512_cvtepi32_ps(a);
}

LANES_INLINE int32_t vi_sum(vi a)
{
    return _mm512_reduce_add_epi32(a);
}

LANES_INLINE void vi_store_low(uint8_t *p, vi a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
}

LANES_INLINE void vi_store_high(uint8_t *p, vi a)
{
    vi_store_low(p, _mm512_srli_epi32(a, 8));
}

/* acc + products of four unsigned and four signed bytes a lane. */
LANES_INLINE vi dot4(vi acc, vi unsigned_bytes, vi signed_bytes)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(unsigned_bytes), "vm"(signed_bytes));
    return acc;
}

/* Four bytes in every lane. */
LANES_INLINE vi four_bytes(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

LANES_INLINE vi lanes_dot(vi acc, const int8_t *w, const uint8_t *bytes, uint32_t groups)
{
#pragma GCC unroll 4
    for (uint32_t g = 0; g < groups; g++) {
        acc = dot4(acc, four_bytes(bytes + (size_t)g * 4), _mm512_loadu_si512(w + (size_t)g * 64));
    }
    return acc;
}

/* Four slots to a lane of 128 bits, so a 4 x 4 transposition inside each puts the four slots' bytes
 * of one output side by side; then lanes are added. */
LANES_INLINE vi lanes_mix(vi acc, const int8_t *w, const uint8_t *bytes)
{
    const __m512i transpose =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __m128i four = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    vi weight = _mm512_permutexvar_epi32(spread, _mm512_castsi128_si512(four));
    vi zero = vi_all(0);
    vi s0 = dot4(zero, weight, _mm512_shuffle_epi8(_mm512_loadu_si512(w), transpose));
    vi s1 = dot4(zero, weight, _mm512_shuffle_epi8(_mm512_loadu_si512(w + 64), transpose));
    vi s2 = dot4(zero, weight, _mm512_shuffle_epi8(_mm512_loadu_si512(w + 128), transpose));
    vi s3 = dot4(zero, weight, _mm512_shuffle_epi8(_mm512_loadu_si512(w + 192), transpose));
    vi low = vi_add(_mm512_shuffle_i32x4(s0, s1, 0x44), _mm512_shuffle_i32x4(s0, s1, 0xee));
    vi high = vi_add(_mm512_shuffle_i32x4(s2, s3, 0x44), _mm512_shuffle_i32x4(s2, s3, 0xee));
    acc = vi_add(acc, _mm512_shuffle_i32x4(low, high, 0x88));
    return vi_add(acc, _mm512_shuffle_i32x4(low, high, 0xdd));
}

LANES_INLINE uint32_t lanes_sum(const uint8_t *bytes)
{
    __m128i pair =
        _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(const void *)bytes), _mm_setzero_si128());
    return (uint32_t)(_mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 2));
}

/* 16 outputs of 16 bits: minus what `count` rows lie around, times 2^shift. */
LANES_INLINE vi widen(vi sum, __m256i words, uint32_t count, int32_t shift)
{
    vi wide = vi_sub(_mm512_cvtepu16_epi32(words), vi_all((int32_t)(count * 128)));
    return vi_add(sum, _mm512_sll_epi32(wide, _mm_cvtsi32_si128(shift)));
}

/* Words add up even bytes + 256 * odd bytes, without carries that matter: the odd ones are added by
 * themselves too, and taken out at the end. */
LANES_INLINE void lanes_table(vi *sum, const uint8_t *table, const int32_t *row,
                              const uint16_t *used, uint32_t count, int32_t shift)
{
    vi all = vi_all(0);
    vi odd = vi_all(0);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; i++) {
        vi p = _mm512_loadu_si512(table + row[used[i]]);
        all = _mm512_add_epi16(all, p);
        odd = _mm512_add_epi16(odd, _mm512_srli_epi16(p, 8));
    }
    vi even = _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8));
    sum[0] = widen(sum[0], _mm512_castsi512_si256(even), count, shift);
    sum[1] = widen(sum[1], _mm512_extracti64x4_epi64(even, 1), count, shift);
    sum[2] = widen(sum[2], _mm512_castsi512_si256(odd), count, shift);
    sum[3] = widen(sum[3], _mm512_extracti64x4_epi64(odd, 1), count, shift);
}

/* A tile of rows x blocks of 16 outputs, sums in registers; rows and blocks are constants. */
LANES_INLINE void tile(const struct matrix *a, uint32_t block, const uint8_t *bytes, size_t stride,
                       int32_t *acc, size_t acc_stride, size_t rows, size_t blocks)
{
    size_t step = (size_t)a->groups * 64;
    const int8_t *w = a->w + block * step;
    vi s[4][4];
#pragma GCC unroll 4
    for (size_t b = 0; b < blocks; b++) {
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) {
            s[r][b] = vi_load(a->init + (block + b) * 16);
        }
    }
    for (uint32_t g = 0; g < a->groups; g++, w += 64, bytes += 4) {
        vi x[4];
#pragma GCC unroll 4
        for (size_t b = 0; b < blocks; b++) {
            x[b] = _mm512_loadu_si512(w + b * step);
        }
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) {
            vi four = four_bytes(bytes + r * stride);
#pragma GCC unroll 4
            for (size_t b = 0; b < blocks; b++) {
                s[r][b] = dot4(s[r][b], four, x[b]);
            }
        }
    }
#pragma GCC unroll 4
    for (size_t b = 0; b < blocks; b++) {
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) {
            vi_store(acc + r * acc_stride + (block + b) * 16, s[r][b]);
        }
    }
}

LANES_INLINE void tiles(const struct matrix *a, const uint8_t *bytes, size_t stride, int32_t *acc,
                        size_t acc_stride, size_t rows)
{
    uint32_t b = 0;
    for (; b + 4 <= a->blocks; b += 4) {
        tile(a, b, bytes, stride, acc, acc_stride, rows, 4);
    }
    switch (a->blocks - b) {
    case 3:
        tile(a, b, bytes, stride, acc, acc_stride, rows, 3);
        break;
    case 2:
        tile(a, b, bytes, stride, acc, acc_stride, rows, 2);
        break;
    case 1:
        tile(a, b, bytes, stride, acc, acc_stride, rows, 1);
        break;
    default:
        break;
    }
}

/* Not inlined: it is large, and called from many places. */
static __attribute__((noinline, unused)) void lanes_product(const struct matrix *a, size_t n,
                                                            const uint8_t *bytes, size_t stride,
                                                            int32_t *acc, size_t acc_stride)
{
    for (; n >= 4; n -= 4, bytes += 4 * stride, acc += 4 * acc_stride) {
        tiles(a, bytes, stride, acc, acc_stride, 4);
    }
    switch (n) {
    case 3:
        tiles(a, bytes, stride, acc, acc_stride, 3);
        break;
    case 2:
        tiles(a, bytes, stride, acc, acc_stride, 2);
        break;
    case 1:
        tiles(a, bytes, stride, acc, acc_stride, 1);
        break;
    default:
        break;
    }
}

#endif
#endif
