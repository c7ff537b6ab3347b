#include "tests/support/tape_twin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins.h"
#include "model/tape_math.h"

#define MOST 64 /* of every size of a network here */

/* One row's state: what a later row of its card may look at. */
struct state {
    double h[MOST];
    double latent[NET_LAYERS_MAX][MOST];
    double key[NET_LAYERS_MAX][MOST]; /* rotated */
};

struct pass {
    const struct tape_twin *net;
    const struct tape_data *data;
    const struct tape_drop *drop;
    struct state *state; /* [rows of the piece] */
    double margin;
};

static const double *param(const struct tape_twin *n, enum net_tensor_kind kind, uint32_t layer)
{
    return n->params + n->layout.offset[kind][layer];
}

/* y [out] = w [out, in] x */
static void times(const double *w, size_t out, size_t in, const double *x, double *y)
{
    for (size_t i = 0; i < out; i++) {
        y[i] = 0;
        for (size_t k = 0; k < in; k++) {
            y[i] += w[i * in + k] * x[k];
        }
    }
}

static void normed(size_t n, const double *x, const double *w, double *y)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += x[i] * x[i];
    }
    double r = 1 / sqrt(square / (double)n + (double)NET_NORM_EPS);
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * r * w[i];
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void rotated(const struct pass *p, size_t row, double *x)
{
    size_t half = p->net->shape.rope / 2;
    float c[MOST];
    float s[MOST];
    net_rotation(p->data->rows->event_us[row], p->net->shape.rope, c, s);
    for (size_t k = 0; k < half; k++) {
        double a = x[k];
        double b = x[k + half];
        x[k] = a * (double)c[k] - b * (double)s[k];
        x[k + half] = a * (double)s[k] + b * (double)c[k];
    }
}

/* h += keep * y, keep drawn for the row and place */
static void add_residual(const struct pass *p, size_t row, uint32_t place, const double *y,
                         double *h)
{
    size_t width = p->net->shape.width;
    float keep[MOST];
    for (size_t k = 0; k < width; k++) {
        keep[k] = 1;
    }
    if (p->drop != NULL && p->drop->residual > 0) {
        tape_draw(p->drop->key, row, place, p->drop->residual, keep, width);
    }
    for (size_t k = 0; k < width; k++) {
        h[k] += (double)keep[k] * y[k];
    }
}

static void standardised(const struct tape_data *d, size_t row, double *out)
{
    const struct net_encoding *enc = d->encoding;
    for (uint32_t c = 0; c < enc->columns; c++) {
        double x = (double)d->rows->x[row * enc->columns + c];
        double v = (x - (double)enc->mean[c]) * (double)enc->inv_sd[c];
        out[c] = fmax(-(double)NET_INPUT_CLIP, fmin((double)NET_INPUT_CLIP, v));
    }
}

static void embedded(const struct pass *p, size_t row, double *h)
{
    const struct net_shape *s = &p->net->shape;
    const struct net_encoding *enc = p->data->encoding;
    double x[MOST];
    float keep[MOST];
    standardised(p->data, row, x);
    for (size_t c = 0; c < s->columns; c++) {
        keep[c] = 1;
    }
    if (p->drop != NULL && p->drop->input > 0) {
        tape_draw(p->drop->key, row, TAPE_DROP_INPUT, p->drop->input, keep, s->columns);
    }
    for (size_t c = 0; c < s->columns; c++) {
        x[c] *= (double)keep[c];
    }
    times(param(p->net, NET_INPUT_W, 0), s->width, s->columns, x, h);
    for (uint32_t c = 0; c < s->columns; c++) {
        float raw = p->data->rows->x[row * s->columns + c];
        uint32_t bin = 0;
        for (uint32_t i = enc->first_row[c] - c; i < enc->first_row[c + 1] - c - 1; i++) {
            bin += enc->edges[i] < raw;
        }
        if (enc->first_row[c + 1] - enc->first_row[c] == 1) {
            continue; /* a single bin tells nothing */
        }
        for (size_t k = 0; k < s->width; k++) {
            h[k] += (double)keep[c] *
                    param(p->net, NET_TABLE, 0)[(enc->first_row[c] + bin) * s->width + k];
        }
    }
    for (size_t k = 0; k < s->width; k++) {
        h[k] += param(p->net, NET_INPUT_B, 0)[k];
    }
}

