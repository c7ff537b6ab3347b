/* What a fit learns: a label's place is taken in part by a teacher's opinion of the row.
 *
 * The teacher of a training is boosted trees (trees.h) fitted to the same rows (knowledge
 * distillation: Hinton, Vinyals and Dean 2015, section 2; from another kind of learner, as in
 * Frosst and Hinton 2017, in the other direction).  Where the teacher, which has seen a row's
 * label, still doubts it, the network need not learn the row by heart; and it takes over the trees'
 * smoother ranking of payments that nothing distinguishes.  An update has two: trees for what is
 * young, the network in service for what is older (train_update.h). */
#ifndef FD_MODEL_TRAIN_TEACHER_H
#define FD_MODEL_TRAIN_TEACHER_H

#include "base/err.h"
#include "model/train_fit.h"
#include "model/trees.h"

/* Both: *out_target [rows], freed by the caller: (1 - share) * label + share * the teacher's
 * probability, of the rows before until_us, which are those that the teacher has learnt; the label
 * alone of later ones, since an opinion on a row not seen is worth less than its label.
 * ERR_NOMEM */

/* By the fit's averaged weights.  To be called when `even` fits them: after fit_even_out or
 * fit_resume. */
FD_MUSTCHECK enum err teacher_network(const struct fit *teacher, int64_t until_us, float share,
                                      float **out_target, struct errmsg *e);

FD_MUSTCHECK enum err teacher_trees(const struct trees *teacher, const struct train_rows *rows,
                                    int64_t until_us, float share, struct pool *pool,
                                    float **out_target, struct errmsg *e);

#endif
