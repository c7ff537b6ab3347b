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
    for (uint32_t g = 0; g < groups; g++) {
        acc = dot4(acc, four_bytes(bytes + (size_t)g * 4), _mm512_loadu_si512(w + (size_t)g * 64));
    }
    return acc;
}

/* Four slots to a lane of 128 bits, so a 4 x 4 transposition inside each puts the four slots' bytes
 * of one output side by side. */
LANES_INLINE void lanes_mix(int32_t *out, const int8_t *w, const uint8_t *bytes, uint32_t groups)
{
    const __m512i transpose =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __m128i four = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    vi weight = _mm512_permutexvar_epi32(spread, _mm512_castsi128_si512(four));
    for (uint32_t g = 0; g < groups; g++) {
        vi slots = _mm512_shuffle_epi8(_mm512_loadu_si512(w + (size_t)g * 64), transpose);
        vi sums = dot4(vi_all(0), weight, slots);
        __m256i half =
            _mm256_add_epi32(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
        __m128i sum =
            _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
        __m128i *to = (__m128i *)(void *)(out + (size_t)g * 4);
        _mm_storeu_si128(to, _mm_add_epi32(_mm_loadu_si128(to), sum));
    }
}

/* Bytes of four rows side by side, output by output, times four multipliers. */
LANES_INLINE void lanes_table(int32_t *out, const int8_t *table, size_t stride, const uint32_t *row,
                              const uint8_t *multiplier, uint32_t count)
{
    vi sum0 = vi_all(0);
    vi sum1 = sum0;
    vi sum2 = sum0;
    vi sum3 = sum0;
    for (uint32_t r = 0; r < count; r += 4) {
        vi a = _mm512_loadu_si512(table + row[r] * stride);
        vi b = _mm512_loadu_si512(table + row[r + 1] * stride);
        vi c = _mm512_loadu_si512(table + row[r + 2] * stride);
        vi d = _mm512_loadu_si512(table + row[r + 3] * stride);
        vi m = four_bytes(multiplier + r);
        vi ab = _mm512_unpacklo_epi8(a, b);
        vi cd = _mm512_unpacklo_epi8(c, d);
        sum0 = dot4(sum0, m, _mm512_unpacklo_epi16(ab, cd));
        sum1 = dot4(sum1, m, _mm512_unpackhi_epi16(ab, cd));
        ab = _mm512_unpackhi_epi8(a, b);
        cd = _mm512_unpackhi_epi8(c, d);
        sum2 = dot4(sum2, m, _mm512_unpacklo_epi16(ab, cd));
        sum3 = dot4(sum3, m, _mm512_unpackhi_epi16(ab, cd));
    }
    /* lane L of sum q holds outputs 16 L + 4 q ..: transpose lanes */
    vi low = _mm512_shuffle_i32x4(sum0, sum1, 0x44); /* 0.0 0.1 1.0 1.1 */
    vi high = _mm512_shuffle_i32x4(sum0, sum1, 0xee);
    vi low2 = _mm512_shuffle_i32x4(sum2, sum3, 0x44);
    vi high2 = _mm512_shuffle_i32x4(sum2, sum3, 0xee);
    _mm512_storeu_si512(out, _mm512_shuffle_i32x4(low, low2, 0x88));
    _mm512_storeu_si512(out + 16, _mm512_shuffle_i32x4(low, low2, 0xdd));
    _mm512_storeu_si512(out + 32, _mm512_shuffle_i32x4(high, high2, 0x88));
    _mm512_storeu_si512(out + 48, _mm512_shuffle_i32x4(high, high2, 0xdd));
}

/* Tiles of rows x blocks of 16 outputs, accumulators in registers. */
LANES_INLINE void tile_4x4(const struct matrix *a, uint32_t block, const uint8_t *bytes,
                           size_t stride, int32_t *acc, size_t acc_stride)
{
    size_t step = (size_t)a->groups * 64;
    const int8_t *w = a->w + block * step;
    vi s[4][4];
#pragma GCC unroll 4
    for (int b = 0; b < 4; b++) {
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            s[r][b] = vi_load(a->init + (block + (uint32_t)b) * 16);
        }
    }
    for (uint32_t g = 0; g < a->groups; g++) {
        vi w0 = _mm512_loadu_si512(w + (size_t)g * 64);
        vi w1 = _mm512_loadu_si512(w + step + (size_t)g * 64);
        vi w2 = _mm512_loadu_si512(w + 2 * step + (size_t)g * 64);
        vi w3 = _mm512_loadu_si512(w + 3 * step + (size_t)g * 64);
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++) {
            vi x = four_bytes(bytes + (size_t)r * stride + (size_t)g * 4);
            s[r][0] = dot4(s[r][0], x, w0);
            s[r][1] = dot4(s[r][1], x, w1);
            s[r][2] = dot4(s[r][2], x, w2);
            s[r][3] = dot4(s[r][3], x, w3);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
#pragma GCC unroll 4
        for (int b = 0; b < 4; b++) {
            _mm512_storeu_si512(acc + (size_t)r * acc_stride + (block + (uint32_t)b) * 16, s[r][b]);
        }
    }
}

