#include "daemon/update_rows.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/segments.h"
#include "features/schema.h"

#define WEEK_US (7 * TIME_DAY)
#define BANDS 256 /* amount bands are fewer */
#define NOT_KEPT UINT32_MAX

/* One stratum's sample: every size / taken-th payment, from a drawn place on. */
struct stratum {
    size_t size, quota;
    uint64_t at; /* of the systematic sample, in payments * size */
};

struct chooser {
    const struct past *past;
    const struct update_rows_conf *c;
    int64_t young_from_us;
    struct stratum *stratum; /* [weeks, BANDS] */
    size_t strata;
    uint8_t *use;  /* [past->n] */
    float *weight; /* [past->n] */
    size_t kept;
};

bool update_is_gate(uint64_t card)
{
    return (hash_pair(card, 0x67617465U) & 1) != 0;
}

static size_t stratum_of(const struct chooser *h, const struct past_row *r)
{
    int64_t week = (r->tx.event_us - h->past->rows[0].tx.event_us) / WEEK_US;
    size_t band = segment_of(SEGMENT_AMOUNT, &r->tx);
    return (size_t)week * BANDS + (band < BANDS ? band : BANDS - 1);
}

static bool is_sampled_from(const struct chooser *h, const struct past_row *r)
{
    return learn_counts(r) && !r->fraud && r->tx.event_us >= h->c->warm_until_us &&
           r->tx.event_us < h->young_from_us;
}

/* From where on the learnt payments are young; they and the news are at most c->fresh. */
static int64_t young_from(const struct past *past, const struct update_rows_conf *c)
{
    int64_t earliest = c->warm_until_us + (c->learnt_until_us - c->warm_until_us) / 2;
    int64_t from = c->learnt_until_us;
    size_t fresh = 0;
    for (size_t i = past->n; i-- > 0 && fresh <= c->fresh;) {
        const struct past_row *r = &past->rows[i];
        if (r->tx.event_us < earliest) {
            break;
        }
        if (r->tx.event_us < c->sealed_from_us && learn_counts(r)) {
            fresh++;
            from = fresh <= c->fresh && r->tx.event_us < from ? r->tx.event_us : from;
        }
    }
    return from;
}

