/* Invariants
 *  1. A column's edges ascend strictly; its bins are one more than its edges.
 *  2. A value equal to an edge falls in the bin below it, as a tree's "x <= threshold".
 *  3. Sums run in one fixed order (rows ascending, or values ascending with ties by row), in
 *     double: the result does not depend on the number of threads.
 *  4. Rows may lie in a file larger than memory: they are read in order, once for the constants and
 *     once for the trees' sample, of which a copy is kept. */
#include "model/bins.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins_edges.h"
#include "model/row_sample.h"

#define VARIANCE_MIN 1e-12
#define RADIX_BITS 11U
#define RADIX_MASK ((1U << RADIX_BITS) - 1)

struct fit {
    const struct train_rows *rows;
    int64_t until_us;
    uint32_t leaves, quantiles;
    const struct net_encoding *old; /* whose bins are split; NULL: none, edges begin anew */
    struct row_sample sample;       /* that the edges are found on */
    float *x;                       /* [columns, sample.n] its values */
    struct sums *sums;              /* [groups of columns] */
    size_t block;                   /* first row of the block whose sums are taken */
    float *mean, *inv_sd;           /* [columns] */
    float *edges;                   /* [columns, BINS_EDGES_MAX] */
    uint32_t *edge_count;           /* [columns] */
    struct bins_value **order;      /* [threads] [2, n] scratch */
    double **prefix;                /* [threads] [2, n + 1] scratch: fraud and all weight below */
    bool *bad;                      /* [columns] a value is not finite */
};

/* Columns a job works on together: a cache line of each row. */
#define GROUP 16

struct sums {
    bool begun;
    double total, shift[GROUP], sum[GROUP], square[GROUP];
};

