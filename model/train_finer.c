#include "model/train_finer.h"

#include <stdlib.h>
#include <string.h>

#include "model/bins.h"

struct widening {
    const struct net_encoding *coarse, *fine;
    const struct net_layout *before, *after;
    size_t width;
};

/* Rows of a column's finer bins, from those of the bins that they are parts of. */
static void widen_column(const struct widening *w, uint32_t column, const float *from, float *to)
{
    const float *edge = bins_edges(w->coarse, column);
    const float *fine = bins_edges(w->fine, column);
    uint32_t edges = bins_edge_count(w->coarse, column);
    uint32_t bins = bins_edge_count(w->fine, column) + 1;
    uint32_t part_of = 0;
    for (uint32_t i = 0; i < bins; i++) {
        bool last = i + 1 == bins;
        while (part_of < edges && (last || fine[i] > edge[part_of])) {
            part_of++;
        }
        memcpy(to + (w->fine->first_row[column] + i) * w->width,
               from + (w->coarse->first_row[column] + part_of) * w->width, w->width * sizeof *to);
    }
}

/* All parameters: those before the table, its rows, those behind it.  NULL: no memory. */
static float *widen(const struct widening *w, const float *from)
{
    size_t table = w->before->offset[NET_TABLE][0];
    size_t behind = table + w->before->size[NET_TABLE];
    float *to = malloc(w->after->total * sizeof *to);
    if (to == NULL) {
        return NULL;
    }
    memcpy(to, from, table * sizeof *to);
    for (uint32_t c = 0; c < w->coarse->columns; c++) {
        widen_column(w, c, from + table, to + table);
    }
    memcpy(to + table + w->after->size[NET_TABLE], from + behind,
           (w->before->total - behind) * sizeof *to);
    return to;
}

static float *copy_of(const float *from, size_t n)
{
    float *to = malloc((n + 1) * sizeof *to);
    return to != NULL ? memcpy(to, from, n * sizeof *to) : NULL;
}

enum err finer_of(const struct train_result *from, struct net_encoding *encoding,
                  struct train_result *out, struct errmsg *e)
{
    struct train_result r = *from;
    struct net_layout before;
    struct net_layout after;
    r.encoding = *encoding;
    *encoding = (struct net_encoding){0};
    r.params = r.raw_params = r.balance = r.fisher = NULL;
    r.shape.bins = r.encoding.first_row[r.encoding.columns];
    enum err rc = net_layout_init(&before, &from->shape, e);
    if (rc == ERR_OK) {
        rc = net_layout_init(&after, &r.shape, e);
    }
    if (rc == ERR_OK) {
        const struct widening w = {&from->encoding, &r.encoding, &before, &after, r.shape.width};
        r.params = widen(&w, from->params);
        r.raw_params = widen(&w, from->raw_params);
        r.fisher = widen(&w, from->fisher);
        r.balance = copy_of(from->balance, (size_t)r.shape.layers * r.shape.experts);
        if (r.params == NULL || r.raw_params == NULL || r.fisher == NULL || r.balance == NULL) {
            rc = err_set(e, ERR_NOMEM, "no memory for a network of %u bins", r.shape.bins);
        }
    }
    if (rc != ERR_OK) {
        train_result_done(&r);
        return rc;
    }
    *out = r;
    return ERR_OK;
}
