/* A card's latent cache: the last `window` events.
 *
 * Layout: header; event times [window_p]; then per layer a scale of the key a slot, and bytes in
 * groups of 16 slots (served.h).
 *
 * Invariants
 *  1. Entry k lies in slot (head + k) mod window; times ascend with k, equal ones in order of
 * arrival.
 *  2. head is 0 until the ring is full.
 *  3. Bytes of slots without an entry are never read into a result.
 *  4. reach is REACH_ALL only where every entry is what it would be had the cache seen all of the
 *     card's events.  An entry of layer l depends on window - 1 events before it for each layer
 *     below, so after window * layers events in order without a late one between them that holds
 *     for all that is kept; from then on a late one changes both caches alike. */
#include <assert.h>
#include <string.h>

#include "model/served.h"

struct cache_header {
    uint64_t model; /* hash of the model that wrote it; 0: empty */
    uint32_t count;
    uint32_t head;
    uint32_t reach; /* the card's latest events that it has seen in order, without a gap */
    uint32_t spare; /* 0: caches are state, their bytes are compared */
};

#define REACH_ALL UINT32_MAX /* nothing older can matter any more */

static struct cache_header *header_of(char *cache)
{
    return (struct cache_header *)(void *)cache;
}

static int64_t *times_of(const struct model *m, char *cache)
{
    return (int64_t *)(void *)(cache + m->sizes.cache_times);
}

static uint32_t slot_of(const struct model *m, const struct cache_header *h, uint32_t entry)
{
    uint32_t slot = h->head + entry;
    return slot < m->shape.window ? slot : slot - m->shape.window;
}

/* Moves what slot `from` holds to slot `to`. */
static void move_slot(const struct model *m, char *cache, uint32_t to, uint32_t from)
{
    const struct served_sizes *z = &m->sizes;
    int64_t *times = times_of(m, cache);
    times[to] = times[from];
    for (uint32_t layer = 0; layer < m->shape.layers; layer++) {
        char *part = cache + z->cache_layer + layer * z->cache_layer_bytes;
        float *scale = (float *)(void *)part;
        scale[to] = scale[from];

        char *target = part + z->cache_data + to / SERVED_LANES * z->cache_group_bytes;
        char *source = part + z->cache_data + from / SERVED_LANES * z->cache_group_bytes;
        for (size_t at = 0; at < z->cache_group_bytes; at += SERVED_LANES * 4) {
            memcpy(target + at + to % SERVED_LANES * 4, source + at + from % SERVED_LANES * 4, 4);
        }
    }
}

static void mark(uint16_t *visible, uint32_t slot)
{
    visible[slot / SERVED_LANES] |= (uint16_t)(1U << slot % SERVED_LANES);
}

bool cache_insert(const struct model *m, char *cache, int64_t event_us, uint32_t *place,
                  uint16_t *visible)
{
    struct cache_header *h = header_of(cache);
    int64_t *times = times_of(m, cache);
    if (h->model != m->hash) {
        memset(cache, 0, m->sizes.cache_bytes);
        h->model = m->hash;
    }
    assert(h->count <= m->shape.window && h->head < m->shape.window);
    uint32_t at = h->count;
    while (at > 0 && times[slot_of(m, h, at - 1)] > event_us) {
        at--;
    }
    if (h->count < m->shape.window) {
        h->count++;
    } else {
        if (at == 0) {
            return false;
        }
        h->head = slot_of(m, h, 1) % m->shape.window;
        at--;
    }
    for (uint32_t k = h->count - 1; k > at; k--) {
        move_slot(m, cache, slot_of(m, h, k), slot_of(m, h, k - 1));
    }
    *place = slot_of(m, h, at);
    times[*place] = event_us;
    memset(visible, 0, m->sizes.window_p / SERVED_LANES * sizeof *visible);
    for (uint32_t k = 0; k <= at; k++) {
        mark(visible, slot_of(m, h, k));
    }
    return true;
}

uint32_t model_cache_needs(const struct model *m)
{
    return m->shape.window * m->shape.layers;
}

bool model_cache_begun(const struct model *m, const void *cache)
{
    const struct cache_header *h = cache;
    return h->model == m->hash;
}

void model_cache_saw(const struct model *m, void *cache, bool first, bool in_order)
{
    struct cache_header *h = header_of(cache);
    if (h->model != m->hash || h->reach == REACH_ALL) {
        return;
    }
    h->reach = first ? REACH_ALL : in_order ? h->reach + 1 : 0;
    if (h->reach >= model_cache_needs(m)) {
        h->reach = REACH_ALL;
    }
}

bool model_cache_complete(const struct model *m, const void *cache)
{
    const struct cache_header *h = cache;
    return h->model == m->hash && h->reach == REACH_ALL;
}

void cache_remove(const struct model *m, char *cache, int64_t event_us)
{
    struct cache_header *h = header_of(cache);
    const int64_t *times = times_of(m, cache);
    if (h->model != m->hash) {
        return;
    }
    uint32_t k = h->count;
    while (k > 0 && times[slot_of(m, h, k - 1)] > event_us) {
        k--;
    }
    if (k == 0 || times[slot_of(m, h, k - 1)] != event_us) {
        return;
    }
    for (; k < h->count; k++) {
        move_slot(m, cache, slot_of(m, h, k - 1), slot_of(m, h, k));
    }
    h->count--;
}
