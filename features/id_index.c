#include "features/id_index.h"

#include "base/region.h"

enum err id_index_init(struct id_index *x, const void *records, size_t max, size_t record_bytes,
                       struct errmsg *e)
{
    uint64_t slots = 64;
    while (slots < 2 * max) {
        slots *= 2;
    }
    *x = (struct id_index){records, record_bytes, region_array(slots, sizeof *x->slots), slots - 1};
    if (x->slots == NULL) {
        return err_set(e, ERR_NOMEM, "cannot reserve an index of %zu records; lower the limits",
                       max);
    }
    return ERR_OK;
}

void id_index_done(struct id_index *x)
{
    region_array_free(x->slots, x->mask + 1, sizeof *x->slots);
    x->slots = NULL;
}

/* Without tombstones: later members of the probe chain move up (Knuth 6.4, algorithm R). */
void id_index_remove(struct id_index *x, uint64_t slot)
{
    uint64_t hole = slot;
    uint64_t s = slot;
    for (;;) {
        x->slots[hole] = 0;
        for (;;) {
            s = (s + 1) & x->mask;
            if (x->slots[s] == 0) {
                return;
            }
            uint64_t home = id_index_id(x, x->slots[s] - 1) & x->mask;
            if (((s - home) & x->mask) >= ((s - hole) & x->mask)) {
                break;
            }
        }
        x->slots[hole] = x->slots[s];
        hole = s;
    }
}
