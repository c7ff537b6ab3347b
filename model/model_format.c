/* Model files: what quantisation makes of training's parameters, in a fixed order (model_format.h).
 *
 * Serving needs products of W_q with W_uk and of W_o with W_uv only (DeepSeek-V2, sec. 2.1.2:
 * absorption), so those are what is rounded. */
#include "model/model_format.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "model/format_private.h"
#include "model/frame.h"
#include "model/served.h"

struct packer {
    const struct train_result *r;
    const struct net_shape *s;
    struct net_layout layout;
    struct frame_out f;
    int8_t *row;     /* scratch: the longest row */
    float *wide;     /* scratch: an absorbed matrix */
    const char *bad; /* name of a tensor with a value that is not finite or too large */
};

static const float *param(const struct packer *p, enum net_tensor_kind kind, uint32_t layer)
{
    return p->r->params + p->layout.offset[kind][layer];
}

static float largest(const float *w, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++) {
        top = fabsf(w[i]) <= top ? top : fabsf(w[i]); /* NAN passes through */
    }
    return top;
}

static void quantise(const float *w, size_t n, float scale, int8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float q = scale > 0 ? rintf(w[i] / scale) : 0;
        out[i] = (int8_t)(q < -127 ? -127 : q > 127 ? 127 : q);
    }
}

static void put_floats(struct packer *p, const char *name, const float *w, size_t n)
{
    if (!(largest(w, n) <= SERVED_PARAM_MAX)) {
        p->bad = name;
    }
    frame_put_floats(&p->f, w, n);
}

/* Scales of all rows, then all rows. */
static void put_matrix(struct packer *p, const char *name, const float *w, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++) {
        float scale = largest(w + i * cols, cols) / 127;
        if (!(scale * 127 <= SERVED_PARAM_MAX)) {
            p->bad = name;
        }
        frame_put_floats(&p->f, &scale, 1);
    }
    for (size_t i = 0; i < rows && p->bad == NULL; i++) {
        quantise(w + i * cols, cols, largest(w + i * cols, cols) / 127, p->row);
        frame_put(&p->f, p->row, cols);
    }
}

static void put_kind(struct packer *p, enum net_tensor_kind kind, uint32_t layer, size_t rows,
                     size_t cols)
{
    put_matrix(p, net_tensor_name(kind), param(p, kind, layer), rows, cols);
}

/* One scale for all tables, times a power of two a column. */
static void put_table(struct packer *p)
{
    const struct net_encoding *enc = &p->r->encoding;
    const float *table = param(p, NET_TABLE, 0);
    size_t width = p->s->width;
    const unsigned most = 1U << (SERVED_TABLE_SHIFTS - 1);
    float scale = largest(table, p->s->bins * width) / 127 / (float)most;
    if (!(scale * 127 * (float)most <= SERVED_PARAM_MAX)) {
        p->bad = net_tensor_name(NET_TABLE);
        return;
    }
    uint8_t multiplier[1024] = {0}; /* the most columns */
    for (uint32_t c = 0; c < p->s->columns; c++) {
        size_t first = enc->first_row[c] * width;
        float top = largest(table + first, enc->first_row[c + 1] * width - first);
        multiplier[c] = 1;
        while (multiplier[c] < most && (float)multiplier[c] * scale * 127 < top) {
            multiplier[c] = (uint8_t)(multiplier[c] * 2);
        }
    }
    frame_put_floats(&p->f, &scale, 1);
    frame_put(&p->f, multiplier, p->s->columns);
    for (uint32_t c = 0; c < p->s->columns; c++) {
        for (size_t b = enc->first_row[c]; b < enc->first_row[c + 1]; b++) {
            quantise(table + b * width, width, scale * (float)multiplier[c], p->row);
            frame_put(&p->f, p->row, width);
        }
    }
}

/* Per head: latent norm * W_uk^T W_q [rank, width], then the rotary rows; all by the softmax scale.
 */
