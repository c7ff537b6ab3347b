#include "tests/support/step_fp32.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "model/bins.h"
#include "model/served.h"

#if defined(__x86_64__) && !defined(__clang__)

#include <math.h>

#include "base/detmath_inline.h"

LANES_FOR_AVX512
#define FD_LANES_AVX512
#include "model/lanes_avx512.h"

#include "model/kernel_encode.h"
#include "model/kernel_experts.h"

enum {
    WIDTH = 96,
    LAYERS = 2,
    HEADS = 4,
    RANK = 16,
    ROPE = 16,
    EXPERTS = 16,
    TOP = 2,
    HIDDEN = 16,
    SHARED = 32,
    WINDOW = 16,
    CONTENT = HEADS * RANK,
    ROTARY = HEADS * ROPE,
    QUERY = CONTENT + ROTARY + RANK + ROPE, /* outputs: contents, rotary parts, latent, key */
    GATE = EXPERTS + 2 * SHARED,
    ROWS = STEP_FP32_ROWS
};

struct fp32_layer {
    float norm1[WIDTH], norm2[WIDTH];
    float query[WIDTH][QUERY]; /* matrices are [inputs][outputs] */
    float out[CONTENT][WIDTH];
    float gate[WIDTH][GATE];
    float balance[EXPERTS];
    float shared2[SHARED][WIDTH];
    float w1[EXPERTS][WIDTH][2 * HIDDEN];
    float w2[EXPERTS][HIDDEN][WIDTH];
};

struct fp32_event {
    float latent[RANK], key[ROPE];
};

/* A card's last events, the oldest in the place of the next. */
struct fp32_cache {
    uint64_t count;
    uint64_t unused[7];
    struct fp32_event event[LAYERS][WINDOW];
};

struct step_fp32 {
    const struct model *m;
    const struct train_result *r;
    struct net_layout layout;
    struct bins_finder finder;
    uint32_t columns, used_count;
    uint32_t *used; /* columns of more than one bin */
    bool blas;
    float *input; /* [columns][WIDTH] */
    const float *table, *bias;
    float head[WIDTH];
    float head_bias;
    struct fp32_layer *layer;
    /* scratch of a batch */
    float *x; /* [ROWS, columns] */
    float h[ROWS][WIDTH], normed[ROWS][WIDTH], acc[ROWS][QUERY], content[ROWS][CONTENT];
    float out[ROWS][WIDTH], act[ROWS * TOP][SHARED], gathered[ROWS * TOP][WIDTH];
    float routed[ROWS * TOP][WIDTH], uv[ROWS * TOP][2 * HIDDEN];
    float cosine[ROWS][ROPE / 2], sine[ROWS][ROPE / 2];
    float weight[ROWS * TOP];
    uint32_t chosen[ROWS * TOP], slot[ROWS * TOP];
};

/* --- matrix products ------------------------------------------------------------------------- */

LANES_INLINE void tile_fp32(const float *w, size_t k, size_t m, const float *x, float *y,
                            size_t y_stride, const int rows, const int vectors)
{
    vf acc[6][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            acc[r][v] = vf_all(0);
        }
    }
    for (size_t i = 0; i < k; i++) {
        vf own[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            own[v] = vf_load(w + i * m + v * 16);
        }
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            vf b = vf_all(x[(size_t)r * k + i]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                acc[r][v] = _mm512_fmadd_ps(b, own[v], acc[r][v]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            vf_store(y + (size_t)r * y_stride + v * 16, acc[r][v]);
        }
    }
}

/* All rows through `vectors` vectors of outputs. */
LANES_INLINE void tiles_fp32(const float *w, size_t k, size_t m, size_t n, const float *x, float *y,
                             const int vectors)
{
    size_t i = 0;
    for (; i + 6 <= n; i += 6) {
        tile_fp32(w, k, m, x + i * k, y + i * m, m, 6, vectors);
    }
    if (i + 4 <= n) {
        tile_fp32(w, k, m, x + i * k, y + i * m, m, 4, vectors);
        i += 4;
    }
    if (i + 2 <= n) {
        tile_fp32(w, k, m, x + i * k, y + i * m, m, 2, vectors);
        i += 2;
    }
    if (i < n) {
        tile_fp32(w, k, m, x + i * k, y + i * m, m, 1, vectors);
    }
}

static void product_own(const float *w, size_t k, size_t m, size_t n, const float *x, float *y)
{
    size_t at = 0;
    for (; at + 64 <= m; at += 64) {
        tiles_fp32(w + at, k, m, n, x, y + at, 4);
    }
    if (at + 32 <= m) {
        tiles_fp32(w + at, k, m, n, x, y + at, 2);
        at += 32;
    }
    if (at < m) {
        tiles_fp32(w + at, k, m, n, x, y + at, 1);
    }
}

