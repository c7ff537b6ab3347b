#include "model/reliability.h"

#include <math.h>
#include <string.h>

#include "base/detmath.h"
#include "base/detmath_inline.h"

#define STEPS 100
/* What one step may move: Newton's method from a start far off overshoots where the curve is flat.
 */
#define STEP_SHIFT 2.0
#define STEP_SLOPE 0.5
#define DONE 1e-6 /* det_expf's own error is of this size */
#define SLOPE_MAX 25.0
#define LOGIT_TINY 1e-9F
#define LOGIT_ONE 0.99999994F /* 1 - 2^-24, the float below 1 */

void reliability_groups(const float *probability, const uint8_t *label, const float *weight,
                        size_t n, enum reliability_mass mass, size_t count,
                        struct reliability_group *out)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        total += w * (mass == RELIABILITY_PAYMENTS ? 1 : (double)probability[i]);
    }
    memset(out, 0, count * sizeof *out);
    double full = total / (double)count;
    size_t g = 0;
    double filled = 0; /* of group g */
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        double p = (double)probability[i];
        double unit = mass == RELIABILITY_PAYMENTS ? 1 : p;
        while (w > 0) {
            /* the last group takes what rounding leaves */
            bool rest = g + 1 == count || filled + w * unit <= full;
            double part = rest ? w : (full - filled) / unit;
            out[g].weight += part;
            out[g].expected += part * p;
            out[g].seen += label[i] ? part : 0;
            filled += part * unit;
            w -= part;
            if (!rest) {
                g++;
                filled = 0;
            }
        }
    }
}

double reliability_error(const struct reliability_group *g, size_t count)
{
    double error = 0;
    double weight = 0;
    for (size_t i = 0; i < count; i++) {
        error += fabs(g[i].expected - g[i].seen);
        weight += g[i].weight;
    }
    return weight > 0 ? error / weight : (double)NAN;
}

float reliability_logit(float probability)
{
    float p = probability > LOGIT_TINY ? probability : LOGIT_TINY;
    double q = (double)(p < LOGIT_ONE ? p : LOGIT_ONE);
    return (float)(det_log(q) - det_log1p(-q));
}

/* Gradient and curvature (11, 1x, xx) of the log-likelihood at the line. */
static void derive(const float *logit, const uint8_t *label, const float *weight, size_t n,
                   const double at[2], double gradient[2], double curve[3])
{
    double g0 = 0;
    double g1 = 0;
    double h0 = 0;
    double h1 = 0;
    double h2 = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        double x = (double)logit[i];
        double q = 1 / (1 + (double)det_expf_inline((float)-(at[0] + at[1] * x)));
        double miss = w * ((label[i] ? 1 : 0) - q);
        double spread = w * q * (1 - q);
        g0 += miss;
        g1 += miss * x;
        h0 += spread;
        h1 += spread * x;
        h2 += spread * x * x;
    }
    gradient[0] = g0;
    gradient[1] = g1;
    curve[0] = h0;
    curve[1] = h1;
    curve[2] = h2;
}

static bool has_both(const uint8_t *label, const float *weight, size_t n)
{
    bool seen[2] = {false, false};
    for (size_t i = 0; i < n && !(seen[0] && seen[1]); i++) {
        seen[label[i] != 0] |= weight == NULL || weight[i] > 0;
    }
    return seen[0] && seen[1];
}

bool reliability_line(const float *logit, const uint8_t *label, const float *weight, size_t n,
                      double at[2])
{
    if (!has_both(label, weight, n)) {
        return false;
    }
    double line[2] = {at[0], at[1]};
    for (int step = 0; step < STEPS; step++) {
        double g[2];
        double h[3];
        derive(logit, label, weight, n, line, g, h);
        double det = h[0] * h[2] - h[1] * h[1];
        if (!(det > 1e-12 * h[0] * h[2])) { /* flat, or one logit only */
            return false;
        }
        double shift = (h[2] * g[0] - h[1] * g[1]) / det;
        double slope = (h[0] * g[1] - h[1] * g[0]) / det;
        double over = fmax(1, fmax(fabs(shift) / STEP_SHIFT, fabs(slope) / STEP_SLOPE));
        line[0] += shift / over;
        line[1] += slope / over;
        if (fabs(line[1]) > SLOPE_MAX) {
            return false;
        }
        if (fabs(shift) < DONE && fabs(slope) < DONE) {
            at[0] = line[0];
            at[1] = line[1];
            return true;
        }
    }
    return false;
}
