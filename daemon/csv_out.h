/* A CSV file written a row a payment: identity first, then numbers.  Buffered; no printf a value
 * (1.5 M rows of 128 columns are 190 M numbers).  One owner. */
#ifndef FD_DAEMON_CSV_OUT_H
#define FD_DAEMON_CSV_OUT_H

#include <stddef.h>

#include "base/err.h"

struct csv_out;

/* Creates the file; path is borrowed until csv_out_close.  ERR_IO, ERR_REFUSED, ERR_NOTFOUND,
 * ERR_NOMEM. */
FD_MUSTCHECK enum err csv_out_open(const char *path, struct csv_out **out, struct errmsg *e);

/* A text field; quoted where it must be (RFC 4180). */
void csv_out_text(struct csv_out *c, const char *text, size_t len);
/* A number that comes back as the same float; NAN and infinities as C writes them. */
void csv_out_real(struct csv_out *c, float v);
void csv_out_end_row(struct csv_out *c);

/* Writes what is left and frees; NULL is allowed.  ERR_IO: something could not be written, now or
 * before. */
FD_MUSTCHECK enum err csv_out_close(struct csv_out *c, struct errmsg *e);

#endif
