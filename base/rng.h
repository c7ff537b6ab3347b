/* Seeded random numbers (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64).  The same
 * seed gives the same sequence on every machine.  Not for secrets. */
#ifndef FD_BASE_RNG_H
#define FD_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, n); n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1) with 53 bits. */
double rng_uniform(struct rng *r);
/* Standard normal (polar method); uses base/detmath, so the same bits everywhere. */
double rng_normal(struct rng *r);
/* Exponential with mean 1. */
double rng_exponential(struct rng *r);

#endif
