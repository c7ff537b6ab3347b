#include "features/schema.h"

#include <string.h>

#include "base/hash.h"
#include "base/timefmt.h"

static const struct feature_info COLUMNS[] = {
#define COLUMN(name, group, unit, missing, low, high, formula)                                     \
    {#name, unit, formula, GROUP_##group, missing, low, high},
#include "features/columns.def"
#undef COLUMN
};

_Static_assert(FEAT_DIM == 128, "the model's input has 128 columns");

static const char *const GROUP_NAMES[GROUP_COUNT] = {
    "amount",          "calendar",        "interval",  "card_window", "usual",
    "terminal_window", "merchant_window", "pair",      "card_label",  "terminal_label",
    "place_label",     "device",          "geography", "category",    "missing"};

static const char *const GROUP_WORDS[GROUP_COUNT] = {
    "the amount",
    "the time of day and week",
    "the time since earlier payments",
    "the card's recent payments",
    "the card's usual amount",
    "recent payments at this terminal",
    "recent payments at this merchant",
    "how often this card was here",
    "known frauds of this card",
    "known frauds at this terminal",
    "known frauds at this merchant, device or address",
    "the device and address",
    "where the payment was made",
    "the kind of merchant and payment",
    "which fields are missing"};

void feature_params_default(struct feature_params *p)
{
    *p = (struct feature_params){
        .maturity_us = 7 * TIME_DAY, .blame_ratio = 3.0F, .blame_tail = 2.7F, .rates_version = 1};
}

const struct feature_info *feature_info(size_t column)
{
    return &COLUMNS[column];
}

const char *feature_group_name(enum feature_group g)
{
    return GROUP_NAMES[g];
}

const char *feature_group_words(enum feature_group g)
{
    return GROUP_WORDS[g];
}

int feature_find(const char *name)
{
    for (size_t i = 0; i < FEAT_DIM; i++) {
        if (strcmp(COLUMNS[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

uint64_t feature_table_hash(const struct feature_info *columns, size_t count, uint64_t version,
                            const struct feature_params *p)
{
    uint64_t h = hash_pair(version, count);
    for (size_t i = 0; i < count; i++) {
        const struct feature_info *c = &columns[i];
        const char *const texts[] = {c->name, c->unit, c->formula, GROUP_NAMES[c->group]};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            h = hash_bytes(texts[k], strlen(texts[k]) + 1, h);
        }
        const float numbers[] = {c->missing, c->low, c->high};
        h = hash_bytes(numbers, sizeof numbers, h);
    }
    h = hash_bytes(&p->maturity_us, sizeof p->maturity_us, h);
    h = hash_bytes(&p->blame_ratio, sizeof p->blame_ratio, h);
    h = hash_bytes(&p->blame_tail, sizeof p->blame_tail, h);
    return hash_bytes(&p->rates_version, sizeof p->rates_version, h);
}

uint64_t feature_schema_hash(const struct feature_params *p)
{
    return feature_table_hash(COLUMNS, FEAT_DIM, FEATURE_FORMULA_VERSION, p);
}
