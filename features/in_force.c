#include "features/in_force.h"

#include "base/region.h"

enum err in_force_init(struct in_force *f, size_t max, uint64_t *added, struct errmsg *e)
{
    *f = (struct in_force){.ring = region_array(max, sizeof *f->ring), .max = max, .added = added};
    if (f->ring == NULL) {
        return err_set(e, ERR_NOMEM, "cannot reserve room for %zu fraud verdicts; lower the limits",
                       max);
    }
    return id_index_init(&f->index, f->ring, max, sizeof *f->ring, e);
}

void in_force_done(struct in_force *f)
{
    region_array_free(f->ring, f->max, sizeof *f->ring);
    f->ring = NULL;
    id_index_done(&f->index);
}

bool in_force_has(const struct in_force *f, uint64_t tx)
{
    return f->index.slots[id_index_slot(&f->index, tx)] != 0;
}

void in_force_add(struct in_force *f, uint64_t tx, int64_t known_us)
{
    struct in_force_verdict *v = &f->ring[*f->added % f->max];
    if (*f->added >= f->max && v->known_us != IN_FORCE_ENDED) {
        id_index_remove(&f->index, id_index_slot(&f->index, v->tx));
    }
    *v = (struct in_force_verdict){tx, known_us};
    f->index.slots[id_index_slot(&f->index, tx)] = (uint32_t)(*f->added % f->max) + 1;
    ++*f->added;
}

bool in_force_end(struct in_force *f, uint64_t tx, int64_t *out_known_us)
{
    uint64_t slot = id_index_slot(&f->index, tx);
    uint32_t at = f->index.slots[slot];
    if (at == 0) {
        return false;
    }
    *out_known_us = f->ring[at - 1].known_us;
    id_index_remove(&f->index, slot);
    f->ring[at - 1].known_us = IN_FORCE_ENDED;
    return true;
}

size_t in_force_count(const struct in_force *f)
{
    return *f->added < f->max ? (size_t)*f->added : f->max;
}

bool in_force_index(struct in_force *f)
{
    for (size_t i = 0; i < in_force_count(f); i++) {
        if (f->ring[i].known_us == IN_FORCE_ENDED) {
            continue;
        }
        uint64_t slot = id_index_slot(&f->index, f->ring[i].tx);
        if (f->index.slots[slot] != 0) {
            return false;
        }
        f->index.slots[slot] = (uint32_t)i + 1;
    }
    return true;
}
