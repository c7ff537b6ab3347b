/* Why a payment stands out, in words: the groups of columns that raised its score most, each with a
 * sentence against the card's own normal.
 *
 * Deterministic: integer formatting and base/detmath only.  Any thread. */
#ifndef FD_DAEMON_REASONS_H
#define FD_DAEMON_REASONS_H

#include <stddef.h>

#include "daemon/decision.h"
#include "features/schema.h"
#include "features/state.h"

/* Writes up to DECISION_REASONS_MAX reasons, the strongest first; returns how many.
 *   x:         [FEAT_DIM], raw columns of this payment (features/columns.def)
 *   group:     [GROUP_COUNT], how far each group moved the logit (model_attribute); only groups
 *              above 0 become reasons; ties by group number; a value that is not finite counts as 0
 *   facts:     of the same extraction
 * Borrows everything.  A group whose columns say nothing unusual gets a plain sentence. */
size_t reasons_make(const float *x, const float *group, const struct feat_facts *facts,
                    struct reason out[DECISION_REASONS_MAX]);

#endif
