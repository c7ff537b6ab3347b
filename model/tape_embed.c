/* From rows to the first residual and back: standardised values through a linear map, and one table
 * row a column.  A column with a single bin has no use for it: its table row stays zero. */
#include <string.h>

#include "model/bins.h"
#include "model/tape.h"
#include "model/tape_lanes.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"

#define WIDE 4 /* vectors that are kept in registers while table rows pass by */
#define HALF (WIDE / 2)

static TAPE_CLONES void standardise(const struct net_encoding *enc, uint32_t d,
                                    const float *restrict x, const float *restrict keep,
                                    float *restrict out)
{
    const float *restrict mean = enc->mean;
    const float *restrict inv_sd = enc->inv_sd;
    for (uint32_t c = 0; c < d; c++) {
        float v = (x[c] - mean[c]) * inv_sd[c];
        v = v < NET_INPUT_CLIP ? v : NET_INPUT_CLIP;
        v = v > -NET_INPUT_CLIP ? v : -NET_INPUT_CLIP;
        out[c] = v * keep[c];
    }
}

/* Standardised values, table rows and rotations of every token. */
static void read_rows(struct tape *t, const struct tape_data *data, const struct tape_drop *drop)
{
    const struct net_encoding *enc = data->encoding;
    uint32_t d = t->shape.columns;
    uint32_t half = t->shape.rope / 2;
    bool drops = drop != NULL && drop->input > 0;
    float keep[TAPE_COLUMNS_MAX];
    uint32_t bin[TAPE_COLUMNS_MAX];
    double turns[NET_ROPE_MAX / 2];
    net_turns(t->shape.rope, turns);
    for (uint32_t c = 0; c < d; c++) {
        keep[c] = 1;
    }
    for (size_t i = 0; i < t->tokens; i++) {
        const float *x = data->rows->x + t->row[i] * d;
        uint32_t *table_row = t->table_row + i * d;
        uint32_t kept = 0;
        if (drops) {
            tape_draw(drop->key, t->row[i], TAPE_DROP_INPUT, drop->input, keep, d);
        }
        standardise(enc, d, x, keep, t->xs + i * d);
        bins_find_row(data->finder, x, bin);
        for (uint32_t c = 0; c < d; c++) {
            bool counts = keep[c] > 0 && enc->first_row[c + 1] - enc->first_row[c] > 1;
            table_row[kept] = enc->first_row[c] + bin[c];
            kept += counts;
        }
        t->kept[i] = kept;
        net_rotation_at(turns, half, data->rows->event_us[t->row[i]], t->cos + i * half,
                        t->sin + i * half);
    }
}

/* h [many vectors] = bias + keep * sum of n table rows */
static inline __attribute__((always_inline)) void sum_some(size_t many, const float *table,
                                                           const uint32_t *row, size_t n,
                                                           size_t width, float keep,
                                                           const float *bias, float *h)
{
    lanes sum[WIDE] = {{0}, {0}, {0}, {0}};
    for (size_t r = 0; r < n; r++) {
        const float *from = table + row[r] * width;
        for (size_t v = 0; v < many; v++) {
            sum[v] += *lanes_at(from + v * LANES);
        }
    }
    for (size_t v = 0; v < many; v++) {
        *lanes_to(h + v * LANES) = sum[v] * keep + *lanes_at(bias + v * LANES);
    }
}

/* h [width] likewise: as many vectors at once as registers hold, then half as many, then floats */
static inline __attribute__((always_inline)) void sum_rows(const float *table, const uint32_t *row,
                                                           size_t n, size_t width, float keep,
                                                           const float *bias, float *h)
{
    size_t k = 0;
    for (; k + WIDE * LANES <= width; k += WIDE * LANES) {
        sum_some(WIDE, table + k, row, n, width, keep, bias + k, h + k);
    }
    for (; k + HALF * LANES <= width; k += HALF * LANES) {
        sum_some(HALF, table + k, row, n, width, keep, bias + k, h + k);
    }
    for (; k < width; k++) {
        float sum = 0;
        for (size_t r = 0; r < n; r++) {
            sum += table[row[r] * width + k];
        }
        h[k] = sum * keep + bias[k];
    }
}

static TAPE_CLONES void look_up(struct tape *t, const float *table, const float *bias, float keep)
{
    size_t width = t->shape.width;
    for (size_t i = 0; i < t->tokens; i++) {
        sum_rows(table, t->table_row + i * t->shape.columns, t->kept[i], width, keep, bias,
                 t->h[0] + i * width);
    }
}

void tape_embed(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                const struct tape_drop *drop)
{
    read_rows(t, data, drop);
    look_up(t, tape_param(net, NET_TABLE, 0), tape_param(net, NET_INPUT_B, 0),
            tape_input_keep(drop));
    tape_linear(t->tokens, t->shape.columns, t->shape.width, t->xs, tape_param(net, NET_INPUT_W, 0),
                t->h[0], 1);
}

/* n rows of the table's gradient += keep * dh, many vectors of them */
static inline __attribute__((always_inline)) void add_some(size_t many, float *table,
                                                           const uint32_t *row, size_t n,
                                                           size_t width, float keep,
                                                           const float *dh)
{
    lanes own[WIDE];
    for (size_t v = 0; v < many; v++) {
        own[v] = *lanes_at(dh + v * LANES) * keep;
    }
    for (size_t r = 0; r < n; r++) {
        float *to = table + row[r] * width;
        for (size_t v = 0; v < many; v++) {
            *lanes_to(to + v * LANES) += own[v];
        }
    }
}

/* the same, all of width */
static inline __attribute__((always_inline)) void
add_rows(float *table, const uint32_t *row, size_t n, size_t width, float keep, const float *dh)
{
    size_t k = 0;
    for (; k + WIDE * LANES <= width; k += WIDE * LANES) {
        add_some(WIDE, table + k, row, n, width, keep, dh + k);
    }
    for (; k + HALF * LANES <= width; k += HALF * LANES) {
        add_some(HALF, table + k, row, n, width, keep, dh + k);
    }
    for (; k < width; k++) {
        for (size_t r = 0; r < n; r++) {
            table[row[r] * width + k] += dh[k] * keep;
        }
    }
}

static TAPE_CLONES void spread(const struct tape *t, float *table, float *bias, float keep)
{
    size_t width = t->shape.width;
    for (size_t i = 0; i < t->tokens; i++) {
        const float *dh = t->dh + i * width;
        add_rows(table, t->table_row + i * t->shape.columns, t->kept[i], width, keep, dh);
        for (size_t k = 0; k < width; k++) {
            bias[k] += dh[k];
        }
    }
}

void tape_embed_back(struct tape *t, const struct tape_net *net, const struct tape_drop *drop,
                     float *grad)
{
    tape_linear_dw(t->tokens, t->shape.columns, t->shape.width, t->dh, t->xs,
                   tape_grad(net, grad, NET_INPUT_W, 0));
    spread(t, tape_grad(net, grad, NET_TABLE, 0), tape_grad(net, grad, NET_INPUT_B, 0),
           tape_input_keep(drop));
}
