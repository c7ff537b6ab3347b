#include "model/pieces.h"

#include <stdbool.h>
#include <stdlib.h>

struct cutter {
    const struct train_rows *rows;
    int64_t from_us, until_us;
    uint32_t piece, context;
};

/* Cuts the card whose rows are [begin, end); out NULL only counts. */
static size_t cut_card(const struct cutter *c, size_t begin, size_t end, struct piece *out)
{
    const int64_t *at = c->rows->event_us;
    size_t first = begin;
    while (first < end && at[first] < c->from_us) {
        first++;
    }
    size_t last = first;
    while (last < end && at[last] < c->until_us) {
        last++;
    }
    size_t count = 0;
    for (size_t i = first; i < last; i += c->piece, count++) {
        if (out == NULL) {
            continue;
        }
        size_t context = i - begin < c->context ? i - begin : c->context;
        size_t counted = last - i < c->piece ? last - i : c->piece;
        out[count] = (struct piece){.first = i - context,
                                    .context = (uint32_t)context,
                                    .len = (uint32_t)(context + counted)};
    }
    return count;
}

static size_t cut_all(const struct cutter *c, struct piece *out)
{
    size_t n = c->rows->n;
    size_t count = 0;
    for (size_t begin = 0; begin < n;) {
        size_t end = begin + 1;
        while (end < n && c->rows->card[end] == c->rows->card[begin]) {
            end++;
        }
        count += cut_card(c, begin, end, out == NULL ? NULL : out + count);
        begin = end;
    }
    return count;
}

enum err pieces_cut(const struct train_rows *rows, int64_t from_us, int64_t until_us,
                    uint32_t piece, uint32_t context, struct pieces *out, struct errmsg *e)
{
    struct cutter c = {rows, from_us, until_us, piece, context};
    size_t count = cut_all(&c, NULL);
    struct piece *list = calloc(count + 1, sizeof *list);
    if (list == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for %zu pieces of histories", count);
    }
    cut_all(&c, list);
    *out = (struct pieces){list, count};
    return ERR_OK;
}

void pieces_done(struct pieces *p)
{
    free(p->piece);
    *p = (struct pieces){NULL, 0};
}

static bool has_weight(const struct piece *p, const float *weight)
{
    for (uint32_t k = p->context; k < p->len; k++) {
        if (weight[p->first + k] > 0) {
            return true;
        }
    }
    return false;
}

void pieces_drop_idle(struct pieces *p, const struct train_rows *rows)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (has_weight(&p->piece[i], rows->weight)) {
            p->piece[count++] = p->piece[i];
        }
    }
    p->count = count;
}

static int longest_first(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;
    if (x->len != y->len) {
        return x->len > y->len ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

void pieces_mix(struct pieces *p, struct rng *rng, uint32_t batch)
{
    for (size_t i = p->count; i > 1; i--) {
        size_t j = (size_t)rng_below(rng, i);
        struct piece other = p->piece[j];
        p->piece[j] = p->piece[i - 1];
        p->piece[i - 1] = other;
    }
    for (size_t i = 0; i < p->count; i += batch) {
        size_t n = p->count - i < batch ? p->count - i : batch;
        qsort(p->piece + i, n, sizeof *p->piece, longest_first);
    }
}
