#include "model/format_private.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/served.h"

#define SHAPE_NUMBERS (sizeof(struct net_shape) / sizeof(uint32_t))

void format_put_shape(struct frame_out *f, const struct net_shape *s)
{
    uint32_t numbers[SHAPE_NUMBERS];
    memcpy(numbers, s, sizeof numbers);
    frame_section(f, "SHAP");
    frame_put_u32(f, numbers, SHAPE_NUMBERS);
}

bool format_take_shape(struct frame_in *file, struct net_shape *out)
{
    struct frame_in in;
    uint32_t numbers[SHAPE_NUMBERS];
    if (!frame_next(file, "SHAP", &in) || !frame_take_u32(&in, numbers, SHAPE_NUMBERS) ||
        in.left != 0) {
        return false;
    }
    memcpy(out, numbers, sizeof numbers);
    return true;
}

void format_put_encoding(struct frame_out *f, const struct net_encoding *enc,
                         const struct net_shape *s)
{
    frame_section(f, "ENCD");
    frame_put_floats(f, enc->mean, s->columns);
    frame_put_floats(f, enc->inv_sd, s->columns);
    frame_put_u32(f, enc->first_row, s->columns + 1);
    frame_put_floats(f, enc->edges, s->bins - s->columns);
}

enum err format_check_encoding(const struct net_encoding *enc, const struct net_shape *s,
                               struct errmsg *e)
{
    if (enc->first_row[0] != 0 || enc->first_row[s->columns] != s->bins) {
        return err_set(e, ERR_CORRUPT, "the columns' bins are not %u in all", s->bins);
    }
    for (uint32_t c = 0; c < s->columns; c++) {
        uint32_t first = enc->first_row[c];
        uint32_t next = enc->first_row[c + 1];
        if (next <= first || next - first > SERVED_EDGES_MAX + 1 || next > s->bins) {
            return err_set(e, ERR_CORRUPT, "column %u has bins %u to %u; 1 to 256 are allowed", c,
                           first, next);
        }
        if (!isfinite(enc->mean[c]) || !isfinite(enc->inv_sd[c]) || enc->inv_sd[c] < 0) {
            return err_set(e, ERR_CORRUPT, "column %u has mean %g and inverse deviation %g", c,
                           (double)enc->mean[c], (double)enc->inv_sd[c]);
        }
        const float *edge = enc->edges + first - c;
        float before = -INFINITY;
        for (uint32_t i = 0; i + 1 < next - first; i++) {
            if (!(edge[i] > before && edge[i] <= FLT_MAX)) {
                return err_set(e, ERR_CORRUPT, "column %u: edge %u does not ascend", c, i);
            }
            before = edge[i];
        }
    }
    return ERR_OK;
}

enum err format_take_encoding(struct frame_in *file, const struct net_shape *s,
                              struct net_encoding *out, struct errmsg *e)
{
    struct frame_in in;
    size_t d = s->columns;
    size_t edges = s->bins - d;
    if (!frame_next(file, "ENCD", &in) || in.left != (3 * d + 1 + edges) * sizeof(float)) {
        return err_set(e, ERR_CORRUPT, "the section of the input encoding has the wrong length");
    }
    out->columns = s->columns;
    out->mean = malloc(d * sizeof *out->mean);
    out->inv_sd = malloc(d * sizeof *out->inv_sd);
    out->first_row = malloc((d + 1) * sizeof *out->first_row);
    out->edges = malloc((edges + 1) * sizeof *out->edges);
    if (out->mean == NULL || out->inv_sd == NULL || out->first_row == NULL || out->edges == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to load the model");
    }
    if (!frame_take_floats(&in, out->mean, d, FLT_MAX) ||
        !frame_take_floats(&in, out->inv_sd, d, FLT_MAX) ||
        !frame_take_u32(&in, out->first_row, d + 1) ||
        !frame_take_floats(&in, out->edges, edges, FLT_MAX)) {
        return err_set(e, ERR_CORRUPT, "the input encoding has a value that is not finite");
    }
    return format_check_encoding(out, s, e);
}
