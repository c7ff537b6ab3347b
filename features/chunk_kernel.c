/* See chunk_kernel.h. */
#include "features/chunk_kernel.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

static void part_portable(const struct entry *e, uint32_t n, int64_t edge_us, struct sums *s)
{
    for (uint32_t i = n; i-- > 0 && e[i].time_us > edge_us;) {
        uint64_t payment = e[i].tag & ENTRY_PAYMENT;
        uint64_t amount = e[i].amount & (0 - payment);
        s->n += payment;
        s->sum += amount;
        s->square += amount * amount;
    }
}

static uint32_t place_portable(const struct entry *e, uint32_t n, uint32_t place)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t here = e[i].tag >> 8 == place && (e[i].tag & ENTRY_PAYMENT) != 0;
        found |= here << i;
    }
    return found;
}

const struct chunk_kernel CHUNK_KERNEL_PORTABLE = {part_portable, place_portable};

#ifdef __x86_64__
/* An entry is two 64-bit lanes: its time, then amount + tag * 2^32.  Squares are added up in
 * halves, which cannot overflow. */
#define LOW32 INT64_C(0xffffffff)
#define PAYMENT_BIT ((int64_t)ENTRY_PAYMENT << 32)
/* the lanes' bits that say "payment" and where */
#define PLACE_BITS ((int64_t)(UINT64_C(0xffffff01) << 32))

static int64_t place_wanted(uint32_t place)
{
    return (int64_t)((uint64_t)(place << 8 | ENTRY_PAYMENT) << 32);
}

__attribute__((target("avx2"))) static void part_avx2(const struct entry *e, uint32_t n,
                                                      int64_t edge_us, struct sums *s)
{
    const __m256i edge = _mm256_set1_epi64x(edge_us);
    const __m256i payment = _mm256_set_epi64x(PAYMENT_BIT, 0, PAYMENT_BIT, 0);
    const __m256i low32 = _mm256_set1_epi64x(LOW32);
    const __m256i zero = _mm256_setzero_si256();
    __m256i count = zero;
    __m256i sum = zero;
    __m256i low = zero;
    __m256i high = zero;
    for (uint32_t i = 0; i + 2 <= n; i += 2) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(e + i));
        __m256i inside = _mm256_shuffle_epi32(_mm256_cmpgt_epi64(x, edge), 0x44);
        __m256i paid = _mm256_cmpgt_epi64(_mm256_and_si256(x, payment), zero);
        __m256i mask = _mm256_and_si256(inside, paid);
        __m256i amount = _mm256_and_si256(_mm256_and_si256(x, low32), mask);
        __m256i square = _mm256_mul_epu32(amount, amount);
        count = _mm256_sub_epi64(count, mask);
        sum = _mm256_add_epi64(sum, amount);
        low = _mm256_add_epi64(low, _mm256_and_si256(square, low32));
        high = _mm256_add_epi64(high, _mm256_srli_epi64(square, 32));
    }
    /* the even lanes are 0 */
    s->n += (uint64_t)_mm256_extract_epi64(count, 1) + (uint64_t)_mm256_extract_epi64(count, 3);
    s->sum += (uint64_t)_mm256_extract_epi64(sum, 1) + (uint64_t)_mm256_extract_epi64(sum, 3);
    uint64_t lows = (uint64_t)_mm256_extract_epi64(low, 1) + (uint64_t)_mm256_extract_epi64(low, 3);
    uint64_t highs =
        (uint64_t)_mm256_extract_epi64(high, 1) + (uint64_t)_mm256_extract_epi64(high, 3);
    s->square += ((wide_sum)highs << 32) + lows;
    if (n % 2 == 1) {
        part_portable(e + n - 1, 1, edge_us, s);
    }
}

__attribute__((target("avx2"))) static uint32_t place_avx2(const struct entry *e, uint32_t n,
                                                           uint32_t place)
{
    const __m256i wanted = _mm256_set1_epi64x(place_wanted(place));
    const __m256i bits = _mm256_set1_epi64x(PLACE_BITS);
    uint32_t found = 0;
    uint32_t i = 0;
    for (; i + 2 <= n; i += 2) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(e + i));
        __m256i same = _mm256_cmpeq_epi64(_mm256_and_si256(x, bits), wanted);
        uint32_t lanes = (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(same));
        found |= ((lanes >> 1 & 1) | (lanes >> 2 & 2)) << i;
    }
    return i < n ? found | place_portable(e + i, 1, place) << i : found;
}

