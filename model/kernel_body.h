/* The step, once for all instruction sets: a kernel_*.c includes its lanes and then this file.
 *
 * Every row passes through the same operations in the same order whatever its batch; sums over
 * lanes have one fixed tree (lanes_scalar.h), products are integers.  So kernels differ in speed
 * only. */
#ifndef FD_MODEL_KERNEL_BODY_H
#define FD_MODEL_KERNEL_BODY_H

#include <math.h>
#include <string.h>

#include "model/served.h"
#ifndef FD_MODEL_LANES_H
#include "model/lanes_scalar.h"
#endif

#define DAY_US 86400e6
/* Adding this to |z| < 2^51 rounds z to an integer. */
#define ROUND_DOUBLE 6755399441055744.0

/* Adds floats' bytes: out[i] = round(x[i] / scale) + 128.  Returns the scale. */
LANES_INLINE float pack_bytes(const float *x, size_t blocks, float top, uint8_t *out)
{
    vf inverse = vf_all(top > SERVED_TINY ? 127.0F / top : 0.0F);
    vi middle = vi_all(128);
    for (size_t b = 0; b < blocks; b++) {
        vi q = vf_round(vf_mul(vf_load(x + b * 16), inverse));
        vi_store_low(out + b * 16, vi_add(q, middle));
    }
    return top * (1.0F / 127.0F);
}

LANES_INLINE float largest(const float *x, size_t blocks)
{
    vf top = vf_all(0);
    for (size_t b = 0; b < blocks; b++) {
        top = vf_max(vf_abs(vf_load(x + b * 16)), top);
    }
    return vf_top(top);
}

LANES_INLINE float inverse_rms(float squares, uint32_t count)
{
    return 1.0F / sqrtf(squares / (float)count + NET_NORM_EPS);
}

/* Bytes of x / rms(x) * weight; returns their scale.  tmp: [blocks * 16]. */
LANES_INLINE float norm_bytes(const float *x, const float *weight, uint32_t count, size_t blocks,
                              float *tmp, uint8_t *out)
{
    vf squares = vf_all(0);
    vf top = vf_all(0);
    for (size_t b = 0; b < blocks; b++) {
        vf v = vf_load(x + b * 16);
        vf y = vf_mul(v, vf_load(weight + b * 16));
        squares = vf_add(squares, vf_mul(v, v));
        top = vf_max(vf_abs(y), top);
        vf_store(tmp + b * 16, y);
    }
    float scale = pack_bytes(tmp, blocks, vf_top(top), out);
    return scale * inverse_rms(vf_sum(squares), count);
}

/* Outputs of a product as floats. */
LANES_INLINE vf scaled(const int32_t *acc, const float *scale, vf row_scale)
{
    return vf_mul(vf_mul(vi_float(vi_load(acc)), vf_load(scale)), row_scale);
}

/* --- encode --------------------------------------------------------------------------------- */

static inline uint32_t find_bin(const struct served_column *c, float x)
{
    vf v = vf_all(x);
    if (c->blocks == 1) {
        return (uint32_t)__builtin_popcount(vf_above(v, vf_load(c->edges)));
    }
    uint32_t block = (uint32_t)__builtin_popcount(vf_above(v, vf_load(c->top)));
    uint32_t above = vf_above(v, vf_load(c->edges + block * 16));
    return block * 16 + (uint32_t)__builtin_popcount(above);
}

/* Sixteen columns: values that are not finite become the mean; standardised ones two bytes. */
LANES_INLINE void read_columns(const struct model *m, struct model_work *w, size_t row,
                               const float *x, size_t at)
{
    vf mean = vf_load(m->mean + at);
    vf inverse = vf_load(m->inv_sd + at);
    vf v = vf_load(x);
    uint32_t wild = vf_above(vf_all(INFINITY), vf_abs(v)) ^ 0xffffU;
    v = vf_pick(wild, mean, v);
    vf_store(w->x + at, v);
    vf s = vf_mul(vf_sub(v, mean), inverse);
    s = vf_pick(vf_above(inverse, vf_all(0)), s, vf_all(0));
    s = vf_max(vf_min(s, vf_all(NET_INPUT_CLIP)), vf_all(-NET_INPUT_CLIP));
    vi q = vi_add(vf_round(vf_mul(s, vf_all(SERVED_INPUT_STEPS))), vi_all(32768 + 128));
    vi_store_low(w->low + row * m->sizes.columns_p + at, q);
    vi_store_high(w->high + row * m->sizes.columns_p + at, q);
}

