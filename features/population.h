/* What all payments look like: amounts of the last 30 complete UTC days, and payments and known
 * frauds a day of each merchant category and country.  Days are the clock's at arrival. */
#ifndef FD_FEATURES_POPULATION_H
#define FD_FEATURES_POPULATION_H

#include <stdint.h>

#include "base/err.h"

#define AMOUNT_BUCKETS 1024 /* 32 an octave */
#define AMOUNT_DAYS 30
#define CATEGORY_DAYS 128
#define CATEGORY_MAX 65536

struct amounts {
    int64_t day; /* of today's pane; INT64_MIN before the first payment */
    uint32_t pane[AMOUNT_DAYS + 1][AMOUNT_BUCKETS];
    uint64_t above[AMOUNT_BUCKETS]; /* payments of the complete days in higher buckets */
    uint64_t same[AMOUNT_BUCKETS];
    uint64_t total;
};

struct category {
    int64_t day;
    uint32_t payments[CATEGORY_DAYS]; /* by day modulo CATEGORY_DAYS */
    uint32_t frauds[CATEGORY_DAYS];   /* by the day they became known */
};

void amounts_init(struct amounts *a);
/* Moves on to the clock's day. */
void amounts_advance(struct amounts *a, int64_t day);
void amounts_add(struct amounts *a, uint32_t amount);
/* Column amount_tail. */
float amounts_tail(const struct amounts *a, uint32_t amount);

void category_add_payment(struct category *c, int64_t day);
void category_add_fraud(struct category *c, int64_t day, int count);
/* Frauds known in the 30 days up to `day` over payments of the 30 days up to day - maturity. */
float category_risk(struct category *c, int64_t day, int64_t maturity_days);

#endif