static void product(const struct step_fp32 *s, const float *w, size_t k, size_t m, size_t n,
                    const float *x, float *y)
{
    if (s->blas) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)m, (int)k, 1, x, (int)k,
                    w, (int)m, 0, y, (int)m);
    } else {
        product_own(w, k, m, n, x, y);
    }
}

/* --- the step -------------------------------------------------------------------------------- */

static void norm_all(size_t n, float (*h)[WIDTH], const float *weight, float (*out)[WIDTH])
{
    for (size_t i = 0; i < n; i++) {
        vf squares = vf_all(0);
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            vf v = vf_load(h[i] + at);
            squares = _mm512_fmadd_ps(v, v, squares);
        }
        vf inverse = vf_all(inverse_rms(vf_sum(squares), WIDTH));
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            vf_store(out[i] + at,
                     vf_mul(vf_mul(vf_load(h[i] + at), inverse), vf_load(weight + at)));
        }
    }
}

static void encode(struct step_fp32 *s, size_t n, const float *x, const int64_t *event_us,
                   void *const *cache)
{
    const struct net_encoding *en = &s->r->encoding;
    const struct dims d = {.half = ROPE / 2, .heads = 0};
    uint32_t bin[1024];
    for (size_t i = 0; i < n; i++) {
        const float *own = x + i * s->columns;
        for (size_t at = 0; at < sizeof(struct fp32_cache); at += 64) {
            __builtin_prefetch((const char *)cache[i] + at, 1, 3);
        }
        for (uint32_t at = 0; at < s->columns; at += 16) {
            vf v =
                vf_mul(vf_sub(vf_load(own + at), vf_load(en->mean + at)), vf_load(en->inv_sd + at));
            v = vf_max(vf_min(v, vf_all(NET_INPUT_CLIP)), vf_all(-NET_INPUT_CLIP));
            vf_store(s->x + i * s->columns + at, v);
        }
        bins_find_row(&s->finder, own, bin);
        vf sum[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            sum[v] = vf_load(s->bias + v * 16);
        }
        for (uint32_t k = 0; k < s->used_count; k++) {
            uint32_t c = s->used[k];
            const float *row = s->table + (size_t)(en->first_row[c] + bin[c]) * WIDTH;
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) {
                sum[v] = vf_add(sum[v], vf_load(row + v * 16));
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            vf_store(s->h[i] + v * 16, sum[v]);
        }
        read_angles(d, s->m, event_us[i], s->cosine[i], s->sine[i]);
    }
    product(s, s->input, s->columns, WIDTH, n, s->x, s->out[0]);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            vf_store(s->h[i] + at, vf_add(vf_load(s->h[i] + at), vf_load(s->out[i] + at)));
        }
    }
}

/* Pairs (k, k + 8) of v by the row's angles. */
LANES_INLINE vf rotated(vf v, const float *cosine, const float *sine)
{
    __m256 half = _mm256_loadu_ps(sine);
    __m256 minus = _mm256_sub_ps(_mm256_setzero_ps(), half);
    __m256 cos8 = _mm256_loadu_ps(cosine);
    vf c = _mm512_insertf32x8(_mm512_castps256_ps512(cos8), cos8, 1);
    vf sn = _mm512_insertf32x8(_mm512_castps256_ps512(minus), half, 1);
    return _mm512_fmadd_ps(_mm512_shuffle_f32x4(v, v, 0x4e), sn, vf_mul(v, c));
}

/* The sums of sixteen vectors, in order. */
LANES_INLINE vf sums_of(const vf *v)
{
    vf a[8];
    vf b[4];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        a[i] = vf_add(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]),
                      _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512d low = _mm512_castps_pd(a[2 * i]);
        __m512d high = _mm512_castps_pd(a[2 * i + 1]);
        b[i] = vf_add(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                      _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
    }
    vf c = vf_add(_mm512_shuffle_f32x4(b[0], b[1], 0x88), _mm512_shuffle_f32x4(b[0], b[1], 0xdd));
    vf d = vf_add(_mm512_shuffle_f32x4(b[2], b[3], 0x88), _mm512_shuffle_f32x4(b[2], b[3], 0xdd));
    return vf_add(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xdd));
}

