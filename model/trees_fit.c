/* Grows the trees, all nodes of a level at once.  Of two children only the one with fewer rows is
 * summed; the other one's sums are what the parent's leave (LightGBM, as above).
 *
 * Invariants
 *  1. A column's sums are taken by one thread in the order of the rows, and of equally good splits
 *     the one of the lowest column and bin is taken: the result does not depend on the number of
 *     threads.
 *  2. A place without a worthwhile split sends all rows left, so every leaf lies at full depth. */
#include <stdlib.h>
#include <string.h>

#include "base/detmath.h"
#include "base/detmath_inline.h"
#include "base/rng.h"
#include "model/row_sample.h"
#include "model/trees.h"

#define RATE 0.05F       /* shrinkage */
#define RIDGE 5.0        /* added to a node's curvature */
#define CURVATURE_MIN 5  /* of each side of a split */
#define GAIN_MIN 1e-6    /* less is rounding */
#define BIN_LEAVES 16    /* of a column's bins, by the label */
#define BIN_QUANTILES 48 /* and by how many rows lie below */
#define BLOCK_ROWS 4096  /* that one job takes */
#define LEVEL_MAX (1U << (TREES_DEPTH - 1))

/* Sums of the loss's first and second derivative by the log odds, times weight. */
struct sums {
    double slope, curvature;
};

struct derivative {
    float slope, curvature;
};

/* A row whose derivatives a level sums. */
struct entry {
    uint32_t row;
    uint32_t parent; /* of its node, within the level above */
    struct derivative derivative;
};

struct choice {
    double gain; /* over no split; at most 0: none */
    uint8_t bin;
};

struct grow {
    const struct train_rows *rows;
    const struct trees *trees;
    struct row_sample sample;
    uint8_t *bin;                  /* [columns, sample.n] */
    float *odds;                   /* [sample.n] log odds by the trees so far */
    struct derivative *derivative; /* [sample.n] */
    bool *drawn;                   /* [sample.n] whether the tree learns from the row */
    uint8_t *node;                 /* [sample.n] place within the level, in the end the leaf */
    uint16_t *column;              /* [columns] those with more than one bin, in any order */
    uint32_t usable, used;         /* of `column`: all; the first ones, which a tree may split */
    struct choice *choice;         /* [used, LEVEL_MAX] */
    size_t bins_max;               /* of a column */
    struct sums *sums;             /* [used, LEVEL_MAX, bins_max] by node and bin */
    struct sums **part;            /* [threads] [LEVEL_MAX / 2, bins_max] scratch */
    uint32_t **found;              /* [threads] [columns] scratch */
    struct entry *entry;           /* [sample.n] the rows that a level sums, ascending */
    size_t entries;
    uint8_t smaller[LEVEL_MAX / 2]; /* which child has fewer rows: 0 or 1 */
    struct tree *tree;              /* that is growing */
    uint32_t level;
};

static uint32_t bins_of(const struct grow *g, uint32_t column)
{
    const uint32_t *first = g->trees->encoding.first_row;
    return first[column + 1] - first[column];
}

static size_t block_end(const struct grow *g, size_t first)
{
    return g->sample.n - first < BLOCK_ROWS ? g->sample.n : first + BLOCK_ROWS;
}

static void over_blocks(struct grow *g, struct pool *pool,
                        void (*fn)(void *ctx, uint32_t worker, uint32_t item))
{
    pool_run(pool, (uint32_t)((g->sample.n + BLOCK_ROWS - 1) / BLOCK_ROWS), fn, g);
}

static void find_block(void *ctx, uint32_t worker, uint32_t item)
{
    struct grow *g = ctx;
    uint32_t *found = g->found[worker];
    size_t first = (size_t)item * BLOCK_ROWS;
    size_t d = g->rows->columns;
    for (size_t i = first; i < block_end(g, first); i++) {
        bins_find_row(&g->trees->finder, g->rows->x + g->sample.row[i] * d, found);
        for (size_t c = 0; c < d; c++) {
            g->bin[c * g->sample.n + i] = (uint8_t)found[c];
        }
    }
}

