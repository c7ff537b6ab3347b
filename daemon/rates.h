/* Exchange rates: amounts in minor units of any currency to 1/100 of the reference currency, in
 * integers.  A table has a version that is part of the feature schema, so a model never meets
 * amounts converted by another table.
 *
 * File (etc/rates.conf): one entry a line, '#' starts a comment.
 *   version 1            raised with every change
 *   reference EUR
 *   USD 2 0.92           code, decimals of the minor unit, value of one unit in the reference
 */
#ifndef FD_DAEMON_RATES_H
#define FD_DAEMON_RATES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RATES_MAX 250 /* currencies in a table */

struct rates; /* immutable; may be shared by threads */

struct rate {
    char code[4];     /* ISO 4217, zero-terminated */
    uint8_t exponent; /* decimals of the minor unit, 0..4 */
    uint64_t unit_e9; /* one unit in 10^-9 reference units; > 0, <= 10^15 */
};

/* Parses a table; borrows text, returns owned.  ERR_INVALID names the line; ERR_NOMEM. */
FD_MUSTCHECK enum err rates_parse(const char *text, size_t len, struct rates **out,
                                  struct errmsg *e);
/* The same from a file.  ERR_IO. */
FD_MUSTCHECK enum err rates_load(const char *path, struct rates **out, struct errmsg *e);
/* The table built in, the same as etc/rates.conf. */
FD_MUSTCHECK enum err rates_create_default(struct rates **out, struct errmsg *e);
void rates_free(struct rates *r);
/* The text of that table, zero-terminated. */
extern const char RATES_DEFAULT[];

uint32_t rates_version(const struct rates *r);
/* Code of the reference currency, zero-terminated. */
const char *rates_reference(const struct rates *r);

/* Entry of three letters (not zero-terminated), or NULL: unknown. */
const struct rate *rates_find(const struct rates *r, const char *code);

/* amount_minor of 10^-exponent units in 1/100 of the reference currency, rounded half up,
 * saturating at UINT32_MAX.  amount_minor >= 0, exponent <= 4. */
uint32_t rates_convert(const struct rate *rate, int64_t amount_minor, uint8_t exponent);

#endif