static void attend_row(const struct step_fp32 *s, size_t row, uint32_t layer,
                       struct fp32_cache *cache, float *out)
{
    const float *acc = s->acc[row];
    const float *cosine = s->cosine[row];
    const float *sine = s->sine[row];
    struct fp32_event *event = cache->event[layer];
    struct fp32_event *own = &event[cache->count % WINDOW];
    uint32_t seen = cache->count < WINDOW ? (2U << cache->count) - 1 : 0xffffU;
    vf latent = vf_load(acc + CONTENT + ROTARY);
    vf inverse = vf_all(inverse_rms(vf_sum(vf_mul(latent, latent)), RANK));
    vf_store(own->latent, vf_mul(latent, inverse));
    vf_store(own->key, rotated(vf_load(acc + CONTENT + ROTARY + RANK), cosine, sine));
    for (uint32_t head = 0; head < HEADS; head++) {
        vf content = vf_load(acc + head * RANK);
        vf rotary = rotated(vf_load(acc + CONTENT + head * ROPE), cosine, sine);
        vf part[WINDOW];
        float p[WINDOW];
#pragma GCC unroll 16
        for (uint32_t j = 0; j < WINDOW; j++) {
            part[j] = _mm512_fmadd_ps(rotary, vf_load(event[j].key),
                                      vf_mul(content, vf_load(event[j].latent)));
        }
        vf score = vf_pick(seen, sums_of(part), vf_all(-1e30F));
        vf e = vf_exp(vf_sub(score, vf_all(vf_top(score))));
        vf_store(p, vf_mul(e, vf_all(1 / vf_sum(e))));
        vf mix[2] = {vf_all(0), vf_all(0)};
#pragma GCC unroll 16
        for (uint32_t j = 0; j < WINDOW; j++) {
            mix[j % 2] = _mm512_fmadd_ps(vf_all(p[j]), vf_load(event[j].latent), mix[j % 2]);
        }
        vf_store(out + head * RANK, vf_add(mix[0], mix[1]));
    }
}

static void add_to(size_t n, float (*h)[WIDTH], float (*more)[WIDTH])
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            vf_store(h[i] + at, vf_add(vf_load(h[i] + at), vf_load(more[i] + at)));
        }
    }
}

static void attention(struct step_fp32 *s, size_t n, uint32_t layer, void *const *cache)
{
    const struct fp32_layer *l = &s->layer[layer];
    norm_all(n, s->h, l->norm1, s->normed);
    product(s, l->query[0], WIDTH, QUERY, n, s->normed[0], s->acc[0]);
    for (size_t i = 0; i < n; i++) {
        attend_row(s, i, layer, cache[i], s->content[i]);
    }
    product(s, l->out[0], CONTENT, WIDTH, n, s->content[0], s->out[0]);
    add_to(n, s->h, s->out);
}

LANES_INLINE void swiglu_row(const float *uv, uint32_t hidden, float *out)
{
    for (uint32_t at = 0; at < hidden; at += 16) {
        vf u = vf_load(uv + at);
        vf_store(out + at, vf_mul(vf_mul(u, vf_sigmoid(u)), vf_load(uv + hidden + at)));
    }
}

static void choose_row(struct step_fp32 *s, size_t row, const float *logits, const float *balance)
{
    float gate[EXPERTS];
    vf g = vf_sigmoid(vf_load(logits));
    vf rank = vf_add(g, vf_load(balance));
    float sum = 1e-9F;
    vf_store(gate, g);
    for (uint32_t k = 0; k < TOP; k++) {
        uint32_t best = (uint32_t)__builtin_ctz(~vf_above(vf_all(vf_top(rank)), rank));
        rank = vf_pick(1U << best, vf_all(-1e38F), rank);
        s->chosen[row * TOP + k] = best;
        s->weight[row * TOP + k] = gate[best];
        sum += gate[best];
    }
    for (uint32_t k = 0; k < TOP; k++) {
        s->weight[row * TOP + k] /= sum;
    }
}

/* Rows of each expert lie together; first: [EXPERTS + 1]. */
static void gather_rows(struct step_fp32 *s, size_t n, uint32_t *first)
{
    uint32_t fill[EXPERTS];
    memset(first, 0, (EXPERTS + 1) * sizeof *first);
    for (size_t i = 0; i < n * TOP; i++) {
        first[s->chosen[i] + 1]++;
    }
    for (uint32_t x = 0; x < EXPERTS; x++) {
        fill[x] = first[x];
        first[x + 1] += first[x];
    }
    for (size_t i = 0; i < n * TOP; i++) {
        s->slot[i] = fill[s->chosen[i]]++;
        memcpy(s->gathered[s->slot[i]], s->normed[i / TOP], sizeof s->gathered[0]);
    }
}

