#include "daemon/verdicts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/encode.h"
#include "features/state.h"

/* A verdict that waits for its time. */
struct pending {
    uint64_t arrival;
    struct label label;
    struct label_strings strings; /* source is set when it is written; the rest points into text */
    char text[];
};

struct verdicts {
    struct feat_world *world;
    struct feat_state *state;
    struct slice source;
    struct pending **heap; /* [n], the first known one on top */
    size_t n, room;
    uint64_t arrivals;
    uint64_t number;     /* of the latest label */
    struct pending *out; /* handed out last */
    float x[FEAT_DIM];
    char json[ENCODE_MAX];
};

enum err verdicts_create(const struct feature_params *p, const char *source, struct verdicts **out,
                         struct errmsg *e)
{
    struct feat_limits limits;
    struct feat_world_limits world_limits;
    struct verdicts *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold labels: no memory");
    }
    feat_limits_default(&limits);
    feat_world_limits_default(&world_limits);
    enum err err = feat_world_create(p, &world_limits, &v->world, e);
    if (err == ERR_OK) {
        err = feat_state_create(v->world, &limits, &v->state, e);
    }
    if (err != ERR_OK) {
        verdicts_free(v);
        return err;
    }
    v->source = (struct slice){source, strlen(source)};
    *out = v;
    return ERR_OK;
}

void verdicts_free(struct verdicts *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < v->n; i++) {
        free(v->heap[i]);
    }
    free(v->heap);
    free(v->out);
    feat_state_free(v->state);
    feat_world_free(v->world);
    free(v);
}

size_t verdicts_waiting(const struct verdicts *v)
{
    return v->n;
}

static bool before(const struct pending *a, const struct pending *b)
{
    return a->label.known_us != b->label.known_us ? a->label.known_us < b->label.known_us
                                                  : a->arrival < b->arrival;
}

static void swap(struct verdicts *v, size_t i, size_t k)
{
    struct pending *t = v->heap[i];
    v->heap[i] = v->heap[k];
    v->heap[k] = t;
}

static bool push(struct verdicts *v, struct pending *p)
{
    if (v->n == v->room) {
        size_t room = v->room == 0 ? 1024 : 2 * v->room;
        struct pending **grown = realloc(v->heap, room * sizeof(struct pending *));
        if (grown == NULL) {
            return false;
        }
        v->heap = grown;
        v->room = room;
    }
    size_t i = v->n++;
    v->heap[i] = p;
    for (; i > 0 && before(v->heap[i], v->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(v, i, (i - 1) / 2);
    }
    return true;
}

static struct pending *pop(struct verdicts *v)
{
    struct pending *top = v->heap[0];
    v->heap[0] = v->heap[--v->n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < v->n; k++) {
            least = before(v->heap[k], v->heap[least]) ? k : least;
        }
        if (least == i) {
            return top;
        }
        swap(v, i, least);
        i = least;
    }
}

/* A copy of the item's strings behind the pending verdict. */
static struct pending *make_pending(const struct feed_item *item)
{
    const struct tx_strings *s = &item->strings;
    const struct slice from[] = {s->id, s->card, s->merchant, s->terminal, s->device, s->ip};
    size_t len = 0;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        len += from[i].len;
    }
    struct pending *p = calloc(1, sizeof *p + len);
    if (p == NULL) {
        return NULL;
    }
    struct slice *to[] = {&p->strings.tx,       &p->strings.card,   &p->strings.merchant,
                          &p->strings.terminal, &p->strings.device, &p->strings.ip};
    size_t at = 0;
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        if (from[i].len > 0) {
            memcpy(p->text + at, from[i].at, from[i].len);
            *to[i] = (struct slice){p->text + at, from[i].len};
            at += from[i].len;
        }
    }
    p->strings.amount_minor = item->tx.amount_minor;
    p->strings.exponent = s->exponent;
    memcpy(p->strings.currency, item->tx.currency, sizeof p->strings.currency);
    return p;
}

static void fill_label(struct label *l, const struct feed_item *item, float usual_ratio)
{
    const struct tx *t = &item->tx;
    *l = (struct label){.tx_id = t->id,
                        .card = t->card,
                        .merchant = t->merchant,
                        .terminal = t->terminal,
                        .device = t->device,
                        .ip = t->ip,
                        .event_us = t->event_us,
                        .known_us = item->known_us,
                        .amount_ref = t->amount_ref,
                        .usual_ratio = usual_ratio,
                        .mcc = t->mcc,
                        .country = t->country,
                        .verdict = item->fraud ? LABEL_FRAUD : LABEL_LEGITIMATE};
}

enum err verdicts_see(struct verdicts *v, const struct feed_item *item, struct errmsg *e)
{
    struct feat_facts facts;
    feat_extract(v->state, &item->tx, v->x, &facts);
    if (item->known_us == INT64_MAX) {
        return ERR_OK;
    }
    struct pending *p = make_pending(item);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu labels: no memory", v->n + 1);
    }
    p->arrival = ++v->arrivals;
    fill_label(&p->label, item, facts.usual_ratio);
    if (!push(v, p)) {
        free(p);
        return err_set(e, ERR_NOMEM, "cannot hold %zu labels: no memory", v->n + 1);
    }
    return ERR_OK;
}

enum err verdicts_next(struct verdicts *v, int64_t until_us, struct verdict *out, struct errmsg *e)
{
    if (v->n == 0 || v->heap[0]->label.known_us > until_us) {
        return ERR_END;
    }
    struct pending *p = pop(v);
    free(v->out);
    v->out = p;
    uint64_t known = (uint64_t)p->label.known_us;
    v->number = known > v->number ? known : v->number + 1;
    p->label.number = v->number;
    p->label.source = hash_id(v->source.at, v->source.len);
    p->strings.source = v->source;
    size_t len = 0;
    if (encode_label(&p->label, &p->strings, v->json, sizeof v->json, &len) != ERR_OK) {
        return err_set(e, ERR_INVALID,
                       "the label of transaction \"%.*s\" cannot be written: a time outside 2000 "
                       "to 2099",
                       (int)p->strings.tx.len, p->strings.tx.at);
    }
    /* from here on the card's usual amount is computed without a known fraud */
    enum err err = feat_label(v->world, &p->label);
    if (err != ERR_OK) {
        return err_set(e, err, "cannot apply the label of transaction \"%.*s\": too many wait",
                       (int)p->strings.tx.len, p->strings.tx.at);
    }
    *out = (struct verdict){p->label.known_us, {v->json, len}, p->strings.card};
    return ERR_OK;
}