__attribute__((target("avx512f"))) static void part_avx512(const struct entry *e, uint32_t n,
                                                           int64_t edge_us, struct sums *s)
{
    const __m512i edge = _mm512_set1_epi64(edge_us);
    const __m512i payment = _mm512_set1_epi64(PAYMENT_BIT);
    const __m512i low32 = _mm512_set1_epi64(LOW32);
    __m512i sum = _mm512_setzero_si512();
    __m512i low = sum;
    __m512i high = sum;
    for (uint32_t i = 0; i < n; i += 4) {
        uint32_t lanes = n - i < 4 ? (1U << 2 * (n - i)) - 1 : 0xff;
        __m512i x = _mm512_maskz_loadu_epi64((__mmask8)lanes, e + i);
        uint32_t inside = _mm512_cmpgt_epi64_mask(x, edge);
        uint32_t paid = _mm512_test_epi64_mask(x, payment);
        uint32_t mask = inside << 1 & paid & 0xaa & lanes;
        __m512i amount = _mm512_maskz_and_epi64((__mmask8)mask, x, low32);
        __m512i square = _mm512_mul_epu32(amount, amount);
        s->n += (uint32_t)__builtin_popcount(mask);
        sum = _mm512_add_epi64(sum, amount);
        low = _mm512_add_epi64(low, _mm512_and_si512(square, low32));
        high = _mm512_add_epi64(high, _mm512_srli_epi64(square, 32));
    }
    /* even lanes are 0: the low halves of the squares move there, to be added up beside the sum */
    __m512i both = _mm512_or_si512(sum, _mm512_shuffle_epi32(low, (_MM_PERM_ENUM)0x4e));
    __m256i four =
        _mm256_add_epi64(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
    __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    s->sum += (uint64_t)_mm_extract_epi64(two, 1);
    s->square += (uint64_t)_mm_cvtsi128_si64(two);
    s->square += (wide_sum)(uint64_t)_mm512_reduce_add_epi64(high) << 32;
}

__attribute__((target("avx512f"))) static uint32_t place_avx512(const struct entry *e, uint32_t n,
                                                                uint32_t place)
{
    const __m512i wanted = _mm512_set1_epi64(place_wanted(place));
    const __m512i bits = _mm512_set1_epi64(PLACE_BITS);
    uint64_t lanes = 0; /* two an entry */
    for (uint32_t i = 0; i < n; i += 4) {
        uint32_t there = n - i < 4 ? (1U << 2 * (n - i)) - 1 : 0xff;
        __m512i x = _mm512_maskz_loadu_epi64((__mmask8)there, e + i);
        uint64_t same = _mm512_cmpeq_epi64_mask(_mm512_and_si512(x, bits), wanted);
        lanes |= (same & there & 0xaa) << 2 * i;
    }
    uint32_t found = 0;
    for (; lanes != 0; lanes &= lanes - 1) {
        found |= 1U << ((uint32_t)__builtin_ctzll(lanes) / 2);
    }
    return found;
}

static const struct chunk_kernel AVX2 = {part_avx2, place_avx2};
static const struct chunk_kernel AVX512 = {part_avx512, place_avx512};

const struct chunk_kernel *chunk_kernel_best(void)
{
    return __builtin_cpu_supports("avx512f") ? &AVX512
           : __builtin_cpu_supports("avx2")  ? &AVX2
                                             : &CHUNK_KERNEL_PORTABLE;
}

const struct chunk_kernel *chunk_kernel_avx2(void)
{
    return __builtin_cpu_supports("avx2") ? &AVX2 : NULL;
}
#else
const struct chunk_kernel *chunk_kernel_best(void)
{
    return &CHUNK_KERNEL_PORTABLE;
}

const struct chunk_kernel *chunk_kernel_avx2(void)
{
    return NULL;
}
#endif
