#include "features/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "features/internal.h"

void feat_limits_default(struct feat_limits *l)
{
    *l = (struct feat_limits){.card_max = 1000000,
                              .history_max = 4096,
                              .bytes_max = (size_t)16 << 30,
                              .card_extra_bytes = 0,
                              .card_side_bytes = 0};
}

enum err check_histories(size_t history_max, size_t bytes_max, struct errmsg *e)
{
    if (history_max < 16 || history_max > 1U << 20 || bytes_max < (size_t)1 << 20 ||
        bytes_max > (size_t)128 << 30) {
        return err_set(e, ERR_INVALID,
                       "history_max %zu must be 16 to 1048576, bytes_max %zu from 1 MiB to 128 GiB",
                       history_max, bytes_max);
    }
    return ERR_OK;
}

/* False: refused. */
static bool reserve_room(struct feat_state *s)
{
    const struct feat_limits *l = &s->limits;
    bool good = true;
    if (l->card_extra_bytes > 0) {
        s->extra = region_array(l->card_max, l->card_extra_bytes);
        good = s->extra != NULL;
    }
    for (unsigned i = 0; i < FEAT_SIDES && l->card_side_bytes > 0; i++) {
        s->side[i] = region_array(l->card_max, l->card_side_bytes);
        good = good && s->side[i] != NULL;
    }
    return good;
}

static enum err reserve(struct feat_state *s, struct errmsg *e)
{
    const struct feat_limits *l = &s->limits;
    s->core = region_array(1, sizeof *s->core);
    if (s->core == NULL || !reserve_room(s)) {
        return err_set(e, ERR_NOMEM,
                       "cannot reserve %zu bytes for each of %zu cards; lower the limits",
                       l->card_extra_bytes + FEAT_SIDES * l->card_side_bytes, l->card_max);
    }
    enum err err = region_init(&s->region, l->bytes_max, e);
    if (err == ERR_OK) {
        err = entities_init(&s->cards, l->card_max, sizeof(struct card), &s->core->cards, e);
    }
    return err;
}

static void attach(struct feat_state *s, struct feat_world *w)
{
    s->world = w;
    s->previous = NULL;
    s->next = w->cards;
    if (w->cards != NULL) {
        w->cards->previous = s;
    }
    w->cards = s;
}

static void detach(struct feat_state *s)
{
    *(s->previous != NULL ? &s->previous->next : &s->world->cards) = s->next;
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
}

enum err feat_state_create(struct feat_world *w, const struct feat_limits *l,
                           struct feat_state **out, struct errmsg *e)
{
    if (l->card_max < ENTITY_LOOK || l->card_max > UINT32_MAX / 2) {
        return err_set(e, ERR_INVALID, "card_max %zu must be %d to 2^31", l->card_max, ENTITY_LOOK);
    }
    enum err err = check_histories(l->history_max, l->bytes_max, e);
    if (err != ERR_OK) {
        return err;
    }
    struct feat_state *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return err_set(e, ERR_NOMEM, "cannot make the cards' state: no memory");
    }
    attach(s, w);
    s->limits = *l;
    s->limits.card_extra_bytes = (l->card_extra_bytes + 63) / 64 * 64;
    s->limits.card_side_bytes = (l->card_side_bytes + 63) / 64 * 64;
    s->card_history =
        (struct history_limits){(uint32_t)l->history_max, history_horizon_us(&w->params)};
    err = reserve(s, e);
    if (err != ERR_OK) {
        feat_state_free(s);
        return err;
    }
    s->core->clock_us = INT64_MIN;
    *out = s;
    return ERR_OK;
}

void feat_state_free(struct feat_state *s)
{
    if (s == NULL) {
        return;
    }
    detach(s);
    entities_done(&s->cards);
    region_done(&s->region);
    region_array_free(s->extra, s->limits.card_max, s->limits.card_extra_bytes);
    for (unsigned i = 0; i < FEAT_SIDES; i++) {
        region_array_free(s->side[i], s->limits.card_max, s->limits.card_side_bytes);
    }
    region_array_free(s->core, 1, sizeof *s->core);
    free(s);
}

void feat_state_move(struct feat_state *s, struct feat_world *to)
{
    assert(feature_schema_hash(&s->world->params) == feature_schema_hash(&to->params));
    detach(s);
    attach(s, to);
}

static void *extra_of(const struct feat_state *s, const struct card *c)
{
    return s->extra != NULL ? s->extra + entities_number(&s->cards, c) * s->limits.card_extra_bytes
                            : NULL;
}

