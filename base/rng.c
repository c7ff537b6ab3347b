#include "base/rng.h"

#include "base/detmath.h"

#include <math.h>

static uint64_t rotl(uint64_t x, unsigned k)
{
    return x << k | x >> (64 - k);
}

/* splitmix64 (Steele, Lea, Flood 2014): spreads any seed, 0 included, over the whole state. */
void rng_init(struct rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15U;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
        z = (z ^ z >> 27) * 0x94d049bb133111ebU;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t rng_next(struct rng *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    /* The first 2^64 mod n values would make small results likelier; draw again. */
    uint64_t reject_below = (0 - n) % n;
    uint64_t x = rng_next(r);
    while (x < reject_below) {
        x = rng_next(r);
    }
    return x % n;
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Marsaglia's polar method.  The second value of the pair is dropped: the state stays four words.
 */
double rng_normal(struct rng *r)
{
    double u, s;
    do {
        u = 2.0 * rng_uniform(r) - 1.0;
        double v = 2.0 * rng_uniform(r) - 1.0;
        s = u * u + v * v;
    } while (s >= 1.0 || s <= 0.0);
    /* sqrt is correctly rounded by IEEE 754, so it may come from libm. */
    return u * sqrt(-2.0 * det_log(s) / s);
}

double rng_exponential(struct rng *r)
{
    return -det_log(1.0 - rng_uniform(r));
}
