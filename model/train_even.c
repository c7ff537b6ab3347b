#include "model/train_even.h"

#include <stdlib.h>
#include <string.h>

#include "model/tape_parts.h"
#include "model/train_score.h"

#define EVEN_ROWS 8192
#define ROUNDS 48
#define STEP_FIRST 0.1F /* gates lie between 0 and 1; all steps together reach .8 */
#define STEP_SHRINKS 0.88F

struct even_rows even_rows_of(const struct train_rows *rows, int64_t from_us, int64_t until_us)
{
    struct even_rows out = {*rows, from_us, until_us, 0};
    out.rows.n = 0;
    /* whole histories: a shorter stretch of more cards would cost more for context */
    for (size_t i = 0; i < rows->n && out.count < EVEN_ROWS; i++) {
        out.count += rows->event_us[i] >= from_us && rows->event_us[i] < until_us;
        out.rows.n = i + 1;
    }
    return out;
}

void even_move(const uint64_t *load, uint32_t experts, float step, float *balance)
{
    uint64_t sum = 0;
    for (uint32_t x = 0; x < experts; x++) {
        sum += load[x];
    }
    for (uint32_t x = 0; x < experts; x++) {
        uint64_t have = load[x] * experts;
        balance[x] += have < sum ? step : have > sum ? -step : 0;
    }
}

/* gate: [rows, layers, experts] */
static void even_layer(const struct net_shape *s, const float *gate, size_t rows, uint32_t layer,
                       float *balance)
{
    uint32_t chosen[NET_EXPERTS_MAX];
    float share[NET_EXPERTS_MAX];
    float step = STEP_FIRST;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t load[NET_EXPERTS_MAX] = {0};
        for (size_t i = 0; i < rows; i++) {
            tape_choose(s, gate + (i * s->layers + layer) * s->experts, balance, chosen, share);
            for (uint32_t k = 0; k < s->top; k++) {
                load[chosen[k]]++;
            }
        }
        even_move(load, s->experts, step, balance);
        step *= STEP_SHRINKS;
    }
}

enum err even_find(const struct tape_net *net, const struct even_rows *rows,
                   const struct net_encoding *encoding, const struct bins_finder *finder,
                   struct pool *pool, float *balance, struct errmsg *e)
{
    const struct net_shape *s = &net->shape;
    const struct tape_data data = {&rows->rows, encoding, finder, NULL};
    const struct score_span span = {rows->from_us, rows->until_us, NULL};
    struct tape_net own = *net;
    own.balance = balance;
    if (s->experts <= s->top) {
        return ERR_OK; /* every token has every expert */
    }
    size_t gates = rows->count * s->layers * s->experts;
    const struct score_out out = {.gate = calloc(gates + 1, sizeof(float))};
    if (out.gate == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the gates of %zu rows", rows->count);
    }
    enum err rc = ERR_OK;
    for (uint32_t layer = 0; layer < s->layers && rc == ERR_OK; layer++) {
        rc = train_score(&own, &data, &span, pool, &out, e);
        if (rc == ERR_OK) {
            even_layer(s, out.gate, rows->count, layer, balance + (size_t)layer * s->experts);
        }
    }
    free(out.gate);
    return rc;
}
