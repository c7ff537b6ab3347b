#include "features/world.h"

#include <assert.h>
#include <stdlib.h>

#include "base/timefmt.h"
#include "features/internal.h"

#define LONGEST_WINDOW_US (90 * TIME_DAY)

void feat_world_limits_default(struct feat_world_limits *l)
{
    *l = (struct feat_world_limits){.place_max = 1000000,
                                    .history_max = 4096,
                                    .label_queue_max = 4000000,
                                    .verdict_max = 4000000,
                                    .bytes_max = (size_t)64 << 30};
}

int64_t history_horizon_us(const struct feature_params *p)
{
    return LONGEST_WINDOW_US + p->maturity_us + TIME_DAY;
}

static enum err check(const struct feature_params *p, const struct feat_world_limits *l,
                      struct errmsg *e)
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
    if (l->place_max < ENTITY_LOOK || l->place_max > UINT32_MAX / 2) {
        return err_set(e, ERR_INVALID, "place_max %zu must be %d to 2^31", l->place_max,
                       ENTITY_LOOK);
    }
    if (l->label_queue_max < 1 || l->verdict_max < 1 || l->verdict_max > UINT32_MAX / 2) {
        return err_set(e, ERR_INVALID,
                       "label_queue_max %zu must be at least 1, verdict_max %zu from 1 to 2^31",
                       l->label_queue_max, l->verdict_max);
    }
    return check_histories(l->history_max, l->bytes_max, e);
}

static enum err reserve(struct feat_world *w, struct errmsg *e)
{
    const struct feat_world_limits *l = &w->limits;
    w->core = region_array(1, sizeof *w->core);
    w->waiting = region_array(l->label_queue_max, sizeof *w->waiting);
    if (w->core == NULL || w->waiting == NULL) {
        return err_set(e, ERR_NOMEM, "cannot reserve room for %zu waiting labels; lower the limits",
                       l->label_queue_max);
    }
    enum err err = region_init(&w->region, l->bytes_max, e);
    if (err == ERR_OK) {
        err = entities_init(&w->places, l->place_max, sizeof(struct place), &w->core->places, e);
    }
    if (err == ERR_OK) {
        err = categories_init(&w->mccs, w->core->mcc_place, &w->core->mcc_count, e);
    }
    if (err == ERR_OK) {
        err = categories_init(&w->countries, w->core->country_place, &w->core->country_count, e);
    }
    if (err == ERR_OK) {
        err = in_force_init(&w->in_force, l->verdict_max, &w->core->verdicts_added, e);
    }
    return err;
}

enum err feat_world_create(const struct feature_params *p, const struct feat_world_limits *l,
                           struct feat_world **out, struct errmsg *e)
{
    enum err err = check(p, l, e);
    if (err != ERR_OK) {
        return err;
    }
    struct feat_world *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return err_set(e, ERR_NOMEM, "cannot make the features' world: no memory");
    }
    w->params = *p;
    w->limits = *l;
    w->maturity_days = (p->maturity_us + TIME_DAY - 1) / TIME_DAY;
    /* windows of places may use panes: their scan stays short whatever their volume */
    w->place_history = (struct history_limits){
        l->history_max < 256 ? (uint32_t)l->history_max : 256, history_horizon_us(p)};
    err = reserve(w, e);
    if (err != ERR_OK) {
        feat_world_free(w);
        return err;
    }
    w->core->clock_us = INT64_MIN;
    amounts_init(&w->core->amounts);
    *out = w;
    return ERR_OK;
}

void feat_world_free(struct feat_world *w)
{
    if (w == NULL) {
        return;
    }
    assert(w->cards == NULL);
    in_force_done(&w->in_force);
    categories_done(&w->mccs);
    categories_done(&w->countries);
    entities_done(&w->places);
    region_done(&w->region);
    region_array_free(w->waiting, w->limits.label_queue_max, sizeof *w->waiting);
    region_array_free(w->core, 1, sizeof *w->core);
    free(w);
}

/* NULL: the field is missing.  What this event found already is pinned. */
static struct place *touch_place(struct feat_world *w, uint64_t id, enum place_kind kind,
                                 int64_t event_us, struct pinned *pinned)
{
    if (id == 0) {
        return NULL;
    }
    bool is_new = false;
    struct place *p = entities_get(&w->places, &w->region, place_id(id, kind), pinned, &is_new);
    if (is_new) {
        p->e.first_us = p->e.last_us = event_us;
    }
    pinned->record[pinned->n++] = p;
    return p;
}

