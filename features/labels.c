/* Labels: they wait until the clock reaches the time they became known, in order of (known time,
 * arrival), and then mark the payment in every history that holds it. */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/timefmt.h"
#include "features/internal.h"

static_assert(sizeof(struct label) == 96 && sizeof(struct waiting_label) == 104,
              "labels have no padding: their bytes are state");

static bool before(const struct waiting_label *a, const struct waiting_label *b)
{
    return a->label.known_us != b->label.known_us ? a->label.known_us < b->label.known_us
                                                  : a->arrival < b->arrival;
}

static void heap_push(struct feat_world *w, const struct waiting_label *new)
{
    size_t at = w->core->waiting_count++;
    while (at > 0 && before(new, &w->waiting[(at - 1) / 2])) {
        w->waiting[at] = w->waiting[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->waiting[at] = *new;
}

static void heap_pop(struct feat_world *w)
{
    struct waiting_label last = w->waiting[--w->core->waiting_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->core->waiting_count) {
            break;
        }
        if (child + 1 < w->core->waiting_count &&
            before(&w->waiting[child + 1], &w->waiting[child])) {
            child++;
        }
        if (!before(&w->waiting[child], &last)) {
            break;
        }
        w->waiting[at] = w->waiting[child];
        at = child;
    }
    w->waiting[at] = last;
}

/* Whether the source's number is new; remembers it. */
static bool is_new_number(struct world_core *c, const struct label *l)
{
    for (size_t i = 0; i < c->source_count; i++) {
        if (c->sources[i].source == l->source) {
            if (l->number <= c->sources[i].number) {
                return false;
            }
            c->sources[i].number = l->number;
            return true;
        }
    }
    if (c->source_count < SOURCES_MAX) {
        c->sources[c->source_count++] = (struct label_source){l->source, l->number};
    }
    return true;
}

enum err feat_label(struct feat_world *w, const struct label *l)
{
    if (w->core->waiting_count >= w->limits.label_queue_max) {
        return ERR_FULL;
    }
    if (!is_new_number(w->core, l)) {
        w->core->labels_repeated++;
        return ERR_OK;
    }
    struct waiting_label new = {*l, w->core->arrivals++};
    new.label.event_us = bounded_time(l->event_us);
    new.label.known_us = bounded_time(l->known_us);
    memset(new.label.spare, 0, sizeof new.label.spare);
    heap_push(w, &new);
    return ERR_OK;
}

enum blame { BLAME_NEITHER, BLAME_CARD, BLAME_PLACE };

/* An amount that hardly anybody pays says nothing of card or place; else one unusual for its card
 * says that the card is in wrong hands; else the place is. */
static enum blame blame_of(const struct feat_world *w, const struct label *l)
{
    if (amounts_tail(&w->core->amounts, l->amount_ref) > w->params.blame_tail) {
        return BLAME_NEITHER;
    }
    return l->usual_ratio > w->params.blame_ratio ? BLAME_CARD : BLAME_PLACE;
}

/* A record that may remember a label's payment. */
struct holder {
    struct region *region;
    struct entity *e; /* NULL: not known */
    uint32_t place;   /* of the payment in a card's history; 0 in a place's */
};

/* blame: blamed on this holder's kind. */
static void mark_fraud(const struct holder *h, const struct label *l, bool blamed)
{
    if (h->e == NULL || frauds_find(h->region, &h->e->frauds, l->tx_id) != NULL) {
        return;
    }
    const struct fraud f = {l->tx_id, l->event_us, l->known_us, l->amount_ref,
                            h->place << 8 | (blamed ? FRAUD_BLAMED : 0U)};
    if (frauds_add(h->region, &h->e->frauds, &f)) {
        const struct entry_key key = {l->event_us, l->amount_ref, h->place};
        history_mark(h->region, &h->e->history, &key);
    }
}

static void unmark_fraud(const struct holder *h, const struct label *l)
{
    struct fraud was;
    if (h->e != NULL && frauds_remove(h->region, &h->e->frauds, l->tx_id, &was)) {
        const struct entry_key key = {was.event_us, was.amount, was.tag >> 8};
        history_unmark(h->region, &h->e->history, &key);
    }
}

/* Sets or takes back the mark of a fraud wherever the payment is held. */
static void mark_holders(struct feat_world *w, const struct label *l, bool fraud)
{
    static const enum place_kind KINDS[] = {PLACE_TERMINAL, PLACE_MERCHANT, PLACE_DEVICE, PLACE_IP};
    const uint64_t ids[] = {l->terminal, l->merchant, l->device, l->ip};
    const enum blame blame = fraud ? blame_of(w, l) : BLAME_NEITHER;
    for (struct feat_state *s = w->cards; s != NULL; s = s->next) {
        const struct holder card = {&s->region, entities_find(&s->cards, l->card),
                                    place_tag(l->terminal, l->merchant)};
        if (fraud) {
            mark_fraud(&card, l, blame == BLAME_CARD);
        } else {
            unmark_fraud(&card, l);
        }
    }
    for (int i = 0; i < 4; i++) {
        const struct holder place = {
            &w->region, ids[i] != 0 ? entities_find(&w->places, place_id(ids[i], KINDS[i])) : NULL,
            0};
        if (fraud) {
            mark_fraud(&place, l, blame == BLAME_PLACE);
        } else {
            unmark_fraud(&place, l);
        }
    }
}

static void count_category(struct feat_world *w, const struct label *l, int64_t known_us,
                           int change)
{
    int64_t clock_day = time_day(w->core->clock_us);
    int64_t known_day = time_day(known_us);
    if (l->mcc != 0) {
        category_add_fraud(categories_get(&w->mccs, l->mcc), clock_day, known_day, change);
    }
    if (l->country != 0) {
        category_add_fraud(categories_get(&w->countries, l->country), clock_day, known_day, change);
    }
}

static void apply(struct feat_world *w, const struct label *l)
{
    int64_t known_us;
    w->core->labels_applied++;
    if (l->verdict == LABEL_FRAUD && !in_force_has(&w->in_force, l->tx_id)) {
        in_force_add(&w->in_force, l->tx_id, l->known_us);
        mark_holders(w, l, true);
        count_category(w, l, l->known_us, 1);
    } else if (l->verdict != LABEL_FRAUD) {
        mark_holders(w, l, false);
        if (in_force_end(&w->in_force, l->tx_id, &known_us)) {
            count_category(w, l, known_us, -1);
            w->core->labels_revised++;
        }
    }
}

void labels_apply(struct feat_world *w)
{
    while (w->core->waiting_count > 0 && w->waiting[0].label.known_us <= w->core->clock_us) {
        struct label l = w->waiting[0].label;
        heap_pop(w);
        apply(w, &l);
    }
}
