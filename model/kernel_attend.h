/* Attention of a layer over each row's cached events, this one included. */
#ifndef FD_MODEL_KERNEL_ATTEND_H
#define FD_MODEL_KERNEL_ATTEND_H

#include <string.h>

#include "model/kernel_math.h"

/* One row and layer: its place in the cache, and sizes (constants where they are the usual ones).
 */
struct attend {
    float *key_scale; /* [window_p] */
    int8_t *data;     /* [groups] of 16 slots */
    const uint16_t *visible;
    uint32_t place;        /* slot of this event */
    float content, rotary; /* scales of the query's bytes */
};

/* Bytes of one slot in its group: `count` a multiple of 4, bytes around 128. */
LANES_INLINE void put_slot(int8_t *data, uint32_t slot, const uint8_t *bytes, uint32_t count)
{
#pragma GCC unroll 4
    for (uint32_t at = 0; at < count; at += 4) {
        uint32_t four;
        memcpy(&four, bytes + at, sizeof four);
        four ^= 0x80808080U;
        memcpy(data + at * 16 + (size_t)slot * 4, &four, sizeof four);
    }
}

/* Rotates queries and key of one row: a, b [rotary_p] from the product's halves. */
LANES_INLINE void rotate_row(struct dims d, const struct model_work *w, size_t row,
                             const struct matrix *q, float *a, float *b)
{
    const int32_t *acc = w->acc + row * d.acc_stride + d.content_p;
    const float *weight = q->scale + d.content_p;
    const float *cosine = w->cosine + row * d.rotary_p;
    const float *sine = w->sine + row * d.rotary_p;
    vf s = vf_all(w->scale[row]);
#pragma GCC unroll 4
    for (uint32_t at = 0; at < d.rotary_p; at += 16) {
        vf first = scaled(acc + at, weight + at, s);
        vf second = scaled(acc + d.rotary_p + at, weight + d.rotary_p + at, s);
        vf c = vf_load(cosine + at);
        vf t = vf_load(sine + at);
        vf_store(a + at, vf_sub(vf_mul(first, c), vf_mul(second, t)));
        vf_store(b + at, vf_add(vf_mul(first, t), vf_mul(second, c)));
    }
}

/* Bytes of x / rms(x), cut at +-SERVED_LATENT_MAX. */
LANES_INLINE void latent_bytes(const int32_t *acc, const float *weight, float row_scale,
                               uint32_t rank, float *tmp, uint8_t *out)
{
    vf scale = vf_all(row_scale);
    vf squares = vf_all(0);
#pragma GCC unroll 4
    for (uint32_t k = 0; k < rank; k += 16) {
        vf v = scaled(acc + k, weight + k, scale);
        squares = vf_add(squares, vf_mul(v, v));
        vf_store(tmp + k, v);
    }
    vf inverse = vf_all(inverse_rms(vf_sum(squares), rank) * (127.0F / SERVED_LATENT_MAX));
#pragma GCC unroll 4
    for (uint32_t k = 0; k < rank; k += 16) {
        vf v = vf_mul(vf_load(tmp + k), inverse);
        v = vf_max(vf_min(v, vf_all(127)), vf_all(-127));
        vi_store_low(out + k, vi_add(vf_round(v), vi_all(128)));
    }
}

/* Puts the event's latent and key into its slot. */
LANES_INLINE void put_event(struct dims d, const struct model_work *w, size_t row,
                            const struct matrix *q, const struct attend *t, float *a, float *b)
{
    uint32_t keys = d.heads * d.half;
    uint32_t at = d.content_p + 2 * d.rotary_p;
    int8_t *data = t->data + t->place / 16 * d.group_bytes;
    uint32_t lane = t->place % 16;
    float *tmp = w->row;
    uint8_t *bytes = w->query; /* free until the query is made */
    latent_bytes(w->acc + row * d.acc_stride + at, q->scale + at, w->scale[row], d.rank, tmp,
                 bytes);
    put_slot(data, lane, bytes, d.rank);
    size_t blocks = (2 * d.half + 15) / 16;
    memset(tmp, 0, blocks * 16 * sizeof *tmp);
    memcpy(tmp, a + keys, d.half * sizeof *tmp);
    memcpy(tmp + d.half, b + keys, d.half * sizeof *tmp);
    memset(a + keys, 0, d.half * sizeof *a); /* the query's scale is its own */
    memset(b + keys, 0, d.half * sizeof *b);
    t->key_scale[t->place] = pack_bytes(tmp, blocks, largest(tmp, blocks), bytes);
    put_slot(data + (size_t)d.rank * 16, lane, bytes, 2 * d.half);
}

