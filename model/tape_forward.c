/* Forward pass of training (net.h has the formulas). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "model/tape.h"
#include "model/tape_clones.h"
#include "model/tape_math.h"
#include "model/tape_parts.h"
#include "model/train_loops.h"

static void list_tokens(struct tape *t, const struct piece *piece, size_t count)
{
    size_t at = 0;
    t->piece = piece;
    t->pieces = count;
    for (size_t p = 0; p < count; p++) {
        for (uint32_t i = 0; i < piece[p].len; i++, at++) {
            t->row[at] = piece[p].first + i;
            t->seen[at] = i + 1 < t->shape.window ? i + 1 : t->shape.window;
            t->counted[at] = i >= piece[p].context;
        }
    }
    t->tokens = at;
}

/* y = x / rms(x) * w for n rows of `width` floats, x rows `stride` apart; r: inverse norms. */
static TAPE_CLONES void rmsnorm(size_t n, size_t width, size_t stride, const float *x,
                                const float *w, float *y, float *r)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * stride;
        r[i] = 1.0F / sqrtf(tape_dot(row, row, width) / (float)width + NET_NORM_EPS);
        for (size_t k = 0; k < width; k++) {
            y[i * width + k] = row[k] * r[i] * w[k];
        }
    }
}

/* mid = h + drop(W_o attention(rmsnorm(h))) */
static void attention(struct tape *t, const struct tape_net *net, uint32_t layer,
                      const struct tape_drop *drop)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t n = t->tokens;
    size_t width = s->width;
    size_t half = s->rope / 2;
    size_t keys = (size_t)s->heads * s->head_dim;
    size_t per_head = (size_t)s->head_dim + s->rope;
    rmsnorm(n, width, width, t->h[layer], tape_param(net, NET_NORM1, layer), l->n1, l->r1);
    tape_linear(n, width, s->heads * per_head, l->n1, tape_param(net, NET_Q, layer), l->q, 0);
    tape_linear(n, width, s->rank + s->rope, l->n1, tape_param(net, NET_DOWN, layer), l->down, 0);
    rmsnorm(n, s->rank, s->rank + s->rope, l->down, tape_param(net, NET_LATENT_NORM, layer), l->c,
            l->rc);
    tape_linear(n, s->rank, keys, l->c, tape_param(net, NET_UK, layer), l->kc, 0);
    tape_linear(n, s->rank, keys, l->c, tape_param(net, NET_UV, layer), l->v, 0);
    for (size_t i = 0; i < n; i++) {
        const float *c = t->cos + i * half;
        const float *sine = t->sin + i * half;
        memcpy(l->kr + i * s->rope, l->down + i * (s->rank + s->rope) + s->rank,
               s->rope * sizeof(float));
        tape_rotate(l->kr + i * s->rope, c, sine, half, 1);
        for (size_t head = 0; head < s->heads; head++) {
            tape_rotate(l->q + (i * s->heads + head) * per_head + s->head_dim, c, sine, half, 1);
        }
    }
    tape_attend(t, net, layer);
    tape_linear(n, keys, width, l->ao, tape_param(net, NET_O, layer), l->mid, 0);
    tape_drop_rows(t, drop, 1 + 2 * layer, l->mid);
    tape_axpy(l->mid, 1, t->h[layer], n * width);
}

void tape_choose(const struct net_shape *s, const float *gate, const float *balance,
                 uint32_t *chosen, float *g)
{
    uint64_t used = 0;
    float sum = 1e-9F;
    for (uint32_t k = 0; k < s->top; k++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t x = 0; x < s->experts; x++) {
            if ((used >> x & 1) == 0 &&
                (best == UINT32_MAX || gate[x] + balance[x] > gate[best] + balance[best])) {
                best = x;
            }
        }
        assert(best < s->experts);
        used |= UINT64_C(1) << best;
        chosen[k] = best;
        g[k] = gate[best];
        sum += g[k];
    }
    for (uint32_t k = 0; k < s->top; k++) {
        g[k] /= sum;
    }
}

