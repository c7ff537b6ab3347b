#include "model/trees.h"

#include <stdlib.h>

/* Rows that one job takes. */
#define BLOCK_ROWS 2048

void trees_done(struct trees *t)
{
    bins_finder_done(&t->finder);
    bins_done(&t->encoding);
    free(t->tree);
    *t = (struct trees){0};
}

struct apply {
    const struct trees *trees;
    const struct train_rows *rows;
    int64_t until_us;
    uint32_t *bin; /* [threads, columns] */
    float *out;
};

static float log_odds(const struct trees *t, const uint32_t *bin)
{
    float sum = t->base;
    for (uint32_t k = 0; k < t->n; k++) {
        const struct tree *tree = &t->tree[k];
        uint32_t at = 0;
        for (int level = 0; level < TREES_DEPTH; level++) {
            at = 2 * at + 1 + (bin[tree->column[at]] > tree->bin[at]);
        }
        sum += tree->leaf[at - TREES_INNER];
    }
    return sum;
}

static void apply_block(void *ctx, uint32_t worker, uint32_t item)
{
    const struct apply *a = ctx;
    const struct train_rows *rows = a->rows;
    uint32_t *bin = a->bin + (size_t)worker * rows->columns;
    size_t first = (size_t)item * BLOCK_ROWS;
    size_t end = rows->n - first < BLOCK_ROWS ? rows->n : first + BLOCK_ROWS;
    for (size_t i = first; i < end; i++) {
        if (rows->event_us[i] < a->until_us) {
            bins_find_row(&a->trees->finder, rows->x + i * rows->columns, bin);
            a->out[i] = log_odds(a->trees, bin);
        }
    }
}

enum err trees_apply(const struct trees *t, const struct train_rows *rows, int64_t until_us,
                     struct pool *pool, float *out, struct errmsg *e)
{
    struct apply a = {.trees = t, .rows = rows, .until_us = until_us, .out = out};
    a.bin = malloc((pool_threads(pool) * rows->columns + 1) * sizeof *a.bin);
    if (a.bin == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the bins of a row");
    }
    pool_run(pool, (uint32_t)((rows->n + BLOCK_ROWS - 1) / BLOCK_ROWS), apply_block, &a);
    free(a.bin);
    return ERR_OK;
}
