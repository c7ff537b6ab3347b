#include "base/hash.h"

#include <string.h>
#include <xxhash.h>

uint64_t hash_id(const void *bytes, size_t len_bytes)
{
    uint64_t h = XXH3_64bits(bytes, len_bytes);
    return h != 0 ? h : 1;
}

uint64_t hash_bytes(const void *bytes, size_t len_bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len_bytes, seed);
}

void hash_128(const void *bytes, size_t len_bytes, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, len_bytes));
    memcpy(out, canonical.digest, sizeof canonical.digest);
}

uint64_t hash_pair(uint64_t a, uint64_t b)
{
    uint64_t pair[2] = {a, b};
    return XXH3_64bits(pair, sizeof pair);
}

/* org.apache.kafka.common.utils.Utils.murmur2, then Utils.toPositive. */
uint32_t hash_murmur2(const void *bytes, size_t len_bytes)
{
    const uint32_t m = 0x5bd1e995U;
    const unsigned char *p = bytes;
    uint32_t h = 0x9747b28cU ^ (uint32_t)len_bytes;
    size_t left = len_bytes;
    for (; left >= 4; left -= 4, p += 4) {
        uint32_t k =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        k *= m;
        k ^= k >> 24;
        k *= m;
        h = h * m ^ k;
    }
    uint32_t tail = 0;
    for (size_t i = 0; i < left; i++) {
        tail |= (uint32_t)p[i] << (8 * i);
    }
    if (left > 0) {
        h = (h ^ tail) * m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h & 0x7fffffffU;
}