static void experts(struct step_fp32 *s, size_t n, uint32_t layer)
{
    const struct fp32_layer *l = &s->layer[layer];
    float(*gate)[GATE] = (float(*)[GATE])s->acc[0];
    uint32_t first[EXPERTS + 1];
    norm_all(n, s->h, l->norm2, s->normed);
    product(s, l->gate[0], WIDTH, GATE, n, s->normed[0], gate[0]);
    for (size_t i = 0; i < n; i++) {
        choose_row(s, i, gate[i], l->balance);
        swiglu_row(gate[i] + EXPERTS, SHARED, s->act[0] + i * SHARED);
    }
    product(s, l->shared2[0], SHARED, WIDTH, n, s->act[0], s->out[0]);
    gather_rows(s, n, first);
    for (uint32_t x = 0; x < EXPERTS; x++) {
        uint32_t at = first[x];
        uint32_t count = first[x + 1] - at;
        if (count > 0) {
            float *act = s->act[0]; /* the shared one's are used up */
            product(s, l->w1[x][0], WIDTH, 2 * HIDDEN, count, s->gathered[at], s->uv[at]);
            for (uint32_t i = 0; i < count; i++) {
                swiglu_row(s->uv[at + i], HIDDEN, act + i * HIDDEN);
            }
            product(s, l->w2[x][0], HIDDEN, WIDTH, count, act, s->routed[at]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            vf sum = vf_add(vf_load(s->h[i] + at), vf_load(s->out[i] + at));
            for (uint32_t k = 0; k < TOP; k++) {
                sum = _mm512_fmadd_ps(vf_all(s->weight[i * TOP + k]),
                                      vf_load(s->routed[s->slot[i * TOP + k]] + at), sum);
            }
            vf_store(s->h[i] + at, sum);
        }
    }
}

static void run(struct step_fp32 *s, size_t n, const float *x, const int64_t *event_us,
                void *const *cache, float *out_logit)
{
    encode(s, n, x, event_us, cache);
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        attention(s, n, layer, cache);
        experts(s, n, layer);
    }
    norm_all(n, s->h, s->head, s->normed);
    for (size_t i = 0; i < n; i++) {
        vf sum = vf_all(0);
        for (uint32_t at = 0; at < WIDTH; at += 16) {
            sum = vf_add(sum, vf_load(s->normed[i] + at));
        }
        out_logit[i] = vf_sum(sum) + s->head_bias;
        ((struct fp32_cache *)cache[i])->count++;
    }
}

/* --- weights --------------------------------------------------------------------------------- */

static const float *tensor(const struct step_fp32 *s, enum net_tensor_kind kind, uint32_t layer)
{
    return s->r->params + s->layout.offset[kind][layer];
}

/* to [inputs, stride] at output `at` = from [outputs, inputs], turned over. */
static void turn(float *to, size_t stride, size_t at, const float *from, size_t outputs,
                 size_t inputs)
{
    for (size_t o = 0; o < outputs; o++) {
        for (size_t i = 0; i < inputs; i++) {
            to[i * stride + at + o] = from[o * inputs + i];
        }
    }
}

/* W_uk and the latent's norm go into the query, W_uv and the norm into the output. */
static void absorb(const struct step_fp32 *s, uint32_t layer, uint32_t head_dim)
{
    struct fp32_layer *l = &s->layer[layer];
    const float *norm = tensor(s, NET_LATENT_NORM, layer);
    const float *q = tensor(s, NET_Q, layer);
    const float *o = tensor(s, NET_O, layer);
    /* scores are divided here, not at run time */
    float scale = 1 / sqrtf((float)(head_dim + ROPE));
    for (uint32_t h = 0; h < HEADS; h++) {
        const float *uk = tensor(s, NET_UK, layer) + (size_t)h * head_dim * RANK;
        const float *uv = tensor(s, NET_UV, layer) + (size_t)h * head_dim * RANK;
        const float *own = q + (size_t)h * (head_dim + ROPE) * WIDTH;
        for (uint32_t i = 0; i < WIDTH; i++) {
            for (uint32_t k = 0; k < RANK; k++) {
                float in = 0;
                float out = 0;
                for (uint32_t t = 0; t < head_dim; t++) {
                    in += uk[t * RANK + k] * own[t * WIDTH + i];
                    out += o[i * HEADS * head_dim + h * head_dim + t] * uv[t * RANK + k];
                }
                l->query[i][h * RANK + k] = in * norm[k] * scale;
                l->out[h * RANK + k][i] = out * norm[k];
            }
            for (uint32_t k = 0; k < ROPE; k++) {
                l->query[i][CONTENT + h * ROPE + k] = own[(head_dim + k) * WIDTH + i] * scale;
            }
        }
    }
}

