/* A file's bytes, decompressed where it is gzip, xz or zstd (known by magic bytes).  Used by csv.c.
 */
#ifndef FD_BASE_INFLATE_H
#define FD_BASE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct inflate;

FD_MUSTCHECK enum err inflate_open(const char *path, struct inflate **out, struct errmsg *e);
void inflate_close(struct inflate *f);
/* Fills up to `room` bytes; *out_len = 0 at the end of the file.  ERR_CORRUPT: damaged or cut. */
FD_MUSTCHECK enum err inflate_read(struct inflate *f, uint8_t *out, size_t room, size_t *out_len,
                                   struct errmsg *e);
/* Share of the compressed file consumed. */
double inflate_share(const struct inflate *f);

#endif
