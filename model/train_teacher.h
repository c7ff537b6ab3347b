/* Self-distillation: the networks that are kept learn from labels and from the opinion of a
 * teacher, a network of the same kind that learnt the same rows from labels alone (Furlanello et
 * al. 2018, "Born-Again Neural Networks", section 3).  Where the teacher, which has seen a row's
 * label, still doubts it, a student need not learn the row by heart; so it overfits later and can
 * be trained for longer. */
#ifndef FD_MODEL_TRAIN_TEACHER_H
#define FD_MODEL_TRAIN_TEACHER_H

#include "base/err.h"
#include "model/train_fit.h"

/* *out_target [rows], freed by the caller: (1 - share) * label + share * the probability by the
 * fit's averaged weights, of the rows before until_us, which are those that these weights have
 * learnt; the label alone of later ones, since an opinion on a row not seen is worth less than its
 * label.  To be called when `even` fits the averaged weights: after fit_even_out or fit_resume.
 * ERR_NOMEM */
FD_MUSTCHECK enum err teacher_targets(const struct fit *teacher, int64_t until_us, float share,
                                      float **out_target, struct errmsg *e);

#endif
