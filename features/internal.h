/* What the parts of the feature state share; not for other folders. */
#ifndef FD_FEATURES_INTERNAL_H
#define FD_FEATURES_INTERNAL_H

#include "base/region.h"
#include "features/entity.h"
#include "features/population.h"
#include "features/state.h"

#define SOURCES_MAX 1024
#define LN_COUNTS 4096

struct waiting_label {
    struct label label;
    uint64_t arrival;
};

struct label_source {
    uint64_t source;
    uint64_t number;
};

struct feat_state {
    struct feature_params params;
    struct feat_limits limits;
    struct history_limits card_history, place_history;
    int64_t clock_us; /* INT64_MIN before the first event */
    int64_t maturity_days;
    struct region region;
    struct entities cards, places;
    char *extra; /* [card_max, card_extra_bytes] */
    struct amounts amounts;
    struct category *mccs, *countries; /* [CATEGORY_MAX] */
    struct waiting_label *waiting;     /* heap by (known_us, arrival) */
    size_t waiting_count, waiting_room;
    uint64_t arrivals;
    struct label_source sources[SOURCES_MAX];
    size_t source_count;
    struct feat_counters counters;
    float ln_count[LN_COUNTS]; /* ln(1 + n) */
};

/* The records an event touches; NULL where the field is missing. */
struct touched {
    struct card *card;
    struct place *terminal, *merchant, *device, *ip;
};

static inline uint64_t place_id(uint64_t id, enum place_kind kind)
{
    /* an odd multiplier a kind keeps the hash's spread; 0 stays "missing" */
    uint64_t mixed = (id ^ (uint64_t)kind << 56) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed != 0 ? mixed : 1;
}

/* Takes effect of all labels with known_us <= the clock. */
void labels_apply(struct feat_state *s);

/* The columns of t from the state before it; fills facts->usual_ratio. */
void columns_compute(struct feat_state *s, const struct tx *t, const struct touched *at, float *out,
                     struct feat_facts *facts);

/* Adds t to its records, after its columns were computed; returns false where it came too late. */
bool columns_learn(struct feat_state *s, const struct tx *t, const struct touched *at);

/* 24 bits that stand for the event's place in its card's history; 0: no place. */
static inline uint32_t place_tag(const struct tx *t)
{
    uint64_t id = t->terminal != 0 ? t->terminal : t->merchant;
    return id != 0 ? (uint32_t)(id >> 40) | 1U : 0;
}

static inline uint32_t short_id(uint64_t id)
{
    return (uint32_t)id | 1U;
}

#endif