/* Query bytes: content of all heads with one scale, rotary parts with another. */
LANES_INLINE void make_query(struct dims d, const struct model_work *w, size_t row,
                             const struct matrix *q, struct attend *t, const float *a,
                             const float *b)
{
    const int32_t *acc = w->acc + row * d.acc_stride;
    float *content = w->row;
    vf scale = vf_all(w->scale[row]);
    vf top = vf_all(0);
#pragma GCC unroll 4
    for (uint32_t at = 0; at < d.content_p; at += 16) {
        vf v = scaled(acc + at, q->scale + at, scale);
        top = vf_max(vf_abs(v), top);
        vf_store(content + at, v);
    }
    t->content = pack_bytes(content, d.content_p / 16, vf_top(top), w->query);
    top = vf_all(0);
#pragma GCC unroll 4
    for (uint32_t at = 0; at < d.rotary_p; at += 16) {
        top = vf_max(vf_abs(vf_load(a + at)), top);
        top = vf_max(vf_abs(vf_load(b + at)), top);
    }
    float most = vf_top(top);
    t->rotary = pack_bytes(a, d.rotary_p / 16, most, w->query + d.content_p);
    pack_bytes(b, d.rotary_p / 16, most, w->query + d.content_p + d.rotary_p);
}

/* What products of slots with query bytes, which lie around 128, begin with. */
LANES_INLINE void shift_slots(struct dims d, const struct model_work *w, const struct attend *t)
{
    vi zero = vi_all(0);
    for (uint32_t g = 0; g < d.groups; g++) {
        const int8_t *data = t->data + g * d.group_bytes;
        const int8_t *keys = data + (size_t)d.rank * 16;
        int32_t *shift = w->shift + (size_t)g * 32;
        vi_store(shift, vi_sub(zero, lanes_dot(zero, data, w->middle, d.rank / 4)));
        vi_store(shift + 16, vi_sub(zero, lanes_dot(zero, keys, w->middle, d.half / 2)));
    }
}

/* Scores of one head with every slot; returns the largest of those that are visible. */
LANES_INLINE float score(struct dims d, const struct model_work *w, const struct attend *t,
                         uint32_t head)
{
    const uint8_t *content = w->query + head * d.rank;
    const uint8_t *rotary = w->query + d.content_p + head * d.half;
    const vf low = vf_all(-1e38F);
    vf latent_scale = vf_all(t->content * (SERVED_LATENT_MAX / 127.0F));
    vf top = low;
    for (uint32_t g = 0; g < d.groups; g++) {
        const int8_t *data = t->data + g * d.group_bytes;
        const int8_t *keys = data + (size_t)d.rank * 16;
        const int32_t *shift = w->shift + (size_t)g * 32;
        vi c = lanes_dot(vi_load(shift), data, content, d.rank / 4);
        vi r = lanes_dot(vi_load(shift + 16), keys, rotary, d.half / 4);
        r = lanes_dot(r, keys + (size_t)d.half * 16, rotary + d.rotary_p, d.half / 4);
        vf key_scale = vf_mul(vf_load(t->key_scale + g * 16), vf_all(t->rotary));
        vf sum = vf_add(vf_mul(vi_float(c), latent_scale), vf_mul(vi_float(r), key_scale));
        sum = vf_pick(t->visible[g], sum, low);
        top = vf_max(sum, top);
        vf_store(w->score + (head * d.groups + g) * 16, sum);
    }
    return vf_top(top);
}

/* Weights of one head's slots as bytes, 255 for the largest; returns their sum. */
LANES_INLINE uint32_t weigh(struct dims d, const struct model_work *w, const struct attend *t,
                            uint32_t head, float top)
{
    uint32_t total = 0;
    for (uint32_t g = 0; g < d.groups; g++) {
        size_t at = (size_t)(head * d.groups + g) * 16;
        vf p = vf_exp(vf_sub(vf_load(w->score + at), vf_all(top)));
        p = vf_pick(t->visible[g], vf_mul(p, vf_all(255)), vf_all(0));
        vi_store_low(w->weight + at, vf_round(p));
        total += lanes_sum(w->weight + at);
    }
    return total;
}

