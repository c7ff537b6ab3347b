/* Invariants
 *  1. Cards are numbered in order of their identity, so rows do not depend on how they are found.
 *  2. Until learn_rows_finish, the first filled[k] places of range k hold its rows in the order in
 *     which they came, and `arrived` says which they are. */
#include "daemon/learn_rows.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "features/schema.h"

/* Cards in the order in which they are met, found by identity in a table with open addresses. */
struct cards {
    struct met {
        uint64_t card;
        uint32_t rows;
        uint32_t met; /* number by order of meeting */
    } * list;         /* [n] */
    uint32_t *slot;   /* [mask + 1] number plus one; 0: free */
    size_t n, room, mask;
};

#define SLOTS_FIRST 4096

static bool cards_grow(struct cards *c)
{
    size_t slots = c->slot == NULL ? SLOTS_FIRST : 2 * (c->mask + 1);
    uint32_t *slot = calloc(slots, sizeof *slot);
    struct met *list = realloc(c->list, slots / 2 * sizeof *list);
    c->list = list != NULL ? list : c->list;
    if (slot == NULL || list == NULL) {
        free(slot);
        return false;
    }
    free(c->slot);
    c->slot = slot;
    c->room = slots / 2;
    c->mask = slots - 1;
    for (size_t i = 0; i < c->n; i++) { /* identities are hashes already */
        size_t at = c->list[i].card & c->mask;
        while (slot[at] != 0) {
            at = (at + 1) & c->mask;
        }
        slot[at] = (uint32_t)(i + 1);
    }
    return true;
}

/* The card's entry, or NULL without memory for a new one. */
static struct met *cards_find(struct cards *c, uint64_t card)
{
    size_t at = card & c->mask;
    while (c->slot != NULL && c->slot[at] != 0) {
        struct met *m = &c->list[c->slot[at] - 1];
        if (m->card == card) {
            return m;
        }
        at = (at + 1) & c->mask;
    }
    if (c->n == c->room && !cards_grow(c)) {
        return NULL;
    }
    at = card & c->mask;
    while (c->slot[at] != 0) {
        at = (at + 1) & c->mask;
    }
    c->list[c->n] = (struct met){.card = card, .met = (uint32_t)c->n};
    c->slot[at] = (uint32_t)++c->n;
    return &c->list[c->n - 1];
}

static int by_card(const void *a, const void *b)
{
    const struct met *x = a;
    const struct met *y = b;
    return x->card < y->card ? -1 : x->card > y->card;
}

bool learn_counts(const struct past_row *r)
{
    bool judged = tx_is_payment(&r->tx) || r->tx.type == TX_CHECK;
    return judged && r->known_us != INT64_MAX;
}

static enum err take_arrays(struct learn_rows *r, struct errmsg *e)
{
    const struct {
        struct scratch_array *array;
        size_t bytes; /* a row */
    } each[] = {{&r->position, sizeof(uint32_t)}, {&r->event_us, sizeof(int64_t)},
                {&r->card, sizeof(uint32_t)},     {&r->label, sizeof(uint8_t)},
                {&r->weight, sizeof(float)},      {&r->x, FEAT_DIM * sizeof(float)}};
    enum err err = ERR_OK;
    for (size_t i = 0; i < sizeof each / sizeof each[0] && err == ERR_OK; i++) {
        err = scratch_grow(r->scratch, each[i].array, r->n * each[i].bytes, e);
    }
    if (err == ERR_OK && r->x.file != 0) {
        r->filled = calloc((r->n + r->range_rows - 1) / r->range_rows, sizeof *r->filled);
        err = r->filled == NULL ? err_set(e, ERR_NOMEM, "no memory")
                                : scratch_grow(r->scratch, &r->arrived, r->n * sizeof(uint32_t), e);
    }
    return err == ERR_OK ? err : err_prefix(e, err, "cannot train on %zu payments", r->n);
}

/* Each row's card, by order of meeting, to `position`. */
static enum err meet_cards(const struct learn_rows *r, const struct past *past, struct cards *c,
                           struct errmsg *e)
{
    uint32_t *position = r->position.base;
    for (size_t i = 0; i < r->n; i++) {
        struct met *m = cards_find(c, past->rows[i].tx.card);
        if (m == NULL) {
            return err_set(e, ERR_NOMEM, "no memory for more than %zu cards", c->n);
        }
        m->rows++;
        position[i] = m->met;
    }
    return ERR_OK;
}

