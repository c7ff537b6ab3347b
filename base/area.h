/* A range of memory whose bytes are (part of) an object's whole state: what a checkpoint writes and
 * reads back.  An object that can be checkpointed lists its areas; their bytes hold no pointers.
 *
 * Bytes between `bytes` and `bytes_max` are zero in a freshly made object, so a checkpoint of
 * `bytes` bytes, read back into an object of the same limits, restores all of them. */
#ifndef FD_BASE_AREA_H
#define FD_BASE_AREA_H

#include <stddef.h>

struct area {
    const char *name; /* static; unique within its object */
    void *at;
    size_t bytes;     /* in use now */
    size_t bytes_max; /* reserved */
};

#endif
