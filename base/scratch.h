/* Arrays that may outgrow memory.  Together they keep at most so many bytes in memory; an array for
 * which that is not enough lies in a file of its own, mapped, which the kernel may write out and
 * which goes with the process.  One owner, no locks. */
#ifndef FD_BASE_SCRATCH_H
#define FD_BASE_SCRATCH_H

#include <stddef.h>

#include "base/err.h"

/* Shared by arrays; outlives them. */
struct scratch {
    const char *folder;       /* borrowed: where the files are made */
    size_t memory_max_bytes;  /* of all arrays together */
    size_t memory_used_bytes; /* 0 at first */
};

/* All zero: empty. */
struct scratch_array {
    void *base; /* NULL while empty */
    size_t size_bytes;
    int file; /* descriptor plus one; 0: in memory */
};

/* Makes the array at least so many bytes long, which may move it; new bytes are zero.  s: the same
 * at every call, NULL keeps the array in memory.  The array stays as it was on failure.
 * ERR_NOMEM;  ERR_IO, ERR_NOTFOUND, ERR_REFUSED  the folder has no room or takes no file (named):
 * room on the disk is taken at once, so a full one is found here and not by a signal later */
FD_MUSTCHECK enum err scratch_grow(struct scratch *s, struct scratch_array *a, size_t size_bytes,
                                   struct errmsg *e);
void scratch_free(struct scratch *s, struct scratch_array *a);

#endif
