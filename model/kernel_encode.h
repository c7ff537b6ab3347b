/* From raw values to the first residual: a linear term of standardised values and a table row a
 * column. */
#ifndef FD_MODEL_KERNEL_ENCODE_H
#define FD_MODEL_KERNEL_ENCODE_H

#include <math.h>
#include <string.h>

#include "model/kernel_math.h"

#define DAY_US 86400e6
/* Adding this to |z| < 2^51 rounds z to an integer. */
#define ROUND_DOUBLE 6755399441055744.0

typedef double eight_doubles __attribute__((vector_size(64)));
typedef float eight_floats __attribute__((vector_size(32)));

/* Sixteen columns: values that are not finite become the mean; standardised ones become two bytes;
 * each passes its edges towards its table row.  Returns where the edges of the next columns lie. */
LANES_INLINE const float *read_columns(const struct model *m, const struct model_work *w,
                                       size_t row, const float *x, size_t at, const float *edges)
{
    vf mean = vf_load(m->mean + at);
    vf inverse = vf_load(m->inv_sd + at);
    vf v = vf_load(x);
    v = vf_pick(vf_above(vf_all(INFINITY), vf_abs(v)), v, mean);
    vf s = vf_mul(vf_sub(v, mean), inverse);
    s = vf_pick(vf_above(inverse, vf_all(0)), s, vf_all(0));
    s = vf_max(vf_min(s, vf_all(NET_INPUT_CLIP)), vf_all(-NET_INPUT_CLIP));
    vi q = vi_add(vf_round(vf_mul(s, vf_all(SERVED_INPUT_STEPS))), vi_all(32768 + 128));
    vi_store_low(w->low + row * m->sizes.columns_p + at, q);
    vi_store_high(w->high + row * m->sizes.columns_p + at, q);
    vi step = vi_all((int32_t)m->sizes.table_stride);
    vi to = vi_load(m->first + at);
    const float *end = edges + (size_t)m->edge_count[at / 16] * 16;
    for (; edges < end; edges += 64) {
        to = vi_step(to, v, vf_load(edges), step);
        to = vi_step(to, v, vf_load(edges + 16), step);
        to = vi_step(to, v, vf_load(edges + 32), step);
        to = vi_step(to, v, vf_load(edges + 48), step);
    }
    vi_store(w->table_row + at, to);
    return end;
}

/* out [64] = sum of the columns' table rows: those of a multiplier as bytes, then its multiple. */
LANES_INLINE void sum_rows(const struct model *m, const int32_t *row, const uint8_t *table,
                           int32_t *out)
{
    vi sum[4] = {vi_all(0), vi_all(0), vi_all(0), vi_all(0)};
    uint32_t at = 0;
    for (uint32_t k = 0; k < SERVED_TABLE_SHIFTS; k++) {
        while (at < m->used_end[k]) {
            uint32_t count = m->used_end[k] - at;
            count = count < SERVED_TABLE_RUN ? count : SERVED_TABLE_RUN;
            lanes_table(sum, table, row, m->used + at, count, (int32_t)k);
            at += count;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        vi_store(out + i * 16, sum[i]);
    }
}

LANES_INLINE void read_row(const struct model *m, const struct model_work *w, size_t row,
                           const float *x)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t whole = m->shape.columns / 16 * 16;
    const float *edges = m->edges;
    for (uint32_t at = 0; at < whole; at += 16) {
        edges = read_columns(m, w, row, x + at, at, edges);
    }
    if (whole < z->columns_p) {
        float rest[16] = {0};
        memcpy(rest, x + whole, (m->shape.columns - whole) * sizeof *rest);
        read_columns(m, w, row, rest, whole, edges);
    }
    for (uint32_t at = 0; at < z->table_stride; at += 64) {
        sum_rows(m, w->table_row, m->table + at, w->table_sum + row * z->table_stride + at);
    }
}

/* Cosine and sine of an event's angles, for every head and the key: net_rotation in plain products
 * and sums of doubles.  u = turns - nearest half turn, |u| <= 1/4, by Taylor's series; the error is
 * below 1e-9. */