static struct feat_room room_of(const struct feat_state *s, const struct card *c)
{
    struct feat_room room = {.extra = extra_of(s, c)};
    for (unsigned i = 0; i < FEAT_SIDES; i++) {
        if (s->side_used[i]) {
            room.side[i] = s->side[i] + entities_number(&s->cards, c) * s->limits.card_side_bytes;
        }
    }
    return room;
}

static void clear_room(const struct feat_state *s, const struct card *c)
{
    const struct feat_room room = room_of(s, c);
    if (room.extra != NULL) {
        memset(room.extra, 0, s->limits.card_extra_bytes);
    }
    for (unsigned i = 0; i < FEAT_SIDES; i++) {
        if (room.side[i] != NULL) {
            memset(room.side[i], 0, s->limits.card_side_bytes);
        }
    }
}

static struct card *touch_card(struct feat_state *s, const struct tx *t)
{
    bool is_new = false;
    const struct pinned none = {.n = 0};
    entities_make_room(&s->cards, &s->region);
    struct card *c = entities_get(&s->cards, &s->region, t->card, &none, &is_new);
    if (is_new) {
        c->e.first_us = c->e.last_us = t->event_us;
        clear_room(s, c);
    }
    return c;
}

static void extract(struct feat_state *s, const struct tx *t, float *out_x, struct feat_facts *out)
{
    struct state_core *core = s->core;
    struct touched at;
    *out = (struct feat_facts){.late = t->event_us < core->clock_us};
    if (t->event_us > core->clock_us) {
        core->clock_us = t->event_us;
    }
    world_begin(s->world, t, &at);
    at.card = touch_card(s, t);
    out->in_order = t->event_us >= at.card->e.last_us;
    columns_compute(s, t, &at, out_x, out);
    out->dropped_late = !columns_learn(s, t, at.card);
    world_end(s->world, t, &at);
    out->card_extra = extra_of(s, at.card);
    core->events++;
    core->late += out->late;
    core->late_dropped += out->dropped_late;
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

bool feat_card_room(const struct feat_state *s, uint64_t card, struct feat_room *out)
{
    const struct card *c = entities_find(&s->cards, card);
    if (c != NULL) {
        *out = room_of(s, c);
    }
    return c != NULL;
}

uint32_t feat_reach(const struct feat_state *s, uint64_t card)
{
    return entities_looks(&s->cards, &s->region, card);
}

bool feat_within_reach(const struct feat_state *s, uint64_t card, uint32_t reach)
{
    const struct card *c = entities_find(&s->cards, card);
    return c == NULL || entities_is_near(&s->cards, c, reach);
}

void feat_side_use(struct feat_state *s, unsigned side, bool used)
{
    assert(side < FEAT_SIDES && s->side[side] != NULL);
    if (s->side_used[side] && !used) {
        region_array_clear(s->side[side], s->limits.card_max, s->limits.card_side_bytes);
    }
    s->side_used[side] = used;
}

void feat_cards_look(const struct feat_state *s, uint32_t *at, size_t most,
                     void (*look)(void *ctx, int64_t last_us, const struct feat_room *room),
                     void *ctx)
{
    const uint32_t count = s->core->cards.count;
    uint32_t n = *at;
    for (; n < count && most > 0; n++, most--) {
        const struct card *c =
            (const struct card *)(const void *)(s->cards.records + n * s->cards.record_bytes);
        if (c->e.id != 0) {
            const struct feat_room room = room_of(s, c);
            look(ctx, c->e.last_us, &room);
        }
    }
    *at = n < count ? n : 0;
}

int64_t feat_clock_us(const struct feat_state *s)
{
    return s->core->clock_us;
}

/* The caller's bytes of a card. */
static size_t room_bytes(const struct feat_state *s)
{
    size_t sides = 0;
    for (unsigned i = 0; i < FEAT_SIDES; i++) {
        sides += s->side_used[i];
    }
    return s->limits.card_extra_bytes + sides * s->limits.card_side_bytes;
}

void feat_counters(const struct feat_state *s, struct feat_counters *out)
{
    const struct state_core *c = s->core;
    *out =
        (struct feat_counters){.events = c->events,
                               .late = c->late,
                               .late_dropped = c->late_dropped,
                               .cards = c->cards.live,
                               .cards_evicted = c->cards.evicted,
                               .bytes = region_head(&s->region)->bytes_live +
                                        entities_bytes(&s->cards) + c->cards.count * room_bytes(s)};
}

size_t feat_card_bytes(const struct feat_state *s, uint64_t card)
{
    const struct card *c = entities_find(&s->cards, card);
    return c != NULL ? sizeof *c + entity_bytes(&s->region, &c->e) + room_bytes(s) : 0;
}
