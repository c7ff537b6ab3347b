/* The gate's measures of labels: whether those of the new payments can be believed, by what the
 * model in service says of the same payments. */
#ifndef FD_DAEMON_GATE_LABELS_H
#define FD_DAEMON_GATE_LABELS_H

#include "base/err.h"
#include "daemon/gate.h"
#include "daemon/update_rows.h"

/* Fills the rows GATE_LABEL_*: values, figures and where they were found, but not `passed`.
 * served: [r->n] probabilities of the model in service.  A value is NAN where too little is
 * expected to say anything.  ERR_NOMEM */
FD_MUSTCHECK enum err gate_labels_judge(const struct update_rows *r, const float *served,
                                        struct gate_report *g, struct errmsg *e);

#endif
