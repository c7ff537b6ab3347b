/* Experts of a layer: the shared one for every row, the routed ones for the rows that chose them.
 */
#ifndef FD_MODEL_KERNEL_EXPERTS_H
#define FD_MODEL_KERNEL_EXPERTS_H

#include <string.h>

#include "model/kernel_math.h"

/* Bytes of silu(u) * v, of outputs u | v of a product; returns their scale. */
LANES_INLINE float swiglu_bytes(const int32_t *acc, const float *weight, float row_scale,
                                uint32_t hidden_p, float *tmp, uint8_t *out)
{
    vf s = vf_all(row_scale);
    vf top = vf_all(0);
#pragma GCC unroll 4
    for (uint32_t at = 0; at < hidden_p; at += 16) {
        vf u = scaled(acc + at, weight + at, s);
        vf v = scaled(acc + hidden_p + at, weight + hidden_p + at, s);
        vf act = vf_mul(vf_mul(u, vf_sigmoid(u)), v);
        top = vf_max(vf_abs(act), top);
        vf_store(tmp + at, act);
    }
    return pack_bytes(tmp, hidden_p / 16, vf_top(top), out);
}

/* One row's top experts by sigmoid + balance, the lowest number first among equals; their gates
 * sum to 1. */
LANES_INLINE void choose(struct dims d, const struct model_work *w, size_t row,
                         const struct served_layer *l)
{
    const int32_t *acc = w->acc + row * d.acc_stride;
    float *gate = w->row;
    float *rank = w->row + d.experts_p;
    vf s = vf_all(w->scale[row]);
    for (uint32_t at = 0; at < d.experts_p; at += 16) {
        vf g = vf_sigmoid(scaled(acc + at, l->gate.scale + at, s));
        vf_store(gate + at, g);
        vf_store(rank + at, vf_add(g, vf_load(l->balance + at)));
    }
    float sum = 1e-9F;
    uint32_t *chosen = w->chosen + row * d.top;
    float *weight = w->gate + row * d.top;
    for (uint32_t k = 0; k < d.top; k++) {
        vf best = vf_load(rank);
        for (uint32_t at = 16; at < d.experts_p; at += 16) {
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
    for (uint32_t k = 0; k < d.top; k++) {
        weight[k] /= sum;
    }
}

/* Gathers the rows of each expert. */
LANES_INLINE void gather(struct dims d, const struct model_work *w, size_t n)
{
    uint32_t *first = w->expert_first;
    uint32_t top = d.top;
    uint32_t fill[64]; /* the most experts */
    memset(first, 0, (d.experts + 1) * sizeof *first);
    for (size_t i = 0; i < n * top; i++) {
        first[w->chosen[i] + 1]++;
    }
    for (uint32_t x = 0; x < d.experts; x++) {
        fill[x] = first[x];
        first[x + 1] += first[x];
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < top; k++) {
            uint32_t slot = fill[w->chosen[i * top + k]]++;
            w->slot[i * top + k] = slot;
            w->gathered_scale[slot] = w->scale[i];
            uint8_t *to = w->gathered + (size_t)slot * d.width_p;
#pragma GCC unroll 4
            for (uint32_t at = 0; at < d.width_p; at += 16) { /* in whole vectors, no call */
                memcpy(to + at, w->bytes + i * d.bytes_stride + at, 16);
            }
        }
    }
}

LANES_INLINE void run_experts(struct dims d, const struct model_work *w,
                              const struct served_layer *l)
{
    for (uint32_t x = 0; x < d.experts; x++) {
        uint32_t at = w->expert_first[x];
        uint32_t count = w->expert_first[x + 1] - at;
        if (count == 0) {
            continue;
        }
        lanes_product(&l->w1[x], count, w->gathered + (size_t)at * d.width_p, d.width_p,
                      w->expert_acc + (size_t)at * 2 * d.hidden_p, (size_t)2 * d.hidden_p);
        for (uint32_t i = at; i < at + count; i++) {
            w->act_scale[i] = swiglu_bytes(w->expert_acc + (size_t)i * 2 * d.hidden_p,
                                           l->w1[x].scale, w->gathered_scale[i], d.hidden_p, w->row,
                                           w->act + (size_t)i * d.hidden_p);
        }
        lanes_product(&l->w2[x], count, w->act + (size_t)at * d.hidden_p, d.hidden_p,
                      w->expert_out + (size_t)at * d.width_p, d.width_p);
    }
}

/* h += shared + sum of gate * chosen expert */
LANES_INLINE void add_experts(struct dims d, const struct model_work *w, size_t row,
                              const struct served_layer *l)
{
    uint32_t top = d.top;
    float *h = w->h + row * d.width_p;
    vf shared_scale = vf_all(w->scale[row]);
#pragma GCC unroll 4
    for (uint32_t at = 0; at < d.width_p; at += 16) {
        vf sum = scaled(w->acc2 + row * d.acc_stride + at, l->shared2.scale + at, shared_scale);
        for (uint32_t k = 0; k < top; k++) {
            uint32_t slot = w->slot[row * top + k];
            const struct matrix *w2 = &l->w2[w->chosen[row * top + k]];
            vf out = scaled(w->expert_out + (size_t)slot * d.width_p + at, w2->scale + at,
                            vf_all(w->act_scale[slot]));
            sum = vf_add(sum, vf_mul(vf_all(w->gate[row * top + k]), out));
        }
        vf_store(h + at, vf_add(vf_load(h + at), sum));
    }
}

LANES_INLINE void experts_layer(struct dims d, const struct model_work *w, size_t n,
                                const struct served_layer *l)
{
    norm_rows(d, w, n, l->norm2);
    lanes_product(&l->gate, n, w->bytes, d.bytes_stride, w->acc, d.acc_stride);
    for (size_t i = 0; i < n; i++) {
        choose(d, w, i, l);
    }
    gather(d, w, n);
    for (size_t i = 0; i < n; i++) {
        w->scale[i] =
            swiglu_bytes(w->acc + i * d.acc_stride + d.experts_p, l->gate.scale + d.experts_p,
                         w->scale[i], d.shared_p, w->row, w->bytes + i * d.bytes_stride);
    }
    lanes_product(&l->shared2, n, w->bytes, d.bytes_stride, w->acc2, d.acc_stride);
    run_experts(d, w, l);
    for (size_t i = 0; i < n; i++) {
        add_experts(d, w, i, l);
    }
}

static inline void body_experts(const struct model *m, struct model_work *work, size_t n,
                                uint32_t layer)
{
    const struct model_work w = *work; /* a copy of our own, which no store can change */
    const struct dims usual = DIMS_USUAL;
    const struct dims d = dims_of(m);
    if (dims_equal(&d, &usual)) {
        experts_layer(DIMS_USUAL, &w, n, &m->layer[layer]);
    } else {
        experts_layer(d, &w, n, &m->layer[layer]);
    }
}

#endif
