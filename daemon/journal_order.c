#include "daemon/journal_order.h"

#include <assert.h>
#include <string.h>

void journal_order_init(struct journal_order *o, int64_t begin)
{
    assert(begin >= 0);
    memset(o, 0, sizeof *o);
    o->begin = o->position = begin;
    for (size_t i = 0; i < JOURNAL_PARTITIONS_MAX; i++) {
        o->turns[i].unknown = -1;
    }
}

static bool same_writer(const struct journal_writer *a, const struct journal_writer *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Whether everything that its writer had not seen has been read here. */
static bool followed_from(const struct journal_order *o, const struct journal_entry *e)
{
    return e->seen >= o->begin - 1;
}

static void learn_owner(struct journal_turn *t, const struct journal_entry *e)
{
    t->owner = e->writer;
    t->owned = 1;
}

static void apply_claim(struct journal_order *o, int64_t offset, const struct journal_entry *e)
{
    struct journal_turn *t = &o->turns[e->partition];
    learn_owner(t, e);
    if (t->placed != 0) {
        return;
    }
    /* `first` is where the partition was at `seen`, and still is unless something after that moved
     * it unknown to us: a part that could not be judged, or the first claim ever */
    if (followed_from(o, e) && t->unknown <= e->seen) {
        t->next = e->first;
        t->placed = 1;
    } else {
        t->unknown = offset;
    }
}

static enum journal_verdict apply_part(struct journal_order *o, int64_t offset,
                                       const struct journal_entry *e, const struct journal_part *p)
{
    struct journal_turn *t = &o->turns[p->partition];
    if (t->owned == 0 && o->begin > 0) {
        if (!followed_from(o, e)) {
            t->unknown = offset;
            return JOURNAL_UNKNOWN;
        }
        learn_owner(t, e);
    }
    if (t->owned == 0 || !same_writer(&t->owner, &e->writer)) {
        return JOURNAL_NOT_OWNER;
    }
    if (t->placed != 0 && p->first != t->next) {
        return JOURNAL_NOT_NEXT;
    }
    t->next = p->last + 1;
    t->placed = 1;
    return JOURNAL_COUNTS;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void journal_order_apply(struct journal_order *o, int64_t offset, const struct journal_entry *e,
                         enum journal_verdict *out)
{
    journal_order_pass(o, offset);
    if (e->kind == JOURNAL_CLAIM) {
        apply_claim(o, offset, e);
        return;
    }
    o->labels_next = larger(o->labels_next, e->labels_next);
    o->notices_next = larger(o->notices_next, e->notices_next);
    for (size_t i = 0; i < e->part_count; i++) {
        out[i] = apply_part(o, offset, e, &e->parts[i]);
    }
}

void journal_order_pass(struct journal_order *o, int64_t offset)
{
    assert(offset >= o->position);
    o->position = offset + 1;
}

bool journal_order_owns(const struct journal_order *o, const struct journal_writer *w,
                        int32_t partition)
{
    const struct journal_turn *t = &o->turns[partition];
    return t->owned != 0 && t->placed != 0 && same_writer(&t->owner, w);
}
