/* The table of feature columns: names, groups, ranges, and the hash that a model file carries. */
#ifndef FD_FEATURES_SCHEMA_H
#define FD_FEATURES_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#define FEATURE_FORMULA_VERSION 4

enum feature_column {
#define COLUMN(name, group, unit, missing, low, high, formula) FEAT_##name,
#include "features/columns.def"
#undef COLUMN
    FEAT_DIM
};

enum feature_group {
    GROUP_AMOUNT = 0,
    GROUP_CALENDAR,
    GROUP_INTERVAL,
    GROUP_CARD_WINDOW,
    GROUP_USUAL,
    GROUP_TERMINAL_WINDOW,
    GROUP_MERCHANT_WINDOW,
    GROUP_PAIR,
    GROUP_CARD_LABEL,
    GROUP_TERMINAL_LABEL,
    GROUP_PLACE_LABEL,
    GROUP_DEVICE,
    GROUP_GEOGRAPHY,
    GROUP_CATEGORY,
    GROUP_MISSING,
    GROUP_COUNT
};

/* What the formulas may be tuned by; part of the hash, so a model never meets other values. */
struct feature_params {
    int64_t maturity_us; /* an event without a verdict is known-legitimate this long after it */
    float blame_ratio; /* a fraud over this many times the card's usual amount is blamed on the card
                        */
    float blame_tail;  /* a fraud with amount_tail above this is blamed on neither card nor place */
    uint32_t rates_version; /* version of the exchange-rate table */
};

struct feature_info {
    const char *name;
    const char *unit;
    const char *formula;
    enum feature_group group;
    float missing;
    float low;
    float high;
};

/* maturity 7 days, blame ratio 3, blame tail 2.7, rates version 1. */
void feature_params_default(struct feature_params *p);

/* Static table, column < FEAT_DIM. */
const struct feature_info *feature_info(size_t column);

/* Stable lower-case name ("card_window") and a plain-words one ("the card's recent payments"). */
const char *feature_group_name(enum feature_group g);
const char *feature_group_words(enum feature_group g);

/* Column of that name, or -1. */
int feature_find(const char *name);

/* Covers the table (names, order, ranges, formulas), FEATURE_FORMULA_VERSION and every parameter.
 */
uint64_t feature_schema_hash(const struct feature_params *p);
/* The same of any table: what tests change. */
uint64_t feature_table_hash(const struct feature_info *columns, size_t count, uint64_t version,
                            const struct feature_params *p);

#endif
