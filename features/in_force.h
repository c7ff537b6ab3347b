/* Fraud verdicts in force, by payment: they decide whether a label is news, whatever cards and
 * places still remember of the payment.  The oldest gives way where the bound is reached. */
#ifndef FD_FEATURES_IN_FORCE_H
#define FD_FEATURES_IN_FORCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "features/id_index.h"

#define IN_FORCE_ENDED INT64_MIN

struct in_force_verdict {
    uint64_t tx;
    int64_t known_us; /* IN_FORCE_ENDED: taken back */
};

struct in_force {
    struct in_force_verdict *ring; /* [max]; the n-th added is at n % max */
    size_t max;
    uint64_t *added; /* how many so far; borrowed */
    struct id_index index;
};

/* added: where the number of those added is kept, 0 at first; borrowed. */
FD_MUSTCHECK enum err in_force_init(struct in_force *f, size_t max, uint64_t *added,
                                    struct errmsg *e);
void in_force_done(struct in_force *f);

bool in_force_has(const struct in_force *f, uint64_t tx);
/* tx must not be in force yet; known_us is not IN_FORCE_ENDED. */
void in_force_add(struct in_force *f, uint64_t tx, int64_t known_us);
/* Ends it; returns whether it was in force and, in *out_known_us, since when it was known. */
bool in_force_end(struct in_force *f, uint64_t tx, int64_t *out_known_us);

/* Verdicts that the ring holds, ended ones included. */
size_t in_force_count(const struct in_force *f);
/* Makes the index of a ring that was read back; false: a payment is in it twice. */
bool in_force_index(struct in_force *f);

#endif