LANES_INLINE void tile_4x1(const struct matrix *a, uint32_t block, const uint8_t *bytes,
                           size_t stride, int32_t *acc, size_t acc_stride)
{
    const int8_t *w = a->w + (size_t)block * a->groups * 64;
    vi s0 = vi_load(a->init + block * 16);
    vi s1 = s0;
    vi s2 = s0;
    vi s3 = s0;
    for (uint32_t g = 0; g < a->groups; g++) {
        vi x = _mm512_loadu_si512(w + (size_t)g * 64);
        s0 = dot4(s0, four_bytes(bytes + (size_t)g * 4), x);
        s1 = dot4(s1, four_bytes(bytes + stride + (size_t)g * 4), x);
        s2 = dot4(s2, four_bytes(bytes + 2 * stride + (size_t)g * 4), x);
        s3 = dot4(s3, four_bytes(bytes + 3 * stride + (size_t)g * 4), x);
    }
    acc += block * 16;
    _mm512_storeu_si512(acc, s0);
    _mm512_storeu_si512(acc + acc_stride, s1);
    _mm512_storeu_si512(acc + 2 * acc_stride, s2);
    _mm512_storeu_si512(acc + 3 * acc_stride, s3);
}

LANES_INLINE void tile_1x4(const struct matrix *a, uint32_t block, const uint8_t *bytes,
                           int32_t *acc)
{
    size_t step = (size_t)a->groups * 64;
    const int8_t *w = a->w + block * step;
    vi s0 = vi_load(a->init + block * 16);
    vi s1 = vi_load(a->init + block * 16 + 16);
    vi s2 = vi_load(a->init + block * 16 + 32);
    vi s3 = vi_load(a->init + block * 16 + 48);
    for (uint32_t g = 0; g < a->groups; g++, w += 64) {
        vi x = four_bytes(bytes + (size_t)g * 4);
        s0 = dot4(s0, x, _mm512_loadu_si512(w));
        s1 = dot4(s1, x, _mm512_loadu_si512(w + step));
        s2 = dot4(s2, x, _mm512_loadu_si512(w + 2 * step));
        s3 = dot4(s3, x, _mm512_loadu_si512(w + 3 * step));
    }
    acc += block * 16;
    _mm512_storeu_si512(acc, s0);
    _mm512_storeu_si512(acc + 16, s1);
    _mm512_storeu_si512(acc + 32, s2);
    _mm512_storeu_si512(acc + 48, s3);
}

LANES_INLINE void lanes_product(const struct matrix *a, size_t n, const uint8_t *bytes,
                                size_t stride, int32_t *acc, size_t acc_stride)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4, bytes += 4 * stride, acc += 4 * acc_stride) {
        uint32_t b = 0;
        for (; b + 4 <= a->blocks; b += 4) {
            tile_4x4(a, b, bytes, stride, acc, acc_stride);
        }
        for (; b < a->blocks; b++) {
            tile_4x1(a, b, bytes, stride, acc, acc_stride);
        }
    }
    for (; i < n; i++, bytes += stride, acc += acc_stride) {
        uint32_t b = 0;
        for (; b + 4 <= a->blocks; b += 4) {
            tile_1x4(a, b, bytes, acc);
        }
        for (; b < a->blocks; b++) {
            vi sum = lanes_dot(vi_load(a->init + b * 16), a->w + (size_t)b * a->groups * 64, bytes,
                               a->groups);
            _mm512_storeu_si512(acc + b * 16, sum);
        }
    }
}

#endif
#endif
