/* Transcendental functions whose last bit does not depend on the CPU.
 *
 * glibc chooses variants by CPU feature and gives other last bits without FMA; a decision must not
 * change with the machine.  These call SLEEF's pure scalar `cinz` functions (Debian's
 * libsleef-dev), error at most 1 ulp.  Everything on the way to a decision uses these, never
 * libm's. */
#ifndef FD_BASE_DETMATH_H
#define FD_BASE_DETMATH_H

#include <stddef.h>
#include <stdint.h>

double det_exp(double x);
double det_log(double x);
double det_log1p(double x);
double det_log10(double x);
double det_sin(double x);
double det_cos(double x);
double det_asin(double x);
double det_atan2(double y, double x);
double det_pow(double x, double y);

/* x[i] = ln x[i] for positive, finite, normal x: a polynomial of ours (fdlibm's), error below 1
 * ulp, the same bits on every CPU and whatever n; many times faster than n calls of det_log, whose
 * last bit may differ. */
void det_log_many(double *x, size_t n);
/* The same by portable code: what tests compare with. */
void det_log_many_portable(double *x, size_t n);

/* s[i] = sin x[i] and c[i] = cos x[i] for |x| <= 100: error below 3e-16 (an absolute one: near a
 * multiple of pi/2 the small one of the two has fewer digits), the same bits on every CPU and
 * whatever n.  s and c may not overlap with x. */
void det_sincos_many(const double *x, double *s, double *c, size_t n);
/* The same by portable code: what tests compare with. */
void det_sincos_many_portable(const double *x, double *s, double *c, size_t n);

/* Logistic function, strictly inside (0, 1) for |x| <= 36. */
double det_sigmoid(double x);

/* Single precision, for the network: polynomials of ours, each step one rounded operation, so that
 * the vector kernels (AVX2, AVX-512) repeat them bit for bit.  Relative error at most 1e-6 for
 * -87 <= x <= 88; the argument is clamped to that, and NAN counts as -87: always finite and
 * positive. base/detmath_inline.h has it inline. */
float det_expf(float x);

#endif
