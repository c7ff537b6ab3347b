#include "tests/support/naive_features.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/naive_internal.h"

static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return array;
    }
    *room = *room == 0 ? 256 : *room * 2;
    void *p = realloc(array, *room * size);
    if (p == NULL) {
        fputs("naive features: no memory\n", stderr);
        abort();
    }
    return p;
}

struct naive *naive_create(const struct feature_params *p, const struct naive_limits *l)
{
    size_t room = 0;
    struct naive *n = grown(NULL, 0, &room, sizeof *n);
    *n = (struct naive){.params = *p, .limits = *l, .clock_us = INT64_MIN};
    return n;
}

void naive_free(struct naive *n)
{
    free(n->events);
    free(n->labels);
    free(n->frauds);
    free(n->categories);
    free(n);
}

uint64_t naive_holder_id(const struct tx *t, enum naive_holder h)
{
    const uint64_t ids[] = {t->card, t->terminal, t->merchant, t->device, t->ip};
    return ids[h];
}

static uint64_t label_holder_id(const struct label *l, enum naive_holder h)
{
    const uint64_t ids[] = {l->card, l->terminal, l->merchant, l->device, l->ip};
    return ids[h];
}

int64_t naive_day(int64_t us)
{
    int64_t day = us / NAIVE_DAY;
    return us % NAIVE_DAY < 0 ? day - 1 : day;
}

bool naive_is_payment(const struct tx *t)
{
    return t->type == TX_PURCHASE || t->type == TX_CASH;
}

void naive_label(struct naive *n, const struct label *l)
{
    for (size_t i = 0; i < n->label_count; i++) {
        if (n->labels[i].label.source == l->source && n->labels[i].label.number >= l->number) {
            return; /* a repeat */
        }
    }
    n->labels = grown(n->labels, n->label_count, &n->label_room, sizeof *n->labels);
    n->labels[n->label_count++] = (struct naive_label){*l, false};
}

/* Buckets of a 32nd of an octave; amounts below 32 have one each. */
static uint32_t bucket(uint32_t amount)
{
    if (amount < 32) {
        return amount;
    }
    uint32_t octave = 5;
    while (amount >> octave >= 2) {
        octave++;
    }
    uint64_t above = amount - (UINT64_C(1) << octave);
    return (octave - 4) * 32 + (uint32_t)(above * 32 >> octave);
}

double naive_amount_tail(const struct naive *n, uint32_t amount)
{
    int64_t today = naive_day(n->clock_us);
    double all = 0;
    double above = 0;
    double same = 0;
    for (size_t i = 0; i < n->event_count; i++) {
        const struct naive_event *e = &n->events[i];
        if (naive_is_payment(&e->tx) && e->clock_day < today && e->clock_day >= today - 30) {
            all += 1;
            above += bucket(e->tx.amount_ref) > bucket(amount);
            same += bucket(e->tx.amount_ref) == bucket(amount);
        }
    }
    return all > 0 ? -log10((above + same / 2 + 0.5) / (all + 1)) : 0;
}

/* ---- histories ---- */

static int64_t horizon(const struct naive *n)
{
    return 91 * NAIVE_DAY + n->params.maturity_us;
}

int64_t naive_forgotten(const struct naive *n, enum naive_holder h, uint64_t id, int64_t t_us)
{
    int64_t newest = t_us;
    for (size_t i = 0; i < n->event_count; i++) {
        const struct naive_event *e = &n->events[i];
        if (e->in[h] != NAIVE_NOT_IN && naive_holder_id(&e->tx, h) == id &&
            e->tx.event_us > newest) {
            newest = e->tx.event_us;
        }
    }
    return newest - horizon(n);
}

static bool in_history(const struct naive_event *e, enum naive_holder h, uint64_t id,
                       enum naive_place place)
{
    return e->in[h] == place && naive_holder_id(&e->tx, h) == id;
}

/* Folds the oldest quarter where the history is full. */
static void fold(struct naive *n, enum naive_holder h, uint64_t id, int64_t t_us)
{
    size_t max = h == HOLD_CARD ? n->limits.card_events_max : n->limits.place_events_max;
    int64_t forgotten = naive_forgotten(n, h, id, t_us);
    size_t kept = 0;
    for (size_t i = 0; i < n->event_count; i++) {
        const struct naive_event *e = &n->events[i];
        kept += in_history(e, h, id, NAIVE_KEPT) && e->tx.event_us > forgotten;
    }
    for (size_t folded = 0; kept >= max && folded < max / 4; folded++) {
        struct naive_event *oldest = NULL;
        for (size_t i = 0; i < n->event_count; i++) {
            struct naive_event *e = &n->events[i];
            if (in_history(e, h, id, NAIVE_KEPT) && e->tx.event_us > forgotten &&
                (oldest == NULL || e->tx.event_us < oldest->tx.event_us)) {
                oldest = e;
            }
        }
        oldest->in[h] = NAIVE_FOLDED;
    }
}

static bool before_folded(const struct naive *n, enum naive_holder h, uint64_t id, int64_t t_us)
{
    for (size_t i = 0; i < n->event_count; i++) {
        if (in_history(&n->events[i], h, id, NAIVE_FOLDED) && t_us < n->events[i].tx.event_us) {
            return true;
        }
    }
    return false;
}