static void derive_block(void *ctx, uint32_t worker, uint32_t item)
{
    struct grow *g = ctx;
    (void)worker;
    size_t first = (size_t)item * BLOCK_ROWS;
    for (size_t i = first; i < block_end(g, first); i++) {
        float p = 1 / (1 + det_expf_inline(-g->odds[i]));
        float weight = (float)g->sample.weight[i];
        g->derivative[i].slope = weight * (p - (float)g->sample.label[i]);
        g->derivative[i].curvature = weight * p * (1 - p);
        g->node[i] = 0;
    }
}

/* Twice what leaves of these sums take from the loss. */
static double worth(struct sums s)
{
    return s.slope * s.slope / (s.curvature + RIDGE);
}

static struct choice best_split(const struct sums *bin, uint32_t bins)
{
    struct choice best = {.gain = 0};
    struct sums all = {0, 0};
    for (uint32_t b = 0; b < bins; b++) {
        all.slope += bin[b].slope;
        all.curvature += bin[b].curvature;
    }
    struct sums left = {0, 0};
    for (uint32_t b = 0; b + 1 < bins; b++) {
        left.slope += bin[b].slope;
        left.curvature += bin[b].curvature;
        const struct sums right = {all.slope - left.slope, all.curvature - left.curvature};
        if (left.curvature < CURVATURE_MIN || right.curvature < CURVATURE_MIN) {
            continue;
        }
        double gain = worth(left) + worth(right) - worth(all);
        if (gain > best.gain + GAIN_MIN) {
            best = (struct choice){gain, (uint8_t)b};
        }
    }
    return best;
}

static void sum_rows(const struct grow *g, const uint8_t *bin, uint32_t bins, struct sums *out)
{
    for (size_t i = 0; i < g->entries; i++) {
        const struct entry *e = &g->entry[i];
        struct sums *s = &out[e->parent * bins + bin[e->row]];
        s->slope += (double)e->derivative.slope;
        s->curvature += (double)e->derivative.curvature;
    }
}

/* Sums by node of the level above become those of this level, in place: a node's children lie at or
 * behind it, so the last node comes first. */
static void part_sums(const struct grow *g, const struct sums *part, uint32_t bins,
                      struct sums *sums)
{
    for (uint32_t k = 1U << (g->level - 1); k-- > 0;) {
        struct sums *smaller = sums + (size_t)(2 * k + g->smaller[k]) * bins;
        struct sums *other = sums + (size_t)(2 * k + 1 - g->smaller[k]) * bins;
        for (uint32_t b = 0; b < bins; b++) {
            const struct sums all = sums[(size_t)k * bins + b];
            const struct sums own = part[(size_t)k * bins + b];
            smaller[b] = own;
            other[b] = (struct sums){all.slope - own.slope, all.curvature - own.curvature};
        }
    }
}

/* The best split by one column of every node of the level. */
static void choose_by_column(void *ctx, uint32_t worker, uint32_t item)
{
    struct grow *g = ctx;
    uint32_t column = g->column[item];
    uint32_t bins = bins_of(g, column);
    const uint8_t *bin = g->bin + (size_t)column * g->sample.n;
    struct sums *sums = g->sums + (size_t)item * LEVEL_MAX * g->bins_max;
    if (g->level == 0) {
        memset(sums, 0, bins * sizeof *sums);
        sum_rows(g, bin, bins, sums);
    } else {
        struct sums *part = g->part[worker];
        memset(part, 0, ((size_t)bins << (g->level - 1)) * sizeof *part);
        sum_rows(g, bin, bins, part);
        part_sums(g, part, bins, sums);
    }
    for (uint32_t k = 0; k < 1U << g->level; k++) {
        g->choice[(size_t)item * LEVEL_MAX + k] = best_split(sums + (size_t)k * bins, bins);
    }
}

/* Which of the drawn rows the level sums: all, then those of the smaller children. */
static void gather(struct grow *g)
{
    size_t rows[LEVEL_MAX] = {0};
    for (size_t i = 0; i < g->sample.n; i++) {
        rows[g->node[i]] += g->drawn[i];
    }
    for (uint32_t k = 0; k < LEVEL_MAX / 2; k++) {
        g->smaller[k] = rows[2 * k + 1] < rows[2 * k];
    }
    g->entries = 0;
    for (size_t i = 0; i < g->sample.n; i++) {
        uint32_t parent = g->node[i] / 2U;
        g->entry[g->entries] = (struct entry){(uint32_t)i, parent, g->derivative[i]};
        g->entries += g->drawn[i] && (g->level == 0 || g->node[i] % 2U == g->smaller[parent]);
    }
}