static inline void read_row(const struct model *m, struct model_work *w, size_t row, const float *x)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t whole = m->shape.columns / 16 * 16;
    for (uint32_t at = 0; at < whole; at += 16) {
        read_columns(m, w, row, x + at, at);
    }
    if (whole < z->columns_p) {
        float rest[16] = {0};
        memcpy(rest, x + whole, (m->shape.columns - whole) * sizeof *rest);
        read_columns(m, w, row, rest, whole);
    }
    for (uint32_t i = 0; i < m->bin_count; i++) {
        const struct served_column *c = &m->bins[i];
        w->table_row[i] = c->first_row + find_bin(c, w->x[c->column]);
    }
    for (uint32_t at = 0; at < z->table_stride; at += 64) {
        lanes_table(w->table_sum + row * z->table_stride + at, m->table + at, z->table_stride,
                    w->table_row, m->multiplier, m->bin_count);
    }
}

/* Cosine and sine of an event's angles, for every head and the key: net_rotation in plain products
 * and sums of doubles.  u = turns - nearest half turn, |u| <= 1/4, by Taylor's series; the error is
 * below 1e-9. */
static inline void read_angles(const struct model *m, int64_t event_us, float *cosine, float *sine)
{
    double days = (double)event_us / DAY_US;
    uint32_t half = m->sizes.half;
    for (uint32_t at = 0; at < half; at += 4) {
        for (uint32_t i = at; i < at + 4; i++) {
            double t = days * m->turns[i];
            t = t - ((t + ROUND_DOUBLE) - ROUND_DOUBLE);
            double k = (2 * t + ROUND_DOUBLE) - ROUND_DOUBLE;
            double sign = 1 - 2 * (k * k);
            double a = 6.283185307179586476925286766559 * (t - k / 2);
            double z = a * a;
            double s = 1.6059043836821613e-10;
            s = s * z - 2.505210838544172e-8;
            s = s * z + 2.7557319223985893e-6;
            s = s * z - 1.984126984126984e-4;
            s = s * z + 8.333333333333333e-3;
            s = s * z - 1.6666666666666666e-1;
            double c = -1.1470745597729725e-11;
            c = c * z + 2.08767569878681e-9;
            c = c * z - 2.755731922398589e-7;
            c = c * z + 2.48015873015873e-5;
            c = c * z - 1.388888888888889e-3;
            c = c * z + 4.1666666666666664e-2;
            c = c * z - 0.5;
            sine[i] = (float)(sign * (a + a * z * s));
            cosine[i] = (float)(sign * (1 + z * c));
        }
    }
    for (uint32_t head = 1; head <= m->shape.heads; head++) {
        memcpy(cosine + head * half, cosine, half * sizeof *cosine);
        memcpy(sine + head * half, sine, half * sizeof *sine);
    }
}