/* One head's mix of latents into out; whole vectors, so up to 15 floats after the rank are wrong.
 */
LANES_INLINE void mix(struct dims d, const struct model_work *w, const struct attend *t,
                      uint32_t head, uint32_t total, float *out)
{
    vf scale = vf_all(SERVED_LATENT_MAX / 127.0F / (float)total);
    for (uint32_t k = 0; k < d.rank; k += 16) {
        vi sum = vi_all(0);
        for (uint32_t g = 0; g < d.groups; g++) {
            const int8_t *data = t->data + g * d.group_bytes + (size_t)k * 16;
            sum = lanes_mix(sum, data, w->weight + (size_t)(head * d.groups + g) * 16);
        }
        vf_store(out + k, vf_mul(vi_float(sum), scale));
    }
}

/* Each step for all heads before the next one: their chains of dependent operations overlap. */
LANES_INLINE void attend_row(struct dims d, const struct model_work *w, size_t row,
                             const struct matrix *q, struct attend *t)
{
    float top[64]; /* the most heads */
    uint32_t total[64];
    float *b = w->row + w->row_floats - d.rotary_p;
    float *a = b - d.rotary_p;
    rotate_row(d, w, row, q, a, b);
    put_event(d, w, row, q, t, a, b);
    make_query(d, w, row, q, t, a, b);
    shift_slots(d, w, t);
#pragma GCC unroll 4
    for (uint32_t head = 0; head < d.heads; head++) {
        top[head] = score(d, w, t, head);
    }
#pragma GCC unroll 4
    for (uint32_t head = 0; head < d.heads; head++) {
        total[head] = weigh(d, w, t, head, top[head]);
    }
    float *mixed = w->row;
#pragma GCC unroll 4
    for (uint32_t head = 0; head < d.heads; head++) {
        mix(d, w, t, head, total[head], mixed + head * d.rank);
    }
    for (uint32_t k = d.heads * d.rank; k < d.content_p; k++) {
        mixed[k] = 0;
    }
    size_t blocks = d.content_p / 16;
    w->scale[row] =
        pack_bytes(mixed, blocks, largest(mixed, blocks), w->bytes + row * d.bytes_stride);
}

LANES_INLINE void attend_layer(struct dims d, const struct model *m, const struct model_work *w,
                               size_t n, uint32_t layer)
{
    const struct served_sizes *z = &m->sizes;
    const struct served_layer *l = &m->layer[layer];
    norm_rows(d, w, n, l->norm1);
    lanes_product(&l->query, n, w->bytes, d.bytes_stride, w->acc, d.acc_stride);
    for (size_t i = 0; i < n; i++) {
        char *part = w->cache[i] + z->cache_layer + layer * z->cache_layer_bytes;
        struct attend t = {.key_scale = (float *)(void *)part,
                           .data = (int8_t *)part + z->cache_data,
                           .visible = w->visible + i * d.groups,
                           .place = w->place[i]};
        attend_row(d, w, i, &l->query, &t);
    }
    lanes_product(&l->out, n, w->bytes, d.bytes_stride, w->acc, d.acc_stride);
    for (size_t i = 0; i < n; i++) {
        vf scale = vf_all(w->scale[i]);
        float *h = w->h + i * d.width_p;
#pragma GCC unroll 4
        for (uint32_t at = 0; at < d.width_p; at += 16) {
            vf add = scaled(w->acc + i * d.acc_stride + at, l->out.scale + at, scale);
            vf_store(h + at, vf_add(vf_load(h + at), add));
        }
    }
}

static inline void body_attention(const struct model *m, struct model_work *work, size_t n,
                                  uint32_t layer)
{
    const struct model_work w = *work; /* a copy of our own, which no store can change */
    const struct dims usual = DIMS_USUAL;
    const struct dims d = dims_of(m);
    if (dims_equal(&d, &usual)) {
        attend_layer(DIMS_USUAL, m, &w, n, layer);
    } else {
        attend_layer(d, m, &w, n, layer);
    }
}

#endif
