/* Attention of every token over the tokens it sees.
 *
 * Two ways to the same numbers up to rounding: plain loops for any size, and for heads of sixteen
 * floats, as the product has, those of train_loops.h, for which keys and values are transposed. */
#include <math.h>
#include <string.h>

#include "model/tape.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"
#include "model/train_loops.h"

static bool fits_loops(const struct net_shape *s)
{
    return s->head_dim == TAPE_HEAD && s->rope == TAPE_HEAD;
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
    if (fits_loops(&t->shape)) {
        transposed_map(t, l, tape_param(net, NET_UK, layer));
        transpose(t->tokens, TAPE_HEAD, l->kr, t->krt, t->stride);
        t->loops->attend(t, l);
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
    if (fits_loops(s)) {
        transposed_map(t, l, tape_param(net, NET_UV, layer));
        t->loops->attend_back(t, l);
        return;
    }
    for (size_t i = 0; i < t->tokens; i++) {
        for (size_t head = 0; head < s->heads; head++) {
            attend_back(t, l, i, head);
        }
    }
}