static inline void body_encode(const struct model *m, struct model_work *w, size_t n,
                               const float *x, const int64_t *event_us)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < z->cache_bytes; at += 64) {
            __builtin_prefetch(w->cache[i] + at, 1, 3);
        }
        read_row(m, w, i, x + i * m->shape.columns);
        read_angles(m, event_us[i], w->cosine + i * z->rotary_p, w->sine + i * z->rotary_p);
    }
    lanes_product(&m->input, n, w->high, z->columns_p, w->acc, w->acc_stride);
    lanes_product(&m->input, n, w->low, z->columns_p, w->acc2, w->acc_stride);
    vf step = vf_all(1.0F / SERVED_INPUT_STEPS);
    vf table_scale = vf_all(m->table_scale);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t at = 0; at < z->width_p; at += 16) {
            vf high = vi_float(vi_load(w->acc + i * w->acc_stride + at));
            vf low = vi_float(vi_load(w->acc2 + i * w->acc_stride + at));
            vf linear = vf_add(vf_mul(high, vf_all(256.0F)), low);
            linear = vf_mul(vf_mul(linear, vf_load(m->input.scale + at)), step);
            vf table = vi_float(vi_load(w->table_sum + i * z->table_stride + at));
            vf sum = vf_add(vf_load(m->input_bias + at), vf_mul(table, table_scale));
            vf_store(w->h + i * z->width_p + at, vf_add(sum, linear));
        }
    }
}

/* --- attention ------------------------------------------------------------------------------ */

/* One row's place in its card's cache, one layer. */
struct cache_view {
    float *latent_scale, *key_scale; /* [window_p] */
    int8_t *data;                    /* groups of 16 slots */
    const uint16_t *visible;         /* a mask a group */
    uint32_t place;                  /* slot of this event */
};

struct query_scale {
    float content, rotary;
};

/* Bytes of one slot in its group: `count` a multiple of 4, bytes around 128. */
LANES_INLINE void put_slot(int8_t *data, uint32_t slot, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t at = 0; at < count; at += 4) {
        uint32_t four;
        memcpy(&four, bytes + at, sizeof four);
        four ^= 0x80808080U;
        memcpy(data + at * 16 + (size_t)slot * 4, &four, sizeof four);
    }
}

/* Rotates queries and key of one row: a, b [rotary_p] from the product's halves. */
LANES_INLINE void rotate_row(const struct model *m, const struct model_work *w, size_t row,
                             const struct matrix *q, float scale, float *a, float *b)
{
    const struct served_sizes *z = &m->sizes;
    const int32_t *acc = w->acc + row * w->acc_stride + z->content_p;
    const float *weight = q->scale + z->content_p;
    const float *cosine = w->cosine + row * z->rotary_p;
    const float *sine = w->sine + row * z->rotary_p;
    vf s = vf_all(scale);
    for (uint32_t at = 0; at < z->rotary_p; at += 16) {
        vf first = scaled(acc + at, weight + at, s);
        vf second = scaled(acc + z->rotary_p + at, weight + z->rotary_p + at, s);
        vf c = vf_load(cosine + at);
        vf d = vf_load(sine + at);
        vf_store(a + at, vf_sub(vf_mul(first, c), vf_mul(second, d)));
        vf_store(b + at, vf_add(vf_mul(first, d), vf_mul(second, c)));
    }
}

/* Puts the event's latent and key into its slot. */
LANES_INLINE void put_event(const struct model *m, struct model_work *w, size_t row,
                            const struct served_layer *l, const struct cache_view *v, float *a,
                            float *b)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t keys = m->shape.heads * z->half;
    uint32_t at = z->content_p + 2 * z->rotary_p;
    const int32_t *acc = w->acc + row * w->acc_stride + at;
    int8_t *data = v->data + v->place / 16 * z->cache_group_bytes;
    uint32_t lane = v->place % 16;
    float *latent = w->row;
    uint8_t *bytes = w->query; /* free until the query is made */
    vf scale = vf_all(w->scale[row]);
    for (uint32_t k = 0; k < z->rank_p; k += 16) {
        vf_store(latent + k, scaled(acc + k, l->query.scale + at + k, scale));
    }
    v->latent_scale[v->place] =
        norm_bytes(latent, l->latent_norm, m->shape.rank, z->rank_p / 16, latent, bytes);
    put_slot(data, lane, bytes, m->shape.rank);
    memset(latent, 0, 2 * z->half_p * sizeof *latent);
    memcpy(latent, a + keys, z->half * sizeof *latent);
    memcpy(latent + z->half_p, b + keys, z->half * sizeof *latent);
    memset(a + keys, 0, z->half * sizeof *a);
    memset(b + keys, 0, z->half * sizeof *b);
    size_t blocks = 2 * z->half_p / 16;
    v->key_scale[v->place] = pack_bytes(latent, blocks, largest(latent, blocks), bytes);
    data += (size_t)m->shape.rank * 16;
    put_slot(data, lane, bytes, z->half);
    put_slot(data + (size_t)z->half * 16, lane, bytes + z->half_p, z->half);
}

