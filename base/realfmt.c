#include "base/realfmt.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define DIGITS UINT64_C(1000000000) /* 10^9: nine digits are below it */

/* digits * 10^-scale, written from the end of out; returns where it begins. */
static size_t put_digits(char out[REAL_TEXT_MAX], uint64_t digits, int scale)
{
    size_t at = REAL_TEXT_MAX;
    while (scale > 0 && digits % 10 == 0) {
        digits /= 10;
        scale--;
    }
    for (; scale > 0; scale--) {
        out[--at] = (char)('0' + digits % 10);
        digits /= 10;
        if (scale == 1) {
            out[--at] = '.';
        }
    }
    do {
        out[--at] = (char)('0' + digits % 10);
        digits /= 10;
    } while (digits > 0);
    return at;
}

size_t real_format(char out[REAL_TEXT_MAX], double v)
{
    /* Powers of ten up to 10^22 are exact doubles: one rounded multiplication. */
    static const double POWER[] = {1e0, 1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,
                                   1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17};
    char text[REAL_TEXT_MAX];
    double size = fabs(v);
    if (!(size <= REAL_LIMIT)) {
        return 0;
    }
    if (size < REAL_TINY) {
        out[0] = '0';
        return 1;
    }
    uint64_t digits = (uint64_t)size;
    int scale = 0;
    if ((double)digits < size) { /* not a whole number */
        scale = size < 1e-4 ? 12 : size < 1 ? 8 : 0;
        while (scale < 17 && size * POWER[scale] < 1e8) {
            scale++;
        }
        digits = (uint64_t)(size * POWER[scale] + 0.5);
        if (digits >= DIGITS && scale > 0) { /* .999999999999 became 1.00000000 */
            scale--;
            digits = (uint64_t)(size * POWER[scale] + 0.5);
        }
    }
    size_t at = put_digits(text, digits, scale);
    size_t sign = v < 0;
    out[0] = '-';
    memcpy(out + sign, text + at, REAL_TEXT_MAX - at);
    return sign + REAL_TEXT_MAX - at;
}
