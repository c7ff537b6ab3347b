/* Small training sets for tests: cards with histories in which a threshold of one column and the
 * column of the event before decide what is fraud. */
#ifndef FD_TESTS_TOY_ROWS_H
#define FD_TESTS_TOY_ROWS_H

#include "model/train.h"

#define TOY_DAY_US (INT64_C(86400) * 1000000)
#define TOY_DAYS 40

struct toy_rows {
    struct train_rows rows; /* points at the arrays below */
    float *x;
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight;
};

/* cards * per_card rows over TOY_DAYS days from time 0; columns >= 4.  The last column is constant.
 * About a tenth is fraud.  Aborts without memory. */
void toy_rows_init(struct toy_rows *t, uint64_t seed, size_t cards, size_t per_card,
                   size_t columns);
void toy_rows_done(struct toy_rows *t);

/* A training configuration small enough for a test: width 16, two layers, one epoch a second or
 * less on a few thousand rows.  The last 10 days are held out. */
void toy_conf(struct train_conf *c);

#endif