/* Query bytes: content of all heads with one scale, rotary parts with another. */
LANES_INLINE struct query_scale make_query(const struct model *m, struct model_work *w, size_t row,
                                           const struct served_layer *l, const float *a,
                                           const float *b)
{
    const struct served_sizes *z = &m->sizes;
    const int32_t *acc = w->acc + row * w->acc_stride;
    float *content = w->row;
    vf scale = vf_all(w->scale[row]);
    for (uint32_t at = 0; at < z->content_p; at += 16) {
        vf_store(content + at, scaled(acc + at, l->query.scale + at, scale));
    }
    struct query_scale s;
    size_t blocks = z->content_p / 16;
    s.content = pack_bytes(content, blocks, largest(content, blocks), w->query);
    blocks = z->rotary_p / 16;
    float top_a = largest(a, blocks);
    float top_b = largest(b, blocks);
    float top = top_a > top_b ? top_a : top_b;
    s.rotary = pack_bytes(a, blocks, top, w->query + z->content_p);
    pack_bytes(b, blocks, top, w->query + z->content_p + z->rotary_p);
    return s;
}

/* What products of slots with query bytes, which lie around 128, begin with. */
LANES_INLINE void shift_slots(const struct model *m, struct model_work *w,
                              const struct cache_view *v)
{
    const struct served_sizes *z = &m->sizes;
    vi zero = vi_all(0);
    for (uint32_t g = 0; g < z->window_p / 16; g++) {
        const int8_t *data = v->data + g * z->cache_group_bytes;
        const int8_t *keys = data + (size_t)m->shape.rank * 16;
        int32_t *shift = w->shift + (size_t)g * 32;
        vi_store(shift, vi_sub(zero, lanes_dot(zero, data, w->middle, m->shape.rank / 4)));
        vi_store(shift + 16, vi_sub(zero, lanes_dot(zero, keys, w->middle, z->half / 2)));
    }
}

/* Scores of one head with the 16 slots of a group. */
LANES_INLINE vf score_group(const struct model *m, const struct model_work *w,
                            const struct cache_view *v, uint32_t group, uint32_t head,
                            struct query_scale s)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t rank = m->shape.rank;
    const int8_t *data = v->data + group * z->cache_group_bytes;
    const int8_t *keys = data + (size_t)rank * 16;
    const int32_t *shift = w->shift + (size_t)group * 32;
    const uint8_t *q = w->query + z->content_p + head * z->half;
    vi content = lanes_dot(vi_load(shift), data, w->query + head * rank, rank / 4);
    vi rotary = lanes_dot(vi_load(shift + 16), keys, q, z->half / 4);
    rotary = lanes_dot(rotary, keys + (size_t)z->half * 16, q + z->rotary_p, z->half / 4);
    vf c = vf_mul(vf_load(v->latent_scale + group * 16), vf_all(s.content));
    vf r = vf_mul(vf_load(v->key_scale + group * 16), vf_all(s.rotary));
    return vf_add(vf_mul(vi_float(content), c), vf_mul(vi_float(rotary), r));
}

