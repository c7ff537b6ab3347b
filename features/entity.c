#include "features/entity.h"

#include <string.h>

enum err entities_init(struct entities *t, size_t max, size_t record_bytes,
                       struct entities_fill *fill, struct errmsg *e)
{
    *t = (struct entities){.max = max, .record_bytes = record_bytes, .fill = fill};
    t->records = region_array(max, record_bytes);
    if (t->records == NULL) {
        return err_set(e, ERR_NOMEM, "cannot reserve %zu records of %zu bytes; lower the limits",
                       max, record_bytes);
    }
    return id_index_init(&t->index, t->records, max, record_bytes, e);
}

void entities_done(struct entities *t)
{
    region_array_free(t->records, t->max, t->record_bytes);
    t->records = NULL;
    id_index_done(&t->index);
}

static struct entity *record(const struct entities *t, uint32_t number)
{
    return (struct entity *)(void *)(t->records + number * t->record_bytes);
}

uint32_t entities_number(const struct entities *t, const void *r)
{
    return (uint32_t)((size_t)((const char *)r - t->records) / t->record_bytes);
}

void *entities_find(const struct entities *t, uint64_t id)
{
    uint32_t at = t->index.slots[id_index_slot(&t->index, id)];
    return at != 0 ? record(t, at - 1) : NULL;
}

#define GIVEN_UP_MAX 4 /* records, for the room of one event */

static void give_up(struct entities *t, struct region *r, struct entity *e)
{
    id_index_remove(&t->index, id_index_slot(&t->index, e->id));
    history_free(r, &e->history);
    frauds_free(r, &e->frauds);
    memset(e, 0, t->record_bytes);
    e->first_us = (int64_t)t->fill->free_head;
    t->fill->free_head = entities_number(t, e) + 1;
    t->fill->evicted++;
    t->fill->live--;
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
    uint32_t used = t->fill->count;
    for (uint32_t i = 0; i < used && i < ENTITY_LOOK; i++) {
        struct entity *e = record(t, t->fill->hand);
        t->fill->hand = (t->fill->hand + 1) % used;
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
    uint64_t s = id_index_slot(&t->index, id);
    *out_new = t->index.slots[s] == 0;
    if (!*out_new) {
        return record(t, t->index.slots[s] - 1);
    }
    if (t->fill->free_head == 0 && t->fill->count == t->max) {
        /* there is one: all are in use, and of ENTITY_LOOK at most 4 are pinned */
        (void)entities_evict(t, r, pinned);
        s = id_index_slot(&t->index, id); /* the chain may have moved */
    }
    uint32_t number = t->fill->count;
    if (t->fill->free_head != 0) {
        number = t->fill->free_head - 1;
        t->fill->free_head = (uint32_t)record(t, number)->first_us;
    } else {
        t->fill->count++;
    }
    struct entity *e = record(t, number);
    memset(e, 0, t->record_bytes);
    e->id = id;
    t->index.slots[s] = number + 1;
    t->fill->live++;
    return e;
}

/* Whether r has less room than one event may need. */
static bool is_short(const struct region *r)
{
    size_t wanted = (size_t)1 << 17;
    if (wanted > r->bytes_max / 8) {
        wanted = r->bytes_max / 8;
    }
    return r->bytes_max - region_head(r)->bytes_live < wanted;
}

void entities_make_room(struct entities *t, struct region *r)
{
    const struct pinned none = {.n = 0};
    for (int i = 0; i < GIVEN_UP_MAX && is_short(r); i++) {
        if (!entities_evict(t, r, &none)) {
            return;
        }
    }
}

uint32_t entities_looks(const struct entities *t, const struct region *r, uint64_t id)
{
    uint32_t times = is_short(r) ? GIVEN_UP_MAX : 0;
    bool full = t->fill->free_head == 0 && t->fill->count == t->max;
    times += full && entities_find(t, id) == NULL;
    return times * ENTITY_LOOK;
}

bool entities_is_near(const struct entities *t, const void *record, uint32_t looks)
{
    uint32_t used = t->fill->count;
    uint32_t number = entities_number(t, record);
    uint32_t ahead = (number + used - t->fill->hand) % used;
    return ahead < looks;
}

struct area entities_area(const struct entities *t, const char *name)
{
    return (struct area){name, t->records, t->fill->count * t->record_bytes,
                         t->max * t->record_bytes};
}

size_t entities_bytes(const struct entities *t)
{
    return t->fill->count * (t->record_bytes + 2 * sizeof *t->index.slots);
}

/* Whether the freed records are chained, and no others. */
static bool free_chain_fits(const struct entities *t)
{
    const struct entities_fill *f = t->fill;
    uint32_t left = f->count - f->live;
    uint32_t at = f->free_head;
    for (; at != 0 && left > 0; left--) {
        if (at > f->count || record(t, at - 1)->id != 0) {
            return false;
        }
        at = (uint32_t)record(t, at - 1)->first_us;
    }
    return at == 0 && left == 0;
}

static bool entity_fits(const struct entity *e, const struct region *r)
{
    const struct history *h = &e->history;
    const struct frauds *f = &e->frauds;
    return region_has(r, h->newest, 0) && region_has(r, h->oldest, 0) &&
           (h->newest == 0) == (h->oldest == 0) && region_has(r, h->panes, h->pane_class) &&
           (h->panes == 0
                ? h->pane_count == 0
                : h->pane_count * sizeof(struct pane) <= (size_t)REGION_UNIT << h->pane_class) &&
           region_has(r, f->block, f->size_class) &&
           (f->block == 0 ? f->n == 0
                          : f->n * sizeof(struct fraud) <= (size_t)REGION_UNIT << f->size_class);
}

bool entities_restored(struct entities *t, const struct region *r)
{
    const struct entities_fill *f = t->fill;
    uint32_t live = 0;
    if (f->count > t->max || f->live > f->count || (f->hand > 0 && f->hand >= f->count)) {
        return false;
    }
    for (uint32_t i = 0; i < f->count; i++) {
        const struct entity *e = record(t, i);
        if (e->id == 0) {
            continue;
        }
        uint64_t slot = id_index_slot(&t->index, e->id);
        if (t->index.slots[slot] != 0 || !entity_fits(e, r)) {
            return false;
        }
        t->index.slots[slot] = i + 1;
        live++;
    }
    return live == f->live && free_chain_fits(t);
}

static uint32_t entry_flags(const struct tx *t)
{
    if (tx_is_payment(t)) {
        return ENTRY_PAYMENT;
    }
    return t->type == TX_CHECK ? ENTRY_IS_CHECK : ENTRY_IS_REFUND;
}

bool entity_remember(struct region *r, struct entity *e, const struct history_limits *l,
                     const struct tx *t, uint32_t place)
{
    struct entry entry = {t->event_us, t->amount_ref, place << 8 | entry_flags(t)};
    if (e->frauds.n > 0 && tx_is_payment(t)) {
        const struct fraud *f = frauds_find(r, &e->frauds, t->id);
        entry.tag |= f != NULL ? ENTRY_FRAUD : 0U;
    }
    return history_add(r, &e->history, l, &entry);
}

size_t entity_bytes(const struct region *r, const struct entity *e)
{
    return history_bytes(r, &e->history) +
           (e->frauds.block != 0 ? (size_t)REGION_UNIT << e->frauds.size_class : 0);
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
