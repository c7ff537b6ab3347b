/* Hashing (xxHash's XXH3, Debian's libxxhash): identities of cards and places, checksums of files.
 * Not a defence against someone who chooses the input; nothing secret is derived from it. */
#ifndef FD_BASE_HASH_H
#define FD_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 of bytes; never 0, because 0 means "missing" wherever an identity is kept. */
uint64_t hash_id(const void *bytes, size_t len_bytes);

/* XXH3-64 of bytes with a seed: checksums. */
uint64_t hash_bytes(const void *bytes, size_t len_bytes, uint64_t seed);

/* XXH3-128 of bytes, most significant byte first: checksums of whole files. */
void hash_128(const void *bytes, size_t len_bytes, uint8_t out[16]);

/* Mixes two 64-bit values into one (for composed keys). */
uint64_t hash_pair(uint64_t a, uint64_t b);

/* Kafka's murmur2 of a key, as Java's default partitioner computes it (positive part). */
uint32_t hash_murmur2(const void *bytes, size_t len_bytes);

#endif