/* Puts an event, not yet in the array, into the history of its holder.  Returns whether. */
static bool put(struct naive *n, struct naive_event *new, enum naive_holder h)
{
    uint64_t id = naive_holder_id(&new->tx, h);
    int64_t t_us = new->tx.event_us;
    if (id == 0 || t_us <= naive_forgotten(n, h, id, t_us) || before_folded(n, h, id, t_us)) {
        return false;
    }
    fold(n, h, id, t_us);
    if (before_folded(n, h, id, t_us)) {
        return false;
    }
    new->in[h] = NAIVE_KEPT;
    for (size_t i = 0; i < n->fraud_count; i++) {
        const struct naive_fraud *f = &n->frauds[i];
        if (f->live && f->holder == h && f->holder_id == id &&
            f->tx == new->tx.id &&naive_is_payment(&new->tx)) {
            new->fraud[h] = true;
        }
    }
    return true;
}

/* ---- labels ---- */

static bool was_seen(const struct naive *n, enum naive_holder h, uint64_t id)
{
    for (size_t i = 0; i < n->event_count; i++) {
        if (naive_holder_id(&n->events[i].tx, h) == id) {
            return true;
        }
    }
    return false;
}

static void mark(struct naive *n, const struct label *l, enum naive_holder h, bool fraud)
{
    for (size_t i = 0; i < n->event_count; i++) {
        struct naive_event *e = &n->events[i];
        if (e->tx.id == l->tx_id && naive_is_payment(&e->tx) && e->in[h] == NAIVE_KEPT) {
            e->fraud[h] = fraud;
        }
    }
}

/* Only the 64 that took effect last are known. */
static void push_out(struct naive *n, enum naive_holder h, uint64_t id)
{
    size_t live = 0;
    for (size_t i = n->fraud_count; i-- > 0;) {
        struct naive_fraud *f = &n->frauds[i];
        if (f->live && f->holder == h && f->holder_id == id && ++live > 64) {
            f->live = false;
        }
    }
}

static void add_fraud(struct naive *n, const struct label *l, enum naive_holder h, bool blamed)
{
    uint64_t id = label_holder_id(l, h);
    if (id == 0 || !was_seen(n, h, id)) {
        return;
    }
    n->frauds = grown(n->frauds, n->fraud_count, &n->fraud_room, sizeof *n->frauds);
    n->frauds[n->fraud_count++] = (struct naive_fraud){.tx = l->tx_id,
                                                       .holder_id = id,
                                                       .holder = h,
                                                       .event_us = l->event_us,
                                                       .known_us = l->known_us,
                                                       .blamed = blamed,
                                                       .live = true};
    push_out(n, h, id);
    mark(n, l, h, true);
}

/* Whether a fraud verdict on the payment is in force, whoever of its holders still knows of it. */
static bool is_known(const struct naive *n, uint64_t tx)
{
    for (size_t i = 0; i < n->category_count; i++) {
        if (n->categories[i].live && n->categories[i].tx == tx) {
            return true;
        }
    }
    return false;
}

static void apply_fraud(struct naive *n, const struct label *l)
{
    bool nobody = naive_amount_tail(n, l->amount_ref) > (double)n->params.blame_tail;
    bool card = !nobody && l->usual_ratio > n->params.blame_ratio;
    add_fraud(n, l, HOLD_CARD, card);
    for (enum naive_holder h = HOLD_TERMINAL; h < HOLD_COUNT; h++) {
        add_fraud(n, l, h, !nobody && !card);
    }
    n->categories =
        grown(n->categories, n->category_count, &n->category_room, sizeof *n->categories);
    n->categories[n->category_count++] =
        (struct naive_category_fraud){l->tx_id, l->mcc, l->country, naive_day(l->known_us), true};
}

static void take_back(struct naive *n, const struct label *l)
{
    for (size_t i = 0; i < n->fraud_count; i++) {
        struct naive_fraud *f = &n->frauds[i];
        if (f->live && f->tx == l->tx_id) {
            f->live = false;
            mark(n, l, f->holder, false);
        }
    }
    for (size_t i = 0; i < n->category_count; i++) {
        n->categories[i].live = n->categories[i].live && n->categories[i].tx != l->tx_id;
    }
}

static void apply_labels(struct naive *n)
{
    for (;;) {
        struct naive_label *next = NULL;
        for (size_t i = 0; i < n->label_count; i++) {
            struct naive_label *l = &n->labels[i];
            if (!l->applied && l->label.known_us <= n->clock_us &&
                (next == NULL || l->label.known_us < next->label.known_us)) {
                next = l;
            }
        }
        if (next == NULL) {
            return;
        }
        next->applied = true;
        bool known = is_known(n, next->label.tx_id);
        if (next->label.verdict == LABEL_FRAUD && !known) {
            apply_fraud(n, &next->label);
        } else if (next->label.verdict != LABEL_FRAUD && known) {
            take_back(n, &next->label);
        }
    }
}

void naive_extract(struct naive *n, const struct tx *t, float *out_x, struct naive_facts *out)
{
    *out = (struct naive_facts){.late = n->clock_us != INT64_MIN && t->event_us < n->clock_us};
    n->clock_us = t->event_us > n->clock_us ? t->event_us : n->clock_us;
    apply_labels(n);
    naive_columns(n, t, out_x, out);
    struct naive_event new = {.tx = *t, .clock_day = naive_day(n->clock_us)};
    out->dropped_late = !put(n, &new, HOLD_CARD);
    (void)put(n, &new, HOLD_TERMINAL);
    (void)put(n, &new, HOLD_MERCHANT);
    n->events = grown(n->events, n->event_count, &n->event_room, sizeof *n->events);
    n->events[n->event_count++] = new;
}
