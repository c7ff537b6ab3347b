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
    uint32_t place; /* slot of this event */
    uint32_t rank, half, heads, groups;
    size_t group_bytes;
    float content, rotary; /* scales of the query's bytes */
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
                             const struct matrix *q, float *a, float *b)
{
    const struct served_sizes *z = &m->sizes;
    const int32_t *acc = w->acc + row * w->acc_stride + z->content_p;
    const float *weight = q->scale + z->content_p;
    const float *cosine = w->cosine + row * z->rotary_p;
    const float *sine = w->sine + row * z->rotary_p;
    vf s = vf_all(w->scale[row]);
    for (uint32_t at = 0; at < z->rotary_p; at += 16) {
        vf first = scaled(acc + at, weight + at, s);
        vf second = scaled(acc + z->rotary_p + at, weight + z->rotary_p + at, s);
        vf c = vf_load(cosine + at);
        vf d = vf_load(sine + at);
        vf_store(a + at, vf_sub(vf_mul(first, c), vf_mul(second, d)));
        vf_store(b + at, vf_add(vf_mul(first, d), vf_mul(second, c)));
    }
}

/* Bytes of x / rms(x), cut at +-SERVED_LATENT_MAX. */
LANES_INLINE void latent_bytes(const int32_t *acc, const float *weight, float row_scale,
                               uint32_t rank, float *tmp, uint8_t *out)
{
    vf scale = vf_all(row_scale);
    vf squares = vf_all(0);
    for (uint32_t k = 0; k < rank; k += 16) {
        vf v = scaled(acc + k, weight + k, scale);
        squares = vf_add(squares, vf_mul(v, v));
        vf_store(tmp + k, v);
    }
    vf inverse = vf_all(inverse_rms(vf_sum(squares), rank) * (127.0F / SERVED_LATENT_MAX));
    for (uint32_t k = 0; k < rank; k += 16) {
        vf v = vf_mul(vf_load(tmp + k), inverse);
        v = vf_max(vf_min(v, vf_all(127)), vf_all(-127));
        vi_store_low(out + k, vi_add(vf_round(v), vi_all(128)));
    }
}

/* Puts the event's latent and key into its slot. */
LANES_INLINE void put_event(const struct model *m, struct model_work *w, size_t row,
                            const struct matrix *q, const struct attend *t, float *a, float *b)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t keys = t->heads * t->half;
    uint32_t at = z->content_p + 2 * z->rotary_p;
    int8_t *data = t->data + t->place / 16 * t->group_bytes;
    uint32_t lane = t->place % 16;
    float *tmp = w->row;
    uint8_t *bytes = w->query; /* free until the query is made */
    latent_bytes(w->acc + row * w->acc_stride + at, q->scale + at, w->scale[row], t->rank, tmp,
                 bytes);
    put_slot(data, lane, bytes, t->rank);
    size_t blocks = (2 * t->half + 15) / 16;
    memset(tmp, 0, blocks * 16 * sizeof *tmp);
    memcpy(tmp, a + keys, t->half * sizeof *tmp);
    memcpy(tmp + t->half, b + keys, t->half * sizeof *tmp);
    memset(a + keys, 0, t->half * sizeof *a); /* the query's scale is its own */
    memset(b + keys, 0, t->half * sizeof *b);
    t->key_scale[t->place] = pack_bytes(tmp, blocks, largest(tmp, blocks), bytes);
    put_slot(data + (size_t)t->rank * 16, lane, bytes, 2 * t->half);
}

/* Query bytes: content of all heads with one scale, rotary parts with another. */
LANES_INLINE void make_query(const struct model *m, struct model_work *w, size_t row,
                             const struct matrix *q, struct attend *t, const float *a,
                             const float *b)
{
    const struct served_sizes *z = &m->sizes;
    const int32_t *acc = w->acc + row * w->acc_stride;
    float *content = w->row;
    vf scale = vf_all(w->scale[row]);
    vf top = vf_all(0);
    for (uint32_t at = 0; at < z->content_p; at += 16) {
        vf v = scaled(acc + at, q->scale + at, scale);
        top = vf_max(vf_abs(v), top);
        vf_store(content + at, v);
    }
    t->content = pack_bytes(content, z->content_p / 16, vf_top(top), w->query);
    top = vf_all(0);
    for (uint32_t at = 0; at < z->rotary_p; at += 16) {
        top = vf_max(vf_abs(vf_load(a + at)), top);
        top = vf_max(vf_abs(vf_load(b + at)), top);
    }
    float most = vf_top(top);
    t->rotary = pack_bytes(a, z->rotary_p / 16, most, w->query + z->content_p);
    pack_bytes(b, z->rotary_p / 16, most, w->query + z->content_p + z->rotary_p);
}

/* What products of slots with query bytes, which lie around 128, begin with. */
LANES_INLINE void shift_slots(struct model_work *w, const struct attend *t)
{
    vi zero = vi_all(0);
    for (uint32_t g = 0; g < t->groups; g++) {
        const int8_t *data = t->data + g * t->group_bytes;
        const int8_t *keys = data + (size_t)t->rank * 16;
        int32_t *shift = w->shift + (size_t)g * 32;
        vi_store(shift, vi_sub(zero, lanes_dot(zero, data, w->middle, t->rank / 4)));
        vi_store(shift + 16, vi_sub(zero, lanes_dot(zero, keys, w->middle, t->half / 2)));
    }
}

