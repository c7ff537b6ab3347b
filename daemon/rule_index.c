/* How rules are found, and what a payment can cost at most. */
#include <math.h>
#include <stdlib.h>
#include <inttypes.h>

#include "daemon/rule_set_private.h"

#define LOOK_UP_COST 5 /* of one field in the table, or of one list */

static inline uint64_t key_of(unsigned field, uint64_t id)
{
    uint64_t key = (id + field * UINT64_C(0xc2b2ae3d27d4eb4f)) * UINT64_C(0x9e3779b97f4a7c15);
    key ^= key >> 32;
    return key * UINT64_C(0xd6e8feb86659fd93);
}

static inline uint64_t word_bits(uint64_t key)
{
    return UINT64_C(1) << (key >> 58) | UINT64_C(1) << (key >> 52 & 63) |
           UINT64_C(1) << (key >> 46 & 63);
}

static inline uint64_t *word_of(const struct rule_set *s, uint64_t key)
{
    return &s->words[(key >> 16) & (s->mask / 16)];
}

/* Notes under what the rule is found. */
static enum err note_place(struct rule_set *s, uint32_t number, const struct rule_program *p,
                           struct errmsg *e)
{
    const struct rule_op *op = &p->op[p->guard.first];
    void *array = s->wanted;
    switch (p->guard.kind) {
    case GUARD_NONE:
    case GUARD_EQUAL:
        s->always[s->always_count++] = number;
        s->found_by[number] = 0;
        return ERR_OK;
    case GUARD_RANGE:
        s->bounds[s->bound_count++] =
            (struct bound){.value = op[1].number,
                           .rule = number,
                           .code = op[0].code,
                           .arg = op[0].arg,
                           .above = op[2].code == RULE_ABOVE || op[2].code == RULE_AT_LEAST};
        s->found_by[number] = (uint8_t)((op[0].code == RULE_COLUMN ? 128 : 64) + op[0].arg);
        return ERR_OK;
    case GUARD_IS:
        break;
    }
    s->found_by[number] = (uint8_t)(1 + op->arg);
    for (uint16_t i = 0; i < p->guard.count; i++) {
        if (op[i].code != RULE_IS) {
            continue;
        }
        const bool good =
            rule_set_room(&array, &s->wanted_room, s->wanted_count + 1, sizeof *s->wanted);
        s->wanted = array;
        if (!good) {
            return rule_set_no_memory(e);
        }
        s->wanted[s->wanted_count++] = (struct wanted){op[i].id, number, p->cost, op[i].arg};
        s->has_id[op[i].arg] = true;
    }
    return ERR_OK;
}

/* Where a value is put for filters; VALUES_MAX: there is no room. */
static size_t slot_of(struct rule_set *s, const struct rule_op *op)
{
    for (size_t i = 0; i < s->value_count; i++) {
        if (s->values[i].code == op->code && s->values[i].arg == op->arg) {
            return i;
        }
    }
    if (s->value_count < VALUES_MAX) {
        s->values[s->value_count] = *op;
        return s->value_count++;
    }
    return VALUES_MAX;
}

/* The bounds of `value SIGN bound`, themselves included. */
static struct filter bounds_of(enum rule_code sign, double bound)
{
    struct filter f = {.is_id = false, .low = -(double)INFINITY, .high = (double)INFINITY};
    if (sign == RULE_EQUAL || sign == RULE_AT_LEAST || sign == RULE_ABOVE) {
        f.low = sign == RULE_ABOVE ? nextafter(bound, (double)INFINITY) : bound;
    }
    if (sign == RULE_EQUAL || sign == RULE_AT_MOST || sign == RULE_LESS) {
        f.high = sign == RULE_LESS ? nextafter(bound, -(double)INFINITY) : bound;
    }
    if (isnan(bound) || (sign == RULE_ABOVE && isinf(bound) && bound > 0) ||
        (sign == RULE_LESS && isinf(bound) && bound < 0)) {
        f.low = f.high = (double)NAN; /* nothing is */
    }
    return f;
}

