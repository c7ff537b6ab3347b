/* From rows to the first residual and back: standardised values through a linear map, and one table
 * row a column.  A column with a single bin has no use for it: its table row stays zero. */
#include <string.h>

#include "model/bins.h"
#include "model/tape.h"
#include "model/tape_clones.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"
#include "model/train_loops.h"

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

void tape_embed(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                const struct tape_drop *drop)
{
    read_rows(t, data, drop);
    t->loops->look_up(t, tape_param(net, NET_TABLE, 0), tape_param(net, NET_INPUT_B, 0),
                      tape_input_keep(drop));
    tape_linear(t->tokens, t->shape.columns, t->shape.width, t->xs, tape_param(net, NET_INPUT_W, 0),
                t->h[0], 1);
}

void tape_embed_back(struct tape *t, const struct tape_net *net, const struct tape_drop *drop,
                     float *grad)
{
    tape_linear_dw(t->tokens, t->shape.columns, t->shape.width, t->dh, t->xs,
                   tape_grad(net, grad, NET_INPUT_W, 0));
    t->loops->spread(t, tape_grad(net, grad, NET_TABLE, 0), tape_grad(net, grad, NET_INPUT_B, 0),
                     tape_input_keep(drop));
}
