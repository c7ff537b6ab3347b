/* Calibration of logits to probabilities: beta calibration (Kull, Silva Filho, Flach 2017), for
 * which  logit p = a ln q - b ln(1 - q) + c,  q = sigmoid(logit).  Identity: a = b = 1, c = 0. */
#ifndef FD_MODEL_CALIBRATE_H
#define FD_MODEL_CALIBRATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Both slopes are at least this, so the map increases strictly. */
#define CALIBRATE_SLOPE_MIN 0.05

/* Fits (a, b, c) by Newton's method on the weighted log loss with a weak pull to the identity
 * (one observation's worth), so that few frauds cannot make it steep.  Rows of weight 0 do not
 * count (weight NULL: all 1).  Without a fraud or without a legitimate row: the identity.
 * ERR_NUMERIC a logit is not finite */
FD_MUSTCHECK enum err calibrate_fit(const float *logit, const uint8_t *label, const float *weight,
                                    size_t n, double out[3], struct errmsg *e);

/* Calibrated log-odds, strictly increasing in logit; the same bits on every machine. */
double calibrate_logit(const double c[3], double logit);
/* Calibrated probability, in (0, 1). */
double calibrate_probability(const double c[3], double logit);

#endif
