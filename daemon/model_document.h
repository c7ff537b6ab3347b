/* What whoever answers for a model wants in writing: purpose, data and what was left out, limits,
 * columns, tests (as SR 11-7 and the model cards of Mitchell et al. 2019 ask).  All of it is of the
 * model file itself, so it can be made again at any time. */
#ifndef FD_DAEMON_MODEL_DOCUMENT_H
#define FD_DAEMON_MODEL_DOCUMENT_H

#include <stdio.h>

#include "model/model.h"

/* Markdown. */
void model_document_print(FILE *f, const struct model *m);

#endif
