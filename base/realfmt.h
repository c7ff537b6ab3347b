/* Real numbers as decimal text by integer arithmetic: fast, and the same bytes on every machine and
 * locale, unlike printf. */
#ifndef FD_BASE_REALFMT_H
#define FD_BASE_REALFMT_H

#include <stddef.h>

#define REAL_TEXT_MAX 32
#define REAL_LIMIT 1e9 /* largest magnitude */
#define REAL_TINY 1e-9 /* below this a number is written as 0 */

/* At most 9 significant digits, no exponent, no zeros at the end ("0.25", "-3", "0.0001").  A float
 * between REAL_TINY and REAL_LIMIT comes back from it bit for bit.  No zero is added.  Returns the
 * length; 0 where v is not finite or its magnitude above REAL_LIMIT.  Any thread. */
size_t real_format(char out[REAL_TEXT_MAX], double v);

#endif
