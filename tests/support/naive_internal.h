/* Between naive_features.c (what happened) and the files that say what it means for a column. */
#ifndef FD_TESTS_SUPPORT_NAIVE_INTERNAL_H
#define FD_TESTS_SUPPORT_NAIVE_INTERNAL_H

#include "tests/support/naive_features.h"

#define NAIVE_DAY INT64_C(86400000000)
#define NAIVE_PI 3.14159265358979323846
#define NAIVE_HOUR INT64_C(3600000000)

enum naive_holder { HOLD_CARD, HOLD_TERMINAL, HOLD_MERCHANT, HOLD_DEVICE, HOLD_IP, HOLD_COUNT };
enum naive_place { NAIVE_NOT_IN, NAIVE_KEPT, NAIVE_FOLDED };

struct naive_event {
    struct tx tx;
    int64_t clock_day;               /* at its arrival */
    enum naive_place in[HOLD_COUNT]; /* the history of its card, terminal, merchant */
    bool fraud[HOLD_COUNT];          /* marked there */
};

struct naive_fraud {
    uint64_t tx, holder_id;
    enum naive_holder holder;
    int64_t event_us, known_us;
    bool blamed, live;
};

struct naive_category_fraud {
    uint64_t tx;
    uint16_t mcc, country;
    int64_t known_day;
    bool live;
};

struct naive_label {
    struct label label;
    bool applied;
};

struct naive {
    struct feature_params params;
    struct naive_limits limits;
    int64_t clock_us;
    struct naive_event *events; /* in order of arrival */
    size_t event_count, event_room;
    struct naive_label *labels;
    size_t label_count, label_room;
    struct naive_fraud *frauds; /* in the order they took effect */
    size_t fraud_count, fraud_room;
    struct naive_category_fraud *categories;
    size_t category_count, category_room;
};

/* One event while its columns are computed. */
struct look {
    const struct naive *n;
    const struct tx *t;
    float *x;
};

uint64_t naive_holder_id(const struct tx *t, enum naive_holder h);
int64_t naive_day(int64_t us);
bool naive_is_payment(const struct tx *t);
double naive_amount_tail(const struct naive *n, uint32_t amount);
/* What lies at or before this is forgotten by the history when an event at t_us comes. */
int64_t naive_forgotten(const struct naive *n, enum naive_holder h, uint64_t id, int64_t t_us);
double naive_days(int64_t us);
/* Whether the event lies in the holder's history at or before t. */
bool naive_holds(const struct look *l, const struct naive_event *e, enum naive_holder h);
/* Where the window begins that ends at t, or what is forgotten where that is later. */
int64_t naive_window_start(const struct look *l, enum naive_holder h, int64_t window_us);

/* Fill in all columns; naive_known and naive_latest groups of them. */
void naive_known(const struct look *l);
void naive_latest(const struct look *l);
void naive_columns(const struct naive *n, const struct tx *t, float *x, struct naive_facts *out);

#endif
