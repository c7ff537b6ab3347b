/* The loops of train_loops.h: a train_loops_*.c includes its lanes and then this file. */
#ifndef FD_MODEL_TRAIN_LOOPS_BODY_H
#define FD_MODEL_TRAIN_LOOPS_BODY_H

#include <math.h>

#include "model/lanes_math.h"
#include "model/tape_math.h"
#include "model/train_loops.h"

#define LANES 16
#define SIX 6 /* vectors of sums that AVX2 and AVX-512 have registers for, and 96 columns */
#define FOUR 4

LANES_INLINE uint32_t first_lanes(uint32_t count)
{
    return count >= LANES ? 0xffff : (1U << count) - 1;
}

/* x + y a */
LANES_INLINE vf plus(vf x, vf y, float a)
{
    return vf_add(x, vf_mul(y, vf_all(a)));
}

LANES_INLINE void add_to(float *x, vf y, float a)
{
    vf_store(x, plus(vf_load(x), y, a));
}

/* One token and head.  Products with keys are taken for sixteen seen tokens at a time from keys
 * that lie a column a token; everything summed over tokens stays in registers. */
LANES_INLINE void attend_one(const struct tape *t, const struct tape_layer *l, size_t i,
                             size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t keys = (size_t)s->heads * TAPE_HEAD;
    const float *q = l->q + (i * s->heads + head) * 2 * TAPE_HEAD;
    float *prob = l->prob + (i * s->heads + head) * t->window;
    uint32_t seen = t->seen[i];
    size_t from = i + 1 - seen;
    float scale = 1.0F / sqrtf(2.0F * TAPE_HEAD);
    float top = -INFINITY;
    for (uint32_t j = 0; j < seen; j += LANES) {
        const float *kt = t->kt + head * TAPE_HEAD * t->stride + from + j;
        const float *krt = t->krt + from + j;
        vf content = vf_all(0);
        vf turned = vf_all(0);
        for (size_t d = 0; d < TAPE_HEAD; d++) {
            content = plus(content, vf_load(kt + d * t->stride), q[d]);
            turned = plus(turned, vf_load(krt + d * t->stride), q[TAPE_HEAD + d]);
        }
        content = vf_mul(vf_add(content, turned), vf_all(scale));
        content = vf_pick(first_lanes(seen - j), content, vf_all(-INFINITY));
        vf_store(prob + j, content);
        float most = vf_top(content);
        top = most > top ? most : top;
    }
    float sum = 0;
    for (uint32_t j = 0; j < seen; j += LANES) {
        vf p = vf_exp(vf_sub(vf_load(prob + j), vf_all(top)));
        p = vf_pick(first_lanes(seen - j), p, vf_all(0));
        vf_store(prob + j, p);
        sum += vf_sum(p);
    }
    vf share = vf_all(1.0F / sum);
    for (uint32_t j = 0; j < seen; j += LANES) {
        vf_store(prob + j, vf_mul(vf_load(prob + j), share));
    }
    vf out = vf_all(0);
    const float *v = l->v + from * keys + head * TAPE_HEAD;
    for (uint32_t j = 0; j < seen; j++, v += keys) {
        out = plus(out, vf_load(v), prob[j]);
    }
    vf_store(l->ao + i * keys + head * TAPE_HEAD, out);
}