/* Scores of one head with every slot; returns the largest of those that are visible. */
LANES_INLINE float score(const struct model *m, struct model_work *w, const struct attend *t,
                         uint32_t head)
{
    const struct served_sizes *z = &m->sizes;
    const uint8_t *content = w->query + head * t->rank;
    const uint8_t *rotary = w->query + z->content_p + head * t->half;
    const vf low = vf_all(-1e38F);
    vf latent_scale = vf_all(t->content * (SERVED_LATENT_MAX / 127.0F));
    vf top = low;
    for (uint32_t g = 0; g < t->groups; g++) {
        const int8_t *data = t->data + g * t->group_bytes;
        const int8_t *keys = data + (size_t)t->rank * 16;
        const int32_t *shift = w->shift + (size_t)g * 32;
        vi c = lanes_dot(vi_load(shift), data, content, t->rank / 4);
        vi r = lanes_dot(vi_load(shift + 16), keys, rotary, t->half / 4);
        r = lanes_dot(r, keys + (size_t)t->half * 16, rotary + z->rotary_p, t->half / 4);
        vf key_scale = vf_mul(vf_load(t->key_scale + g * 16), vf_all(t->rotary));
        vf sum = vf_add(vf_mul(vi_float(c), latent_scale), vf_mul(vi_float(r), key_scale));
        sum = vf_pick(t->visible[g], sum, low);
        top = vf_max(sum, top);
        vf_store(w->score + (head * t->groups + g) * 16, sum);
    }
    return vf_top(top);
}

/* Weights of one head's slots as bytes, 255 for the largest; returns their sum. */
LANES_INLINE uint32_t weigh(struct model_work *w, const struct attend *t, uint32_t head, float top)
{
    uint32_t total = 0;
    for (uint32_t g = 0; g < t->groups; g++) {
        size_t at = (size_t)(head * t->groups + g) * 16;
        vf p = vf_exp(vf_sub(vf_load(w->score + at), vf_all(top)));
        p = vf_pick(t->visible[g], vf_mul(p, vf_all(255)), vf_all(0));
        vi_store_low(w->weight + at, vf_round(p));
        total += lanes_sum(w->weight + at);
    }
    return total;
}

/* One head's mix of latents into out; whole vectors, so up to 15 floats after the rank are wrong.
 */
LANES_INLINE void mix(const struct model_work *w, const struct attend *t, uint32_t head,
                      uint32_t total, float *out)
{
    vf scale = vf_all(SERVED_LATENT_MAX / 127.0F / (float)total);
    for (uint32_t k = 0; k < t->rank; k += 16) {
        vi sum = vi_all(0);
        for (uint32_t g = 0; g < t->groups; g++) {
            const int8_t *data = t->data + g * t->group_bytes + (size_t)k * 16;
            sum = lanes_mix(sum, data, w->weight + (size_t)(head * t->groups + g) * 16);
        }
        vf_store(out + k, vf_mul(vi_float(sum), scale));
    }
}

/* Each step for all heads before the next one: their chains of dependent operations overlap. */
LANES_INLINE void attend_row(const struct model *m, struct model_work *w, size_t row,
                             const struct matrix *q, struct attend *t)
{
    const struct served_sizes *z = &m->sizes;
    float top[64]; /* the most heads */
    uint32_t total[64];
    float *b = w->row + w->row_floats - z->rotary_p;
    float *a = b - z->rotary_p;
    rotate_row(m, w, row, q, a, b);
    put_event(m, w, row, q, t, a, b);
    make_query(m, w, row, q, t, a, b);
    shift_slots(w, t);
    for (uint32_t head = 0; head < t->heads; head++) {
        top[head] = score(m, w, t, head);
    }
    for (uint32_t head = 0; head < t->heads; head++) {
        total[head] = weigh(w, t, head, top[head]);
    }
    float *mixed = w->row;
    for (uint32_t head = 0; head < t->heads; head++) {
        mix(w, t, head, total[head], mixed + head * t->rank);
    }
    for (uint32_t k = t->heads * t->rank; k < z->content_p; k++) {
        mixed[k] = 0;
    }
    size_t blocks = z->content_p / 16;
    w->scale[row] =
        pack_bytes(mixed, blocks, largest(mixed, blocks), w->bytes + row * w->bytes_stride);
}

LANES_INLINE void attend_rows(const struct model *m, struct model_work *w, size_t n, uint32_t layer,
                              struct attend t)
{
    const struct served_sizes *z = &m->sizes;
    for (size_t i = 0; i < n; i++) {
        char *part = w->cache[i] + z->cache_layer + layer * z->cache_layer_bytes;
        t.key_scale = (float *)(void *)part;
        t.data = (int8_t *)part + z->cache_data;
        t.visible = w->visible + i * t.groups;
        t.place = w->place[i];
        attend_row(m, w, i, &m->layer[layer].query, &t);
    }
}

static inline void body_attention(const struct model *m, struct model_work *w, size_t n,
                                  uint32_t layer)
{
    const struct served_sizes *z = &m->sizes;
    const struct served_layer *l = &m->layer[layer];
    struct attend t = {.rank = m->shape.rank,
                       .half = z->half,
                       .heads = m->shape.heads,
                       .groups = z->window_p / 16,
                       .group_bytes = z->cache_group_bytes};
    norm_rows(m, w, n, l->norm1);
    lanes_product(&l->query, n, w->bytes, w->bytes_stride, w->acc, w->acc_stride);
    if (t.rank == 16 && t.half == 8 && t.groups == 1) { /* the usual sizes, as constants */
        t.rank = 16;
        t.half = 8;
        t.groups = 1;
        attend_rows(m, w, n, layer, t);
    } else {
        attend_rows(m, w, n, layer, t);
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

#endif
