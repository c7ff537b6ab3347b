/* Attention of every token over the tokens it sees.
 *
 * Two ways to the same numbers up to rounding: plain loops for any size, and for heads of sixteen
 * floats, as the product has, vectors of sixteen: there products with keys are taken for sixteen
 * seen tokens at a time from keys that lie transposed (a column a token), and everything summed
 * over tokens stays in registers. */
#include <math.h>
#include <string.h>

#include "model/tape.h"
#include "model/tape_lanes.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"

static bool has_lanes(const struct net_shape *s)
{
    return s->head_dim == LANES && s->rope == LANES;
}

/* One token and head, plain. */
static void attend(const struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t hd = s->head_dim;
    size_t rope = s->rope;
    size_t keys = s->heads * hd;
    const float *q = l->q + i * (keys + s->heads * rope) + head * (hd + rope);
    float *prob = l->prob + (i * s->heads + head) * t->window;
    float *out = l->ao + i * keys + head * hd;
    uint32_t seen = t->seen[i];
    size_t from = i + 1 - seen;
    float scale = 1.0F / sqrtf((float)(hd + rope));
    float top = -INFINITY;
    for (uint32_t j = 0; j < seen; j++) {
        prob[j] = (tape_dot(q, l->kc + (from + j) * keys + head * hd, hd) +
                   tape_dot(q + hd, l->kr + (from + j) * rope, rope)) *
                  scale;
        top = prob[j] > top ? prob[j] : top;
    }
    float sum = 0;
    for (uint32_t j = 0; j < seen; j++) {
        prob[j] = det_expf_inline(prob[j] - top);
        sum += prob[j];
    }
    memset(out, 0, hd * sizeof *out);
    for (uint32_t j = 0; j < seen; j++) {
        prob[j] /= sum;
        tape_axpy(out, prob[j], l->v + (from + j) * keys + head * hd, hd);
    }
}

/* One token and head, plain: adds to the keys, values and query it saw. */
static void attend_back(struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t hd = s->head_dim;
    size_t rope = s->rope;
    size_t keys = s->heads * hd;
    size_t own = i * (keys + s->heads * rope) + head * (hd + rope);
    const float *q = l->q + own;
    float *dq = t->dq + own;
    const float *prob = l->prob + (i * s->heads + head) * t->window;
    const float *dout = t->dao + i * keys + head * hd;
    /* sum over j of p_j dp_j is the product of the output and its gradient */
    float mean = tape_dot(dout, l->ao + i * keys + head * hd, hd);
    float scale = 1.0F / sqrtf((float)(hd + rope));
    size_t from = i + 1 - t->seen[i];
    memset(dq, 0, (hd + rope) * sizeof *dq);
    for (size_t j = from; j <= i; j++) {
        float p = prob[j - from];
        size_t key = j * keys + head * hd;
        float ds = p * (tape_dot(dout, l->v + key, hd) - mean) * scale;
        tape_axpy(t->dv + key, p, dout, hd);
        tape_axpy(dq, ds, l->kc + key, hd);
        tape_axpy(t->dkc + key, ds, q, hd);
        tape_axpy(dq + hd, ds, l->kr + j * rope, rope);
        tape_axpy(t->dkr + j * rope, ds, q + hd, rope);
    }
}

/* exp of sixteen, as det_expf_inline for arguments of at most 88 */
static inline __attribute__((always_inline)) void exp_lanes(lanes *v)
{
    lanes x = *v;
    lanes low = (lanes){0} + DET_EXPF_LOW;
    lane_marks above = x > low;
    x = (lanes)(((lane_marks)x & above) | ((lane_marks)low & ~above));
    lanes shifted = x * DET_EXPF_LOG2E + DET_EXPF_ROUND;
    lanes n = shifted - DET_EXPF_ROUND;
    lanes r = x - n * DET_EXPF_LN2_HIGH;
    r = r - n * DET_EXPF_LN2_LOW;
    lanes p = r * DET_EXPF_P0 + DET_EXPF_P1;
    p = p * r + DET_EXPF_P2;
    p = p * r + DET_EXPF_P3;
    p = p * r + DET_EXPF_P4;
    p = p * r + DET_EXPF_P5;
    p = p * (r * r) + r;
    p = p + 1.0F;
    lane_marks bits = ((lane_marks)shifted << 23) + 0x3f800000;
    *v = p * (lanes)bits;
}

static inline __attribute__((always_inline)) float sum_lanes(const lanes *v)
{
    float x[LANES];
    memcpy(x, v, sizeof x);
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            x[k] += x[k + half];
        }
    }
    return x[0];
}

static inline __attribute__((always_inline)) float top_lane(const lanes *v)
{
    float x[LANES];
    memcpy(x, v, sizeof x);
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t k = 0; k < half; k++) {
            x[k] = x[k] > x[k + half] ? x[k] : x[k + half];
        }
    }
    return x[0];
}

/* Lanes at or after `count` become `other`. */
static inline __attribute__((always_inline)) void keep_first(lanes *v, uint32_t count, float other)
{
    const lane_marks place = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    lane_marks kept = place < (lane_marks){0} + (int32_t)count;
    lanes fill = (lanes){0} + other;
    *v = (lanes)(((lane_marks)*v & kept) | ((lane_marks)fill & ~kept));
}