/* One head's mix of latents [rank] into out. */
LANES_INLINE void attend(const struct model *m, struct model_work *w, const struct cache_view *v,
                         uint32_t head, struct query_scale s, float *out)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t groups = z->window_p / 16;
    vf low = vf_all(-1e38F);
    vf top = low;
    for (uint32_t g = 0; g < groups; g++) {
        vf score = vf_pick(v->visible[g], score_group(m, w, v, g, head, s), low);
        top = vf_max(score, top);
        vf_store(w->score + g * 16, score);
    }
    vf peak = vf_all(vf_top(top));
    vi total = vi_all(0);
    top = vf_all(0);
    for (uint32_t g = 0; g < groups; g++) {
        vf p = vf_exp(vf_sub(vf_load(w->score + g * 16), peak));
        p = vf_pick(v->visible[g], p, vf_all(0));
        total = vi_add(total, vf_round(vf_mul(p, vf_all(SERVED_SOFTMAX_ONE))));
        p = vf_pick(v->visible[g], vf_mul(p, vf_load(v->latent_scale + g * 16)), vf_all(0));
        top = vf_max(p, top);
        vf_store(w->score + g * 16, p);
    }
    float most = vf_top(top);
    vf inverse = vf_all(most > SERVED_TINY ? 255.0F / most : 0.0F);
    memset(w->mix, 0, z->rank_p * sizeof *w->mix);
    for (uint32_t g = 0; g < groups; g++) {
        uint8_t bytes[16];
        vi_store_low(bytes, vf_round(vf_mul(vf_load(w->score + g * 16), inverse)));
        lanes_mix(w->mix, v->data + g * z->cache_group_bytes, bytes, m->shape.rank / 4);
    }
    float sum = (float)vi_sum(total) * (1.0F / SERVED_SOFTMAX_ONE);
    float scale = most * (1.0F / 255.0F) / sum;
    for (uint32_t k = 0; k < m->shape.rank; k++) {
        out[k] = (float)w->mix[k] * scale;
    }
}

static inline void attend_row(const struct model *m, struct model_work *w, size_t row,
                              uint32_t layer)
{
    const struct served_sizes *z = &m->sizes;
    const struct served_layer *l = &m->layer[layer];
    char *part = w->cache[row] + z->cache_layer + layer * z->cache_layer_bytes;
    struct cache_view v = {.latent_scale = (float *)(void *)part,
                           .key_scale = (float *)(void *)part + z->window_p,
                           .data = (int8_t *)part + z->cache_data,
                           .visible = w->visible + row * (z->window_p / 16),
                           .place = w->place[row]};
    size_t floats = z->content_p > 2 * z->half_p ? z->content_p : 2 * z->half_p;
    float *a = w->row + (floats > z->rank_p ? floats : z->rank_p);
    float *b = a + z->rotary_p;
    rotate_row(m, w, row, &l->query, w->scale[row], a, b);
    put_event(m, w, row, l, &v, a, b);
    struct query_scale s = make_query(m, w, row, l, a, b);
    shift_slots(m, w, &v);
    float *mixed = w->row;
    memset(mixed, 0, z->content_p * sizeof *mixed);
    for (uint32_t head = 0; head < m->shape.heads; head++) {
        attend(m, w, &v, head, s, mixed + head * m->shape.rank);
    }
    size_t blocks = z->content_p / 16;
    w->scale[row] =
        pack_bytes(mixed, blocks, largest(mixed, blocks), w->bytes + row * w->bytes_stride);
}

LANES_INLINE void norm_rows(const struct model *m, struct model_work *w, size_t n,
                            const float *weight)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        w->scale[i] = norm_bytes(w->h + i * z->width_p, weight, m->shape.width, z->width_p / 16,
                                 w->row, w->bytes + i * w->bytes_stride);
    }
}

static inline void body_attention(const struct model *m, struct model_work *w, size_t n,
                                  uint32_t layer)
{
    const struct served_sizes *z = &m->sizes;
    const struct served_layer *l = &m->layer[layer];
    norm_rows(m, w, n, l->norm1);
    lanes_product(&l->query, n, w->bytes, w->bytes_stride, w->acc, w->acc_stride);
    for (size_t i = 0; i < n; i++) {
        attend_row(m, w, i, layer);
    }
    lanes_product(&l->out, n, w->bytes, w->bytes_stride, w->acc, w->acc_stride);
    for (size_t i = 0; i < n; i++) {
        vf scale = vf_all(w->scale[i]);
        float *h = w->h + i * z->width_p;
        for (uint32_t at = 0; at < z->width_p; at += 16) {
            vf add = scaled(w->acc + i * w->acc_stride + at, l->out.scale + at, scale);
            vf_store(h + at, vf_add(vf_load(h + at), add));
        }
    }
}

