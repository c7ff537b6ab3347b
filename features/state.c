#include "features/state.h"

#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "features/internal.h"

#define LONGEST_WINDOW_US (90 * TIME_DAY)

void feat_limits_default(struct feat_limits *l)
{
    *l = (struct feat_limits){.card_max = 1000000,
                              .place_max = 1000000,
                              .history_max = 4096,
                              .label_queue_max = 4000000,
                              .bytes_max = (size_t)64 << 30,
                              .card_extra_bytes = 0};
}

static enum err check(const struct feature_params *p, const struct feat_limits *l, struct errmsg *e)
{
    if (p->maturity_us < 0 || p->maturity_us > 95 * TIME_DAY) {
        return err_set(e, ERR_INVALID,
                       "a label maturity of %lld s is not allowed; give 0 to 95 days",
                       (long long)(p->maturity_us / TIME_S));
    }
    if (!(p->blame_ratio > 0) || !(p->blame_tail > 0)) {
        return err_set(e, ERR_INVALID, "blame ratio %g and blame tail %g must be positive",
                       (double)p->blame_ratio, (double)p->blame_tail);
    }
    if (l->card_max < ENTITY_LOOK || l->card_max > UINT32_MAX / 2 || l->place_max < ENTITY_LOOK ||
        l->place_max > UINT32_MAX / 2) {
        return err_set(e, ERR_INVALID, "card_max %zu and place_max %zu must be %d to 2^31",
                       l->card_max, l->place_max, ENTITY_LOOK);
    }
    if (l->history_max < 16 || l->history_max > 1U << 20 || l->label_queue_max < 1 ||
        l->bytes_max < (size_t)1 << 20 || l->bytes_max > (size_t)128 << 30) {
        return err_set(e, ERR_INVALID,
                       "history_max %zu must be 16 to 1048576, label_queue_max %zu at least 1, "
                       "bytes_max %zu from 1 MiB to 128 GiB",
                       l->history_max, l->label_queue_max, l->bytes_max);
    }
    return ERR_OK;
}

static enum err reserve(struct feat_state *s, struct errmsg *e)
{
    const struct feat_limits *l = &s->limits;
    enum err err = region_init(&s->region, l->bytes_max, e);
    if (err == ERR_OK) {
        err = entities_init(&s->cards, l->card_max, sizeof(struct card), e);
    }
    if (err == ERR_OK) {
        err = entities_init(&s->places, l->place_max, sizeof(struct place), e);
    }
    if (err != ERR_OK) {
        return err;
    }
    s->mccs = region_array_sparse(CATEGORY_MAX, sizeof *s->mccs);
    s->countries = region_array_sparse(CATEGORY_MAX, sizeof *s->countries);
    if (l->card_extra_bytes > 0) {
        s->extra = region_array(l->card_max, l->card_extra_bytes);
    }
    s->waiting = region_array(l->label_queue_max, sizeof *s->waiting);
    if (s->waiting == NULL) {
        return err_set(e, ERR_NOMEM, "cannot reserve room for %zu waiting labels; lower the limits",
                       l->label_queue_max);
    }
    if (s->mccs == NULL || s->countries == NULL || (l->card_extra_bytes > 0 && s->extra == NULL)) {
        return err_set(e, ERR_NOMEM,
                       "cannot reserve %zu bytes for each of %zu cards; lower the limits",
                       l->card_extra_bytes, l->card_max);
    }
    return ERR_OK;
}

enum err feat_state_create(const struct feature_params *p, const struct feat_limits *l,
                           struct feat_state **out, struct errmsg *e)
{
    enum err err = check(p, l, e);
    if (err != ERR_OK) {
        return err;
    }
    struct feat_state *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "cannot make the feature state: no memory");
    }
    s->params = *p;
    s->limits = *l;
    s->limits.card_extra_bytes = (l->card_extra_bytes + 63) / 64 * 64;
    s->clock_us = INT64_MIN;
    s->maturity_days = (p->maturity_us + TIME_DAY - 1) / TIME_DAY;
    int64_t horizon = LONGEST_WINDOW_US + p->maturity_us + TIME_DAY;
    s->card_history = (struct history_limits){(uint32_t)l->history_max, horizon};
    /* windows of places may use panes: their scan stays short whatever their volume */
    s->place_history =
        (struct history_limits){l->history_max < 256 ? (uint32_t)l->history_max : 256, horizon};
    amounts_init(&s->amounts);
    err = reserve(s, e);
    if (err != ERR_OK) {
        feat_state_free(s);
        return err;
    }
    *out = s;
    return ERR_OK;
}

void feat_state_free(struct feat_state *s)
{
    if (s == NULL) {
        return;
    }
    entities_done(&s->cards);
    entities_done(&s->places);
    region_done(&s->region);
    region_array_free(s->extra, s->limits.card_max, s->limits.card_extra_bytes);
    region_array_free(s->mccs, CATEGORY_MAX, sizeof *s->mccs);
    region_array_free(s->countries, CATEGORY_MAX, sizeof *s->countries);
    region_array_free(s->waiting, s->limits.label_queue_max, sizeof *s->waiting);
    free(s);
}

/* NULL: the field is missing.  What this event found already is pinned. */
static struct place *touch_place(struct feat_state *s, uint64_t id, enum place_kind kind,
                                 int64_t event_us, struct pinned *pinned)
{
    if (id == 0) {
        return NULL;
    }
    bool is_new = false;
    struct place *p = entities_get(&s->places, &s->region, place_id(id, kind), pinned, &is_new);
    if (is_new) {
        p->e.first_us = p->e.last_us = event_us;
    }
    pinned->record[pinned->n++] = p;
    return p;
}