/* Position of a float among all floats, as an unsigned number; both zeros alike. */
static uint32_t rank_of(float x)
{
    uint32_t bits;
    float plain = x + 0.0F;
    memcpy(&bits, &plain, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000U;
}

/* Sorts s by value, ties as they stand (radix sort, 11 bits a pass); `other` is scratch.  Returns
 * where the sorted ones lie: s or other. */
static struct bins_value *sort_by_value(struct bins_value *s, struct bins_value *other, size_t n)
{
    for (uint32_t shift = 0; shift < 32; shift += RADIX_BITS) {
        uint32_t first[1U << RADIX_BITS] = {0};
        for (size_t i = 0; i < n; i++) {
            first[rank_of(s[i].x) >> shift & RADIX_MASK]++;
        }
        uint32_t at = 0;
        for (size_t b = 0; b <= RADIX_MASK; b++) {
            uint32_t count = first[b];
            first[b] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++) {
            other[first[rank_of(s[i].x) >> shift & RADIX_MASK]++] = s[i];
        }
        struct bins_value *done = other;
        other = s;
        s = done;
    }
    return s;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static uint32_t new_edges(const struct fit *f, const struct bins_column *c, float *edges)
{
    float last = c->value[c->n - 1].x;
    uint32_t n = bins_tree_edges(c, f->leaves, edges);
    n += bins_quantile_edges(c, f->quantiles, edges + n);
    qsort(edges, n, sizeof *edges, ascending);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if ((kept == 0 || edges[i] > edges[kept - 1]) && edges[i] < last) {
            edges[kept++] = edges[i];
        }
    }
    return kept;
}

static uint32_t finer_edges(const struct net_encoding *old, const struct bins_column *c,
                            uint32_t column, float *edges)
{
    uint32_t have = bins_edge_count(old, column);
    uint32_t room = have < BINS_FINER_EDGES_MAX ? BINS_FINER_EDGES_MAX - have : 0;
    memcpy(edges, bins_edges(old, column), have * sizeof *edges);
    uint32_t n =
        have + bins_finer_edges(c, edges, have, room < BINS_FINER_MOST ? room : BINS_FINER_MOST,
                                edges + have);
    qsort(edges, n, sizeof *edges, ascending);
    return n;
}

static void fit_edges(void *ctx, uint32_t worker, uint32_t column)
{
    struct fit *f = ctx;
    struct bins_value *s = f->order[worker];
    double *fraud = f->prefix[worker];
    double *all = fraud + f->sample.n + 1;
    for (size_t i = 0; i < f->sample.n; i++) {
        s[i] = (struct bins_value){f->x[(size_t)column * f->sample.n + i], (uint32_t)i};
    }
    s = sort_by_value(s, s + f->sample.n, f->sample.n);
    fraud[0] = all[0] = 0;
    for (size_t i = 0; i < f->sample.n; i++) {
        double w = f->sample.weight[s[i].at];
        all[i + 1] = all[i] + w;
        fraud[i + 1] = fraud[i] + (f->sample.label[s[i].at] ? w : 0);
    }
    const struct bins_column c = {s, fraud, all, f->sample.n};
    float *edges = f->edges + (size_t)column * BINS_EDGES_MAX;
    f->edge_count[column] =
        f->old != NULL ? finer_edges(f->old, &c, column, edges) : new_edges(f, &c, edges);
}

/* Rows whose sums are taken before those behind them are read. */
#define BLOCK_ROWS 8192

static void sum_block(void *ctx, uint32_t worker, uint32_t group)
{
    struct fit *f = ctx;
    struct sums *s = &f->sums[group];
    (void)worker;
    size_t d = f->rows->columns;
    size_t c0 = (size_t)group * GROUP;
    size_t n = d - c0 < GROUP ? d - c0 : GROUP;
    size_t end = f->rows->n - f->block < BLOCK_ROWS ? f->rows->n : f->block + BLOCK_ROWS;
    for (size_t i = f->block; i < end; i++) {
        if (!row_teaches(f->rows, i, f->until_us)) {
            continue;
        }
        const float *x = f->rows->x + i * d + c0;
        double w = (double)f->rows->weight[i];
        for (size_t c = 0; !s->begun && c < n; c++) {
            s->shift[c] = (double)x[c];
        }
        s->begun = true;
        s->total += w;
        for (size_t c = 0; c < n; c++) {
            double v = (double)x[c] - s->shift[c];
            s->sum[c] += w * v;
            s->square[c] += w * v * v;
        }
    }
}

static void fit_constants(struct fit *f, struct pool *pool)
{
    size_t d = f->rows->columns;
    for (f->block = 0; f->block < f->rows->n; f->block += BLOCK_ROWS) {
        pool_run(pool, (uint32_t)((d + GROUP - 1) / GROUP), sum_block, f);
    }
    for (size_t i = 0; i < d; i++) {
        const struct sums *s = &f->sums[i / GROUP];
        size_t c = i % GROUP;
        double mean = s->sum[c] / s->total;
        double var = s->square[c] / s->total - mean * mean;
        f->bad[i] = !isfinite(var);
        f->mean[i] = (float)(mean + s->shift[c]);
        f->inv_sd[i] = var > VARIANCE_MIN ? (float)(1 / sqrt(var)) : 0;
    }
}

/* Drawn rows whose values are copied at a time. */
#define COPY_ROWS 1024

static void copy_rows(void *ctx, uint32_t worker, uint32_t item)
{
    const struct fit *f = ctx;
    (void)worker;
    size_t d = f->rows->columns;
    size_t first = (size_t)item * COPY_ROWS;
    size_t end = f->sample.n - first < COPY_ROWS ? f->sample.n : first + COPY_ROWS;
    for (size_t i = first; i < end; i++) {
        const float *x = f->rows->x + f->sample.row[i] * d;
        for (size_t c = 0; c < d; c++) {
            f->x[c * f->sample.n + i] = x[c];
        }
    }
}

static enum err fit_alloc(struct fit *f, uint32_t threads, struct errmsg *e)
{
    size_t d = f->rows->columns;
    f->mean = calloc(d, sizeof *f->mean);
    f->inv_sd = calloc(d, sizeof *f->inv_sd);
    f->edges = calloc(d * BINS_EDGES_MAX, sizeof *f->edges);
    f->edge_count = calloc(d, sizeof *f->edge_count);
    f->bad = calloc(d, sizeof *f->bad);
    f->sums = calloc((d + GROUP - 1) / GROUP, sizeof *f->sums);
    f->x = malloc(f->sample.n * d * sizeof *f->x);
    f->order = calloc(threads, sizeof(struct bins_value *));
    f->prefix = calloc(threads, sizeof *f->prefix);
    bool ok = f->mean && f->inv_sd && f->edges && f->edge_count && f->bad && f->sums && f->x &&
              f->order && f->prefix;
    for (uint32_t t = 0; ok && t < threads; t++) {
        f->order[t] = malloc((2 * f->sample.n + 1) * sizeof **f->order);
        f->prefix[t] = malloc(2 * (f->sample.n + 1) * sizeof **f->prefix);
        ok = f->order[t] && f->prefix[t];
    }
    return ok ? ERR_OK : err_set(e, ERR_NOMEM, "no memory for the bins of %zu rows", f->sample.n);
}

static void fit_done(struct fit *f, uint32_t threads)
{
    for (uint32_t t = 0; t < threads; t++) {
        if (f->order != NULL) {
            free(f->order[t]);
        }
        if (f->prefix != NULL) {
            free(f->prefix[t]);
        }
    }
    free(f->order);
    free(f->prefix);
    free(f->sums);
    free(f->bad);
    free(f->edge_count);
    free(f->edges);
    free(f->inv_sd);
    free(f->mean);
    free(f->x);
    row_sample_done(&f->sample);
}

/* Takes mean and inv_sd over from f. */
static enum err pack(struct fit *f, struct net_encoding *out, struct errmsg *e)
{
    size_t d = f->rows->columns;
    size_t edges = 0;
    for (size_t c = 0; c < d; c++) {
        edges += f->edge_count[c];
    }
    struct net_encoding enc = {.columns = (uint32_t)d};
    enc.first_row = malloc((d + 1) * sizeof *enc.first_row);
    enc.edges = malloc((edges + 1) * sizeof *enc.edges);
    if (enc.first_row == NULL || enc.edges == NULL) {
        free(enc.first_row);
        free(enc.edges);
        return err_set(e, ERR_NOMEM, "no memory for %zu bin edges", edges);
    }
    size_t at = 0;
    for (size_t c = 0; c < d; c++) {
        enc.first_row[c] = (uint32_t)(at + c);
        memcpy(enc.edges + at, f->edges + c * BINS_EDGES_MAX, f->edge_count[c] * sizeof(float));
        at += f->edge_count[c];
    }
    enc.first_row[d] = (uint32_t)(at + d);
    enc.mean = f->mean;
    enc.inv_sd = f->inv_sd;
    f->mean = f->inv_sd = NULL;
    *out = enc;
    return ERR_OK;
}

/* Edges of all columns, from the rows drawn. */
static enum err find_edges(struct fit *f, struct pool *pool, struct net_encoding *out,
                           struct errmsg *e)
{
    pool_run(pool, (uint32_t)((f->sample.n + COPY_ROWS - 1) / COPY_ROWS), copy_rows, f);
    pool_run(pool, (uint32_t)f->rows->columns, fit_edges, f);
    return pack(f, out, e);
}

enum err bins_fit(const struct train_rows *rows, int64_t until_us, uint32_t leaves,
                  uint32_t quantiles, uint64_t seed, struct pool *pool, struct net_encoding *out,
                  struct errmsg *e)
{
    struct fit f = {.rows = rows, .until_us = until_us, .leaves = leaves, .quantiles = quantiles};
    uint32_t threads = pool_threads(pool);
    enum err rc = ERR_OK;
    if (leaves < 1 || quantiles > BINS_EDGES_MAX || leaves - 1 > BINS_EDGES_MAX - quantiles) {
        return err_set(e, ERR_INVALID,
                       "%u tree leaves and %u quantiles a column are not allowed; together at "
                       "most %d",
                       leaves, quantiles, BINS_EDGES_MAX + 1);
    }
    rc = row_sample_draw(rows, until_us, BINS_FRAUDS_MAX, BINS_OTHERS_MAX, seed, &f.sample, e);
    if (rc == ERR_OK) {
        rc = fit_alloc(&f, threads, e);
    }
    if (rc != ERR_OK) {
        goto out;
    }
    fit_constants(&f, pool);
    for (size_t c = 0; c < rows->columns; c++) {
        if (f.bad[c]) {
            rc = err_set(e, ERR_NUMERIC, "column %zu has a value that is not finite or too large",
                         c);
            goto out;
        }
    }
    rc = find_edges(&f, pool, out, e);
out:
    fit_done(&f, threads);
    return rc;
}

enum err bins_finer(const struct train_rows *rows, int64_t until_us, const struct net_encoding *old,
                    uint64_t seed, struct pool *pool, struct net_encoding *out, struct errmsg *e)
{
    struct fit f = {.rows = rows, .until_us = until_us, .old = old};
    uint32_t threads = pool_threads(pool);
    size_t d = rows->columns;
    enum err rc =
        row_sample_draw(rows, until_us, BINS_FRAUDS_MAX, BINS_OTHERS_MAX, seed, &f.sample, e);
    if (rc == ERR_OK) {
        rc = fit_alloc(&f, threads, e);
    }
    if (rc == ERR_OK) {
        memcpy(f.mean, old->mean, d * sizeof *f.mean);
        memcpy(f.inv_sd, old->inv_sd, d * sizeof *f.inv_sd);
        rc = find_edges(&f, pool, out, e);
    }
    fit_done(&f, threads);
    return rc;
}