/* One head's answer for the query [head_dim | rope] of the last of the rows that are seen. */
static void attended(const struct pass *p, uint32_t layer, uint32_t head, const double *q,
                     size_t from, size_t to, double *out)
{
    const struct net_shape *s = &p->net->shape;
    size_t block = (size_t)head * s->head_dim * s->rank;
    double score[MOST];
    double sum = 0;
    for (size_t j = from; j <= to; j++) {
        double key[MOST];
        times(param(p->net, NET_UK, layer) + block, s->head_dim, s->rank, p->state[j].latent[layer],
              key);
        double dot = 0;
        for (size_t k = 0; k < s->head_dim; k++) {
            dot += q[k] * key[k];
        }
        for (size_t k = 0; k < s->rope; k++) {
            dot += q[s->head_dim + k] * p->state[j].key[layer][k];
        }
        score[j - from] = exp(dot / sqrt((double)(s->head_dim + s->rope)));
        sum += score[j - from];
    }
    memset(out, 0, s->head_dim * sizeof *out);
    for (size_t j = from; j <= to; j++) {
        double value[MOST];
        times(param(p->net, NET_UV, layer) + block, s->head_dim, s->rank, p->state[j].latent[layer],
              value);
        for (size_t k = 0; k < s->head_dim; k++) {
            out[k] += score[j - from] / sum * value[k];
        }
    }
}

static void attention(struct pass *p, uint32_t layer, size_t at, size_t row)
{
    const struct net_shape *s = &p->net->shape;
    struct state *own = &p->state[at];
    double x[MOST];
    double q[MOST];
    double down[MOST];
    double heads[MOST];
    double y[MOST];
    normed(s->width, own->h, param(p->net, NET_NORM1, layer), x);
    times(param(p->net, NET_Q, layer), s->heads * (s->head_dim + s->rope), s->width, x, q);
    times(param(p->net, NET_DOWN, layer), s->rank + s->rope, s->width, x, down);
    normed(s->rank, down, param(p->net, NET_LATENT_NORM, layer), own->latent[layer]);
    memcpy(own->key[layer], down + s->rank, s->rope * sizeof(double));
    rotated(p, row, own->key[layer]);
    for (uint32_t head = 0; head < s->heads; head++) {
        double *own_q = q + head * (s->head_dim + s->rope);
        rotated(p, row, own_q + s->head_dim);
        attended(p, layer, head, own_q, at + 1 > s->window ? at + 1 - s->window : 0, at,
                 heads + head * s->head_dim);
    }
    times(param(p->net, NET_O, layer), s->width, s->heads * s->head_dim, heads, y);
    add_residual(p, row, 1 + 2 * layer, y, own->h);
}

/* y += scale * swiglu of x */
static void add_swiglu(size_t width, size_t hidden, const double *w1, const double *w2,
                       const double *x, double scale, double *y)
{
    double uv[2 * MOST];
    double act[MOST];
    double out[MOST];
    times(w1, 2 * hidden, width, x, uv);
    for (size_t k = 0; k < hidden; k++) {
        act[k] = uv[k] * sigmoid(uv[k]) * uv[hidden + k];
    }
    times(w2, width, hidden, act, out);
    for (size_t k = 0; k < width; k++) {
        y[k] += scale * out[k];
    }
}