LANES_INLINE void attend_back_one(struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t keys = (size_t)s->heads * TAPE_HEAD;
    size_t own = (i * s->heads + head) * 2 * TAPE_HEAD;
    const float *prob = l->prob + (i * s->heads + head) * t->window;
    const float *dout = t->dao + i * keys + head * TAPE_HEAD;
    uint32_t seen = t->seen[i];
    size_t from = i + 1 - seen;
    vf q = vf_load(l->q + own);
    vf qr = vf_load(l->q + own + TAPE_HEAD);
    vf dq = vf_all(0);
    vf dqr = vf_all(0);
    vf g = vf_load(dout);
    /* sum over j of p_j dp_j is the product of the output and its gradient */
    vf mean = vf_all(vf_sum(vf_mul(g, vf_load(l->ao + i * keys + head * TAPE_HEAD))));
    for (uint32_t j = 0; j < seen; j += LANES) {
        const float *vt = t->kt + head * TAPE_HEAD * t->stride + from + j;
        float each[LANES];
        vf ds = vf_all(0);
        for (size_t d = 0; d < TAPE_HEAD; d++) {
            ds = plus(ds, vf_load(vt + d * t->stride), dout[d]);
        }
        ds = vf_mul(vf_mul(vf_load(prob + j), vf_sub(ds, mean)),
                    vf_all(1.0F / sqrtf(2.0F * TAPE_HEAD)));
        vf_store(each, ds);
        for (uint32_t k = 0; k < LANES && j + k < seen; k++) {
            size_t row = from + j + k;
            size_t key = row * keys + head * TAPE_HEAD;
            add_to(t->dv + key, g, prob[j + k]);
            dq = plus(dq, vf_load(l->kc + key), each[k]);
            add_to(t->dkc + key, q, each[k]);
            dqr = plus(dqr, vf_load(l->kr + row * TAPE_HEAD), each[k]);
            add_to(t->dkr + row * TAPE_HEAD, qr, each[k]);
        }
    }
    vf_store(t->dq + own, dq);
    vf_store(t->dq + own + TAPE_HEAD, dqr);
}

static inline void body_attend(const struct tape *t, const struct tape_layer *l)
{
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < t->shape.heads; head++) {
            attend_one(t, l, i, head);
        }
    }
}

static inline void body_attend_back(struct tape *t, const struct tape_layer *l)
{
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < t->shape.heads; head++) {
            attend_back_one(t, l, i, head);
        }
    }
}

/* h [many vectors] = bias + keep * sum of n table rows */
LANES_INLINE void sum_some(size_t many, const float *table, const uint32_t *row, size_t n,
                           size_t width, float keep, const float *bias, float *h)
{
    vf sum[SIX];
    for (size_t v = 0; v < many; v++) {
        sum[v] = vf_all(0);
    }
    for (size_t r = 0; r < n; r++) {
        const float *from = table + row[r] * width;
        for (size_t v = 0; v < many; v++) {
            sum[v] = vf_add(sum[v], vf_load(from + v * LANES));
        }
    }
    for (size_t v = 0; v < many; v++) {
        vf_store(h + v * LANES, plus(vf_load(bias + v * LANES), sum[v], keep));
    }
}

/* n table rows [many vectors] += keep * dh */
LANES_INLINE void add_some(size_t many, float *table, const uint32_t *row, size_t n, size_t width,
                           float keep, const float *dh)
{
    vf own[SIX];
    for (size_t v = 0; v < many; v++) {
        own[v] = vf_mul(vf_load(dh + v * LANES), vf_all(keep));
    }
    for (size_t r = 0; r < n; r++) {
        float *to = table + row[r] * width;
        for (size_t v = 0; v < many; v++) {
            vf_store(to + v * LANES, vf_add(vf_load(to + v * LANES), own[v]));
        }
    }
}

static inline void body_look_up(struct tape *t, const float *table, const float *bias, float keep)
{
    size_t width = t->shape.width;
    for (size_t i = 0; i < t->tokens; i++) {
        const uint32_t *row = t->table_row + i * t->shape.columns;
        float *h = t->h[0] + i * width;
        size_t n = t->kept[i];
        size_t k = 0;
        for (; k + SIX * LANES <= width; k += SIX * LANES) {
            sum_some(SIX, table + k, row, n, width, keep, bias + k, h + k);
        }
        for (; k + FOUR * LANES <= width; k += FOUR * LANES) {
            sum_some(FOUR, table + k, row, n, width, keep, bias + k, h + k);
        }
        for (; k + LANES <= width; k += LANES) {
            sum_some(1, table + k, row, n, width, keep, bias + k, h + k);
        }
        for (; k < width; k++) {
            float sum = 0;
            for (size_t r = 0; r < n; r++) {
                sum += table[row[r] * width + k];
            }
            h[k] = bias[k] + sum * keep;
        }
    }
}