void world_begin(struct feat_world *w, const struct tx *t, struct touched *at)
{
    if (t->event_us > w->core->clock_us) {
        w->core->clock_us = t->event_us;
    }
    int64_t day = time_day(w->core->clock_us);
    amounts_advance(&w->core->amounts, day);
    labels_apply(w);
    entities_make_room(&w->places, &w->region);
    struct pinned pinned = {.n = 0};
    *at = (struct touched){.card = NULL};
    at->terminal = touch_place(w, t->terminal, PLACE_TERMINAL, t->event_us, &pinned);
    at->merchant = touch_place(w, t->merchant, PLACE_MERCHANT, t->event_us, &pinned);
    at->device = touch_place(w, t->device, PLACE_DEVICE, t->event_us, &pinned);
    at->ip = touch_place(w, t->ip, PLACE_IP, t->event_us, &pinned);
    if (at->device != NULL) {
        (void)seen_touch(at->device->cards, short_id(t->card), t->event_us);
    }
    if (at->ip != NULL) {
        (void)seen_touch(at->ip->cards, short_id(t->card), t->event_us);
    }
    if (t->mcc != 0) {
        at->mcc_risk = category_risk(categories_get(&w->mccs, t->mcc), day, w->maturity_days);
    }
    if (t->country != 0) {
        at->country_risk =
            category_risk(categories_get(&w->countries, t->country), day, w->maturity_days);
    }
}

static void count_payment(struct feat_world *w, const struct tx *t)
{
    int64_t day = time_day(w->core->clock_us);
    amounts_add(&w->core->amounts, t->amount_ref);
    if (t->mcc != 0) {
        category_add_payment(categories_get(&w->mccs, t->mcc), day);
    }
    if (t->country != 0) {
        category_add_payment(categories_get(&w->countries, t->country), day);
    }
}

void world_end(struct feat_world *w, const struct tx *t, const struct touched *at)
{
    struct place *const with_windows[] = {at->terminal, at->merchant};
    struct place *const all[] = {at->terminal, at->merchant, at->device, at->ip};
    /* devices and IPs have no windows of amounts: only who was there, kept at the beginning */
    for (size_t i = 0; i < 2; i++) {
        if (with_windows[i] != NULL) {
            (void)entity_remember(&w->region, &with_windows[i]->e, &w->place_history, t, 0);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (all[i] != NULL) {
            entity_seen(&all[i]->e, t->event_us);
        }
    }
    if (tx_is_payment(t)) {
        count_payment(w, t);
    }
    w->core->events++;
}

void feat_world_follow(struct feat_world *w, const struct tx *t)
{
    struct touched at;
    struct tx bounded = *t;
    bounded.event_us = bounded_time(t->event_us);
    world_begin(w, &bounded, &at);
    world_end(w, &bounded, &at);
}

int64_t feat_world_clock_us(const struct feat_world *w)
{
    return w->core->clock_us;
}

const struct feature_params *feat_world_params(const struct feat_world *w)
{
    return &w->params;
}

void feat_world_counters(const struct feat_world *w, struct feat_world_counters *out)
{
    const struct world_core *c = w->core;
    *out = (struct feat_world_counters){.events = c->events,
                                        .labels_applied = c->labels_applied,
                                        .labels_repeated = c->labels_repeated,
                                        .labels_revised = c->labels_revised,
                                        .labels_queued = c->waiting_count,
                                        .places = c->places.live,
                                        .places_evicted = c->places.evicted,
                                        .bytes = region_head(&w->region)->bytes_live +
                                                 entities_bytes(&w->places)};
}

size_t feat_place_bytes(const struct feat_world *w, uint64_t place)
{
    static const enum place_kind KINDS[] = {PLACE_TERMINAL, PLACE_MERCHANT, PLACE_DEVICE, PLACE_IP};
    for (size_t i = 0; i < 4; i++) {
        const struct place *p = entities_find(&w->places, place_id(place, KINDS[i]));
        if (p != NULL) {
            return sizeof *p + entity_bytes(&w->region, &p->e);
        }
    }
    return 0;
}