LANES_INLINE void read_angles(struct dims d, const struct model *m, int64_t event_us, float *cosine,
                              float *sine)
{
    double days = (double)event_us / DAY_US;
    for (uint32_t at = 0; at < d.half; at += 8) {
        eight_doubles t;
        memcpy(&t, m->turns + at, sizeof t);
        t = t * days;
        t = t - ((t + ROUND_DOUBLE) - ROUND_DOUBLE);
        eight_doubles k = (2 * t + ROUND_DOUBLE) - ROUND_DOUBLE;
        eight_doubles sign = 1 - 2 * (k * k);
        eight_doubles a = 6.283185307179586476925286766559 * (t - k * 0.5);
        eight_doubles z = a * a;
        eight_doubles s = z * 1.6059043836821613e-10 - 2.505210838544172e-8;
        s = s * z + 2.7557319223985893e-6;
        s = s * z - 1.984126984126984e-4;
        s = s * z + 8.333333333333333e-3;
        s = s * z - 1.6666666666666666e-1;
        eight_doubles c = z * -1.1470745597729725e-11 + 2.08767569878681e-9;
        c = c * z - 2.755731922398589e-7;
        c = c * z + 2.48015873015873e-5;
        c = c * z - 1.388888888888889e-3;
        c = c * z + 4.1666666666666664e-2;
        c = c * z - 0.5;
        eight_floats cosines = __builtin_convertvector(sign * (1 + z * c), eight_floats);
        eight_floats sines = __builtin_convertvector(sign * (a + a * z * s), eight_floats);
        memcpy(cosine + at, &cosines, sizeof cosines);
        memcpy(sine + at, &sines, sizeof sines);
    }
#pragma GCC unroll 4
    for (uint32_t head = 1; head <= d.heads; head++) {
        memcpy(cosine + (size_t)head * d.half, cosine, d.half * sizeof *cosine);
        memcpy(sine + (size_t)head * d.half, sine, d.half * sizeof *sine);
    }
}

LANES_INLINE void encode_rows(struct dims d, const struct model *m, const struct model_work *w,
                              size_t n, const float *x, const int64_t *event_us,
                              const struct matrix *input)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < z->cache_bytes; at += 64) {
            __builtin_prefetch(w->cache[i] + at, 1, 3);
        }
        read_row(m, w, i, x + i * m->shape.columns);
        read_angles(d, m, event_us[i], w->cosine + i * d.rotary_p, w->sine + i * d.rotary_p);
    }
    lanes_product(input, n, w->high, z->columns_p, w->acc, d.acc_stride);
    lanes_product(input, n, w->low, z->columns_p, w->acc2, d.acc_stride);
    vf step = vf_all(1.0F / SERVED_INPUT_STEPS);
    vf table_scale = vf_all(m->table_scale);
    size_t table_stride = z->table_stride;
    for (size_t i = 0; i < n; i++) {
#pragma GCC unroll 4
        for (uint32_t at = 0; at < d.width_p; at += 16) {
            vf high = vi_float(vi_load(w->acc + i * d.acc_stride + at));
            vf low = vi_float(vi_load(w->acc2 + i * d.acc_stride + at));
            vf linear = vf_add(vf_mul(high, vf_all(256.0F)), low);
            linear = vf_mul(vf_mul(linear, vf_load(m->input.scale + at)), step);
            vf table = vi_float(vi_load(w->table_sum + i * table_stride + at));
            vf sum = vf_add(vf_load(m->input_bias + at), vf_mul(table, table_scale));
            vf_store(w->h + i * d.width_p + at, vf_add(sum, linear));
        }
    }
}

static inline void body_encode(const struct model *model, struct model_work *work, size_t n,
                               const float *x, const int64_t *event_us)
{
    const struct model m = *model; /* copies of our own, which no store can change */
    const struct model_work w = *work;
    const struct dims usual = DIMS_USUAL;
    const struct dims d = dims_of(&m);
    if (dims_equal(&d, &usual)) {
        encode_rows(DIMS_USUAL, &m, &w, n, x, event_us, &model->input);
    } else {
        encode_rows(d, &m, &w, n, x, event_us, &model->input);
    }
}

#endif
