/* Invariants
 *  1. A block's findings depend on the block alone and blocks are joined in order: neither the hash
 *     nor the row that is named depends on the number of threads. */
#include "model/train_rows.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/hash.h"

#define BLOCK_ROWS 8192

enum fault { FAULT_NONE = 0, FAULT_VALUE, FAULT_WEIGHT, FAULT_LABEL, FAULT_ORDER };

struct block {
    uint64_t hash;
    enum fault fault; /* of the first bad row */
    size_t row;
    size_t column;
};

struct check {
    const struct train_rows *rows;
    struct block *block;
};

/* The sum of finite floats times zero is zero: one test for a whole row. */
static bool row_is_finite(const float *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * 0.0F;
    }
    return !isnan(sum);
}

static enum fault row_fault(const struct train_rows *r, size_t i)
{
    if (!row_is_finite(r->x + i * r->columns, r->columns)) {
        return FAULT_VALUE;
    }
    if (!isfinite(r->weight[i]) || r->weight[i] < 0) {
        return FAULT_WEIGHT;
    }
    if (r->label[i] > 1) {
        return FAULT_LABEL;
    }
    if (i > 0 && r->card[i] == r->card[i - 1] && r->event_us[i] < r->event_us[i - 1]) {
        return FAULT_ORDER;
    }
    return FAULT_NONE;
}

static void check_block(void *ctx, uint32_t worker, uint32_t item)
{
    struct check *c = ctx;
    const struct train_rows *r = c->rows;
    struct block *b = &c->block[item];
    (void)worker;
    size_t first = (size_t)item * BLOCK_ROWS;
    size_t n = r->n - first < BLOCK_ROWS ? r->n - first : BLOCK_ROWS;
    for (size_t i = first; i < first + n && b->fault == FAULT_NONE; i++) {
        b->fault = row_fault(r, i);
        b->row = i;
    }
    uint64_t h = hash_bytes(r->x + first * r->columns, n * r->columns * sizeof *r->x, 0);
    h = hash_bytes(r->event_us + first, n * sizeof *r->event_us, h);
    h = hash_bytes(r->card + first, n * sizeof *r->card, h);
    h = hash_bytes(r->label + first, n * sizeof *r->label, h);
    b->hash = hash_bytes(r->weight + first, n * sizeof *r->weight, h);
}

static enum err describe(const struct train_rows *r, const struct block *b, struct errmsg *e)
{
    switch (b->fault) {
    case FAULT_NONE:
        break;
    case FAULT_VALUE:
        for (size_t c = 0; c < r->columns; c++) {
            if (!isfinite(r->x[b->row * r->columns + c])) {
                return err_set(e, ERR_NUMERIC, "row %zu, column %zu: the value is not finite",
                               b->row, c);
            }
        }
        break;
    case FAULT_WEIGHT:
        return err_set(e, isfinite(r->weight[b->row]) ? ERR_INVALID : ERR_NUMERIC,
                       "row %zu: weight %g is not allowed; give 0 or more", b->row,
                       (double)r->weight[b->row]);
    case FAULT_LABEL:
        return err_set(e, ERR_INVALID, "row %zu: label %u is not allowed; give 0 or 1", b->row,
                       r->label[b->row]);
    case FAULT_ORDER:
        return err_set(e, ERR_INVALID, "row %zu is earlier than the row of its card before it",
                       b->row);
    }
    return ERR_OK;
}

enum err train_rows_check(const struct train_rows *rows, struct pool *pool, uint64_t *out_hash,
                          struct errmsg *e)
{
    if (rows->n == 0 || rows->columns == 0) {
        return err_set(e, ERR_INVALID, "no rows to train on (%zu rows of %zu columns)", rows->n,
                       rows->columns);
    }
    size_t blocks = (rows->n + BLOCK_ROWS - 1) / BLOCK_ROWS;
    struct check c = {rows, calloc(blocks, sizeof *c.block)};
    if (c.block == NULL || blocks > UINT32_MAX) {
        free(c.block);
        return err_set(e, ERR_NOMEM, "no memory to check %zu rows", rows->n);
    }
    pool_run(pool, (uint32_t)blocks, check_block, &c);
    uint64_t hash = hash_pair(rows->n, rows->columns);
    enum err rc = ERR_OK;
    for (size_t i = 0; i < blocks && rc == ERR_OK; i++) {
        rc = describe(rows, &c.block[i], e);
        hash = hash_pair(hash, c.block[i].hash);
    }
    free(c.block);
    if (rc == ERR_OK) {
        *out_hash = hash;
    }
    return rc;
}