/* The largest equal share of each stratum with which no more than `most` are taken. */
static size_t equal_share(const struct chooser *h, size_t most)
{
    size_t low = 0;
    size_t high = most;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        size_t sum = 0;
        for (size_t i = 0; i < h->strata; i++) {
            sum += h->stratum[i].size < middle ? h->stratum[i].size : middle;
        }
        if (sum <= most) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static enum err make_strata(struct chooser *h, struct errmsg *e)
{
    const struct past *past = h->past;
    int64_t span = past->rows[past->n - 1].tx.event_us - past->rows[0].tx.event_us;
    h->strata = ((size_t)(span / WEEK_US) + 1) * BANDS;
    h->stratum = calloc(h->strata, sizeof *h->stratum);
    if (h->stratum == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for %zu strata", h->strata);
    }
    for (size_t i = 0; i < past->n; i++) {
        if (is_sampled_from(h, &past->rows[i])) {
            h->stratum[stratum_of(h, &past->rows[i])].size++;
        }
    }
    size_t share = equal_share(h, h->c->replay);
    for (size_t i = 0; i < h->strata; i++) {
        struct stratum *s = &h->stratum[i];
        s->quota = s->size < share ? s->size : share;
        s->at = s->size > 0 ? hash_pair(h->c->seed, i) % s->size : 0;
    }
    return ERR_OK;
}

/* Systematic: exactly the stratum's quota is taken, each payment with the same probability. */
static float sample(struct stratum *s)
{
    if (s->quota == 0) {
        return 0;
    }
    assert(s->size >= s->quota);
    uint64_t before = s->at / s->size;
    s->at += s->quota;
    return s->at / s->size > before ? (float)s->size / (float)s->quota : 0;
}

static void choose(struct chooser *h, size_t i)
{
    const struct past_row *r = &h->past->rows[i];
    const struct update_rows_conf *c = h->c;
    if (!learn_counts(r) || r->tx.event_us < c->warm_until_us) {
        return;
    }
    if (r->tx.event_us >= c->sealed_from_us) {
        h->use[i] = update_is_gate(r->tx.card) ? USE_GATE : USE_CALIBRATE;
    } else if (r->tx.event_us >= h->young_from_us) {
        h->use[i] = r->tx.event_us >= c->learnt_until_us ? USE_NEWS : USE_YOUNG;
        h->weight[i] = 1;
    } else {
        h->weight[i] = r->fraud ? 1 : sample(&h->stratum[stratum_of(h, r)]);
        h->use[i] = h->weight[i] > 0 ? USE_REPLAY : USE_CONTEXT;
    }
}

/* Which rows are used or context of one that is: position[row] 0 or NOT_KEPT. */
static void mark_kept(struct chooser *h, const uint32_t *order, uint32_t *position)
{
    const struct past *past = h->past;
    uint32_t wanted = 0; /* rows of the card before this one */
    for (size_t k = past->n; k-- > 0;) {
        uint32_t i = order[k];
        bool last = k + 1 == past->n || past->rows[order[k + 1]].tx.card != past->rows[i].tx.card;
        wanted = last ? 0 : wanted;
        uint32_t own = h->use[i] >= USE_CALIBRATE ? h->c->sealed_context
                       : h->use[i] >= USE_REPLAY  ? h->c->context
                                                  : 0;
        bool kept = h->use[i] != USE_CONTEXT || wanted > 0;
        wanted -= wanted > 0;
        wanted = own > wanted ? own : wanted;
        position[i] = kept ? 0 : NOT_KEPT;
        h->kept += kept;
    }
}

static enum err alloc_rows(struct update_rows *r, size_t n, struct errmsg *e)
{
    r->n = n;
    r->from = malloc((n + 1) * sizeof *r->from);
    r->use = malloc(n + 1);
    r->event_us = malloc((n + 1) * sizeof *r->event_us);
    r->run = malloc((n + 1) * sizeof *r->run);
    r->label = malloc(n + 1);
    r->weight = malloc((n + 1) * sizeof *r->weight);
    r->judge = malloc((n + 1) * sizeof *r->judge);
    if (r->from == NULL || r->use == NULL || r->event_us == NULL || r->run == NULL ||
        r->label == NULL || r->weight == NULL || r->judge == NULL) {
        return err_set(e, ERR_NOMEM, "cannot keep %zu payments: no memory", n);
    }
    return scratch_grow(r->scratch, &r->columns, (n + 1) * FEAT_DIM * sizeof(float), e);
}

/* Puts the kept rows in their places: in order of card and time, runs numbered. */
static void place(const struct chooser *h, const uint32_t *order, struct update_rows *r)
{
    const struct past *past = h->past;
    uint32_t run = 0;
    size_t at = 0;
    for (size_t k = 0; k < past->n; k++) {
        uint32_t i = order[k];
        if (r->position[i] == NOT_KEPT) {
            continue;
        }
        bool follows = k > 0 && r->position[order[k - 1]] != NOT_KEPT &&
                       past->rows[order[k - 1]].tx.card == past->rows[i].tx.card;
        run += at > 0 && !follows;
        r->position[i] = (uint32_t)at;
        r->from[at] = i;
        r->use[at] = h->use[i];
        r->event_us[at] = past->rows[i].tx.event_us;
        r->run[at] = run;
        r->label[at] = past->rows[i].fraud;
        r->weight[at] = h->weight[i];
        r->judge[at] = h->use[i] == USE_CALIBRATE ? 1 : 0;
        r->count[h->use[i]]++;
        r->frauds[h->use[i]] += past->rows[i].fraud;
        at++;
    }
}

enum err update_rows_create(const struct past *past, const struct update_rows_conf *c,
                            struct update_rows *out, struct errmsg *e)
{
    struct chooser h = {.past = past, .c = c, .young_from_us = young_from(past, c)};
    struct update_rows r = {.past = past, .young_from_us = h.young_from_us, .scratch = c->scratch};
    uint32_t *order = malloc((past->n + 1) * sizeof *order);
    r.position = malloc((past->n + 1) * sizeof *r.position);
    h.use = calloc(past->n + 1, sizeof *h.use);
    h.weight = calloc(past->n + 1, sizeof *h.weight);
    enum err err = ERR_OK;
    if (order == NULL || r.position == NULL || h.use == NULL || h.weight == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot choose among %zu payments: no memory", past->n);
        goto out;
    }
    err = make_strata(&h, e);
    if (err != ERR_OK) {
        goto out;
    }
    for (size_t i = 0; i < past->n; i++) {
        choose(&h, i);
    }
    past_order(past, order);
    mark_kept(&h, order, r.position);
    err = alloc_rows(&r, h.kept, e);
    if (err == ERR_OK) {
        place(&h, order, &r);
        *out = r;
        r = (struct update_rows){0};
    }
out:
    free(order);
    free(h.use);
    free(h.weight);
    free(h.stratum);
    update_rows_done(&r);
    return err;
}

void update_rows_done(struct update_rows *r)
{
    scratch_free(r->scratch, &r->columns);
    free(r->position);
    free(r->from);
    free(r->use);
    free(r->event_us);
    free(r->run);
    free(r->label);
    free(r->weight);
    free(r->judge);
    *r = (struct update_rows){0};
}

float *update_rows_columns(const struct update_rows *r, size_t i)
{
    return r->position[i] == NOT_KEPT
               ? NULL
               : (float *)r->columns.base + (size_t)r->position[i] * FEAT_DIM;
}

struct train_rows update_rows_train(const struct update_rows *r)
{
    return (struct train_rows){.n = r->n,
                               .columns = FEAT_DIM,
                               .x = r->columns.base,
                               .event_us = r->event_us,
                               .card = r->run,
                               .label = r->label,
                               .weight = r->weight};
}
