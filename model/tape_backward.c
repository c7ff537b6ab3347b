/* Losses and backward pass of training: the derivatives of tape_forward.c, last step first. */
#include <math.h>
#include <string.h>

#include "model/bins.h"
#include "model/tape.h"
#include "model/tape_clones.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"
#include "model/train_loops.h"

/* dlogit of the weighted cross entropy. */
static void label_loss(struct tape *t, const struct tape_data *data, struct tape_loss *loss)
{
    for (size_t i = 0; i < t->tokens; i++) {
        double w = t->counted[i] ? (double)data->rows->weight[t->row[i]] : 0;
        t->dlogit[i] = 0;
        if (w > 0) {
            double z = (double)t->logit[i];
            size_t row = t->row[i];
            double y = data->target != NULL ? (double)data->target[row] : data->rows->label[row];
            double small = exp(-fabs(z));
            loss->label_sum += w * ((z > 0 ? z : 0) + log1p(small) - y * z);
            double p = z > 0 ? 1 / (1 + small) : small / (1 + small);
            t->dlogit[i] = (float)(w * loss->label_scale * (p - y));
        }
    }
}

/* Replaces the predictions in t->next by their gradient. */
static TAPE_CLONES void next_loss(struct tape *t, const struct tape_data *data,
                                  struct tape_loss *loss)
{
    size_t d = t->shape.columns;
    float scale = (float)(2 * loss->next_scale);
    size_t i = 0;
    for (size_t p = 0; p < t->pieces; p++) {
        for (uint32_t k = 0; k + 1 < t->piece[p].len; k++, i++) {
            const float *x = data->rows->x + (t->row[i] + 1) * d;
            float *next = t->next + i * d;
            float sum = 0;
            for (uint32_t c = 0; c < d; c++) {
                float miss = next[c] - bins_standardise(data->encoding, c, x[c]);
                sum += miss * miss;
                next[c] = scale * miss;
            }
            loss->next_sum += (double)sum;
        }
        memset(t->next + i * d, 0, d * sizeof *t->next);
        i++;
    }
}

/* What y = x r w was computed from: n rows of `width` floats, x and dx rows `stride` apart. */
struct normed {
    size_t n, width, stride;
    const float *x, *r, *w;
};

/* dx (+)= the gradient of x through dy [n, width]; dw += the one of w. */
static TAPE_CLONES void rmsnorm_back(const struct normed *y, const float *dy, float *dx, bool add,
                                     float *dw)
{
    size_t width = y->width;
    for (size_t i = 0; i < y->n; i++) {
        const float *row = y->x + i * y->stride;
        const float *g = dy + i * width;
        float *to = dx + i * y->stride;
        float r = y->r[i];
        float wg[1024]; /* the largest width */
        for (size_t k = 0; k < width; k++) {
            wg[k] = y->w[k] * g[k];
            dw[k] += g[k] * row[k] * r;
        }
        float a = tape_dot(wg, row, width) * r * r * r / (float)width;
        for (size_t k = 0; k < width; k++) {
            to[k] = wg[k] * r - row[k] * a + (add ? to[k] : 0);
        }
    }
}

/* Gradient of the gates' logits, of every expert's output and of the weights g. */
static TAPE_CLONES void gates_back(struct tape *t, uint32_t layer)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    memset(t->dgate, 0, t->tokens * s->experts * sizeof *t->dgate);
    for (size_t i = 0; i < t->tokens; i++) {
        const float *df = t->df + i * s->width;
        const float *gate = l->gate + i * s->experts;
        const float *g = l->g + i * s->top;
        float dg[8]; /* the largest top */
        float mean = 0;
        float sum = 1e-9F;
        for (uint32_t k = 0; k < s->top; k++) {
            size_t slot = l->slot[i * s->top + k];
            dg[k] = tape_dot(df, l->eout + slot * s->width, s->width);
            mean += dg[k] * g[k];
            sum += gate[l->chosen[i * s->top + k]];
            for (size_t c = 0; c < s->width; c++) {
                t->deout[slot * s->width + c] = g[k] * df[c];
            }
        }
        for (uint32_t k = 0; k < s->top; k++) {
            uint32_t x = l->chosen[i * s->top + k];
            t->dgate[i * s->experts + x] = (dg[k] - mean) / sum * gate[x] * (1 - gate[x]);
        }
    }
}

