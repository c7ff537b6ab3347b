/* How much each parameter means to rows that were learnt: the diagonal of the Fisher information,
 * for elastic weight consolidation (Kirkpatrick et al. 2017, arXiv 1612.00796, sec. 2).
 *
 * A piece of a history is one sample: the square of its gradient.  Labels are drawn from the
 * network's own probabilities, not those seen: only then is the mean square the information, and
 * the products between a piece's events vanish in the mean (Kunstner et al. 2019). */
#ifndef FD_MODEL_TRAIN_FISHER_H
#define FD_MODEL_TRAIN_FISHER_H

#include "base/err.h"
#include "base/pool.h"
#include "model/train.h"

#define FISHER_PIECES 1024

/* Which rows: those with weight and from_us <= event time < until_us.  Borrows everything. */
struct fisher_span {
    const struct train_rows *rows; /* their weights count as one */
    const struct train_conf *conf;
    int64_t from_us, until_us;
    struct pool *pool;
};

/* Makes out->fisher and fisher_rows, of what training found: the sum of the squares of up to
 * FISHER_PIECES pieces, drawn by the seed, and how many rows they have.  before: the sums of which
 * `stays` (0 to 1) remains in these, as Schwarz et al. 2018 (arXiv 1805.06370, eq. 9) let it decay;
 * NULL: none.  The same bytes for every number of threads.  ERR_NOMEM */
FD_MUSTCHECK enum err fisher_of(struct train_result *out, const struct fisher_span *span,
                                const struct train_result *before, double stays, struct errmsg *e);

#endif