static void choose(struct grow *g, struct pool *pool)
{
    pool_run(pool, g->used, choose_by_column, g);
    for (uint32_t k = 0; k < 1U << g->level; k++) {
        struct choice best = {.gain = 0};
        uint32_t column = UINT32_MAX;
        for (uint32_t c = 0; c < g->used; c++) {
            struct choice other = g->choice[(size_t)c * LEVEL_MAX + k];
            if (other.gain > best.gain ||
                (other.gain > 0 && !(other.gain < best.gain) && (uint32_t)g->column[c] < column)) {
                best = other;
                column = g->column[c];
            }
        }
        uint32_t at = (1U << g->level) - 1 + k;
        g->tree->column[at] = column == UINT32_MAX ? 0 : (uint16_t)column;
        g->tree->bin[at] = column == UINT32_MAX ? UINT8_MAX : best.bin;
    }
}

static void descend_block(void *ctx, uint32_t worker, uint32_t item)
{
    struct grow *g = ctx;
    (void)worker;
    const uint16_t *column = g->tree->column + (1U << g->level) - 1;
    const uint8_t *last = g->tree->bin + (1U << g->level) - 1;
    size_t first = (size_t)item * BLOCK_ROWS;
    for (size_t i = first; i < block_end(g, first); i++) {
        uint8_t k = g->node[i];
        g->node[i] = (uint8_t)(2 * k + (g->bin[column[k] * g->sample.n + i] > last[k]));
    }
}

static void weigh_leaves(struct grow *g)
{
    struct sums leaf[TREES_LEAVES] = {{0, 0}};
    for (size_t i = 0; i < g->sample.n; i++) {
        if (!g->drawn[i]) {
            continue;
        }
        leaf[g->node[i]].slope += (double)g->derivative[i].slope;
        leaf[g->node[i]].curvature += (double)g->derivative[i].curvature;
    }
    for (uint32_t k = 0; k < TREES_LEAVES; k++) {
        g->tree->leaf[k] = -RATE * (float)(leaf[k].slope / (leaf[k].curvature + RIDGE));
    }
}

static void add_block(void *ctx, uint32_t worker, uint32_t item)
{
    struct grow *g = ctx;
    (void)worker;
    size_t first = (size_t)item * BLOCK_ROWS;
    for (size_t i = first; i < block_end(g, first); i++) {
        g->odds[i] += g->tree->leaf[g->node[i]];
    }
}

/* A tree learns from half of the rows and may split half of the columns (Friedman 2002, "Stochastic
 * Gradient Boosting", section 3; of columns, Breiman 2001). */
static void draw_rows(struct grow *g, struct rng *rng)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < g->sample.n; i++) {
        bits = i % 64 == 0 ? rng_next(rng) : bits >> 1;
        g->drawn[i] = bits & 1;
    }
}

static void draw_columns(struct grow *g, struct rng *rng)
{
    g->used = (g->usable + 1) / 2;
    for (uint32_t i = 0; i < g->used; i++) {
        uint32_t other = i + (uint32_t)rng_below(rng, g->usable - i);
        uint16_t held = g->column[i];
        g->column[i] = g->column[other];
        g->column[other] = held;
    }
}

static void grow_tree(struct grow *g, struct rng *rng, struct pool *pool)
{
    draw_rows(g, rng);
    draw_columns(g, rng);
    over_blocks(g, pool, derive_block);
    for (g->level = 0; g->level < TREES_DEPTH; g->level++) {
        gather(g);
        choose(g, pool);
        over_blocks(g, pool, descend_block);
    }
    weigh_leaves(g);
    over_blocks(g, pool, add_block);
}

