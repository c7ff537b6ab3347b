/* lanes_scalar.h on AVX2, two vectors of eight.  Include it once the target is set (kernel_avx2.c).
 *
 * Products of bytes are widened to 16 bits first: the instruction that multiplies bytes and adds
 * pairs saturates. */
#ifndef FD_MODEL_LANES_H
#define FD_MODEL_LANES_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "base/detmath_inline.h"
#include "model/served.h"

#ifdef FD_LANES_AVX2

typedef struct {
    __m256 a, b;
} vf;
typedef struct {
    __m256i a, b;
} vi;

#define LANES_INLINE static inline __attribute__((always_inline))

LANES_INLINE vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

LANES_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

LANES_INLINE vf vf_all(float x)
{
    return (vf){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

LANES_INLINE vf vf_add(vf x, vf y)
{
    return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

LANES_INLINE vf vf_sub(vf x, vf y)
{
    return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

LANES_INLINE vf vf_mul(vf x, vf y)
{
    return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

LANES_INLINE vf vf_div(vf x, vf y)
{
    return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

LANES_INLINE vf vf_sqrt(vf x)
{
    return (vf){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)};
}

/* The second operand where they are equal or one is NAN, as in lanes_scalar.h. */
LANES_INLINE vf vf_max(vf x, vf y)
{
    return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

LANES_INLINE vf vf_min(vf x, vf y)
{
    return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

LANES_INLINE vf vf_abs(vf x)
{
    __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    return (vf){_mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask)};
}

LANES_INLINE uint32_t vf_above(vf x, vf y)
{
    int low = _mm256_movemask_ps(_mm256_cmp_ps(x.a, y.a, _CMP_GT_OQ));
    int high = _mm256_movemask_ps(_mm256_cmp_ps(x.b, y.b, _CMP_GT_OQ));
    return (uint32_t)low | (uint32_t)high << 8;
}

LANES_INLINE __m256 spread_mask(uint32_t mask)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i m = _mm256_and_si256(_mm256_set1_epi32((int32_t)mask), bit);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(m, bit));
}

LANES_INLINE vf vf_pick(uint32_t mask, vf x, vf y)
{
    return (vf){_mm256_blendv_ps(y.a, x.a, spread_mask(mask)),
                _mm256_blendv_ps(y.b, x.b, spread_mask(mask >> 8))};
}

LANES_INLINE float vf_sum(vf x)
{
    __m256 y = _mm256_add_ps(x.a, x.b);
    __m128 z = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_add_ss(z, _mm_movehdup_ps(z)));
}

LANES_INLINE float vf_top(vf x)
{
    __m256 y = _mm256_max_ps(x.a, x.b);
    __m128 z = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    return _mm_cvtss_f32(_mm_max_ss(z, _mm_movehdup_ps(z)));
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
    __m256i one = _mm256_set1_epi32(0x3f800000);
    __m256i low = _mm256_slli_epi32(_mm256_castps_si256(shifted.a), 23);
    __m256i high = _mm256_slli_epi32(_mm256_castps_si256(shifted.b), 23);
    vf scale = {_mm256_castsi256_ps(_mm256_add_epi32(low, one)),
                _mm256_castsi256_ps(_mm256_add_epi32(high, one))};
    return vf_mul(p, scale);
}

LANES_INLINE vi vf_round(vf x)
{
    return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}

LANES_INLINE __m256i load_8(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

LANES_INLINE vi vi_load(const int32_t *p)
{
    return (vi){load_8(p), load_8(p + 8)};
}

LANES_INLINE void store_8(int32_t *p, __m256i x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, x);
}

LANES_INLINE void vi_store(int32_t *p, vi x)
{
    store_8(p, x.a);
    store_8(p + 8, x.b);
}

LANES_INLINE vi vi_all(int32_t x)
{
    return (vi){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}

LANES_INLINE vi vi_add(vi x, vi y)
{
    return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

LANES_INLINE vi vi_sub(vi x, vi y)
{
    return (vi){_mm256_sub_epi32(x.a, y.a), _mm256_sub_epi32(x.b, y.b)};
}

LANES_INLINE __m256i step_8(__m256i acc, __m256 a, __m256 b, __m256i step)
{
    __m256i above = _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
    return _mm256_add_epi32(acc, _mm256_and_si256(above, step));
}

LANES_INLINE vi vi_step(vi acc, vf x, vf y, vi step)
{
    return (vi){step_8(acc.a, x.a, y.a, step.a), step_8(acc.b, x.b, y.b, step.b)};
}

LANES_INLINE vf vi_float(vi x)
{
    return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}

LANES_INLINE int32_t vi_sum(vi x)
{
    __m256i y = _mm256_add_epi32(x.a, x.b);
    __m128i z = _mm_add_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0x4e));
    z = _mm_add_epi32(z, _mm_shuffle_epi32(z, 0xb1));
    return _mm_cvtsi128_si32(z);
}

LANES_INLINE void vi_store_low(uint8_t *p, vi x)
{
    const __m256i byte = _mm256_set1_epi32(255);
    __m256i words = _mm256_packus_epi32(_mm256_and_si256(x.a, byte), _mm256_and_si256(x.b, byte));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)p, bytes);
}

LANES_INLINE void vi_store_high(uint8_t *p, vi x)
{
    vi_store_low(p, (vi){_mm256_srli_epi32(x.a, 8), _mm256_srli_epi32(x.b, 8)});
}

LANES_INLINE __m128i load_16(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* Four unsigned bytes as 16-bit words, four times. */
LANES_INLINE __m256i four_words(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
}

/* Sums of 16 outputs as pairs: four vectors of 4 outputs x 2. */
struct pairs {
    __m256i p[4];
};

LANES_INLINE void pairs_add(struct pairs *s, const int8_t *w, __m256i x)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m256i words = _mm256_cvtepi8_epi16(load_16(w + 16 * (size_t)i));
        s->p[i] = _mm256_add_epi32(s->p[i], _mm256_madd_epi16(words, x));
    }
}

