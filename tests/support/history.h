/* A history in CSV as rows to train on or to score: replayed through the features as `train` does,
 * in order of (card, time).  For benchmarks; a failure ends the program with its message. */
#ifndef FD_TESTS_SUPPORT_HISTORY_H
#define FD_TESTS_SUPPORT_HISTORY_H

#include <stdint.h>

#include "base/err.h"
#include "daemon/past.h"
#include "features/schema.h"
#include "model/train.h"

struct history {
    struct past past;
    uint32_t *place; /* [past.n] row of each payment */
    float *x;        /* [n, FEAT_DIM] */
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight; /* 1 for judged payments from weight_from_us on, else 0 */
};

/* Reads payments before until_us.  params: maturity is also the delay of verdicts; the version of
 * the rates is filled in. */
void history_read(struct history *h, const char *path, int64_t until_us, int64_t weight_from_us,
                  struct feature_params params);
void history_done(struct history *h);
/* Borrowed from h. */
struct train_rows history_rows(const struct history *h);

/* Ends the program with the message unless err is ERR_OK. */
void history_check(enum err err, const struct errmsg *e);
/* Zeroed memory, or the end of the program. */
void *history_array(size_t n, size_t size);
/* A UTC time such as 2018-07-04, or the end of the program. */
int64_t history_date(const char *text);

#endif
