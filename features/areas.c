/* The memory of world and card sets as ranges of bytes, and what is made again after they were read
 * back. */
#include <inttypes.h>

#include "features/internal.h"

size_t feat_world_areas(const struct feat_world *w, struct area *out)
{
    const struct world_core *c = w->core;
    size_t n = 0;
    out[n++] = (struct area){"world", w->core, sizeof *w->core, sizeof *w->core};
    out[n++] = entities_area(&w->places, "places");
    out[n++] = region_area(&w->region, "place_blocks");
    out[n++] = (struct area){"mccs", w->mccs.all, c->mcc_count * sizeof *w->mccs.all,
                             CATEGORY_MAX * sizeof *w->mccs.all};
    out[n++] =
        (struct area){"countries", w->countries.all, c->country_count * sizeof *w->countries.all,
                      CATEGORY_MAX * sizeof *w->countries.all};
    out[n++] = (struct area){"labels", w->waiting, c->waiting_count * sizeof *w->waiting,
                             w->limits.label_queue_max * sizeof *w->waiting};
    out[n++] = (struct area){"verdicts", w->in_force.ring,
                             in_force_count(&w->in_force) * sizeof *w->in_force.ring,
                             w->limits.verdict_max * sizeof *w->in_force.ring};
    return n;
}

enum err feat_world_restored(struct feat_world *w, struct errmsg *e)
{
    const struct world_core *c = w->core;
    if (c->waiting_count > w->limits.label_queue_max || c->source_count > SOURCES_MAX ||
        c->arrivals < c->waiting_count) {
        return err_set(e, ERR_CORRUPT,
                       "the saved world names %" PRIu64 " waiting labels of %" PRIu64
                       " and %" PRIu64 " sources; there is room for %zu and %d",
                       c->waiting_count, c->arrivals, c->source_count, w->limits.label_queue_max,
                       SOURCES_MAX);
    }
    if (!categories_fit(&w->mccs) || !categories_fit(&w->countries)) {
        return err_set(e, ERR_CORRUPT,
                       "the saved world's categories do not fit their numbers, %" PRIu32
                       " and %" PRIu32,
                       c->mcc_count, c->country_count);
    }
    if (!region_fits(&w->region) || !entities_restored(&w->places, &w->region)) {
        return err_set(e, ERR_CORRUPT,
                       "the saved world's %" PRIu32 " places do not fit their memory",
                       c->places.count);
    }
    if (!in_force_index(&w->in_force)) {
        return err_set(e, ERR_CORRUPT, "the saved world has two fraud verdicts on one payment");
    }
    return ERR_OK;
}

size_t feat_state_areas(const struct feat_state *s, struct area *out)
{
    size_t n = 0;
    out[n++] = (struct area){"state", s->core, sizeof *s->core, sizeof *s->core};
    out[n++] = entities_area(&s->cards, "cards");
    out[n++] = region_area(&s->region, "card_blocks");
    if (s->extra != NULL) {
        out[n++] =
            (struct area){"card_extra", s->extra, s->core->cards.count * s->limits.card_extra_bytes,
                          s->limits.card_max * s->limits.card_extra_bytes};
    }
    return n;
}

struct area feat_side_area(const struct feat_state *s, unsigned side, const char *name)
{
    const size_t bytes = s->limits.card_side_bytes;
    return (struct area){name, s->side[side], s->side_used[side] ? s->core->cards.count * bytes : 0,
                         s->limits.card_max * bytes};
}

enum err feat_state_restored(struct feat_state *s, struct errmsg *e)
{
    if (!region_fits(&s->region) || !entities_restored(&s->cards, &s->region)) {
        return err_set(e, ERR_CORRUPT,
                       "the saved state's %" PRIu32 " cards do not fit their memory",
                       s->core->cards.count);
    }
    return ERR_OK;
}