static bool add_filters(struct rule_set *s, const struct rule_program *p, struct hot *hot)
{
    void *array = s->filters;
    const bool good = rule_set_room(&array, &s->filter_room, s->filter_count + RULE_FILTERS_MAX,
                                    sizeof *s->filters);
    s->filters = array;
    bool all = good && p->exact;
    for (uint8_t i = 0; good && i < p->filter_count; i++) {
        const struct rule_op *op = &p->op[p->filter[i].first];
        struct filter f = {.is_id = true, .slot = op->arg, .id = op->id};
        if (p->filter[i].kind != GUARD_IS) {
            const size_t slot = slot_of(s, op);
            if (slot == VALUES_MAX) {
                all = false;
                continue;
            }
            f = bounds_of((enum rule_code)op[2].code, op[1].number);
            f.slot = (uint8_t)slot;
        }
        s->filters[s->filter_count++] = f;
        hot->filter_count++;
    }
    hot->exact = all;
    return good;
}

enum err rule_index_add(struct rule_set *s, uint32_t number, const struct rule_program *p,
                        struct errmsg *e)
{
    return add_filters(s, p, &s->hot[number]) ? note_place(s, number, p, e) : rule_set_no_memory(e);
}

/* ---- index and cost ---- */

static int by_text(const void *a, const void *b)
{
    const struct wanted *x = a;
    const struct wanted *y = b;
    if (x->field != y->field) {
        return x->field < y->field ? -1 : 1;
    }
    if (x->id != y->id) {
        return x->id < y->id ? -1 : 1;
    }
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static struct slot *find_slot(const struct rule_set *s, unsigned field, uint64_t id)
{
    for (size_t i = (key_of(field, id) >> 16) & s->mask;; i = (i + 1) & s->mask) {
        struct slot *slot = &s->slots[i];
        if (slot->count == 0 || (slot->id == id && slot->field == field)) {
            return slot;
        }
    }
}

/* Adds a rule to what is tried, without the part by which it is found there. */
static void add_try(struct rule_set *s, uint32_t rule, const struct filter *known)
{
    const struct hot *from = &s->hot[rule];
    struct hot *to = &s->tries[s->try_count++];
    *to = *from;
    to->filter = (uint32_t)s->try_filter_count;
    to->filter_count = 0;
    for (uint8_t i = 0; i < from->filter_count; i++) {
        const struct filter *f = &s->filters[from->filter + i];
        const bool same = known != NULL && f->is_id == known->is_id && f->slot == known->slot &&
                          (f->is_id ? f->id == known->id
                                    : f->low >= known->low && f->low <= known->low &&
                                          f->high >= known->high && f->high <= known->high);
        if (!same) {
            s->try_filters[s->try_filter_count++] = *f;
            to->filter_count++;
        }
    }
}

static enum err make_tries(struct rule_set *s, struct errmsg *e)
{
    const size_t most = s->wanted_count + s->bound_count + s->always_count;
    s->tries = malloc((most + 1) * sizeof *s->tries);
    s->try_filters = malloc((most + 1) * RULE_FILTERS_MAX * sizeof *s->try_filters);
    return s->tries == NULL || s->try_filters == NULL ? rule_set_no_memory(e) : ERR_OK;
}

static enum err too_dear(const struct rule_set *s, uint32_t rule, uint64_t cost, struct errmsg *e)
{
    return err_set(e, ERR_INVALID,
                   "line %" PRIu32 ": rule %s, of cost %" PRIu32 ", lets one payment cost %" PRIu64
                   " where %d are allowed; join it by `and` with one card, merchant, terminal, "
                   "device, ip, country, mcc ..",
                   s->rules[rule].line, s->rules[rule].name, s->rules[rule].cost, cost,
                   RULES_COST_MAX);
}

/* Fills the table; adds what the dearest text of each field costs. */
static enum err make_table(struct rule_set *s, struct errmsg *e)
{
    uint64_t dearest[RULE_IDS] = {0};
    uint32_t last[RULE_IDS] = {0};
    size_t room = 16;
    while (room < 2 * s->wanted_count + 1) {
        room *= 2;
    }
    s->slots = calloc(room, sizeof *s->slots);
    s->words = calloc(room / 16, sizeof *s->words);
    if (s->slots == NULL || s->words == NULL) {
        return rule_set_no_memory(e);
    }
    s->mask = room - 1;
    if (s->wanted_count > 0) {
        qsort(s->wanted, s->wanted_count, sizeof *s->wanted, by_text);
    }
    for (size_t i = 0; i < s->wanted_count;) {
        const struct wanted *w = &s->wanted[i];
        const struct filter known = {.is_id = true, .slot = w->field, .id = w->id};
        uint64_t cost = LOOK_UP_COST;
        size_t end = i;
        const size_t first = s->try_count;
        for (; end < s->wanted_count && s->wanted[end].field == w->field &&
               s->wanted[end].id == w->id;
             end++) {
            add_try(s, s->wanted[end].rule, &known);
            cost += s->wanted[end].cost;
        }
        *word_of(s, key_of(w->field, w->id)) |= word_bits(key_of(w->field, w->id));
        *find_slot(s, w->field, w->id) =
            (struct slot){w->id, (uint32_t)first, (uint16_t)(end - i), w->field};
        if (cost > dearest[w->field]) {
            dearest[w->field] = cost;
            last[w->field] = s->wanted[end - 1].rule;
        }
        i = end;
    }
    uint64_t cost = s->cost;
    for (unsigned id = 0; id < RULE_IDS; id++) {
        cost += dearest[id];
        if (cost > RULES_COST_MAX) {
            return too_dear(s, last[id], cost, e);
        }
    }
    s->cost = (uint32_t)cost;
    return ERR_OK;
}

static int by_bound(const void *a, const void *b)
{
    const struct bound *x = a;
    const struct bound *y = b;
    const int number = (x->code - y->code) * 1024 + (x->arg - y->arg) * 2 + (x->above - y->above);
    if (number != 0) {
        return number;
    }
    if (x->value < y->value || x->value > y->value) {
        return (x->value < y->value) == x->above ? -1 : 1;
    }
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static enum err make_ladders(struct rule_set *s, struct errmsg *e)
{
    s->ladders = calloc(s->bound_count + 1, sizeof *s->ladders);
    if (s->ladders == NULL) {
        return rule_set_no_memory(e);
    }
    if (s->bound_count > 0) {
        qsort(s->bounds, s->bound_count, sizeof *s->bounds, by_bound);
    }
    for (size_t i = 0; i < s->bound_count; i++) {
        const struct bound *b = &s->bounds[i];
        struct ladder *l = s->ladder_count > 0 ? &s->ladders[s->ladder_count - 1] : NULL;
        if (l == NULL || l->code != b->code || l->arg != b->arg || l->above != b->above) {
            l = &s->ladders[s->ladder_count++];
            *l = (struct ladder){
                .code = b->code, .arg = b->arg, .above = b->above, .first = (uint32_t)i};
        }
        l->count++;
    }
    return ERR_OK;
}

/* Another bound of the rule than that by which it is found; where there is none, that one again. */
static void set_next(const struct rule_set *s, struct bound *b)
{
    const struct hot *h = &s->hot[b->rule];
    b->slot = 0;
    b->low = -(double)INFINITY;
    b->high = (double)INFINITY;
    for (uint8_t i = 0; i < h->filter_count; i++) {
        const struct filter *f = &s->filters[h->filter + i];
        if (f->is_id) {
            continue;
        }
        b->slot = f->slot;
        b->low = f->low;
        b->high = f->high;
        if (s->values[f->slot].code != b->code || s->values[f->slot].arg != b->arg) {
            return;
        }
    }
}

static void add_ladder_tries(struct rule_set *s)
{
    for (size_t i = 0; i < s->ladder_count; i++) {
        struct ladder *l = &s->ladders[i];
        l->tries = (uint32_t)s->try_count;
        for (uint32_t k = l->first; k < l->first + l->count; k++) {
            add_try(s, s->bounds[k].rule, NULL);
            set_next(s, &s->bounds[k]);
        }
    }
    s->always_tries = (uint32_t)s->try_count;
    for (size_t i = 0; i < s->always_count; i++) {
        add_try(s, s->always[i], NULL);
    }
}

/* What rules cost that are not looked up by a text: every one, in case all are found. */
static enum err add_general_cost(struct rule_set *s, struct errmsg *e)
{
    uint64_t cost = s->ladder_count * LOOK_UP_COST;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->found_by[i] == 0 || s->found_by[i] >= 64) {
            cost += s->rules[i].cost + 1U;
        }
        if (cost > RULES_COST_MAX) {
            return too_dear(s, i, cost, e);
        }
    }
    s->cost = (uint32_t)cost;
    return ERR_OK;
}

