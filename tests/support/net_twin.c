#include "tests/support/net_twin.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/bins.h"

#define WIDTH_MAX 128
#define KEYS_MAX 256
#define ROPE_MAX 64
#define RANK_MAX 64
#define HIDDEN_MAX 256

/* What an event leaves for later ones, one layer. */
struct memory {
    double c[RANK_MAX];
    double kr[ROPE_MAX];
};

struct twin_stream {
    const struct train_result *r;
    struct net_layout layout;
    size_t n, room;
    struct memory *past; /* [room, layers] */
    bool absorbed;
    double margin;
};

static const float *tensor(const struct twin_stream *t, enum net_tensor_kind kind, uint32_t layer)
{
    return t->r->params + t->layout.offset[kind][layer];
}

static uint32_t random_edges(struct rng *rng, uint32_t count, float *out)
{
    double at = -3;
    for (uint32_t i = 0; i < count; i++) {
        at += rng_uniform(rng) * 6 / (count + 1) + 1e-3;
        out[i] = (float)at;
    }
    return count;
}

static void random_encoding(struct train_result *r, uint32_t active, uint32_t each, struct rng *rng)
{
    struct net_encoding *enc = &r->encoding;
    uint32_t d = r->shape.columns;
    enc->columns = d;
    enc->mean = calloc(d, sizeof *enc->mean);
    enc->inv_sd = calloc(d, sizeof *enc->inv_sd);
    enc->first_row = calloc(d + 1, sizeof *enc->first_row);
    enc->edges = calloc((size_t)d * 256, sizeof *enc->edges);
    assert(enc->mean != NULL && enc->inv_sd != NULL && enc->first_row != NULL &&
           enc->edges != NULL);
    uint32_t edges = 0;
    for (uint32_t c = 0; c < d; c++) {
        enc->first_row[c] = edges + c;
        if (c < active) {
            static const uint32_t counts[] = {20, 3, 15, 16, 17, 31, 32, 33, 1, 255};
            enc->mean[c] = (float)rng_normal(rng);
            enc->inv_sd[c] = (float)(0.2 + rng_uniform(rng));
            uint32_t count = each > 0 ? each : counts[c < 10 ? c : rng_below(rng, 5)];
            edges += random_edges(rng, count, enc->edges + edges);
        }
    }
    enc->first_row[d] = edges + d;
    r->shape.bins = edges + d;
}

/* Standard deviation of a tensor's random values: such that activations stay near 1. */
static double spread(const struct net_shape *s, enum net_tensor_kind kind)
{
    switch (kind) {
    case NET_INPUT_W:
        return 0.5 / sqrt(s->columns);
    case NET_TABLE:
        return 1 / sqrt(s->columns);
    case NET_UK:
    case NET_UV:
        return 1 / sqrt(s->rank);
    case NET_O:
        return 1 / sqrt((double)s->heads * s->head_dim);
    case NET_S2:
        return 2 / sqrt(s->shared_hidden);
    case NET_W2:
        return 2 / sqrt(s->expert_hidden);
    case NET_INPUT_B:
    case NET_HEAD_B:
        return 0.2;
    default:
        return 1 / sqrt(s->width);
    }
}

struct train_result *twin_random(const struct net_shape *shape, uint32_t active, uint32_t edges,
                                 uint64_t seed)
{
    struct train_result *r = calloc(1, sizeof *r);
    struct net_layout l;
    struct rng rng;
    struct errmsg e;
    assert(r != NULL);
    rng_init(&rng, seed);
    r->shape = *shape;
    random_encoding(r, active, edges, &rng);
    enum err err = net_layout_init(&l, &r->shape, &e);
    assert(err == ERR_OK);
    r->params = calloc(l.total, sizeof *r->params);
    r->raw_params = calloc(l.total, sizeof *r->raw_params);
    r->balance = calloc((size_t)shape->layers * shape->experts, sizeof *r->balance);
    r->fisher = calloc(l.total, sizeof *r->fisher);
    assert(r->params != NULL && r->raw_params != NULL && r->balance != NULL && r->fisher != NULL);
    r->fisher_rows = 100;
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        bool norm = k == NET_NORM1 || k == NET_NORM2 || k == NET_NORM_OUT || k == NET_LATENT_NORM;
        uint32_t copies = k >= NET_NORM1 && k <= NET_W2 ? shape->layers : 1;
        for (size_t i = 0; i < l.size[k] * copies; i++) {
            double v = rng_normal(&rng) * (norm ? 0.3 : spread(&r->shape, (enum net_tensor_kind)k));
            r->params[l.offset[k][0] + i] = (float)(v + norm);
            r->raw_params[l.offset[k][0] + i] = (float)v;
            r->fisher[l.offset[k][0] + i] = (float)(v * v);
        }
    }
    for (size_t i = 0; i < (size_t)shape->layers * shape->experts; i++) {
        r->balance[i] = (float)(0.1 * rng_normal(&rng));
    }
    r->calibration[0] = r->calibration[1] = 1.1;
    r->calibration[2] = -0.3;
    r->holdout_auc = 0.9;
    r->holdout_ap = r->holdout_brier = NAN;
    return r;
}

