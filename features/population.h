/* What all payments look like: amounts of the last 30 complete UTC days, and payments and known
 * frauds a day of each merchant category and country.  A payment counts on the clock's day at its
 * arrival, a fraud on the day it became known. */
#ifndef FD_FEATURES_POPULATION_H
#define FD_FEATURES_POPULATION_H

#include <stdbool.h>
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
    float tail[AMOUNT_BUCKETS]; /* column amount_tail */
};

struct category {
    int64_t day;
    int64_t risk_maturity_days; /* what `risk` was computed for */
    float risk;
    bool risk_fits;                   /* nothing that it depends on has changed since */
    uint32_t payments[CATEGORY_DAYS]; /* by day modulo CATEGORY_DAYS */
    uint32_t frauds[CATEGORY_DAYS];   /* by the day they became known */
};

/* The categories that have occurred, in order of their first occurrence. */
struct categories {
    struct category *all; /* [CATEGORY_MAX] */
    uint16_t *place;      /* [CATEGORY_MAX] by code: index in `all` + 1, 0: not yet; borrowed */
    uint32_t *count;      /* borrowed */
};

/* place and count: zeroes.  ERR_NOMEM the address space is refused. */
FD_MUSTCHECK enum err categories_init(struct categories *c, uint16_t *place, uint32_t *count,
                                      struct errmsg *e);
void categories_done(struct categories *c);
/* That of the code, which is not 0; made where it is missing. */
struct category *categories_get(struct categories *c, uint16_t code);
/* Whether place and count, read back, belong together. */
bool categories_fit(const struct categories *c);

void amounts_init(struct amounts *a);
/* Moves on to the clock's day. */
void amounts_advance(struct amounts *a, int64_t day);
void amounts_add(struct amounts *a, uint32_t amount);
/* Column amount_tail. */
float amounts_tail(const struct amounts *a, uint32_t amount);

/* clock_day: the clock's, not earlier than any before. */
void category_add_payment(struct category *c, int64_t clock_day);
/* Adds `count` (1 or -1) frauds that became known on known_day; one that long ago that it is
 * forgotten changes nothing. */
void category_add_fraud(struct category *c, int64_t clock_day, int64_t known_day, int count);
/* Frauds known in the 30 days up to clock_day over payments of the 30 days up to clock_day -
 * maturity_days, at most 1. */
float category_risk(struct category *c, int64_t clock_day, int64_t maturity_days);

#endif