static void routed_back(struct tape *t, const struct tape_net *net, uint32_t layer, float *grad)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t width = s->width;
    size_t hidden = s->expert_hidden;
    for (uint32_t x = 0; x < s->experts; x++) {
        size_t at = l->expert_first[x];
        size_t m = l->expert_first[x + 1] - at;
        size_t w1 = (size_t)x * 2 * hidden * width;
        size_t w2 = (size_t)x * hidden * width;
        float *deout = t->deout + at * width;
        float *deact = t->deact + at * hidden;
        float *deuv = t->deuv + at * 2 * hidden;
        tape_linear_dw(m, hidden, width, deout, l->eact + at * hidden,
                       tape_grad(net, grad, NET_W2, layer) + w2);
        tape_linear_dx(m, hidden, width, deout, tape_param(net, NET_W2, layer) + w2, deact, 0);
        t->loops->swiglu_back(m, hidden, l->euv + at * 2 * hidden, deact, deuv);
        tape_linear_dw(m, width, 2 * hidden, deuv, l->xg + at * width,
                       tape_grad(net, grad, NET_W1, layer) + w1);
        tape_linear_dx(m, width, 2 * hidden, deuv, tape_param(net, NET_W1, layer) + w1, deout, 0);
    }
    for (size_t i = 0; i < t->tokens; i++) {
        for (uint32_t k = 0; k < s->top; k++) {
            size_t slot = l->slot[i * s->top + k];
            tape_axpy(t->dn + i * width, 1, t->deout + slot * width, width);
        }
    }
}

/* dh: gradient of the layer's output on entry, of `mid` on return. */
static void experts_back(struct tape *t, const struct tape_net *net, uint32_t layer,
                         const struct tape_drop *drop, float *grad)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t n = t->tokens;
    size_t width = s->width;
    size_t shared = s->shared_hidden;
    memcpy(t->df, t->dh, n * width * sizeof *t->df);
    tape_drop_rows(t, drop, 2 + 2 * layer, t->df);
    tape_linear_dw(n, shared, width, t->df, l->sact, tape_grad(net, grad, NET_S2, layer));
    tape_linear_dx(n, shared, width, t->df, tape_param(net, NET_S2, layer), t->dsact, 0);
    t->loops->swiglu_back(n, shared, l->suv, t->dsact, t->dsuv);
    tape_linear_dw(n, width, 2 * shared, t->dsuv, l->n2, tape_grad(net, grad, NET_S1, layer));
    tape_linear_dx(n, width, 2 * shared, t->dsuv, tape_param(net, NET_S1, layer), t->dn, 0);
    gates_back(t, layer);
    tape_linear_dw(n, width, s->experts, t->dgate, l->n2, tape_grad(net, grad, NET_GATE, layer));
    tape_linear_dx(n, width, s->experts, t->dgate, tape_param(net, NET_GATE, layer), t->dn, 1);
    routed_back(t, net, layer, grad);
    const struct normed y = {n, width, width, l->mid, l->r2, tape_param(net, NET_NORM2, layer)};
    rmsnorm_back(&y, t->dn, t->dh, true, tape_grad(net, grad, NET_NORM2, layer));
}

/* From t->dao to dq and ddown's rotary part before rotation, dkc and dv. */
static void mix_back(struct tape *t, const struct tape_net *net, uint32_t layer)
{
    const struct net_shape *s = &t->shape;
    size_t n = t->tokens;
    size_t half = s->rope / 2;
    size_t per_head = (size_t)s->head_dim + s->rope;
    tape_attend_back(t, net, layer);
    for (size_t i = 0; i < n; i++) {
        const float *c = t->cos + i * half;
        const float *sine = t->sin + i * half;
        for (size_t head = 0; head < s->heads; head++) {
            tape_rotate(t->dq + (i * s->heads + head) * per_head + s->head_dim, c, sine, half, -1);
        }
        tape_rotate(t->dkr + i * s->rope, c, sine, half, -1);
        memcpy(t->ddown + i * (s->rank + s->rope) + s->rank, t->dkr + i * s->rope,
               s->rope * sizeof(float));
    }
}

