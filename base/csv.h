/* Reads a CSV file (RFC 4180: quotes, doubled quotes, line ends in quotes) with a header line,
 * plain or compressed (.gz, .xz, .zst by their magic bytes), one row at a time.  One owner, no
 * locks; memory is bounded by the longest allowed row. */
#ifndef FD_BASE_CSV_H
#define FD_BASE_CSV_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CSV_FIELDS_MAX 64
#define CSV_ROW_MAX 65536

struct csv;

struct csv_field {
    const char *p; /* zero-terminated; valid until the next csv_next */
    size_t len;
};

/* Opens the file and reads its header.  ERR_NOTFOUND, ERR_REFUSED, ERR_IO, ERR_CORRUPT (bad
 * compression, no header, too many columns). */
FD_MUSTCHECK enum err csv_open(const char *path, struct csv **out, struct errmsg *e);
void csv_close(struct csv *c);

/* Index of the column with that name, or -1. */
int csv_column(const struct csv *c, const char *name);

/* The next row: borrowed array of as many fields as the header has.  ERR_END after the last;
 * ERR_CORRUPT a row with another number of fields or over CSV_ROW_MAX bytes (line named). */
FD_MUSTCHECK enum err csv_next(struct csv *c, const struct csv_field **out, struct errmsg *e);

/* Line number of the latest row's first line; share of the file read so far (0 to 1). */
uint64_t csv_line(const struct csv *c);
double csv_share(const struct csv *c);

#endif
