/* A history's rows in training's order, (card, event time, arrival): columns come in the order of
 * time, as replay makes them, and each goes to its place.
 *
 * 537 bytes a row and, for a while, 36 a card; what does not fit in the memory of `scratch` lies in
 * files.  Where the columns do, they are not written one by one at the places of their cards, which
 * would read and write a page of the disk for each: they are put behind one another in ranges of
 * rows, and learn_rows_finish orders each range in memory. */
#ifndef FD_DAEMON_LEARN_ROWS_H
#define FD_DAEMON_LEARN_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/scratch.h"
#include "daemon/past.h"
#include "model/train.h"

#define LEARN_RANGE_ROWS ((size_t)1 << 19) /* 256 MiB of columns */

struct learn_rows {
    size_t n, range_rows;
    struct scratch *scratch;                               /* borrowed */
    struct scratch_array x, event_us, card, label, weight; /* as in struct train_rows */
    struct scratch_array position;                         /* uint32_t [n] of past's rows */
    struct scratch_array arrived; /* uint32_t [n] row of what lies at a place for now */
    size_t *filled;               /* [ranges] rows put there; NULL: columns are in order */
};

/* Whether a payment's verdict is known and a model learns from it or is judged by it. */
bool learn_counts(const struct past_row *r);

/* Everything but the columns.  past: sorted, 1 to UINT32_MAX rows, borrowed during the call.  Rows
 * before weight_from_us have weight 0, as those that nobody judges.  range_rows: at least 1.  Free
 * with learn_rows_done, also after an error.
 * ERR_NOMEM;  ERR_IO and the like  the folder for files (named) */
FD_MUSTCHECK enum err learn_rows_init(struct learn_rows *r, const struct past *past,
                                      int64_t weight_from_us, struct scratch *scratch,
                                      size_t range_rows, struct errmsg *e);
/* Columns of past's row i, x: [FEAT_DIM]; each row once, in the order of past. */
void learn_rows_put(struct learn_rows *r, size_t i, const float *x);
/* After the last row.  ERR_NOMEM */
FD_MUSTCHECK enum err learn_rows_finish(struct learn_rows *r, struct errmsg *e);
/* Borrowed from r. */
struct train_rows learn_rows_view(const struct learn_rows *r);
void learn_rows_done(struct learn_rows *r);

#endif