static inline void body_spread(const struct tape *t, float *table, float *bias, float keep)
{
    size_t width = t->shape.width;
    for (size_t i = 0; i < t->tokens; i++) {
        const uint32_t *row = t->table_row + i * t->shape.columns;
        const float *dh = t->dh + i * width;
        size_t n = t->kept[i];
        size_t k = 0;
        for (; k + SIX * LANES <= width; k += SIX * LANES) {
            add_some(SIX, table + k, row, n, width, keep, dh + k);
        }
        for (; k + FOUR * LANES <= width; k += FOUR * LANES) {
            add_some(FOUR, table + k, row, n, width, keep, dh + k);
        }
        for (; k + LANES <= width; k += LANES) {
            add_some(1, table + k, row, n, width, keep, dh + k);
        }
        for (; k < width; k++) {
            for (size_t r = 0; r < n; r++) {
                table[row[r] * width + k] += dh[k] * keep;
            }
        }
        for (k = 0; k < width; k++) {
            bias[k] += dh[k];
        }
    }
}

static inline void body_swiglu(size_t n, size_t hidden, const float *uv, float *act)
{
    for (size_t i = 0; i < n; i++, uv += 2 * hidden, act += hidden) {
        const float *v = uv + hidden;
        size_t k = 0;
        for (; k + LANES <= hidden; k += LANES) {
            vf u = vf_load(uv + k);
            vf_store(act + k, vf_mul(vf_mul(u, vf_sigmoid(u)), vf_load(v + k)));
        }
        for (; k < hidden; k++) {
            act[k] = uv[k] * tape_sigmoid(uv[k]) * v[k];
        }
    }
}

static inline void body_swiglu_back(size_t n, size_t hidden, const float *uv, const float *dact,
                                    float *duv)
{
    for (size_t i = 0; i < n; i++, uv += 2 * hidden, dact += hidden, duv += 2 * hidden) {
        size_t k = 0;
        for (; k + LANES <= hidden; k += LANES) {
            vf one = vf_all(1);
            vf u = vf_load(uv + k);
            vf d = vf_load(dact + k);
            vf s = vf_sigmoid(u);
            vf slope = vf_add(one, vf_mul(u, vf_sub(one, s)));
            vf_store(duv + k, vf_mul(vf_mul(vf_mul(d, vf_load(uv + hidden + k)), s), slope));
            vf_store(duv + hidden + k, vf_mul(vf_mul(d, u), s));
        }
        for (; k < hidden; k++) {
            float s = tape_sigmoid(uv[k]);
            duv[k] = dact[k] * uv[hidden + k] * s * (1 + uv[k] * (1 - s));
            duv[hidden + k] = dact[k] * uv[k] * s;
        }
    }
}

static inline float body_squares(const float *x, size_t n)
{
    vf sum = vf_all(0);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        sum = vf_add(sum, vf_mul(v, v));
    }
    float rest = 0;
    for (; i < n; i++) {
        rest += x[i] * x[i];
    }
    return vf_sum(sum) + rest;
}

static inline void body_adam(const struct adam_rates *r, size_t n, const float *g, float *m,
                             float *v, float *w, float *ema)
{
    float new1 = 1 - r->beta1;
    float new2 = 1 - r->beta2;
    float fresh = 1 - r->stay;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf own = vf_load(g + i);
        vf first = plus(vf_mul(own, vf_all(new1)), vf_load(m + i), r->beta1);
        vf second = plus(vf_mul(vf_mul(own, vf_all(new2)), own), vf_load(v + i), r->beta2);
        vf size = vf_add(vf_mul(vf_sqrt(second), vf_all(r->root)), vf_all(r->epsilon));
        vf step = vf_div(vf_mul(first, vf_all(r->rate)), size);
        vf at = vf_sub(vf_mul(vf_load(w + i), vf_all(r->keep)), step);
        vf_store(m + i, first);
        vf_store(v + i, second);
        vf_store(w + i, at);
        vf_store(ema + i, plus(vf_mul(at, vf_all(fresh)), vf_load(ema + i), r->stay));
    }
    for (; i < n; i++) {
        m[i] = r->beta1 * m[i] + new1 * g[i];
        v[i] = r->beta2 * v[i] + new2 * g[i] * g[i];
        w[i] = w[i] * r->keep - r->rate * m[i] / (sqrtf(v[i]) * r->root + r->epsilon);
        ema[i] = r->stay * ema[i] + fresh * w[i];
    }
}

#define TRAIN_LOOPS_OF(name)                                                                       \
    {                                                                                              \
        name, usable, body_attend, body_attend_back, body_look_up, body_spread, body_swiglu,       \
            body_swiglu_back, body_squares, body_adam                                              \
    }

#endif