static void experts(struct pass *p, uint32_t layer, size_t at, size_t row)
{
    const struct net_shape *s = &p->net->shape;
    double x[MOST];
    double y[MOST] = {0};
    double gate[MOST];
    bool chosen[MOST] = {false};
    double sum = 0;
    double least = INFINITY; /* in the ranking, of the chosen */
    double most = -INFINITY; /* of the others */
    normed(s->width, p->state[at].h, param(p->net, NET_NORM2, layer), x);
    add_swiglu(s->width, s->shared_hidden, param(p->net, NET_S1, layer),
               param(p->net, NET_S2, layer), x, 1, y);
    times(param(p->net, NET_GATE, layer), s->experts, s->width, x, gate);
    const float *balance = p->net->balance + (size_t)layer * s->experts;
    for (uint32_t i = 0; i < s->experts; i++) {
        gate[i] = sigmoid(gate[i]);
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        double own = gate[i] + (double)balance[i];
        uint32_t better = 0;
        for (uint32_t j = 0; j < s->experts; j++) {
            double other = gate[j] + (double)balance[j];
            better += other > own || (j < i && !(other < own));
        }
        chosen[i] = better < s->top;
        sum += chosen[i] ? gate[i] : 0;
        least = chosen[i] ? fmin(least, own) : least;
        most = chosen[i] ? most : fmax(most, own);
    }
    p->margin = fmin(p->margin, least - most);
    for (uint32_t i = 0; i < s->experts; i++) {
        if (chosen[i]) {
            size_t hidden = s->expert_hidden;
            add_swiglu(s->width, hidden, param(p->net, NET_W1, layer) + i * 2 * hidden * s->width,
                       param(p->net, NET_W2, layer) + i * hidden * s->width, x, gate[i] / sum, y);
        }
    }
    add_residual(p, row, 2 + 2 * layer, y, p->state[at].h);
}

static double next_error(const struct pass *p, size_t row, const double *out)
{
    const struct net_shape *s = &p->net->shape;
    double predicted[MOST];
    double x[MOST];
    double sum = 0;
    times(param(p->net, NET_NEXT, 0), s->columns, s->width, out, predicted);
    standardised(p->data, row + 1, x);
    for (size_t c = 0; c < s->columns; c++) {
        sum += (predicted[c] - x[c]) * (predicted[c] - x[c]);
    }
    return sum;
}

double tape_twin_loss(const struct tape_twin *net, const struct tape_data *data,
                      const struct piece *piece, size_t count, const struct tape_drop *drop,
                      const struct tape_loss *scale, double *out_logit, double *out_margin)
{
    const struct net_shape *s = &net->shape;
    struct pass p = {.net = net, .data = data, .drop = drop, .margin = INFINITY};
    double loss = 0;
    size_t done = 0;
    for (size_t i = 0; i < count; i++) {
        p.state = calloc(piece[i].len, sizeof *p.state);
        for (size_t at = 0; p.state != NULL && at < piece[i].len; at++, done++) {
            size_t row = piece[i].first + at;
            double out[MOST];
            embedded(&p, row, p.state[at].h);
            for (uint32_t layer = 0; layer < s->layers; layer++) {
                attention(&p, layer, at, row);
                experts(&p, layer, at, row);
            }
            normed(s->width, p.state[at].h, param(net, NET_NORM_OUT, 0), out);
            double z;
            times(param(net, NET_HEAD_W, 0), 1, s->width, out, &z);
            z += *param(net, NET_HEAD_B, 0);
            if (out_logit != NULL) {
                out_logit[done] = z;
            }
            if (at >= piece[i].context) {
                double y = data->target != NULL ? (double)data->target[row]
                                                : (double)data->rows->label[row];
                loss += scale->label_scale * (double)data->rows->weight[row] *
                        (y * log1p(exp(-z)) + (1 - y) * log1p(exp(z)));
            }
            if (at + 1 < piece[i].len) {
                loss += scale->next_scale * next_error(&p, row, out);
            }
        }
        free(p.state);
    }
    if (out_margin != NULL) {
        *out_margin = p.margin;
    }
    return loss;
}
