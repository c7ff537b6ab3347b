/* Records by identity: an open-addressing index over an array of records that begin with a 64-bit
 * identity.  Identities are hashes already.  Derived: it can be made again from the records. */
#ifndef FD_FEATURES_ID_INDEX_H
#define FD_FEATURES_ID_INDEX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

struct id_index {
    const char *records; /* borrowed */
    size_t record_bytes;
    uint32_t *slots; /* record number + 1, 0: empty; at most half are in use */
    uint64_t mask;
};

/* For at most `max` of the records.  ERR_NOMEM the address space is refused. */
FD_MUSTCHECK enum err id_index_init(struct id_index *x, const void *records, size_t max,
                                    size_t record_bytes, struct errmsg *e);
void id_index_done(struct id_index *x);

static inline uint64_t id_index_id(const struct id_index *x, uint32_t number)
{
    uint64_t id;
    memcpy(&id, x->records + number * x->record_bytes, sizeof id);
    return id;
}

/* Slot of the identity, or the empty one where it would go. */
static inline uint64_t id_index_slot(const struct id_index *x, uint64_t id)
{
    uint64_t s = id & x->mask;
    while (x->slots[s] != 0 && id_index_id(x, x->slots[s] - 1) != id) {
        s = (s + 1) & x->mask;
    }
    return s;
}

/* Empties a slot that is in use.  The records must still have their identities. */
void id_index_remove(struct id_index *x, uint64_t slot);

#endif