/* Lets every token choose and gathers the tokens of each expert. */
static void route(struct tape *t, const struct tape_net *net, uint32_t layer)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    uint32_t *first = l->expert_first;
    uint32_t fill[64]; /* the most experts */
    memset(first, 0, (s->experts + 1) * sizeof *first);
    tape_linear(t->tokens, s->width, s->experts, l->n2, tape_param(net, NET_GATE, layer), l->gate,
                0);
    for (size_t i = 0; i < t->tokens * s->experts; i++) {
        l->gate[i] = tape_sigmoid(l->gate[i]);
    }
    for (size_t i = 0; i < t->tokens; i++) {
        tape_choose(s, l->gate + i * s->experts, net->balance + (size_t)layer * s->experts,
                    l->chosen + i * s->top, l->g + i * s->top);
        for (uint32_t k = 0; k < s->top; k++) {
            first[l->chosen[i * s->top + k] + 1]++;
        }
    }
    for (uint32_t x = 0; x < s->experts; x++) {
        fill[x] = first[x];
        first[x + 1] += first[x];
    }
    for (size_t i = 0; i < t->tokens; i++) {
        for (uint32_t k = 0; k < s->top; k++) {
            uint32_t slot = fill[l->chosen[i * s->top + k]]++;
            l->slot[i * s->top + k] = slot;
            memcpy(l->xg + (size_t)slot * s->width, l->n2 + i * s->width, s->width * sizeof(float));
        }
    }
}

/* h of the next layer = mid + drop(shared + sum of g * chosen expert) */
static void experts(struct tape *t, const struct tape_net *net, uint32_t layer,
                    const struct tape_drop *drop)
{
    const struct net_shape *s = &t->shape;
    struct tape_layer *l = &t->layer[layer];
    size_t n = t->tokens;
    size_t width = s->width;
    size_t hidden = s->expert_hidden;
    float *out = t->h[layer + 1];
    rmsnorm(n, width, width, l->mid, tape_param(net, NET_NORM2, layer), l->n2, l->r2);
    route(t, net, layer);
    tape_linear(n, width, 2 * (size_t)s->shared_hidden, l->n2, tape_param(net, NET_S1, layer),
                l->suv, 0);
    t->loops->swiglu(n, s->shared_hidden, l->suv, l->sact);
    tape_linear(n, s->shared_hidden, width, l->sact, tape_param(net, NET_S2, layer), out, 0);
    for (uint32_t x = 0; x < s->experts; x++) {
        size_t at = l->expert_first[x];
        size_t m = l->expert_first[x + 1] - at;
        tape_linear(m, width, 2 * hidden, l->xg + at * width,
                    tape_param(net, NET_W1, layer) + x * 2 * hidden * width,
                    l->euv + at * 2 * hidden, 0);
        t->loops->swiglu(m, hidden, l->euv + at * 2 * hidden, l->eact + at * hidden);
        tape_linear(m, hidden, width, l->eact + at * hidden,
                    tape_param(net, NET_W2, layer) + x * hidden * width, l->eout + at * width, 0);
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < s->top; k++) {
            tape_axpy(out + i * width, l->g[i * s->top + k],
                      l->eout + (size_t)l->slot[i * s->top + k] * width, width);
        }
    }
    tape_drop_rows(t, drop, 2 + 2 * layer, out);
    tape_axpy(out, 1, l->mid, n * width);
}

void tape_forward(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                  const struct piece *piece, size_t count, const struct tape_drop *drop, bool next)
{
    const struct net_shape *s = &t->shape;
    list_tokens(t, piece, count);
    tape_embed(t, net, data, drop);
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        attention(t, net, layer, drop);
        experts(t, net, layer, drop);
    }
    rmsnorm(t->tokens, s->width, s->width, t->h[s->layers], tape_param(net, NET_NORM_OUT, 0),
            t->out, t->rout);
    const float *head = tape_param(net, NET_HEAD_W, 0);
    for (size_t i = 0; i < t->tokens; i++) {
        t->logit[i] =
            tape_dot(t->out + i * s->width, head, s->width) + *tape_param(net, NET_HEAD_B, 0);
    }
    if (next) {
        tape_linear(t->tokens, s->width, s->columns, t->out, tape_param(net, NET_NEXT, 0), t->next,
                    0);
    }
}