static enum err grow_init(struct grow *g, struct trees *t, uint32_t threads, struct errmsg *e)
{
    size_t n = g->sample.n;
    size_t d = g->rows->columns;
    double sum[2] = {0, 0};
    g->bin = malloc(n * d + 1);
    g->odds = malloc(n * sizeof *g->odds);
    g->derivative = malloc(n * sizeof *g->derivative);
    g->node = malloc(n);
    g->drawn = malloc(n * sizeof *g->drawn);
    g->column = malloc((d + 1) * sizeof *g->column);
    g->choice = malloc((d + 1) * LEVEL_MAX * sizeof *g->choice);
    g->bins_max = (size_t)t->finder.rounds + 1;
    g->sums = malloc((d + 1) / 2 * LEVEL_MAX * g->bins_max * sizeof *g->sums + 1);
    g->part = calloc(threads, sizeof(struct sums *));
    g->entry = malloc((n + 1) * sizeof *g->entry);
    g->found = calloc(threads, sizeof *g->found);
    bool ok = g->bin && g->odds && g->derivative && g->node && g->drawn && g->column && g->choice &&
              g->sums && g->part && g->found && g->entry;
    for (uint32_t k = 0; ok && k < threads; k++) {
        g->part[k] = malloc(LEVEL_MAX / 2 * g->bins_max * sizeof **g->part);
        g->found[k] = malloc((d + 1) * sizeof **g->found);
        ok = g->part[k] && g->found[k];
    }
    if (!ok) {
        return err_set(e, ERR_NOMEM, "no memory for trees on %zu rows", n);
    }
    for (uint32_t c = 0; c < d; c++) {
        if (bins_of(g, c) > 1) {
            g->column[g->usable++] = (uint16_t)c;
        }
    }
    for (size_t i = 0; i < n; i++) {
        sum[g->sample.label[i]] += g->sample.weight[i];
    }
    t->base = (float)det_log(sum[1] / sum[0]);
    for (size_t i = 0; i < n; i++) {
        g->odds[i] = t->base;
    }
    return ERR_OK;
}

static void grow_done(struct grow *g, uint32_t threads)
{
    for (uint32_t k = 0; k < threads; k++) {
        if (g->part != NULL) {
            free(g->part[k]);
        }
        if (g->found != NULL) {
            free(g->found[k]);
        }
    }
    free(g->entry);
    free(g->found);
    free(g->part);
    free(g->sums);
    free(g->choice);
    free(g->column);
    free(g->drawn);
    free(g->node);
    free(g->derivative);
    free(g->odds);
    free(g->bin);
    row_sample_done(&g->sample);
}

static enum err encode(struct trees *t, const struct trees_conf *conf,
                       const struct train_rows *rows, int64_t until_us, struct pool *pool,
                       struct errmsg *e)
{
    enum err rc =
        bins_fit(rows, until_us, BIN_LEAVES, BIN_QUANTILES, conf->seed, pool, &t->encoding, e);
    if (rc == ERR_OK) {
        rc = bins_finder_init(&t->finder, &t->encoding, e);
    }
    t->tree = rc == ERR_OK ? calloc(conf->trees + 1, sizeof *t->tree) : NULL;
    return rc == ERR_OK && t->tree == NULL
               ? err_set(e, ERR_NOMEM, "no memory for %u trees", conf->trees)
               : rc;
}

enum err trees_fit(const struct trees_conf *conf, const struct train_rows *rows, int64_t until_us,
                   struct pool *pool, enum err (*after_tree)(void *ctx, struct errmsg *e),
                   void *ctx, struct trees *out, struct errmsg *e)
{
    struct trees t = {0};
    struct grow g = {.rows = rows, .trees = &t};
    struct rng rng;
    rng_init(&rng, conf->seed ^ 0x7472656573U);
    enum err rc = row_sample_draw(rows, until_us, TREES_FRAUDS_MAX, TREES_OTHERS_MAX,
                                  conf->seed ^ 0x74656163U, &g.sample, e);
    if (rc == ERR_OK) {
        rc = encode(&t, conf, rows, until_us, pool, e);
    }
    if (rc == ERR_OK) {
        rc = grow_init(&g, &t, pool_threads(pool), e);
    }
    if (rc == ERR_OK) {
        over_blocks(&g, pool, find_block);
    }
    while (rc == ERR_OK && t.n < conf->trees && g.usable > 0) {
        g.tree = &t.tree[t.n];
        grow_tree(&g, &rng, pool);
        t.n++;
        rc = after_tree != NULL ? after_tree(ctx, e) : ERR_OK;
    }
    grow_done(&g, pool_threads(pool));
    if (rc != ERR_OK) {
        trees_done(&t);
        return rc;
    }
    *out = t;
    return ERR_OK;
}