static void pack_layer(const struct step_fp32 *s, uint32_t layer, uint32_t head_dim)
{
    struct fp32_layer *l = &s->layer[layer];
    memcpy(l->norm1, tensor(s, NET_NORM1, layer), sizeof l->norm1);
    memcpy(l->norm2, tensor(s, NET_NORM2, layer), sizeof l->norm2);
    memcpy(l->balance, s->r->balance + layer * EXPERTS, sizeof l->balance);
    absorb(s, layer, head_dim);
    turn(l->query[0], QUERY, CONTENT + ROTARY, tensor(s, NET_DOWN, layer), RANK + ROPE, WIDTH);
    turn(l->gate[0], GATE, 0, tensor(s, NET_GATE, layer), EXPERTS, WIDTH);
    turn(l->gate[0], GATE, EXPERTS, tensor(s, NET_S1, layer), (size_t)2 * SHARED, WIDTH);
    turn(l->shared2[0], WIDTH, 0, tensor(s, NET_S2, layer), WIDTH, SHARED);
    for (uint32_t x = 0; x < EXPERTS; x++) {
        turn(l->w1[x][0], (size_t)2 * HIDDEN, 0,
             tensor(s, NET_W1, layer) + (size_t)x * 2 * HIDDEN * WIDTH, (size_t)2 * HIDDEN, WIDTH);
        turn(l->w2[x][0], WIDTH, 0, tensor(s, NET_W2, layer) + (size_t)x * WIDTH * HIDDEN, WIDTH,
             HIDDEN);
    }
}

static bool fits(const struct net_shape *s)
{
    struct net_shape usual;
    net_shape_default(&usual, s->columns, s->bins);
    return KERNEL_AVX512.usable() && s->columns % 16 == 0 && memcmp(&usual, s, sizeof usual) == 0;
}

static bool alloc(struct step_fp32 *s)
{
    struct errmsg e;
    s->used = calloc(s->columns, sizeof *s->used);
    s->input = aligned_alloc(64, (size_t)s->columns * WIDTH * sizeof *s->input);
    s->x = aligned_alloc(64, (size_t)ROWS * s->columns * sizeof *s->x);
    s->layer = aligned_alloc(64, LAYERS * sizeof *s->layer);
    return s->used != NULL && s->input != NULL && s->x != NULL && s->layer != NULL &&
           net_layout_init(&s->layout, &s->r->shape, &e) == ERR_OK &&
           bins_finder_init(&s->finder, &s->r->encoding, &e) == ERR_OK;
}

static void release(struct step_fp32 *s)
{
    if (s != NULL) {
        bins_finder_done(&s->finder);
        free(s->used);
        free(s->input);
        free(s->x);
        free(s->layer);
        free(s);
    }
}

static struct step_fp32 *create(const struct train_result *r, const struct model *m)
{
    struct step_fp32 *s = fits(&r->shape) ? aligned_alloc(64, served_round(sizeof *s, 64)) : NULL;
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->m = m;
    s->r = r;
    s->columns = r->shape.columns;
    if (!alloc(s)) {
        release(s);
        return NULL;
    }
    turn(s->input, WIDTH, 0, tensor(s, NET_INPUT_W, 0), WIDTH, s->columns);
    s->table = tensor(s, NET_TABLE, 0);
    s->bias = tensor(s, NET_INPUT_B, 0);
    s->head_bias = *tensor(s, NET_HEAD_B, 0);
    for (uint32_t i = 0; i < WIDTH; i++) {
        s->head[i] = tensor(s, NET_NORM_OUT, 0)[i] * tensor(s, NET_HEAD_W, 0)[i];
    }
    for (uint32_t c = 0; c < s->columns; c++) {
        s->used[s->used_count] = c;
        s->used_count += r->encoding.first_row[c + 1] - r->encoding.first_row[c] > 1;
    }
    for (uint32_t i = 0; i < LAYERS; i++) {
        pack_layer(s, i, r->shape.head_dim);
    }
    return s;
}

static void use_blas(struct step_fp32 *s, bool blas)
{
    s->blas = blas;
}

LANES_END

const struct step_fp32_ops *step_fp32_ops(void)
{
    static const struct step_fp32_ops ops = {
        .create = create,
        .free = release,
        .use_blas = use_blas,
        .run = run,
        .product = product_own,
        .cache_bytes = sizeof(struct fp32_cache),
    };
    return KERNEL_AVX512.usable() ? &ops : NULL;
}

#else

const struct step_fp32_ops *step_fp32_ops(void)
{
    return NULL;
}

#endif