static void absorb_query(struct packer *p, uint32_t layer)
{
    const struct net_shape *s = p->s;
    const float *q = param(p, NET_Q, layer);
    const float *uk = param(p, NET_UK, layer);
    const float *norm = param(p, NET_LATENT_NORM, layer);
    size_t per_head = (size_t)s->head_dim + s->rope;
    double scale = 1 / sqrt((double)per_head);
    float *out = p->wide;
    for (size_t h = 0; h < s->heads; h++) {
        const float *head = q + h * per_head * s->width;
        for (size_t r = 0; r < s->rank; r++) {
            for (size_t k = 0; k < s->width; k++) {
                double sum = 0;
                for (size_t d = 0; d < s->head_dim; d++) {
                    sum += (double)uk[(h * s->head_dim + d) * s->rank + r] *
                           (double)head[d * s->width + k];
                }
                *out++ = (float)(sum * scale * (double)norm[r]);
            }
        }
        for (size_t k = 0; k < (size_t)s->rope * s->width; k++) {
            *out++ = (float)((double)head[s->head_dim * s->width + k] * scale);
        }
    }
    put_matrix(p, net_tensor_name(NET_Q), p->wide, s->heads * ((size_t)s->rank + s->rope),
               s->width);
}

/* W_o W_uv * latent norm [width, heads * rank] */
static void absorb_out(struct packer *p, uint32_t layer)
{
    const struct net_shape *s = p->s;
    const float *o = param(p, NET_O, layer);
    const float *uv = param(p, NET_UV, layer);
    const float *norm = param(p, NET_LATENT_NORM, layer);
    size_t keys = (size_t)s->heads * s->head_dim;
    float *out = p->wide;
    for (size_t k = 0; k < s->width; k++) {
        for (size_t h = 0; h < s->heads; h++) {
            for (size_t r = 0; r < s->rank; r++) {
                double sum = 0;
                for (size_t d = h * s->head_dim; d < (h + 1) * s->head_dim; d++) {
                    sum += (double)o[k * keys + d] * (double)uv[d * s->rank + r];
                }
                *out++ = (float)(sum * (double)norm[r]);
            }
        }
    }
    put_matrix(p, net_tensor_name(NET_O), p->wide, s->width, (size_t)s->heads * s->rank);
}

static void put_layer(struct packer *p, uint32_t layer)
{
    const struct net_shape *s = p->s;
    size_t experts = s->experts;
    put_floats(p, "norm1", param(p, NET_NORM1, layer), s->width);
    absorb_query(p, layer);
    put_kind(p, NET_DOWN, layer, s->rank + s->rope, s->width);

    absorb_out(p, layer);
    put_floats(p, "norm2", param(p, NET_NORM2, layer), s->width);
    put_kind(p, NET_GATE, layer, experts, s->width);
    put_floats(p, "balance", p->r->balance + layer * experts, experts);
    put_kind(p, NET_S1, layer, 2 * (size_t)s->shared_hidden, s->width);
    put_kind(p, NET_S2, layer, s->width, s->shared_hidden);
    put_kind(p, NET_W1, layer, experts * 2 * s->expert_hidden, s->width);
    put_kind(p, NET_W2, layer, experts * s->width, s->expert_hidden);
}

static void put_network(struct packer *p)
{
    const struct net_shape *s = p->s;
    put_table(p);
    put_kind(p, NET_INPUT_W, 0, s->width, s->columns);
    put_floats(p, "input.b", param(p, NET_INPUT_B, 0), s->width);
    for (uint32_t l = 0; l < s->layers; l++) {
        put_layer(p, l);
    }
    put_floats(p, "norm_out", param(p, NET_NORM_OUT, 0), s->width);
    put_floats(p, "head.w", param(p, NET_HEAD_W, 0), s->width);
    put_floats(p, "head.b", param(p, NET_HEAD_B, 0), 1);
}