/* Transposed: t->kt [keys, stride], t->krt [rope, stride]; see tape.h. */
static inline __attribute__((always_inline)) void
attend_lanes(const struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t keys = (size_t)s->heads * LANES;
    const float *q = l->q + (i * s->heads + head) * 2 * LANES;
    float *prob = l->prob + (i * s->heads + head) * t->window;
    uint32_t seen = t->seen[i];
    size_t from = i + 1 - seen;
    float scale = 1.0F / sqrtf(2.0F * LANES);
    float top = -INFINITY;
    for (uint32_t j = 0; j < seen; j += LANES) {
        const float *kt = t->kt + head * LANES * t->stride + from + j;
        const float *krt = t->krt + from + j;
        lanes content = {0};
        lanes turned = {0};
        for (size_t d = 0; d < LANES; d++) {
            content += *lanes_at(kt + d * t->stride) * q[d];
            turned += *lanes_at(krt + d * t->stride) * q[LANES + d];
        }
        content = (content + turned) * scale;
        keep_first(&content, seen - j, -INFINITY);
        *lanes_to(prob + j) = content;
        float most = top_lane(&content);
        top = most > top ? most : top;
    }
    float sum = 0;
    for (uint32_t j = 0; j < seen; j += LANES) {
        lanes p = *lanes_at(prob + j) - top;
        exp_lanes(&p);
        keep_first(&p, seen - j, 0);
        *lanes_to(prob + j) = p;
        sum += sum_lanes(&p);
    }
    float share = 1.0F / sum;
    lanes out = {0};
    for (uint32_t j = 0; j < seen; j += LANES) {
        *lanes_to(prob + j) *= share;
    }
    const float *v = l->v + from * keys + head * LANES;
    for (uint32_t j = 0; j < seen; j++, v += keys) {
        out += *lanes_at(v) * prob[j];
    }
    *lanes_to(l->ao + i * keys + head * LANES) = out;
}

/* Here t->kt holds the values transposed. */
static inline __attribute__((always_inline)) void
attend_back_lanes(struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t keys = (size_t)s->heads * LANES;
    size_t own = (i * s->heads + head) * 2 * LANES;
    const float *prob = l->prob + (i * s->heads + head) * t->window;
    const float *dout = t->dao + i * keys + head * LANES;
    uint32_t seen = t->seen[i];
    size_t from = i + 1 - seen;
    lanes q = *lanes_at(l->q + own);
    lanes qr = *lanes_at(l->q + own + LANES);
    lanes dq = {0};
    lanes dqr = {0};
    lanes g = *lanes_at(dout);
    lanes product = g * *lanes_at(l->ao + i * keys + head * LANES);
    /* sum over j of p_j dp_j is the product of the output and its gradient */
    float mean = sum_lanes(&product);
    for (uint32_t j = 0; j < seen; j += LANES) {
        const float *vt = t->kt + head * LANES * t->stride + from + j;
        lanes ds = {0};
        float each[LANES];
        for (size_t d = 0; d < LANES; d++) {
            ds += *lanes_at(vt + d * t->stride) * dout[d];
        }
        ds = *lanes_at(prob + j) * (ds - mean) * (1.0F / sqrtf(2.0F * LANES));
        memcpy(each, &ds, sizeof each);
        for (uint32_t k = 0; k < LANES && j + k < seen; k++) {
            size_t row = from + j + k;
            size_t key = row * keys + head * LANES;
            *lanes_to(t->dv + key) += g * prob[j + k];
            dq += *lanes_at(l->kc + key) * each[k];
            *lanes_to(t->dkc + key) += q * each[k];
            dqr += *lanes_at(l->kr + row * LANES) * each[k];
            *lanes_to(t->dkr + row * LANES) += qr * each[k];
        }
    }
    *lanes_to(t->dq + own) = dq;
    *lanes_to(t->dq + own + LANES) = dqr;
}

static TAPE_CLONES void attend_all_lanes(const struct tape *t, const struct tape_layer *l)
{
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < t->shape.heads; head++) {
            attend_lanes(t, l, i, head);
        }
    }
}

static TAPE_CLONES void attend_back_all_lanes(struct tape *t, const struct tape_layer *l)
{
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < t->shape.heads; head++) {
            attend_back_lanes(t, l, i, head);
        }
    }
}

/* to [cols, stride] = from [n, cols] transposed */
static void transpose(size_t n, size_t cols, const float *from, float *to, size_t stride)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < cols; k++) {
            to[k * stride + i] = from[i * cols + k];
        }
    }
}

/* t->kt [keys, stride] = W c', the keys or values of all tokens transposed */
static void transposed_map(struct tape *t, const struct tape_layer *l, const float *w)
{
    const struct net_shape *s = &t->shape;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(s->heads * s->head_dim),
                (int)t->tokens, (int)s->rank, 1, w, (int)s->rank, l->c, (int)s->rank, 0, t->kt,
                (int)t->stride);
}

void tape_attend(struct tape *t, const struct tape_net *net, uint32_t layer)
{
    struct tape_layer *l = &t->layer[layer];
    if (has_lanes(&t->shape)) {
        transposed_map(t, l, tape_param(net, NET_UK, layer));
        transpose(t->tokens, LANES, l->kr, t->krt, t->stride);
        attend_all_lanes(t, l);
        return;
    }
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < t->shape.heads; head++) {
            attend(t, l, i, head);
        }
    }
}

void tape_attend_back(struct tape *t, const struct tape_net *net, uint32_t layer)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t keys = (size_t)s->heads * s->head_dim;
    memset(t->dkc, 0, t->tokens * keys * sizeof *t->dkc);
    memset(t->dv, 0, t->tokens * keys * sizeof *t->dv);
    memset(t->dkr, 0, t->tokens * s->rope * sizeof *t->dkr);
    if (has_lanes(s)) {
        transposed_map(t, l, tape_param(net, NET_UV, layer));
        attend_back_all_lanes(t, l);
        return;
    }
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < s->heads; head++) {
            attend_back(t, l, i, head);
        }
    }
}