/* --- experts -------------------------------------------------------------------------------- */

LANES_INLINE vf sigmoid(vf x)
{
    vf one = vf_all(1);
    return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_all(0), x))));
}

/* Bytes of silu(u) * v, of outputs u | v of a product; returns their scale. */
LANES_INLINE float swiglu_bytes(const int32_t *acc, const float *weight, float row_scale,
                                uint32_t hidden_p, float *tmp, uint8_t *out)
{
    vf s = vf_all(row_scale);
    vf top = vf_all(0);
    for (uint32_t at = 0; at < hidden_p; at += 16) {
        vf u = scaled(acc + at, weight + at, s);
        vf v = scaled(acc + hidden_p + at, weight + hidden_p + at, s);
        vf act = vf_mul(vf_mul(u, sigmoid(u)), v);
        top = vf_max(vf_abs(act), top);
        vf_store(tmp + at, act);
    }
    return pack_bytes(tmp, hidden_p / 16, vf_top(top), out);
}

/* One row's top experts by sigmoid + balance, the lowest number first among equals; their gates
 * sum to 1. */
LANES_INLINE void choose(const struct model *m, struct model_work *w, size_t row,
                         const struct served_layer *l)
{
    const struct served_sizes *z = &m->sizes;
    const int32_t *acc = w->acc + row * w->acc_stride;
    float *gate = w->row;
    float *rank = w->row + z->experts_p;
    vf s = vf_all(w->scale[row]);
    for (uint32_t at = 0; at < z->experts_p; at += 16) {
        vf g = sigmoid(scaled(acc + at, l->gate.scale + at, s));
        vf_store(gate + at, g);
        vf_store(rank + at, vf_add(g, vf_load(l->balance + at)));
    }
    float sum = 1e-9F;
    uint32_t *chosen = w->chosen + row * m->shape.top;
    float *weight = w->gate + row * m->shape.top;
    for (uint32_t k = 0; k < m->shape.top; k++) {
        vf best = vf_load(rank);
        for (uint32_t at = 16; at < z->experts_p; at += 16) {
            best = vf_max(best, vf_load(rank + at));
        }
        vf top = vf_all(vf_top(best));
        uint32_t at = 0;
        uint32_t below = vf_above(top, vf_load(rank));
        while (below == 0xffffU) {
            at += 16;
            below = vf_above(top, vf_load(rank + at));
        }
        chosen[k] = at + (uint32_t)__builtin_ctz(~below);
        rank[chosen[k]] = -1e38F;
        weight[k] = gate[chosen[k]];
        sum += weight[k];
    }
    for (uint32_t k = 0; k < m->shape.top; k++) {
        weight[k] /= sum;
    }
}

/* Gathers the rows of each expert. */
static inline void gather(const struct model *m, struct model_work *w, size_t n)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t *first = w->expert_first;
    uint32_t top = m->shape.top;
    uint32_t fill[64]; /* the most experts */
    memset(first, 0, (m->shape.experts + 1) * sizeof *first);
    for (size_t i = 0; i < n * top; i++) {
        first[w->chosen[i] + 1]++;
    }
    for (uint32_t x = 0; x < m->shape.experts; x++) {
        fill[x] = first[x];
        first[x + 1] += first[x];
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < top; k++) {
            uint32_t slot = fill[w->chosen[i * top + k]]++;
            w->slot[i * top + k] = slot;
            w->gathered_scale[slot] = w->scale[i];
            memcpy(w->gathered + (size_t)slot * z->width_p, w->bytes + i * w->bytes_stride,
                   z->width_p);
        }
    }
}

