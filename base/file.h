/* Whole files: read, write so that a reader sees the old or the new content and never a half.
 * Errors name the path and what the system said. */
#ifndef FD_BASE_FILE_H
#define FD_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Reads a file of at most max_bytes.  Returns owned bytes (free()), with a zero after the last one.
 * ERR_NOTFOUND no such file; ERR_REFUSED no permission; ERR_IO other failures; ERR_INVALID too
 * long. */
FD_MUSTCHECK enum err file_read(const char *path, size_t max_bytes, uint8_t **out,
                                size_t *out_len_bytes, struct errmsg *e);

/* Writes beside the target, fsync, rename, fsync of the folder.  ERR_IO or ERR_REFUSED; the old
 * content stays. */
FD_MUSTCHECK enum err file_write(const char *path, const void *bytes, size_t len_bytes,
                                 struct errmsg *e);

/* Whether an open file is one that holds a secret well: a plain file of our user that nobody else
 * may read, or root's that our group may (systemd's credentials).  ERR_CORRUPT no file; ERR_REFUSED
 * others may read it. */
FD_MUSTCHECK enum err file_check_private(int fd, const char *path, struct errmsg *e);

/* Text of errno for messages: "No such file or directory". */
enum err file_errno(struct errmsg *e, int errnum, const char *did, const char *path);

#endif
