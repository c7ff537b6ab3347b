/* Labels: they wait until the clock reaches the time they became known, in order of (known time,
 * arrival), and then mark the payment in every history that holds it. */
#include <stddef.h>

#include "base/timefmt.h"
#include "features/internal.h"

static bool before(const struct waiting_label *a, const struct waiting_label *b)
{
    return a->label.known_us != b->label.known_us ? a->label.known_us < b->label.known_us
                                                  : a->arrival < b->arrival;
}

static void heap_push(struct feat_state *s, const struct waiting_label *w)
{
    size_t at = s->waiting_count++;
    while (at > 0 && before(w, &s->waiting[(at - 1) / 2])) {
        s->waiting[at] = s->waiting[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->waiting[at] = *w;
}

static void heap_pop(struct feat_state *s)
{
    struct waiting_label last = s->waiting[--s->waiting_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->waiting_count) {
            break;
        }
        if (child + 1 < s->waiting_count && before(&s->waiting[child + 1], &s->waiting[child])) {
            child++;
        }
        if (!before(&s->waiting[child], &last)) {
            break;
        }
        s->waiting[at] = s->waiting[child];
        at = child;
    }
    s->waiting[at] = last;
}

/* Whether the source's number is new; remembers it. */
static bool is_new_number(struct feat_state *s, const struct label *l)
{
    for (size_t i = 0; i < s->source_count; i++) {
        if (s->sources[i].source == l->source) {
            if (l->number <= s->sources[i].number) {
                return false;
            }
            s->sources[i].number = l->number;
            return true;
        }
    }
    if (s->source_count < SOURCES_MAX) {
        s->sources[s->source_count++] = (struct label_source){l->source, l->number};
    }
    return true;
}

enum err feat_label(struct feat_state *s, const struct label *l)
{
    if (s->waiting_count >= s->limits.label_queue_max) {
        return ERR_FULL;
    }
    if (!is_new_number(s, l)) {
        s->counters.labels_repeated++;
        return ERR_OK;
    }
    struct waiting_label w = {*l, s->arrivals++};
    w.label.event_us = bounded_time(l->event_us);
    w.label.known_us = bounded_time(l->known_us);
    heap_push(s, &w);
    return ERR_OK;
}

enum blame { BLAME_NEITHER, BLAME_CARD, BLAME_PLACE };

/* An amount that hardly anybody pays says nothing of card or place; else one unusual for its card
 * says that the card is in wrong hands; else the place is. */
static enum blame blame_of(const struct feat_state *s, const struct label *l)
{
    if (amounts_tail(&s->amounts, l->amount_ref) > s->params.blame_tail) {
        return BLAME_NEITHER;
    }
    return l->usual_ratio > s->params.blame_ratio ? BLAME_CARD : BLAME_PLACE;
}

/* Where a label's payment may be remembered. */
struct holders {
    struct entity *card;
    struct entity *place[4]; /* terminal, merchant, device, ip */
};

static struct entity *find_place(const struct feat_state *s, uint64_t id, enum place_kind kind)
{
    return id != 0 ? entities_find(&s->places, place_id(id, kind)) : NULL;
}

static struct holders find_holders(const struct feat_state *s, const struct label *l)
{
    struct holders h = {entities_find(&s->cards, l->card),
                        {find_place(s, l->terminal, PLACE_TERMINAL),
                         find_place(s, l->merchant, PLACE_MERCHANT),
                         find_place(s, l->device, PLACE_DEVICE), find_place(s, l->ip, PLACE_IP)}};
    return h;
}

/* place: of the label in its card's history; 0 for histories of places. */
static void mark_fraud(struct feat_state *s, struct entity *e, const struct label *l,
                       uint32_t place, bool blamed)
{
    if (e == NULL) {
        return;
    }
    const uint32_t flags = ENTRY_FRAUD | (blamed ? ENTRY_BLAMED : 0U);
    const struct fraud f = {l->tx_id, l->event_us, l->known_us, l->amount_ref, place << 8 | flags};
    if (frauds_add(&s->region, &e->frauds, &f)) {
        const struct entry_key key = {l->event_us, l->amount_ref, place};
        history_mark(&s->region, &e->history, &key, flags);
    }
}

/* Returns whether it was there and, in *out, what it was. */
static bool unmark_fraud(struct feat_state *s, struct entity *e, uint64_t tx, struct fraud *out)
{
    if (e == NULL || !frauds_remove(&s->region, &e->frauds, tx, out)) {
        return false;
    }
    const struct entry_key key = {out->event_us, out->amount, out->tag >> 8};
    history_unmark(&s->region, &e->history, &key, out->tag & 0xff);
    return true;
}

static void count_category(struct feat_state *s, const struct label *l, int64_t known_us,
                           int change)
{
    int64_t clock_day = time_day(s->clock_us);
    int64_t known_day = time_day(known_us);
    if (l->mcc != 0) {
        category_add_fraud(&s->mccs[l->mcc], clock_day, known_day, change);
    }
    if (l->country != 0) {
        category_add_fraud(&s->countries[l->country], clock_day, known_day, change);
    }
}

static bool is_known(const struct feat_state *s, const struct holders *h, uint64_t tx)
{
    bool known = h->card != NULL && frauds_find(&s->region, &h->card->frauds, tx) != NULL;
    for (int i = 0; i < 4; i++) {
        known |= h->place[i] != NULL && frauds_find(&s->region, &h->place[i]->frauds, tx) != NULL;
    }
    return known;
}

static void apply(struct feat_state *s, const struct label *l)
{
    struct holders h = find_holders(s, l);
    s->counters.labels_applied++;
    if (l->verdict == LABEL_FRAUD && !is_known(s, &h, l->tx_id)) {
        enum blame b = blame_of(s, l);
        mark_fraud(s, h.card, l, place_tag(l->terminal, l->merchant), b == BLAME_CARD);
        for (int i = 0; i < 4; i++) {
            mark_fraud(s, h.place[i], l, 0, b == BLAME_PLACE);
        }
        count_category(s, l, l->known_us, 1);
    } else if (l->verdict != LABEL_FRAUD) {
        struct fraud was;
        bool known = unmark_fraud(s, h.card, l->tx_id, &was);
        for (int i = 0; i < 4; i++) {
            known |= unmark_fraud(s, h.place[i], l->tx_id, &was);
        }
        if (known) {
            count_category(s, l, was.known_us, -1);
            s->counters.labels_revised++;
        }
    }
}

void labels_apply(struct feat_state *s)
{
    while (s->waiting_count > 0 && s->waiting[0].label.known_us <= s->clock_us) {
        struct label l = s->waiting[0].label;
        heap_pop(s);
        apply(s, &l);
    }
}