LANES_INLINE void run_experts(const struct model *m, struct model_work *w,
                              const struct served_layer *l)
{
    const struct served_sizes *z = &m->sizes;
    for (uint32_t x = 0; x < m->shape.experts; x++) {
        uint32_t at = w->expert_first[x];
        uint32_t count = w->expert_first[x + 1] - at;
        if (count == 0) {
            continue;
        }
        lanes_product(&l->w1[x], count, w->gathered + (size_t)at * z->width_p, z->width_p,
                      w->expert_acc + (size_t)at * 2 * z->hidden_p, (size_t)2 * z->hidden_p);
        for (uint32_t i = at; i < at + count; i++) {
            w->act_scale[i] = swiglu_bytes(w->expert_acc + (size_t)i * 2 * z->hidden_p,
                                           l->w1[x].scale, w->gathered_scale[i], z->hidden_p,
                                           w->row, w->act + (size_t)i * z->hidden_p);
        }
        lanes_product(&l->w2[x], count, w->act + (size_t)at * z->hidden_p, z->hidden_p,
                      w->expert_out + (size_t)at * z->width_p, z->width_p);
    }
}

/* h += shared + sum of gate * chosen expert */
LANES_INLINE void add_experts(const struct model *m, struct model_work *w, size_t row,
                              const struct served_layer *l)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t top = m->shape.top;
    float *h = w->h + row * z->width_p;
    vf shared_scale = vf_all(w->scale[row]);
    for (uint32_t at = 0; at < z->width_p; at += 16) {
        vf sum = scaled(w->acc2 + row * w->acc_stride + at, l->shared2.scale + at, shared_scale);
        for (uint32_t k = 0; k < top; k++) {
            uint32_t slot = w->slot[row * top + k];
            const struct matrix *w2 = &l->w2[w->chosen[row * top + k]];
            vf out = scaled(w->expert_out + (size_t)slot * z->width_p + at, w2->scale + at,
                            vf_all(w->act_scale[slot]));
            sum = vf_add(sum, vf_mul(vf_all(w->gate[row * top + k]), out));
        }
        vf_store(h + at, vf_add(vf_load(h + at), sum));
    }
}

static inline void body_experts(const struct model *m, struct model_work *w, size_t n,
                                uint32_t layer)
{
    const struct served_sizes *z = &m->sizes;
    const struct served_layer *l = &m->layer[layer];
    norm_rows(m, w, n, l->norm2);
    lanes_product(&l->gate, n, w->bytes, w->bytes_stride, w->acc, w->acc_stride);
    for (size_t i = 0; i < n; i++) {
        choose(m, w, i, l);
    }
    gather(m, w, n);
    for (size_t i = 0; i < n; i++) {
        w->scale[i] =
            swiglu_bytes(w->acc + i * w->acc_stride + z->experts_p, l->gate.scale + z->experts_p,
                         w->scale[i], z->shared_p, w->row, w->bytes + i * w->bytes_stride);
    }
    lanes_product(&l->shared2, n, w->bytes, w->bytes_stride, w->acc2, w->acc_stride);
    run_experts(m, w, l);
    for (size_t i = 0; i < n; i++) {
        add_experts(m, w, i, l);
    }
}

/* --- head ----------------------------------------------------------------------------------- */

static inline void body_head(const struct model *m, struct model_work *w, size_t n,
                             float *out_logit)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        const float *h = w->h + i * z->width_p;
        vf squares = vf_all(0);
        vf dot = vf_all(0);
        for (uint32_t at = 0; at < z->width_p; at += 16) {
            vf v = vf_load(h + at);
            squares = vf_add(squares, vf_mul(v, v));
            dot = vf_add(dot, vf_mul(v, vf_load(m->head + at)));
        }
        out_logit[i] = vf_sum(dot) * inverse_rms(vf_sum(squares), m->shape.width) + m->head_bias;
    }
}

static inline void body_product(const struct matrix *a, size_t n, const uint8_t *bytes,
                                size_t stride, int32_t *acc, size_t acc_stride)
{
    lanes_product(a, n, bytes, stride, acc, acc_stride);
}

#endif
