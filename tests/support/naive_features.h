/* The features once more, slow and obvious: all events and labels in plain arrays, every column by
 * looks through all of them, written from the text of features/columns.def.  What tests compare
 * features/ with. */
#ifndef FD_TESTS_SUPPORT_NAIVE_FEATURES_H
#define FD_TESTS_SUPPORT_NAIVE_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "features/schema.h"
#include "features/tx.h"

struct naive;

struct naive_limits {
    size_t card_events_max, place_events_max; /* of a history, kept one by one */
};

struct naive_facts {
    float usual_ratio;
    uint32_t card_events;
    bool late, dropped_late;
};

/* Aborts where memory is short, as all of this does: a test has no use for an error. */
struct naive *naive_create(const struct feature_params *p, const struct naive_limits *l);
void naive_free(struct naive *n);
void naive_label(struct naive *n, const struct label *l);
/* out_x: [FEAT_DIM].  The windows of what a history has folded into panes are exact here. */
void naive_extract(struct naive *n, const struct tx *t, float *out_x, struct naive_facts *out);

#endif
