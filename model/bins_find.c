/* Where a value lies in an encoding that is there already. */
#include "model/bins.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/tape_clones.h"

void bins_done(struct net_encoding *enc)
{
    free(enc->mean);
    free(enc->inv_sd);
    free(enc->first_row);
    free(enc->edges);
    *enc = (struct net_encoding){0};
}

static void *copy_of(const void *from, size_t bytes)
{
    void *to = malloc(bytes + 1);
    return to != NULL ? memcpy(to, from, bytes) : NULL;
}

enum err bins_copy(const struct net_encoding *from, struct net_encoding *out, struct errmsg *e)
{
    size_t d = from->columns;
    size_t edges = from->first_row[d] - d;
    struct net_encoding c = {.columns = from->columns,
                             .mean = copy_of(from->mean, d * sizeof *c.mean),
                             .inv_sd = copy_of(from->inv_sd, d * sizeof *c.inv_sd),
                             .first_row = copy_of(from->first_row, (d + 1) * sizeof *c.first_row),
                             .edges = copy_of(from->edges, edges * sizeof *c.edges)};
    if (c.mean == NULL || c.inv_sd == NULL || c.first_row == NULL || c.edges == NULL) {
        bins_done(&c);
        return err_set(e, ERR_NOMEM, "no memory for %zu edges of bins", edges);
    }
    *out = c;
    return ERR_OK;
}

uint32_t bins_find(const struct net_encoding *enc, uint32_t column, float x)
{
    const float *edge = bins_edges(enc, column);
    uint32_t n = bins_edge_count(enc, column);
    uint32_t low = 0;
    while (n > 0) {
        uint32_t half = n / 2;
        if (edge[low + half] < x) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

float bins_standardise(const struct net_encoding *enc, uint32_t column, float x)
{
    float v = (x - enc->mean[column]) * enc->inv_sd[column];
    v = v < NET_INPUT_CLIP ? v : NET_INPUT_CLIP;
    return v > -NET_INPUT_CLIP ? v : -NET_INPUT_CLIP;
}

enum err bins_finder_init(struct bins_finder *f, const struct net_encoding *enc, struct errmsg *e)
{
    uint32_t d = enc->columns;
    uint32_t rounds = 1;
    for (uint32_t c = 0; c < d; c++) {
        uint32_t edges = bins_edge_count(enc, c);
        rounds = edges > rounds ? edges : rounds;
    }
    float *edge = calloc((size_t)rounds * d + 1, sizeof *edge);
    if (edge == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the bin edges of %u columns", d);
    }
    for (uint32_t c = 0; c < d; c++) {
        const float *own = bins_edges(enc, c);
        uint32_t edges = bins_edge_count(enc, c);
        for (uint32_t i = 0; i < rounds; i++) {
            edge[(size_t)i * d + c] = i < edges ? own[i] : INFINITY;
        }
    }
    *f = (struct bins_finder){d, rounds, edge};
    return ERR_OK;
}

void bins_finder_done(struct bins_finder *f)
{
    free(f->edge);
    *f = (struct bins_finder){0};
}

TAPE_CLONES void bins_find_row(const struct bins_finder *f, const float *restrict x,
                               uint32_t *restrict out)
{
    uint32_t d = f->columns;
    memset(out, 0, d * sizeof *out);
    for (uint32_t i = 0; i < f->rounds; i++) {
        const float *restrict edge = f->edge + (size_t)i * d;
        for (uint32_t c = 0; c < d; c++) {
            out[c] += edge[c] < x[c];
        }
    }
}
