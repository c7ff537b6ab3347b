/* A card's memory: struct kept, then a ring of entries. */
#include "daemon/inputs.h"

#include <string.h>

struct kept {
    uint32_t next, count;
};

struct entry {
    int64_t event_us;
    uint32_t first, in_order; /* 0 or 1; whole words: this is state, its bytes are compared */
    float x[FEAT_DIM];
};

size_t inputs_bytes(size_t events)
{
    return events > 0 ? sizeof(struct kept) + events * sizeof(struct entry) : 0;
}

void inputs_keep(void *card, size_t events, const float *x, const struct inputs_event *event)
{
    struct kept *kept = card;
    struct entry *entries = (struct entry *)(void *)(kept + 1);
    struct entry *e = &entries[kept->next];
    e->event_us = event->event_us;
    e->first = event->first;
    e->in_order = event->in_order;
    memcpy(e->x, x, sizeof e->x);
    kept->next = (uint32_t)((kept->next + 1) % events);
    kept->count += kept->count < events;
}

size_t inputs_count(const void *card)
{
    const struct kept *kept = card;
    return kept->count;
}

static const struct entry *entry_at(const void *card, size_t events, size_t k)
{
    const struct kept *kept = card;
    const struct entry *entries = (const struct entry *)(const void *)(kept + 1);
    return &entries[(kept->next + events - kept->count + k) % events];
}

const float *inputs_get(const void *card, size_t events, size_t k, struct inputs_event *out)
{
    const struct entry *e = entry_at(card, events, k);
    *out = (struct inputs_event){e->event_us, e->first != 0, e->in_order != 0};
    return e->x;
}

bool inputs_complete(const void *card, size_t events, uint32_t needs)
{
    uint32_t reach = 0; /* as model_cache_saw counts */
    const size_t n = inputs_count(card);
    for (size_t k = 0; k < n; k++) {
        const struct entry *e = entry_at(card, events, k);
        reach = e->in_order != 0 ? reach + 1 : 0;
        if (e->first != 0 || reach >= needs) {
            return true;
        }
    }
    return false;
}