/* dh: gradient of `mid` on entry, of the layer's input on return. */
static void attention_back(struct tape *t, const struct tape_net *net, uint32_t layer,
                           const struct tape_drop *drop, float *grad)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t n = t->tokens;
    size_t width = s->width;
    size_t keys = (size_t)s->heads * s->head_dim;
    size_t queries = keys + (size_t)s->heads * s->rope;
    memcpy(t->df, t->dh, n * width * sizeof *t->df);
    tape_drop_rows(t, drop, 1 + 2 * layer, t->df);
    tape_linear_dw(n, keys, width, t->df, l->ao, tape_grad(net, grad, NET_O, layer));
    tape_linear_dx(n, keys, width, t->df, tape_param(net, NET_O, layer), t->dao, 0);
    mix_back(t, net, layer);
    tape_linear_dw(n, s->rank, keys, t->dkc, l->c, tape_grad(net, grad, NET_UK, layer));
    tape_linear_dw(n, s->rank, keys, t->dv, l->c, tape_grad(net, grad, NET_UV, layer));
    tape_linear_dx(n, s->rank, keys, t->dkc, tape_param(net, NET_UK, layer), t->dc, 0);
    tape_linear_dx(n, s->rank, keys, t->dv, tape_param(net, NET_UV, layer), t->dc, 1);
    const struct normed latent = {n,       s->rank, s->rank + s->rope,
                                  l->down, l->rc,   tape_param(net, NET_LATENT_NORM, layer)};
    rmsnorm_back(&latent, t->dc, t->ddown, false, tape_grad(net, grad, NET_LATENT_NORM, layer));
    tape_linear_dw(n, width, queries, t->dq, l->n1, tape_grad(net, grad, NET_Q, layer));
    tape_linear_dx(n, width, queries, t->dq, tape_param(net, NET_Q, layer), t->dn, 0);
    tape_linear_dw(n, width, s->rank + s->rope, t->ddown, l->n1,
                   tape_grad(net, grad, NET_DOWN, layer));
    tape_linear_dx(n, width, s->rank + s->rope, t->ddown, tape_param(net, NET_DOWN, layer), t->dn,
                   1);
    const struct normed y = {n,           width, width,
                             t->h[layer], l->r1, tape_param(net, NET_NORM1, layer)};
    rmsnorm_back(&y, t->dn, t->dh, true, tape_grad(net, grad, NET_NORM1, layer));
}

/* From the two losses to dh, the gradient of the last residual. */
static void heads_back(struct tape *t, const struct tape_net *net, float *grad)
{
    const struct net_shape *s = &t->shape;
    size_t n = t->tokens;
    const float *head = tape_param(net, NET_HEAD_W, 0);
    float *dhead = tape_grad(net, grad, NET_HEAD_W, 0);
    tape_linear_dw(n, s->width, s->columns, t->next, t->out, tape_grad(net, grad, NET_NEXT, 0));
    tape_linear_dx(n, s->width, s->columns, t->next, tape_param(net, NET_NEXT, 0), t->dn, 0);
    for (size_t i = 0; i < n; i++) {
        tape_axpy(t->dn + i * s->width, t->dlogit[i], head, s->width);
        tape_axpy(dhead, t->dlogit[i], t->out + i * s->width, s->width);
        *tape_grad(net, grad, NET_HEAD_B, 0) += t->dlogit[i];
    }
    const struct normed y = {
        n, s->width, s->width, t->h[s->layers], t->rout, tape_param(net, NET_NORM_OUT, 0)};
    rmsnorm_back(&y, t->dn, t->dh, false, tape_grad(net, grad, NET_NORM_OUT, 0));
}

void tape_backward(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                   const struct tape_drop *drop, struct tape_loss *loss, float *grad)
{
    label_loss(t, data, loss);
    next_loss(t, data, loss);
    heads_back(t, net, grad);
    for (uint32_t layer = t->shape.layers; layer-- > 0;) {
        experts_back(t, net, layer, drop, grad);
        attention_back(t, net, layer, drop, grad);
    }
    tape_embed_back(t, net, drop, grad);
}