enum err rule_index_make(struct rule_set *s, struct errmsg *e)
{
    enum err err = make_ladders(s, e);
    if (err == ERR_OK) {
        err = add_general_cost(s, e);
    }
    if (err == ERR_OK) {
        err = make_tries(s, e);
    }
    if (err == ERR_OK) {
        add_ladder_tries(s);
        err = make_table(s, e);
    }
    return err;
}

/* ---- answers ---- */

static bool passes(const struct filter *f, size_t n, const struct trial *t)
{
    for (size_t i = 0; i < n; i++) {
        if (f[i].is_id) {
            if (t->facts->id[f[i].slot] != f[i].id) {
                return false;
            }
        } else if (!(t->value[f[i].slot] >= f[i].low && t->value[f[i].slot] <= f[i].high)) {
            return false;
        }
    }
    return true;
}

static bool holds(const struct rule_set *s, const struct hot *h, const struct trial *t)
{
    return passes(s->try_filters + h->filter, h->filter_count, t) && t->clock_us < h->expires_us &&
           (h->exact || rule_run(s->ops + h->op, h->op_count, t->facts));
}

bool rule_set_holds(const struct rule_set *s, size_t i, const struct rule_facts *f,
                    int64_t clock_us)
{
    return clock_us < s->hot[i].expires_us &&
           rule_run(s->ops + s->hot[i].op, s->hot[i].op_count, f);
}