LANES_INLINE vi pairs_fold(const struct pairs *s)
{
    vi r = {_mm256_hadd_epi32(s->p[0], s->p[1]), _mm256_hadd_epi32(s->p[2], s->p[3])};
    r.a = _mm256_permute4x64_epi64(r.a, 0xd8);
    r.b = _mm256_permute4x64_epi64(r.b, 0xd8);
    return r;
}

LANES_INLINE struct pairs pairs_zero(void)
{
    __m256i zero = _mm256_setzero_si256();
    return (struct pairs){{zero, zero, zero, zero}};
}

LANES_INLINE vi lanes_dot(vi acc, const int8_t *w, const uint8_t *bytes, uint32_t groups)
{
    struct pairs s = pairs_zero();
#pragma GCC unroll 4
    for (uint32_t g = 0; g < groups; g++) {
        pairs_add(&s, w + (size_t)g * 64, four_words(bytes + (size_t)g * 4));
    }
    return vi_add(acc, pairs_fold(&s));
}

/* Four outputs: four slots to 16 bytes, so a 4 x 4 transposition puts the four slots' bytes of one
 * output side by side. */
LANES_INLINE __m128i mix_4(const int8_t *w, const uint8_t *bytes)
{
    const __m128i transpose = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m256i sums = _mm256_setzero_si256();
    for (size_t quarter = 0; quarter < 4; quarter++) {
        __m256i words =
            _mm256_cvtepi8_epi16(_mm_shuffle_epi8(load_16(w + quarter * 16), transpose));
        __m256i products = _mm256_madd_epi16(words, four_words(bytes + quarter * 4));
        sums = _mm256_add_epi32(sums, products);
    }
    return _mm_hadd_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
}

LANES_INLINE vi lanes_mix(vi acc, const int8_t *w, const uint8_t *bytes)
{
    vi sums = {_mm256_set_m128i(mix_4(w + 64, bytes), mix_4(w, bytes)),
               _mm256_set_m128i(mix_4(w + 192, bytes), mix_4(w + 128, bytes))};
    return vi_add(acc, sums);
}

LANES_INLINE uint32_t lanes_sum(const uint8_t *bytes)
{
    __m128i pair = _mm_sad_epu8(load_16(bytes), _mm_setzero_si128());
    return (uint32_t)(_mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 2));
}

/* 16 outputs of 16 bits: minus what `count` rows lie around, times 2^shift. */
LANES_INLINE vi widen(vi sum, __m256i words, uint32_t count, int32_t shift)
{
    __m256i middle = _mm256_set1_epi32((int32_t)(count * 128));
    __m128i by = _mm_cvtsi32_si128(shift);
    vi wide = {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(words)),
               _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1))};
    wide.a = _mm256_sll_epi32(_mm256_sub_epi32(wide.a, middle), by);
    wide.b = _mm256_sll_epi32(_mm256_sub_epi32(wide.b, middle), by);
    return vi_add(sum, wide);
}

/* Words add up even bytes + 256 * odd bytes, without carries that matter: the odd ones are added by
 * themselves too, and taken out at the end. */
LANES_INLINE void lanes_table(vi *sum, const uint8_t *table, const int32_t *row,
                              const uint16_t *used, uint32_t count, int32_t shift)
{
    for (size_t half = 0; half < 2; half++) {
        __m256i all = _mm256_setzero_si256();
        __m256i odd = all;
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++) {
            const uint8_t *at = table + row[used[i]] + half * 32;
            __m256i p = _mm256_loadu_si256((const __m256i *)(const void *)at);
            all = _mm256_add_epi16(all, p);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(p, 8));
        }
        __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
        sum[half] = widen(sum[half], even, count, shift);
        sum[2 + half] = widen(sum[2 + half], odd, count, shift);
    }
}

LANES_INLINE void lanes_product(const struct matrix *a, size_t n, const uint8_t *bytes,
                                size_t stride, int32_t *acc, size_t acc_stride)
{
    for (uint32_t b = 0; b < a->blocks; b++) {
        const int8_t *w = a->w + (size_t)b * a->groups * 64;
        vi init = vi_load(a->init + b * 16);
        const uint8_t *from = bytes;
        int32_t *to = acc + b * 16;
        size_t i = 0;
        for (; i + 2 <= n; i += 2, from += 2 * stride, to += 2 * acc_stride) {
            struct pairs s = pairs_zero();
            struct pairs t = s;
            for (uint32_t g = 0; g < a->groups; g++) {
                pairs_add(&s, w + (size_t)g * 64, four_words(from + (size_t)g * 4));
                pairs_add(&t, w + (size_t)g * 64, four_words(from + stride + (size_t)g * 4));
            }
            vi_store(to, vi_add(init, pairs_fold(&s)));
            vi_store(to + acc_stride, vi_add(init, pairs_fold(&t)));
        }
        if (i < n) {
            vi_store(to, lanes_dot(init, w, from, a->groups));
        }
    }
}

#endif
#endif
