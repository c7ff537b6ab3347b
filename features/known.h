/* Known frauds of one card or place, and what they say when an event arrives.
 *
 * A payment is known-legitimate from its maturity on, unless it is marked as a known fraud, whoever
 * is blamed for that; a verdict "legitimate" only takes an earlier "fraud" back. */
#ifndef FD_FEATURES_KNOWN_H
#define FD_FEATURES_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/region.h"
#include "features/history.h"

#define FRAUD_BLAMED 1U
#define FRAUDS_MAX 64 /* latest kept; beyond it the one known longest gives way */

struct fraud {
    uint64_t tx;
    int64_t event_us;
    int64_t known_us;
    uint32_t amount;
    uint32_t tag; /* low 8 bits: 1 where blamed on this card (place); high 24: of the place, in a
                     card's, as struct entry's */
};

struct frauds {
    uint32_t block;
    uint8_t n;
    uint8_t size_class;
};

/* Columns fraud_days .. legit_since of the groups CARD_LABEL and TERMINAL_LABEL, in that order;
 * streak_len as the plain number. */
#define KNOWN_STATE_DIM 6

/* Adds a fraud; false where there is no memory for it. */
bool frauds_add(struct region *r, struct frauds *f, const struct fraud *fraud);
/* Takes one back; returns whether it was there and, in *out, what it was. */
bool frauds_remove(struct region *r, struct frauds *f, uint64_t tx, struct fraud *out);
/* The one of that payment, or NULL. */
const struct fraud *frauds_find(const struct region *r, const struct frauds *f, uint64_t tx);
void frauds_free(struct region *r, struct frauds *f);

/* Frauds that became known in (at - window, at]; blamed ones only if asked. */
uint32_t frauds_known_in(const struct region *r, const struct frauds *f, int64_t at_us,
                         int64_t window_us, bool blamed_only);
/* Days since the latest fraud by event time, 400 without one. */
float frauds_days(const struct region *r, const struct frauds *f, int64_t at_us, bool blamed_only);
/* Frauds known in the window over payments whose label became known in it. */
float frauds_risk(const struct view *v, const struct frauds *f, int64_t window_us,
                  int64_t maturity_us);
void known_state(const struct view *v, const struct frauds *f, int64_t maturity_us,
                 float out[KNOWN_STATE_DIM]);

#endif