/* The first of `best` and those of a list that hold. */
static uint32_t first_of(const struct rule_set *s, const struct hot *list, size_t n, uint32_t best,
                         const struct trial *t)
{
    for (size_t i = 0; i < n && list[i].rule < best; i++) { /* rising */
        if (holds(s, &list[i], t)) {
            return list[i].rule;
        }
    }
    return best;
}

static uint32_t climb(const struct rule_set *s, const struct ladder *l, uint32_t best,
                      const struct trial *t)
{
    const struct rule_op op = {.code = l->code, .arg = l->arg};
    const double v = rule_value(&op, t->facts);
    for (uint32_t i = 0; i < l->count; i++) {
        const struct bound *b = &s->bounds[l->first + i];
        if (!(l->above ? v >= b->value : v <= b->value)) {
            break; /* nor any of the rest */
        }
        if (b->rule < best && t->value[b->slot] >= b->low && t->value[b->slot] <= b->high &&
            holds(s, &s->tries[l->tries + i], t)) {
            best = b->rule;
        }
    }
    return best;
}

const struct rule *rule_set_find(const struct rule_set *s, const struct rule_facts *f,
                                 int64_t clock_us)
{
    uint32_t best = UINT32_MAX;
    struct trial t;
    t.facts = f;
    t.clock_us = clock_us;
    for (size_t i = 0; i < s->value_count; i++) {
        t.value[i] = rule_value(&s->values[i], f);
    }
    for (unsigned id = 0; id < RULE_IDS; id++) {
        const uint64_t key = key_of(id, f->id[id]);
        if (s->has_id[id] && f->id[id] != 0 &&
            (*word_of(s, key) & word_bits(key)) == word_bits(key)) {
            const struct slot *slot = find_slot(s, id, f->id[id]);
            best = first_of(s, s->tries + slot->first, slot->count, best, &t);
        }
    }
    best = first_of(s, s->tries + s->always_tries, s->always_count, best, &t);
    for (size_t i = 0; i < s->ladder_count; i++) {
        best = climb(s, &s->ladders[i], best, &t);
    }
    return best == UINT32_MAX ? NULL : &s->rules[best];
}
