#include "model/calibrate.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/detmath.h"

#define STEPS 100
#define HALVINGS 20 /* of a step that does not improve */
#define PULL 1.0
#define LOGIT_MAX 36.0

/* ln(1 + e^x) */
static double softplus(double x)
{
    return (x > 0 ? x : 0) + det_log1p(det_exp(x > 0 ? -x : x));
}

double calibrate_logit(const double c[3], double logit)
{
    return -c[0] * softplus(-logit) + c[1] * softplus(logit) + c[2];
}

double calibrate_probability(const double c[3], double logit)
{
    double z = calibrate_logit(c, logit);
    z = z < LOGIT_MAX ? z : LOGIT_MAX;
    return det_sigmoid(z > -LOGIT_MAX ? z : -LOGIT_MAX);
}

struct sample_set {
    const float *logit;
    const uint8_t *label;
    const float *weight;
    size_t n;
};

static const double IDENTITY[3] = {1, 1, 0};

/* Objective; gradient and Hessian where not NULL. */
static double objective(const struct sample_set *s, const double p[3], double g[3], double h[3][3])
{
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double off = p[i] - IDENTITY[i];
        sum += PULL * off * off / 2;
        if (g != NULL) {
            g[i] = PULL * off;
            for (int j = 0; j < 3; j++) {
                h[i][j] = i == j ? PULL : 0;
            }
        }
    }
    for (size_t r = 0; r < s->n; r++) {
        double w = s->weight == NULL ? 1 : (double)s->weight[r];
        if (!(w > 0)) {
            continue;
        }
        double v = (double)s->logit[r];
        double below = softplus(-v); /* softplus(v) is v + below */
        double x[3] = {-below, v + below, 1};
        double z = p[0] * x[0] + p[1] * x[1] + p[2];
        double y = s->label[r];
        sum += w * (softplus(z) - y * z);
        if (g == NULL) {
            continue;
        }
        double q = det_sigmoid(z);
        for (int i = 0; i < 3; i++) {
            g[i] += w * (q - y) * x[i];
            for (int j = 0; j < 3; j++) {
                h[i][j] += w * q * (1 - q) * x[i] * x[j];
            }
        }
    }
    return sum;
}

/* Solves h x = g for the free unknowns (others stay 0); h is positive definite. */
static void solve(double h[3][3], const double g[3], const bool fixed[3], double x[3])
{
    double a[3][4];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            a[i][j] = fixed[i] || fixed[j] ? (i == j ? 1 : 0) : h[i][j];
        }
        a[i][3] = fixed[i] ? 0 : g[i];
    }
    for (int i = 0; i < 3; i++) {
        for (int r = i + 1; r < 3; r++) {
            double f = a[r][i] / a[i][i];
            for (int j = i; j < 4; j++) {
                a[r][j] -= f * a[i][j];
            }
        }
    }
    for (int i = 2; i >= 0; i--) {
        x[i] = a[i][3];
        for (int j = i + 1; j < 3; j++) {
            x[i] -= a[i][j] * x[j];
        }
        x[i] /= a[i][i];
    }
}

/* One Newton step with halving, slopes kept at their bound.  False: nothing improved. */
static bool step(const struct sample_set *s, double p[3])
{
    double g[3];
    double h[3][3];
    double before = objective(s, p, g, h);
    bool fixed[3] = {p[0] <= CALIBRATE_SLOPE_MIN && g[0] > 0,
                     p[1] <= CALIBRATE_SLOPE_MIN && g[1] > 0, false};
    double move[3];
    solve(h, g, fixed, move);
    double scale = 1;
    for (int halved = 0; halved < HALVINGS; halved++) {
        double next[3];
        for (int i = 0; i < 3; i++) {
            next[i] = p[i] - scale * move[i];
            next[i] = i < 2 && next[i] < CALIBRATE_SLOPE_MIN ? CALIBRATE_SLOPE_MIN : next[i];
        }
        if (objective(s, next, NULL, NULL) < before) {
            memcpy(p, next, sizeof next);
            return true;
        }
        scale /= 2;
    }
    return false;
}

enum err calibrate_fit(const float *logit, const uint8_t *label, const float *weight, size_t n,
                       double out[3], struct errmsg *e)
{
    double p[3] = {1, 1, 0};
    size_t count[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        if (weight == NULL || weight[i] > 0) {
            if (!isfinite(logit[i])) {
                return err_set(e, ERR_NUMERIC, "logit %zu of %zu is not finite", i, n);
            }
            count[label[i] != 0]++;
        }
    }
    struct sample_set s = {logit, label, weight, n};
    if (count[0] > 0 && count[1] > 0) {
        for (int i = 0; i < STEPS && step(&s, p); i++) {
        }
    }
    memcpy(out, p, sizeof p);
    return ERR_OK;
}