/* Rows of a card are contiguous and stay in past's order. */
static void place_rows(const struct learn_rows *r, const struct past *past, int64_t weight_from_us,
                       const uint32_t *number, uint32_t *next)
{
    uint32_t *position = r->position.base;
    int64_t *event_us = r->event_us.base;
    uint32_t *card = r->card.base;
    uint8_t *label = r->label.base;
    float *weight = r->weight.base;
    for (size_t i = 0; i < r->n; i++) {
        const struct past_row *row = &past->rows[i];
        uint32_t met = position[i];
        uint32_t k = next[met]++;
        position[i] = k;
        event_us[k] = row->tx.event_us;
        card[k] = number[met];
        label[k] = row->fraud;
        weight[k] = learn_counts(row) && row->tx.event_us >= weight_from_us ? 1 : 0;
    }
}

static enum err order_rows(const struct learn_rows *r, const struct past *past,
                           int64_t weight_from_us, struct errmsg *e)
{
    struct cards c = {0};
    uint32_t *number = NULL; /* [cards] in order of identity */
    uint32_t *next = NULL;   /* [cards] place of its next row */
    enum err err = meet_cards(r, past, &c, e);
    if (err != ERR_OK) {
        goto out;
    }
    assert(c.n > 0); /* as there is a row */
    number = calloc(c.n, sizeof *number);
    next = calloc(c.n, sizeof *next);
    if (number == NULL || next == NULL) {
        err = err_set(e, ERR_NOMEM, "no memory for %zu cards", c.n);
        goto out;
    }
    qsort(c.list, c.n, sizeof *c.list, by_card);
    uint32_t first = 0;
    for (size_t i = 0; i < c.n; i++) {
        number[c.list[i].met] = (uint32_t)i;
        next[c.list[i].met] = first;
        first += c.list[i].rows;
    }
    place_rows(r, past, weight_from_us, number, next);
out:
    free(c.list);
    free(c.slot);
    free(number);
    free(next);
    return err;
}

enum err learn_rows_init(struct learn_rows *r, const struct past *past, int64_t weight_from_us,
                         struct scratch *scratch, size_t range_rows, struct errmsg *e)
{
    *r = (struct learn_rows){.n = past->n, .range_rows = range_rows, .scratch = scratch};
    enum err err = take_arrays(r, e);
    return err == ERR_OK ? order_rows(r, past, weight_from_us, e) : err;
}

void learn_rows_put(struct learn_rows *r, size_t i, const float *x)
{
    const uint32_t *position = r->position.base;
    uint32_t *arrived = r->arrived.base;
    size_t k = position[i];
    if (r->filled != NULL) {
        size_t range = k / r->range_rows;
        k = range * r->range_rows + r->filled[range]++;
        arrived[k] = position[i];
    }
    memcpy((float *)r->x.base + k * FEAT_DIM, x, FEAT_DIM * sizeof *x);
}

enum err learn_rows_finish(struct learn_rows *r, struct errmsg *e)
{
    if (r->filled == NULL) {
        return ERR_OK;
    }
    const uint32_t *arrived = r->arrived.base;
    float *all = r->x.base;
    size_t most = r->range_rows < r->n ? r->range_rows : r->n;
    float *copy = malloc(most * FEAT_DIM * sizeof *copy);
    if (copy == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to order the columns of %zu rows", most);
    }
    for (size_t first = 0; first < r->n; first += most) {
        size_t rows = r->n - first < most ? r->n - first : most;
        memcpy(copy, all + first * FEAT_DIM, rows * FEAT_DIM * sizeof *copy);
        for (size_t i = 0; i < rows; i++) {
            memcpy(all + (size_t)arrived[first + i] * FEAT_DIM, copy + i * FEAT_DIM,
                   FEAT_DIM * sizeof *copy);
        }
    }
    free(copy);
    free(r->filled);
    r->filled = NULL;
    scratch_free(r->scratch, &r->arrived);
    scratch_free(r->scratch, &r->position);
    return ERR_OK;
}

struct train_rows learn_rows_view(const struct learn_rows *r)
{
    return (struct train_rows){.n = r->n,
                               .columns = FEAT_DIM,
                               .x = r->x.base,
                               .event_us = r->event_us.base,
                               .card = r->card.base,
                               .label = r->label.base,
                               .weight = r->weight.base};
}

void learn_rows_done(struct learn_rows *r)
{
    struct scratch_array *all[] = {&r->x,      &r->event_us, &r->card,   &r->label,
                                   &r->weight, &r->position, &r->arrived};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        scratch_free(r->scratch, all[i]);
    }
    free(r->filled);
    r->filled = NULL;
}
