#include "features/entity.h"

#include <string.h>

enum err entities_init(struct entities *t, size_t max, size_t record_bytes, struct errmsg *e)
{
    memset(t, 0, sizeof *t);
    uint64_t slots = 64;
    while (slots < 2 * max) {
        slots *= 2;
    }
    t->max = max;
    t->record_bytes = record_bytes;
    t->mask = slots - 1;
    t->records = region_array(max, record_bytes);
    t->slots = region_array(slots, sizeof *t->slots);
    if (t->records == NULL || t->slots == NULL) {
        entities_done(t);
        return err_set(e, ERR_NOMEM, "cannot reserve %zu records of %zu bytes; lower the limits",
                       max, record_bytes);
    }
    return ERR_OK;
}

void entities_done(struct entities *t)
{
    region_array_free(t->records, t->max, t->record_bytes);
    region_array_free(t->slots, t->mask + 1, sizeof *t->slots);
    t->records = NULL;
    t->slots = NULL;
}

static struct entity *record(const struct entities *t, uint32_t number)
{
    return (struct entity *)(void *)(t->records + number * t->record_bytes);
}

uint32_t entities_number(const struct entities *t, const void *r)
{
    return (uint32_t)((size_t)((const char *)r - t->records) / t->record_bytes);
}

/* Slot of the identity, or the empty one where it would go.  Identities are hashes already. */
static uint64_t slot_of(const struct entities *t, uint64_t id)
{
    uint64_t s = id & t->mask;
    while (t->slots[s] != 0 && record(t, t->slots[s] - 1)->id != id) {
        s = (s + 1) & t->mask;
    }
    return s;
}

void *entities_find(const struct entities *t, uint64_t id)
{
    uint32_t at = t->slots[slot_of(t, id)];
    return at != 0 ? record(t, at - 1) : NULL;
}

/* Deletes without tombstones: later members of the probe chain move up (Knuth 6.4, algorithm R). */
static void unlink_slot(struct entities *t, uint64_t hole)
{
    uint64_t s = hole;
    for (;;) {
        t->slots[hole] = 0;
        for (;;) {
            s = (s + 1) & t->mask;
            if (t->slots[s] == 0) {
                return;
            }
            uint64_t home = record(t, t->slots[s] - 1)->id & t->mask;
            if (((s - home) & t->mask) >= ((s - hole) & t->mask)) {
                break;
            }
        }
        t->slots[hole] = t->slots[s];
        hole = s;
    }
}

static void give_up(struct entities *t, struct region *r, struct entity *e)
{
    unlink_slot(t, slot_of(t, e->id));
    history_free(r, &e->history);
    frauds_free(r, &e->frauds);
    memset(e, 0, t->record_bytes);
    e->first_us = (int64_t)t->free_head;
    t->free_head = entities_number(t, e) + 1;
    t->evicted++;
    t->live--;
}

static bool is_pinned(const struct pinned *pinned, const void *record)
{
    for (size_t i = 0; i < pinned->n; i++) {
        if (pinned->record[i] == record) {
            return true;
        }
    }
    return false;
}

bool entities_evict(struct entities *t, struct region *r, const struct pinned *pinned)
{
    struct entity *oldest = NULL;
    uint32_t used = t->count;
    for (uint32_t i = 0; i < used && i < ENTITY_LOOK; i++) {
        struct entity *e = record(t, t->hand);
        t->hand = (t->hand + 1) % used;
        if (e->id != 0 && (oldest == NULL || e->last_us < oldest->last_us) &&
            !is_pinned(pinned, e)) {
            oldest = e;
        }
    }
    if (oldest == NULL) {
        return false;
    }
    give_up(t, r, oldest);
    return true;
}

void *entities_get(struct entities *t, struct region *r, uint64_t id, const struct pinned *pinned,
                   bool *out_new)
{
    uint64_t s = slot_of(t, id);
    *out_new = t->slots[s] == 0;
    if (!*out_new) {
        return record(t, t->slots[s] - 1);
    }
    if (t->free_head == 0 && t->count == t->max) {
        /* there is one: all are in use, and of ENTITY_LOOK at most 4 are pinned */
        (void)entities_evict(t, r, pinned);
        s = slot_of(t, id); /* the chain may have moved */
    }
    uint32_t number = t->count;
    if (t->free_head != 0) {
        number = t->free_head - 1;
        t->free_head = (uint32_t)record(t, number)->first_us;
    } else {
        t->count++;
    }
    struct entity *e = record(t, number);
    memset(e, 0, t->record_bytes);
    e->id = id;
    t->slots[s] = number + 1;
    t->live++;
    return e;
}

static uint32_t seconds(int64_t us)
{
    int64_t s = us / 1000000;
    return s < 0 ? 0 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

struct seen seen_touch(struct seen *latest, uint32_t id, int64_t at_us)
{
    uint32_t now = seconds(at_us);
    struct seen before = {0, 0, 0};
    size_t at = 0;
    while (at < LATEST_MAX - 1 && latest[at].id != id && latest[at].id != 0) {
        at++;
    }
    struct seen front = {id, now, now};
    if (latest[at].id == id) {
        before = latest[at];
        front.first_s = before.first_s < now ? before.first_s : now;
        front.last_s = before.last_s > now ? before.last_s : now;
    }
    memmove(latest + 1, latest, at * sizeof *latest);
    latest[0] = front;
    return before;
}

uint32_t seen_count(const struct seen *latest, int64_t at_us, int64_t window_us)
{
    int64_t now = seconds(at_us);
    uint32_t n = 0;
    for (size_t i = 0; i < LATEST_MAX && latest[i].id != 0; i++) {
        n += latest[i].first_s <= now && latest[i].last_s > now - window_us / 1000000;
    }
    return n;
}

bool seen16_touch(uint16_t *latest, uint16_t id)
{
    size_t at = 0;
    while (at < LATEST_MAX - 1 && latest[at] != id && latest[at] != 0) {
        at++;
    }
    bool known = latest[at] == id;
    memmove(latest + 1, latest, at * sizeof *latest);
    latest[0] = id;
    return known;
}

bool seen32_touch(uint32_t *latest, uint32_t id)
{
    size_t at = 0;
    while (at < LATEST_MAX - 1 && latest[at] != id && latest[at] != 0) {
        at++;
    }
    bool known = latest[at] == id;
    memmove(latest + 1, latest, at * sizeof *latest);
    latest[0] = id;
    return known;
}