void twin_free(struct train_result *r)
{
    if (r != NULL) {
        bins_done(&r->encoding);
        free(r->params);
        free(r->raw_params);
        free(r->balance);
        free(r->fisher);
        free(r);
    }
}

void twin_rows(const struct train_result *r, uint64_t seed, size_t n, float *out)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < n * r->shape.columns; i++) {
        out[i] = (float)(rng_normal(&rng) * 2);
    }
}

/* y = W x */
static void multiply(const float *w, size_t rows, size_t cols, const double *x, double *y)
{
    for (size_t i = 0; i < rows; i++) {
        y[i] = 0;
        for (size_t k = 0; k < cols; k++) {
            y[i] += (double)w[i * cols + k] * x[k];
        }
    }
}

static void rmsnorm(const float *w, size_t n, const double *x, double *y)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    double inverse = 1 / sqrt(sum / (double)n + (double)NET_NORM_EPS);
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * inverse * (double)w[i];
    }
}

static void rotate(double *x, const float *c, const float *s, size_t half)
{
    for (size_t k = 0; k < half; k++) {
        double a = x[k];
        double b = x[k + half];
        x[k] = a * (double)c[k] - b * (double)s[k];
        x[k + half] = a * (double)s[k] + b * (double)c[k];
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void encode(const struct twin_stream *t, const float *x, double *h)
{
    const struct net_shape *s = &t->r->shape;
    const struct net_encoding *enc = &t->r->encoding;
    const float *w = tensor(t, NET_INPUT_W, 0);
    for (size_t k = 0; k < s->width; k++) {
        h[k] = (double)tensor(t, NET_INPUT_B, 0)[k];
        for (uint32_t c = 0; c < s->columns; c++) {
            double v = ((double)x[c] - (double)enc->mean[c]) * (double)enc->inv_sd[c];
            v = v > 8 ? 8 : v < -8 ? -8 : v;
            h[k] += (double)w[k * s->columns + c] * v;
        }
    }
    for (uint32_t c = 0; c < s->columns; c++) {
        size_t row = enc->first_row[c];
        if (row + 1 == enc->first_row[c + 1]) {
            continue; /* a column with one bin says nothing */
        }
        while (row + 1 < enc->first_row[c + 1] && enc->edges[row - c] < x[c]) {
            row++;
        }
        for (size_t k = 0; k < s->width; k++) {
            h[k] += (double)tensor(t, NET_TABLE, 0)[row * s->width + k];
        }
    }
}

/* One head's probabilities over events first .. n (itself) into p. */
static void softmax(double *p, size_t count)
{
    double top = p[0];
    double sum = 0;
    for (size_t j = 0; j < count; j++) {
        top = p[j] > top ? p[j] : top;
    }
    for (size_t j = 0; j < count; j++) {
        p[j] = exp(p[j] - top);
        sum += p[j];
    }
    for (size_t j = 0; j < count; j++) {
        p[j] /= sum;
    }
}

/* One head as net.h writes it: keys and values made from each latent. */
static void head_plain(const struct twin_stream *t, uint32_t layer, uint32_t head, const double *q,
                       double *out)
{
    const struct net_shape *s = &t->r->shape;
    size_t hd = s->head_dim;
    const float *uk = tensor(t, NET_UK, layer) + head * hd * s->rank;
    const float *uv = tensor(t, NET_UV, layer) + head * hd * s->rank;
    size_t first = t->n + 1 > s->window ? t->n + 1 - s->window : 0;
    double p[1024];
    double kv[KEYS_MAX];
    for (size_t j = first; j <= t->n; j++) {
        const struct memory *m = &t->past[j * s->layers + layer];
        multiply(uk, hd, s->rank, m->c, kv);
        p[j - first] = (dot(q, kv, hd) + dot(q + hd, m->kr, s->rope)) / sqrt((double)hd + s->rope);
    }
    softmax(p, t->n + 1 - first);
    memset(out, 0, hd * sizeof *out);
    for (size_t j = first; j <= t->n; j++) {
        multiply(uv, hd, s->rank, t->past[j * s->layers + layer].c, kv);
        for (size_t d = 0; d < hd; d++) {
            out[d] += p[j - first] * kv[d];
        }
    }
}

/* The same with W_uk moved to the query and W_uv to the mix of latents. */
static void head_absorbed(const struct twin_stream *t, uint32_t layer, uint32_t head,
                          const double *q, double *out)
{
    const struct net_shape *s = &t->r->shape;
    size_t hd = s->head_dim;
    const float *uk = tensor(t, NET_UK, layer) + head * hd * s->rank;
    const float *uv = tensor(t, NET_UV, layer) + head * hd * s->rank;
    size_t first = t->n + 1 > s->window ? t->n + 1 - s->window : 0;
    double p[1024];
    double qc[RANK_MAX] = {0};
    double mix[RANK_MAX] = {0};
    for (size_t d = 0; d < hd; d++) {
        for (size_t r = 0; r < s->rank; r++) {
            qc[r] += (double)uk[d * s->rank + r] * q[d];
        }
    }
    for (size_t j = first; j <= t->n; j++) {
        const struct memory *m = &t->past[j * s->layers + layer];
        p[j - first] =
            (dot(qc, m->c, s->rank) + dot(q + hd, m->kr, s->rope)) / sqrt((double)hd + s->rope);
    }
    softmax(p, t->n + 1 - first);
    for (size_t j = first; j <= t->n; j++) {
        for (size_t r = 0; r < s->rank; r++) {
            mix[r] += p[j - first] * t->past[j * s->layers + layer].c[r];
        }
    }
    multiply(uv, hd, s->rank, mix, out);
}

static void attention(struct twin_stream *t, uint32_t layer, int64_t event_us, double *h)
{
    const struct net_shape *s = &t->r->shape;
    size_t per_head = (size_t)s->head_dim + s->rope;
    double normed[WIDTH_MAX];
    double q[KEYS_MAX * 2];
    double down[RANK_MAX + ROPE_MAX];
    double ao[KEYS_MAX];
    double add[WIDTH_MAX];
    float c[ROPE_MAX];
    float sine[ROPE_MAX];
    struct memory *own = &t->past[t->n * s->layers + layer];
    net_rotation(event_us, s->rope, c, sine);
    rmsnorm(tensor(t, NET_NORM1, layer), s->width, h, normed);
    multiply(tensor(t, NET_Q, layer), s->heads * per_head, s->width, normed, q);
    multiply(tensor(t, NET_DOWN, layer), s->rank + s->rope, s->width, normed, down);
    rmsnorm(tensor(t, NET_LATENT_NORM, layer), s->rank, down, own->c);
    memcpy(own->kr, down + s->rank, s->rope * sizeof *down);
    rotate(own->kr, c, sine, s->rope / 2);
    for (uint32_t head = 0; head < s->heads; head++) {
        double *qh = q + head * per_head;
        rotate(qh + s->head_dim, c, sine, s->rope / 2);
        if (t->absorbed) {
            head_absorbed(t, layer, head, qh, ao + (size_t)head * s->head_dim);
        } else {
            head_plain(t, layer, head, qh, ao + (size_t)head * s->head_dim);
        }
    }
    multiply(tensor(t, NET_O, layer), s->width, (size_t)s->heads * s->head_dim, ao, add);
    for (size_t k = 0; k < s->width; k++) {
        h[k] += add[k];
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* h += g * W2 (silu(u) * v) */
static void add_swiglu(const float *w1, const float *w2, size_t width, size_t hidden, double g,
                       const double *x, double *h)
{
    double uv[2 * HIDDEN_MAX];
    double add[WIDTH_MAX];
    multiply(w1, 2 * hidden, width, x, uv);
    for (size_t k = 0; k < hidden; k++) {
        uv[k] = uv[k] * sigmoid(uv[k]) * uv[hidden + k];
    }
    multiply(w2, width, hidden, uv, add);
    for (size_t k = 0; k < width; k++) {
        h[k] += g * add[k];
    }
}

static void experts(struct twin_stream *t, uint32_t layer, double *h)
{
    const struct net_shape *s = &t->r->shape;
    double x[WIDTH_MAX];
    double gate[64];
    double rank[64];
    uint32_t chosen[8];
    double sum = 1e-9;
    rmsnorm(tensor(t, NET_NORM2, layer), s->width, h, x);
    multiply(tensor(t, NET_GATE, layer), s->experts, s->width, x, gate);
    for (uint32_t i = 0; i < s->experts; i++) {
        gate[i] = sigmoid(gate[i]);
        rank[i] = gate[i] + (double)t->r->balance[layer * s->experts + i];
    }
    double last = 0;
    for (uint32_t k = 0; k <= s->top; k++) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < s->experts; i++) {
            best = rank[i] > rank[best] ? i : best;
        }
        if (k == s->top) {
            t->margin = fmin(t->margin, last - rank[best]);
            break;
        }
        last = rank[best];
        rank[best] = -INFINITY;
        chosen[k] = best;
        sum += gate[best];
    }
    add_swiglu(tensor(t, NET_S1, layer), tensor(t, NET_S2, layer), s->width, s->shared_hidden, 1, x,
               h);
    for (uint32_t k = 0; k < s->top; k++) {
        size_t w1 = 2 * (size_t)s->expert_hidden * s->width;
        size_t w2 = (size_t)s->expert_hidden * s->width;
        add_swiglu(tensor(t, NET_W1, layer) + chosen[k] * w1,
                   tensor(t, NET_W2, layer) + chosen[k] * w2, s->width, s->expert_hidden,
                   gate[chosen[k]] / sum, x, h);
    }
}

struct twin_stream *twin_stream_create(const struct train_result *r)
{
    struct twin_stream *t = calloc(1, sizeof *t);
    struct errmsg e;
    assert(t != NULL && r->shape.width <= WIDTH_MAX && r->shape.rank <= RANK_MAX &&
           r->shape.rope <= ROPE_MAX && r->shape.shared_hidden <= HIDDEN_MAX &&
           r->shape.heads * (r->shape.head_dim + r->shape.rope) <= 2 * KEYS_MAX);
    t->r = r;
    t->absorbed = true;
    enum err err = net_layout_init(&t->layout, &r->shape, &e);
    assert(err == ERR_OK);
    return t;
}

void twin_stream_free(struct twin_stream *t)
{
    if (t != NULL) {
        free(t->past);
        free(t);
    }
}

double twin_stream_step(struct twin_stream *t, const float *x, int64_t event_us)
{
    const struct net_shape *s = &t->r->shape;
    double h[WIDTH_MAX];
    double out[WIDTH_MAX];
    if (t->n == t->room) {
        t->room = 2 * t->room + 64;
        t->past = realloc(t->past, t->room * s->layers * sizeof *t->past);
        assert(t->past != NULL);
    }
    t->margin = INFINITY;
    encode(t, x, h);
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        attention(t, layer, event_us, h);
        experts(t, layer, h);
    }
    t->n++;
    rmsnorm(tensor(t, NET_NORM_OUT, 0), s->width, h, out);
    double logit = (double)*tensor(t, NET_HEAD_B, 0);
    for (size_t k = 0; k < s->width; k++) {
        logit += out[k] * (double)tensor(t, NET_HEAD_W, 0)[k];
    }
    return logit;
}

void twin_history(const struct train_result *r, size_t n, const float *x, const int64_t *event_us,
                  double *out_logit, double *margin)
{
    struct twin_stream *t = twin_stream_create(r);
    t->absorbed = false;
    for (size_t i = 0; i < n; i++) {
        out_logit[i] = twin_stream_step(t, x + i * r->shape.columns, event_us[i]);
        if (margin != NULL) {
            margin[i] = t->margin;
        }
    }
    twin_stream_free(t);
}
