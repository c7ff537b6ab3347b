/* Rows that stand for all of a fit: frauds and others drawn apart, each with the weight of those
 * that it stands for. */
#ifndef FD_MODEL_ROW_SAMPLE_H
#define FD_MODEL_ROW_SAMPLE_H

#include <stdbool.h>

#include "base/err.h"
#include "model/train.h"

struct row_sample {
    size_t n;
    size_t *row; /* [n] ascending */
    double *weight;
    uint8_t *label;
};

/* Whether a fit of the rows before until_us learns from row i. */
static inline bool row_teaches(const struct train_rows *rows, size_t i, int64_t until_us)
{
    return rows->event_us[i] < until_us && rows->weight[i] > 0;
}

/* Draws up to `frauds` and up to `others` of the rows that teach.  The result depends on rows and
 * seed only.  Reads no value of a column.  out: allocated, free with row_sample_done.
 * ERR_INVALID no fraud or no legitimate row;  ERR_NOMEM */
FD_MUSTCHECK enum err row_sample_draw(const struct train_rows *rows, int64_t until_us,
                                      size_t frauds, size_t others, uint64_t seed,
                                      struct row_sample *out, struct errmsg *e);
void row_sample_done(struct row_sample *s);

#endif
