/* Forward pass of training (net.h has the formulas). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "model/bins.h"
#include "model/tape.h"
#include "model/tape_math.h"

#define BLOCK 64 /* tokens whose vectors stay in the nearest cache while columns pass by */

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

/* Standardised values, table rows and rotations of every token. */
static void read_rows(struct tape *t, const struct tape_data *data, const struct tape_drop *drop)
{
    const struct net_encoding *enc = data->encoding;
    size_t d = t->shape.columns;
    size_t half = t->shape.rope / 2;
    bool drops = drop != NULL && drop->input > 0;
    for (size_t i = 0; i < t->tokens; i++) {
        const float *x = data->rows->x + t->row[i] * d;
        const uint8_t *bin = data->bins + t->row[i] * d;
        uint32_t *table_row = t->table_row + i * d;
        float *xs = t->xs + i * d;
        float keep[1024]; /* the most columns */
        if (drops) {
            tape_draw(drop->key, t->row[i], TAPE_DROP_INPUT, drop->input, keep, d);
        }
        for (uint32_t c = 0; c < d; c++) {
            float k = drops ? keep[c] : 1;
            xs[c] = bins_standardise(enc, c, x[c]) * k;
            table_row[c] = k > 0 ? enc->first_row[c] + bin[c] : UINT32_MAX;
        }
        net_rotation(data->rows->event_us[t->row[i]], t->shape.rope, t->cos + i * half,
                     t->sin + i * half);
    }
}

/* h = b + keep * sum of table rows + W xs */
static void embed(struct tape *t, const struct tape_net *net, const struct tape_drop *drop)
{
    size_t d = t->shape.columns;
    size_t width = t->shape.width;
    const float *table = tape_param(net, NET_TABLE, 0);
    const float *bias = tape_param(net, NET_INPUT_B, 0);
    float keep = tape_input_keep(drop);
    float *h = t->h[0];
    memset(h, 0, t->tokens * width * sizeof *h);
    for (size_t first = 0; first < t->tokens; first += BLOCK) {
        size_t end = first + BLOCK < t->tokens ? first + BLOCK : t->tokens;
        for (size_t c = 0; c < d; c++) {
            for (size_t i = first; i < end; i++) {
                uint32_t row = t->table_row[i * d + c];
                if (row != UINT32_MAX) {
                    tape_axpy(h + i * width, 1, table + row * width, width);
                }
            }
        }
        for (size_t i = first; i < end; i++) {
            for (size_t k = 0; k < width; k++) {
                h[i * width + k] = h[i * width + k] * keep + bias[k];
            }
        }
    }
    tape_linear(t->tokens, d, width, t->xs, tape_param(net, NET_INPUT_W, 0), h, 1);
}

/* y = x / rms(x) * w for n rows of `width` floats, x rows `stride` apart; r: inverse norms. */
static void rmsnorm(size_t n, size_t width, size_t stride, const float *x, const float *w, float *y,
                    float *r)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * stride;
        r[i] = 1.0F / sqrtf(tape_dot(row, row, width) / (float)width + NET_NORM_EPS);
        for (size_t k = 0; k < width; k++) {
            y[i * width + k] = row[k] * r[i] * w[k];
        }
    }
}

/* act [n, hidden] = silu(u) * v of uv [n, 2 hidden] */
static void swiglu(size_t n, size_t hidden, const float *uv, float *act)
{
    for (size_t i = 0; i < n; i++) {
        const float *u = uv + i * 2 * hidden;
        for (size_t k = 0; k < hidden; k++) {
            act[i * hidden + k] = u[k] * tape_sigmoid(u[k]) * u[hidden + k];
        }
    }
}

/* One token and head: probabilities over what it sees and the mix of their values. */
static void attend(const struct tape *t, const struct tape_layer *l, size_t i, size_t head)
{
    const struct net_shape *s = &t->shape;
    size_t hd = s->head_dim;
    size_t rope = s->rope;
    size_t keys = s->heads * hd;
    const float *q = l->q + i * (keys + s->heads * rope) + head * (hd + rope);
    float *prob = l->prob + (i * s->heads + head) * s->window;
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
    for (size_t i = 0; i < n; i++) {
        for (size_t head = 0; head < s->heads; head++) {
            attend(t, l, i, head);
        }
    }
    tape_linear(n, keys, width, l->ao, tape_param(net, NET_O, layer), l->mid, 0);
    tape_drop_rows(t, drop, 1 + 2 * layer, l->mid);
    tape_axpy(l->mid, 1, t->h[layer], n * width);
}

/* Gates of one token: its top experts by sigmoid + balance, weights normalised. */
static void choose(const struct net_shape *s, const float *gate, const float *balance,
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
        choose(s, l->gate + i * s->experts, net->balance + (size_t)layer * s->experts,
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
    swiglu(n, s->shared_hidden, l->suv, l->sact);
    tape_linear(n, s->shared_hidden, width, l->sact, tape_param(net, NET_S2, layer), out, 0);
    for (uint32_t x = 0; x < s->experts; x++) {
        size_t at = l->expert_first[x];
        size_t m = l->expert_first[x + 1] - at;
        tape_linear(m, width, 2 * hidden, l->xg + at * width,
                    tape_param(net, NET_W1, layer) + x * 2 * hidden * width,
                    l->euv + at * 2 * hidden, 0);
        swiglu(m, hidden, l->euv + at * 2 * hidden, l->eact + at * hidden);
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
    read_rows(t, data, drop);
    embed(t, net, drop);
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