static void put_lineage(struct frame_out *f, const struct model_lineage *l)
{
    frame_put(f, l->version, sizeof l->version);
    frame_put(f, l->parent, sizeof l->parent);
    frame_put(f, l->code_version, sizeof l->code_version);
    frame_put(f, l->blas_core, sizeof l->blas_core);
    const uint64_t numbers[] = {(uint64_t)l->data_from_us,
                                (uint64_t)l->data_until_us,
                                l->rows_hash,
                                l->rows,
                                l->frauds,
                                l->seed,
                                l->schema_hash,
                                (uint64_t)l->maturity_us};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        frame_put_u64(f, numbers[i]);
    }
    frame_put_floats(f, &l->blame_ratio, 1);
    frame_put_floats(f, &l->blame_tail, 1);
    frame_put_u32(f, &l->rates_version, 1);
    frame_put_double(f, l->holdout_auc);
    frame_put_double(f, l->holdout_ap);
    frame_put_double(f, l->holdout_brier);
    frame_put_floats(f, l->score_share, SCORE_BANDS);
}

/* "20260401-8f3a12cd": the day the data ends and a hash of what was learnt. */
static void name_version(struct model_lineage *l, uint64_t content)
{
    char date[TIME_TEXT_MAX];
    size_t n = time_format_date(date, l->data_until_us);
    size_t at = 0;
    for (size_t i = 0; i < n && at + 1 < sizeof l->version; i++) {
        if (date[i] != '-') {
            l->version[at++] = date[i];
        }
    }
    snprintf(l->version + at, sizeof l->version - at, "-%08x", (unsigned)(content & 0xffffffffU));
}

static enum err packer_init(struct packer *p, const struct train_result *r, struct errmsg *e)
{
    const struct net_shape *s = &r->shape;
    struct served_sizes z;
    *p = (struct packer){.r = r, .s = s};
    enum err err = net_layout_init(&p->layout, s, e);
    if (err == ERR_OK) {
        err = format_check_encoding(&r->encoding, s, e);
    }
    if (err == ERR_OK) {
        err = served_sizes_init(&z, s, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    size_t longest = s->columns + (size_t)s->width + (size_t)s->heads * s->rank +
                     (size_t)s->shared_hidden + s->expert_hidden;
    size_t wide = (size_t)s->heads * (s->rank + s->rope) * s->width;
    p->row = malloc(longest);
    p->wide = malloc(wide * sizeof *p->wide);
    if (p->row == NULL || p->wide == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to pack the model");
    }
    return ERR_OK;
}

enum err model_pack(const struct train_result *r, const struct model_lineage *lineage,
                    uint8_t **out, size_t *out_len_bytes, struct errmsg *e)
{
    struct packer p;
    struct model_lineage l = *lineage;
    enum err err = packer_init(&p, r, e);
    if (err != ERR_OK) {
        goto out;
    }
    frame_begin(&p.f, FORMAT_MODEL_MAGIC, FORMAT_MODEL_VERSION);
    format_put_shape(&p.f, p.s);
    frame_section(&p.f, "CALB");
    for (int i = 0; i < 3; i++) {
        frame_put_double(&p.f, r->calibration[i]);
    }
    format_put_encoding(&p.f, &r->encoding, p.s);
    frame_section(&p.f, "NETW");
    put_network(&p);
    if (p.bad != NULL) {
        free(p.f.bytes);
        err = err_set(e, ERR_NUMERIC,
                      "cannot pack the model: %s has a value that is not finite or above %g", p.bad,
                      (double)SERVED_PARAM_MAX);
        goto out;
    }
    if (l.version[0] == '\0' && !p.f.failed) {
        name_version(&l, hash_bytes(p.f.bytes, p.f.len, 0));
    }
    frame_section(&p.f, "LINE");
    put_lineage(&p.f, &l);
    err = frame_end(&p.f, out, out_len_bytes, e);
out:
    free(p.row);
    free(p.wide);
    return err;
}