static void *extra_of(const struct feat_state *s, const struct card *c)
{
    return s->extra != NULL ? s->extra + entities_number(&s->cards, c) * s->limits.card_extra_bytes
                            : NULL;
}

static struct card *touch_card(struct feat_state *s, const struct tx *t)
{
    bool is_new = false;
    const struct pinned none = {.n = 0};
    struct card *c = entities_get(&s->cards, &s->region, t->card, &none, &is_new);
    if (is_new) {
        c->e.first_us = c->e.last_us = t->event_us;
        if (s->extra != NULL) {
            memset(extra_of(s, c), 0, s->limits.card_extra_bytes);
        }
    }
    return c;
}

/* Leaves room for what one event may need, before it looks for its records: none that it touches
 * gives way while it is used. */
static void make_room(struct feat_state *s)
{
    const struct pinned none = {.n = 0};
    size_t wanted = (size_t)1 << 17;
    if (wanted > s->region.bytes_max / 8) {
        wanted = s->region.bytes_max / 8;
    }
    for (int i = 0; i < 4 && s->region.bytes_max - s->region.bytes_live < wanted; i++) {
        struct entities *larger = s->cards.live >= s->places.live ? &s->cards : &s->places;
        if (!entities_evict(larger, &s->region, &none)) {
            return;
        }
    }
}

static void touch_all(struct feat_state *s, const struct tx *t, struct touched *at)
{
    struct pinned pinned = {.n = 0};
    at->terminal = touch_place(s, t->terminal, PLACE_TERMINAL, t->event_us, &pinned);
    at->merchant = touch_place(s, t->merchant, PLACE_MERCHANT, t->event_us, &pinned);
    at->device = touch_place(s, t->device, PLACE_DEVICE, t->event_us, &pinned);
    at->ip = touch_place(s, t->ip, PLACE_IP, t->event_us, &pinned);
    at->card = touch_card(s, t);
}

static void add_to_place(struct place *p, int64_t event_us)
{
    if (p != NULL && event_us > p->e.last_us) {
        p->e.last_us = event_us;
    }
}

static void extract(struct feat_state *s, const struct tx *t, float *out_x, struct feat_facts *out)
{
    *out = (struct feat_facts){.late = s->clock_us != INT64_MIN && t->event_us < s->clock_us};
    if (t->event_us > s->clock_us) {
        s->clock_us = t->event_us;
    }
    amounts_advance(&s->amounts, time_day(s->clock_us));
    labels_apply(s);
    make_room(s);
    struct touched at = {0};
    touch_all(s, t, &at);
    columns_compute(s, t, &at, out_x, out);
    out->dropped_late = !columns_learn(s, t, &at);
    if (t->event_us > at.card->e.last_us) {
        at.card->e.last_us = t->event_us;
    }
    add_to_place(at.terminal, t->event_us);
    add_to_place(at.merchant, t->event_us);
    add_to_place(at.device, t->event_us);
    add_to_place(at.ip, t->event_us);
    out->card_extra = extra_of(s, at.card);
    s->counters.events++;
    s->counters.late += out->late;
    s->counters.late_dropped += out->dropped_late;
}

void feat_extract(struct feat_state *s, const struct tx *t, float *out_x, struct feat_facts *out)
{
    if (t->event_us == bounded_time(t->event_us)) {
        extract(s, t, out_x, out);
        return;
    }
    struct tx bounded = *t;
    bounded.event_us = bounded_time(t->event_us);
    extract(s, &bounded, out_x, out);
}

void *feat_card_extra(const struct feat_state *s, uint64_t card)
{
    const struct card *c = entities_find(&s->cards, card);
    return c != NULL ? extra_of(s, c) : NULL;
}

int64_t feat_clock_us(const struct feat_state *s)
{
    return s->clock_us;
}

void feat_counters(const struct feat_state *s, struct feat_counters *out)
{
    *out = s->counters;
    out->labels_queued = s->waiting_count;
    out->cards = s->cards.live;
    out->places = s->places.live;
    out->cards_evicted = s->cards.evicted;
    out->places_evicted = s->places.evicted;
    out->bytes = s->region.bytes_live + s->cards.count * (s->cards.record_bytes + 8) +
                 s->places.count * (s->places.record_bytes + 8) +
                 s->cards.count * s->limits.card_extra_bytes;
}

static size_t entity_bytes(const struct feat_state *s, const struct entity *e, size_t record_bytes)
{
    return record_bytes + history_bytes(&s->region, &e->history) +
           (e->frauds.block != 0 ? (size_t)REGION_UNIT << e->frauds.size_class : 0);
}

size_t feat_card_bytes(const struct feat_state *s, uint64_t card)
{
    const struct card *c = entities_find(&s->cards, card);
    return c != NULL ? entity_bytes(s, &c->e, sizeof *c) + s->limits.card_extra_bytes : 0;
}

size_t feat_place_bytes(const struct feat_state *s, uint64_t place)
{
    static const enum place_kind KINDS[] = {PLACE_TERMINAL, PLACE_MERCHANT, PLACE_DEVICE, PLACE_IP};
    for (size_t i = 0; i < 4; i++) {
        const struct place *p = entities_find(&s->places, place_id(place, KINDS[i]));
        if (p != NULL) {
            return entity_bytes(s, &p->e, sizeof *p);
        }
    }
    return 0;
}
