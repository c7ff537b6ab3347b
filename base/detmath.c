/* See detmath.h.
 *
 * 1. Only SLEEF's `cinz` variants: they neither dispatch by CPU nor use fused multiply-add.
 * 2. No function here calls libm. */
#include "base/detmath.h"

#include <sleef.h>

#include "base/detmath_inline.h"

double det_exp(double x)
{
    return Sleef_cinz_expd1_u10purec(x);
}

double det_log(double x)
{
    return Sleef_cinz_logd1_u10purec(x);
}

double det_log1p(double x)
{
    return Sleef_cinz_log1pd1_u10purec(x);
}

double det_log10(double x)
{
    return Sleef_cinz_log10d1_u10purec(x);
}

double det_sin(double x)
{
    return Sleef_cinz_sind1_u10purec(x);
}

double det_cos(double x)
{
    return Sleef_cinz_cosd1_u10purec(x);
}

double det_asin(double x)
{
    return Sleef_cinz_asind1_u10purec(x);
}

double det_atan2(double y, double x)
{
    return Sleef_cinz_atan2d1_u10purec(y, x);
}

double det_pow(double x, double y)
{
    return Sleef_cinz_powd1_u10purec(x, y);
}

double det_sigmoid(double x)
{
    /* exp of a negative number on both sides: no overflow, and full precision near 0 */
    if (x >= 0.0) {
        return 1.0 / (1.0 + det_exp(-x));
    }
    double z = det_exp(x);
    return z / (1.0 + z);
}

float det_expf(float x)
{
    return det_expf_inline(x);
}
