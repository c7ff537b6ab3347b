/* What the parts of the feature state share; not for other folders. */
#ifndef FD_FEATURES_INTERNAL_H
#define FD_FEATURES_INTERNAL_H

#include "base/region.h"
#include "features/entity.h"
#include "features/in_force.h"
#include "features/population.h"
#include "features/state.h"

#define SOURCES_MAX 1024

struct waiting_label {
    struct label label;
    uint64_t arrival;
};

struct label_source {
    uint64_t source;
    uint64_t number;
};

/* All of a world that lies in no pool: without pointers, one of its areas. */
struct world_core {
    int64_t clock_us; /* INT64_MIN before the first event */
    struct entities_fill places;
    uint64_t waiting_count;
    uint64_t arrivals;
    uint64_t verdicts_added;
    uint64_t source_count;
    uint64_t events, labels_applied, labels_repeated, labels_revised;
    uint32_t mcc_count, country_count;
    struct label_source sources[SOURCES_MAX];
    uint16_t mcc_place[CATEGORY_MAX], country_place[CATEGORY_MAX];
    struct amounts amounts;
};

struct feat_world {
    struct feature_params params;
    struct feat_world_limits limits;
    struct history_limits place_history;
    int64_t maturity_days;
    struct world_core *core; /* [1] */
    struct region region;
    struct entities places;
    struct categories mccs, countries;
    struct waiting_label *waiting; /* [label_queue_max], heap by (known_us, arrival) */
    struct in_force in_force;
    struct feat_state *cards; /* the first attached card set, in no particular order */
};

/* The same of a card set. */
struct state_core {
    int64_t clock_us; /* INT64_MIN before the first event */
    struct entities_fill cards;
    uint64_t events, late, late_dropped;
};

struct feat_state {
    struct feat_world *world;
    struct feat_state *next, *previous; /* attached to the same world */
    struct feat_limits limits;
    struct history_limits card_history;
    struct state_core *core; /* [1] */
    struct region region;
    struct entities cards;
    char *extra;            /* [card_max, card_extra_bytes] */
    char *side[FEAT_SIDES]; /* [card_max, card_side_bytes]; zeroes while not in use */
    bool side_used[FEAT_SIDES];
};

/* ERR_INVALID a bound of histories is out of range (named). */
FD_MUSTCHECK enum err check_histories(size_t history_max, size_t bytes_max, struct errmsg *e);

/* Windows, labels and what is forgotten reach so far back. */
int64_t history_horizon_us(const struct feature_params *p);

static inline uint64_t place_id(uint64_t id, enum place_kind kind)
{
    /* an odd multiplier a kind keeps the hash's spread; 0 stays "missing" */
    uint64_t mixed = (id ^ (uint64_t)kind << 56) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed != 0 ? mixed : 1;
}

/* Times beyond any calendar are moved to these, so that differences cannot overflow. */
#define TIME_US_MAX (INT64_MAX / 4)

static inline int64_t bounded_time(int64_t us)
{
    return us > TIME_US_MAX ? TIME_US_MAX : us < -TIME_US_MAX ? -TIME_US_MAX : us;
}

/* What an event touches; NULL where the field is missing. */
struct touched {
    struct card *card;
    struct place *terminal, *merchant, *device, *ip;
    float mcc_risk, country_risk; /* where the field is not missing */
};

/* One event while its columns are computed. */
struct work {
    const struct feat_state *s;
    const struct feat_world *world;
    const struct tx *t;
    const struct touched *at;
    float *x;
    double amount; /* reference units */
    uint32_t self; /* 1 where this event counts in payment windows */
    /* columns that are a logarithm: all taken at once at the end */
    uint32_t ln_count;
    uint8_t ln_column[FEAT_DIM];
    double ln_of[FEAT_DIM];
};

/* The column becomes ln(v); v > 0. */
static inline void ln_later(struct work *w, size_t column, double v)
{
    w->ln_column[w->ln_count] = (uint8_t)column;
    w->ln_of[w->ln_count++] = v;
}

/* ln(1 + v); v >= 0. */
static inline void ln1p_later(struct work *w, size_t column, double v)
{
    ln_later(w, column, 1 + v);
}

/* ln(1 + us in units of unit_us), us below 0 counting as 0. */
static inline void ln_time_later(struct work *w, size_t column, int64_t us, int64_t unit_us)
{
    ln1p_later(w, column, (double)(us > 0 ? us : 0) / (double)unit_us);
}

/* Columns of the same form for cards and places; `others`: payments of a window before this event.
 */
void count_column(struct work *w, size_t column, const struct sums *others);
void mean_column(struct work *w, size_t column, const struct sums *others);
void ratio_column(struct work *w, size_t column, const struct sums *others);
void z_column(struct work *w, size_t column, const struct sums *others);
/* ln(amount / mean), both bounded away from zero. */
void ratio_to_column(struct work *w, size_t column, double mean);

/* Groups of columns (columns_card.c, columns_place.c). */
void columns_card(struct work *w, struct feat_facts *facts);
void columns_places(struct work *w);
/* Columns of both: what is known of a card or terminal; `first`: FEAT_.._fraud_days of the group.
 */
void known_columns(struct work *w, size_t first, const struct view *v, const struct frauds *f);

/* Takes effect of all labels with known_us <= the clock. */
void labels_apply(struct feat_world *w);

/* The world's part of an event, the same whether its card is known here or not: begin moves the
 * clock and finds or makes what the event touches (its device and IP know its card from here on),
 * end adds it.  t->event_us is bounded. */
void world_begin(struct feat_world *w, const struct tx *t, struct touched *at);
void world_end(struct feat_world *w, const struct tx *t, const struct touched *at);

/* The columns of t from the state before it; fills facts->usual_ratio.  The card's latest devices,
 * IPs, countries and MCCs know t from here on. */
void columns_compute(const struct feat_state *s, const struct tx *t, const struct touched *at,
                     float *out, struct feat_facts *facts);
/* Adds t to its card, after its columns were computed; returns false where it came too late. */
bool columns_learn(struct feat_state *s, const struct tx *t, struct card *c);

/* 24 bits that stand for the event's place in its card's history; 0: no place. */
static inline uint32_t place_tag(uint64_t terminal, uint64_t merchant)
{
    uint64_t id = terminal != 0 ? terminal : merchant;
    return id != 0 ? (uint32_t)(id >> 40) | 1U : 0;
}

/* Smallest mean that an amount is held against. */
#define MEAN_MIN 0.1

static inline uint32_t short_id(uint64_t id)
{
    return (uint32_t)id | 1U;
}

#endif
