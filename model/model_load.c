/* Loading a model: every number of the file is checked before it is used, because the file may have
 * been made to harm; then weights are put in the kernels' layouts (served.h). */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "model/bins.h"
#include "model/calibrate.h"
#include "model/format_private.h"
#include "model/served.h"

/* As net_rotation's. */
/* Added to the rank of an expert that does not exist. */
#define NEVER (-1e30F)

struct loader {
    struct model *m;
    struct frame_in net;
    float *scale; /* scratch: one matrix's scales */
    int8_t *row;  /* scratch: one row */
    bool bad;     /* a value out of range */
};

static size_t matrix_bytes(size_t rows, size_t cols)
{
    return rows * (sizeof(float) + cols);
}

/* Bytes of the section "NETW". */
static size_t network_bytes(const struct net_shape *s)
{
    size_t width = s->width;
    size_t experts = s->experts;
    size_t rotary = (size_t)s->rank + s->rope;
    size_t layer =
        matrix_bytes(s->heads * rotary, width) + matrix_bytes(rotary, width) +
        matrix_bytes(width, (size_t)s->heads * s->rank) + matrix_bytes(experts, width) +
        matrix_bytes(2 * (size_t)s->shared_hidden, width) + matrix_bytes(width, s->shared_hidden) +
        matrix_bytes(2 * experts * s->expert_hidden, width) +
        matrix_bytes(experts * width, s->expert_hidden) + (2 * width + experts) * sizeof(float);
    return sizeof(float) + s->columns + s->bins * width + matrix_bytes(width, s->columns) +
           s->layers * layer + (3 * width + 1) * sizeof(float);
}

static void carve_matrix(struct carver *c, struct matrix *a, uint32_t inputs, uint32_t outputs_p)
{
    a->groups = (inputs + 3) / 4;
    a->blocks = outputs_p / SERVED_LANES;
    a->w = served_carve(c, (size_t)a->groups * a->blocks, 64);
    a->init = served_carve(c, outputs_p, sizeof *a->init);
    a->scale = served_carve(c, outputs_p, sizeof *a->scale);
}

static void carve_layer(struct carver *c, const struct model *m, struct served_layer *l)
{
    const struct net_shape *s = &m->shape;
    const struct served_sizes *z = &m->sizes;
    l->norm1 = served_carve(c, z->width_p, sizeof *l->norm1);
    carve_matrix(c, &l->query, s->width, z->query_p);

    carve_matrix(c, &l->out, s->heads * s->rank, z->width_p);
    l->norm2 = served_carve(c, z->width_p, sizeof *l->norm2);
    carve_matrix(c, &l->gate, s->width, z->experts_p + 2 * z->shared_p);
    l->balance = served_carve(c, z->experts_p, sizeof *l->balance);
    carve_matrix(c, &l->shared2, s->shared_hidden, z->width_p);
    struct matrix measure; /* the experts' own structs do not exist while measuring */
    l->w1 = served_carve(c, s->experts, sizeof *l->w1);
    l->w2 = served_carve(c, s->experts, sizeof *l->w2);
    for (uint32_t x = 0; x < s->experts; x++) {
        carve_matrix(c, c->base != NULL ? &l->w1[x] : &measure, s->width, 2 * z->hidden_p);
        carve_matrix(c, c->base != NULL ? &l->w2[x] : &measure, s->expert_hidden, z->width_p);
    }
}

/* Edges of the column of a block of 16 that has most, to a multiple of 4. */
static uint32_t edges_of(const struct model *m, uint32_t block)
{
    uint32_t most = 0;
    for (uint32_t c = block * SERVED_LANES; c < (block + 1) * SERVED_LANES; c++) {
        if (c < m->shape.columns) {
            uint32_t n = m->encoding.first_row[c + 1] - m->encoding.first_row[c] - 1;
            most = n > most ? n : most;
        }
    }
    return served_round(most, 4);
}

static size_t carve_model(struct model *m, char *base)
{
    struct carver c = {base, 0};
    const struct net_shape *s = &m->shape;
    const struct served_sizes *z = &m->sizes;
    size_t edges = 0;
    for (uint32_t b = 0; b < z->columns_p / SERVED_LANES; b++) {
        edges += edges_of(m, b);
    }
    m->mean = served_carve(&c, z->columns_p, sizeof *m->mean);
    m->inv_sd = served_carve(&c, z->columns_p, sizeof *m->inv_sd);
    m->edges = served_carve(&c, edges * SERVED_LANES, sizeof *m->edges);
    m->edge_count = served_carve(&c, z->columns_p / SERVED_LANES, sizeof *m->edge_count);
    m->first = served_carve(&c, z->columns_p, sizeof *m->first);
    m->used = served_carve(&c, s->columns, sizeof *m->used);
    m->table = served_carve(&c, (size_t)s->bins * z->table_stride, sizeof *m->table);
    carve_matrix(&c, &m->input, s->columns, z->width_p);
    m->input_bias = served_carve(&c, z->width_p, sizeof *m->input_bias);
    m->turns = served_carve(&c, z->half_p, sizeof *m->turns);
    for (uint32_t l = 0; l < s->layers; l++) {
        carve_layer(&c, m, &m->layer[l]);
    }
    m->head = served_carve(&c, z->width_p, sizeof *m->head);
    return c.at;
}

static void take_floats(struct loader *l, float *out, size_t n)
{
    l->bad |= !frame_take_floats(&l->net, out, n, SERVED_PARAM_MAX);
}

/* Row of a matrix to its output. */
static void put_row(const struct matrix *a, uint32_t output, const int8_t *row, uint32_t inputs,
                    float scale)
{
    int32_t sum = 0;
    int8_t *w = a->w + (size_t)(output / SERVED_LANES) * a->groups * 64 + output % SERVED_LANES * 4;
    for (uint32_t k = 0; k < inputs; k++) {
        w[(size_t)(k / 4) * 64 + k % 4] = row[k];
        sum += row[k];
    }
    a->init[output] = -128 * sum;
    a->scale[output] = scale;
}

/* Scales, then rows [count, inputs].  output: where row i goes. */
static void take_matrix(struct loader *l, struct matrix *const *a, uint32_t count, uint32_t inputs,
                        uint32_t (*output)(const struct model *m, uint32_t i), uint32_t rows_each)
{
    take_floats(l, l->scale, count);
    for (uint32_t i = 0; i < count; i++) {
        l->bad |= !(l->scale[i] >= 0) || !(l->scale[i] * 127 <= SERVED_PARAM_MAX * 1.0001F);
        l->bad |= !frame_take(&l->net, l->row, inputs);
        if (!l->bad) {
            put_row(a[i / rows_each], output(l->m, i % rows_each), l->row, inputs, l->scale[i]);
        }
    }
}

static uint32_t same_output(const struct model *m, uint32_t i)
{
    (void)m;
    return i;
}

/* Place of pair member i < rope of a head (or, after the heads, of the key). */
static uint32_t rotary_output(const struct model *m, uint32_t head, uint32_t i)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t pairs = m->shape.rope / 2;
    uint32_t second = i >= pairs ? z->rotary_p : 0;
    return z->content_p + second + head * z->half + i % pairs;
}

/* Per head rank rows, then rope rows. */
static uint32_t query_output(const struct model *m, uint32_t i)
{
    uint32_t each = m->shape.rank + m->shape.rope;
    uint32_t head = i / each;
    uint32_t k = i % each;
    return k < m->shape.rank ? head * m->shape.rank + k : rotary_output(m, head, k - m->shape.rank);
}

static uint32_t down_output(const struct model *m, uint32_t i)
{
    const struct served_sizes *z = &m->sizes;
    return i < m->shape.rank ? z->content_p + 2 * z->rotary_p + i
                             : rotary_output(m, m->shape.heads, i - m->shape.rank);
}

static uint32_t shared_output(const struct model *m, uint32_t i)
{
    const struct served_sizes *z = &m->sizes;
    uint32_t v = i >= m->shape.shared_hidden ? z->shared_p : 0;
    return z->experts_p + v + i % m->shape.shared_hidden;
}

static uint32_t hidden_output(const struct model *m, uint32_t i)
{
    uint32_t v = i >= m->shape.expert_hidden ? m->sizes.hidden_p : 0;
    return v + i % m->shape.expert_hidden;
}

static void take_layer(struct loader *l, struct served_layer *to)
{
    const struct net_shape *s = &l->m->shape;
    uint32_t rotary = s->rank + s->rope;
    struct matrix *w1[64]; /* the most experts */
    struct matrix *w2[64];
    for (uint32_t x = 0; x < s->experts; x++) {
        w1[x] = &to->w1[x];
        w2[x] = &to->w2[x];
    }
    take_floats(l, to->norm1, s->width);
    take_matrix(l, &(struct matrix *){&to->query}, s->heads * rotary, s->width, query_output,
                UINT32_MAX);
    take_matrix(l, &(struct matrix *){&to->query}, rotary, s->width, down_output, UINT32_MAX);

    take_matrix(l, &(struct matrix *){&to->out}, s->width, s->heads * s->rank, same_output,
                UINT32_MAX);
    take_floats(l, to->norm2, s->width);
    take_matrix(l, &(struct matrix *){&to->gate}, s->experts, s->width, same_output, UINT32_MAX);
    take_floats(l, to->balance, s->experts);
    for (uint32_t x = s->experts; x < l->m->sizes.experts_p; x++) {
        to->balance[x] = NEVER;
    }
    take_matrix(l, &(struct matrix *){&to->gate}, 2 * s->shared_hidden, s->width, shared_output,
                UINT32_MAX);
    take_matrix(l, &(struct matrix *){&to->shared2}, s->width, s->shared_hidden, same_output,
                UINT32_MAX);
    take_matrix(l, w1, s->experts * 2 * s->expert_hidden, s->width, hidden_output,
                2 * s->expert_hidden);
    take_matrix(l, w2, s->experts * s->width, s->expert_hidden, same_output, s->width);
}

static void put_edges(struct model *m)
{
    const struct net_encoding *enc = &m->encoding;
    float *to = m->edges;
    for (uint32_t b = 0; b < m->sizes.columns_p / SERVED_LANES; b++) {
        m->edge_count[b] = edges_of(m, b);
        for (uint32_t i = 0; i < m->edge_count[b]; i++) {
            for (uint32_t c = b * SERVED_LANES; c < (b + 1) * SERVED_LANES; c++) {
                bool has =
                    c < m->shape.columns && i + 1 < enc->first_row[c + 1] - enc->first_row[c];
                *to++ = has ? enc->edges[enc->first_row[c] - c + i] : INFINITY;
            }
        }
    }
}

/* Columns that say something, in order of their multipliers. */
static void put_used(struct model *m, const uint8_t *multiplier)
{
    const struct net_encoding *enc = &m->encoding;
    uint32_t at = 0;
    for (uint32_t k = 0; k < SERVED_TABLE_SHIFTS; k++) {
        for (uint32_t c = 0; c < m->shape.columns; c++) {
            if (multiplier[c] == 1U << k && enc->first_row[c + 1] - enc->first_row[c] > 1) {
                m->used[at++] = (uint16_t)c;
            }
        }
        m->used_end[k] = at;
    }
    for (uint32_t c = 0; c < m->shape.columns; c++) {
        m->first[c] = (int32_t)((size_t)enc->first_row[c] * m->sizes.table_stride);
    }
}

/* Padding lies around 128 as the rest does. */
static void put_table_row(uint8_t *to, const int8_t *row, uint32_t width, uint32_t stride)
{
    memset(to, 128, stride);
    for (uint32_t k = 0; k < width; k++) {
        uint32_t byte = k % 32 * 2 + k / 32 % 2;
        to[k / 64 * 64 + byte] = (uint8_t)(row[k] + 128);
    }
}

static void take_table(struct loader *l)
{
    struct model *m = l->m;
    const struct net_shape *s = &m->shape;
    uint8_t multiplier[1024]; /* the most columns */
    take_floats(l, &m->table_scale, 1);
    l->bad |= !(m->table_scale >= 0) || !(m->table_scale * 127 * 128 <= SERVED_PARAM_MAX * 1.0001F);
    l->bad |= !frame_take(&l->net, multiplier, s->columns);
    for (uint32_t c = 0; c < s->columns && !l->bad; c++) {
        l->bad |= multiplier[c] == 0 || (multiplier[c] & (multiplier[c] - 1)) != 0;
    }
    for (uint32_t b = 0; b < s->bins && !l->bad; b++) {
        l->bad |= !frame_take(&l->net, l->row, s->width);
        put_table_row(m->table + (size_t)b * m->sizes.table_stride, l->row, s->width,
                      m->sizes.table_stride);
    }
    if (!l->bad) {
        put_used(m, multiplier);
    }
}

static void take_input(struct loader *l)
{
    struct model *m = l->m;
    const struct net_shape *s = &m->shape;
    take_table(l);
    take_matrix(l, &(struct matrix *){&m->input}, s->width, s->columns, same_output, UINT32_MAX);
    take_floats(l, m->input_bias, s->width);
    memcpy(m->mean, m->encoding.mean, s->columns * sizeof *m->mean);
    memcpy(m->inv_sd, m->encoding.inv_sd, s->columns * sizeof *m->inv_sd);
    put_edges(m);
}

static enum err take_network(struct loader *l, struct errmsg *e)
{
    struct model *m = l->m;
    const struct net_shape *s = &m->shape;
    float head[1024]; /* the largest width */
    take_input(l);
    for (uint32_t i = 0; i < s->layers && !l->bad; i++) {
        take_layer(l, &m->layer[i]);
    }
    take_floats(l, m->head, s->width);
    take_floats(l, head, s->width);
    take_floats(l, &m->head_bias, 1);
    if (l->bad) {
        return err_set(e, ERR_CORRUPT,
                       "the network of this model has a value that is not finite or above %g",
                       (double)SERVED_PARAM_MAX);
    }
    for (uint32_t k = 0; k < s->width; k++) {
        m->head[k] *= head[k];
    }
    net_turns(m->shape.rope, m->turns);
    return ERR_OK;
}

static enum err load_network(struct model *m, struct frame_in *file, struct errmsg *e)
{
    const struct net_shape *s = &m->shape;
    struct loader l = {.m = m};
    enum err err = ERR_OK;
    if (!frame_next(file, "NETW", &l.net) || l.net.left != network_bytes(s)) {
        return err_set(e, ERR_CORRUPT, "the section of the network has the wrong length");
    }

    size_t bytes = carve_model(m, NULL);
    m->block = aligned_alloc(SERVED_ALIGN, bytes);
    l.scale = malloc(l.net.left); /* more than any matrix's scales or row */
    l.row = malloc(l.net.left);
    if (m->block == NULL || l.scale == NULL || l.row == NULL) {
        err = err_set(e, ERR_NOMEM, "no memory to load the model (%zu bytes)", bytes);
    } else {
        memset(m->block, 0, bytes);
        carve_model(m, m->block);
        err = take_network(&l, e);
    }
    free(l.scale);
    free(l.row);
    return err;
}

/* Printable and ended by a zero. */
static bool is_text(const char *text, size_t size)
{
    size_t n = 0;
    while (n < size && text[n] > ' ' && text[n] <= '~') {
        n++;
    }
    return n < size && text[n] == '\0';
}

static enum err load_lineage(struct model_lineage *l, struct frame_in *file, struct errmsg *e)
{
    struct frame_in in;
    uint64_t n[8];
    bool ok = frame_next(file, "LINE", &in) && file->left == 0 &&
              frame_take(&in, l->version, sizeof l->version) &&
              frame_take(&in, l->parent, sizeof l->parent) &&
              frame_take(&in, l->code_version, sizeof l->code_version) &&
              frame_take(&in, l->blas_core, sizeof l->blas_core);
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++) {
        ok = ok && frame_take_u64(&in, &n[i]);
    }
    ok = ok && frame_take_floats(&in, &l->blame_ratio, 1, 1e9F) &&
         frame_take_floats(&in, &l->blame_tail, 1, 1e9F) &&
         frame_take_u32(&in, &l->rates_version, 1) && frame_take_double(&in, &l->holdout_auc) &&
         frame_take_double(&in, &l->holdout_ap) && frame_take_double(&in, &l->holdout_brier) &&
         (in.left == 0 || frame_take_floats(&in, l->score_share, SCORE_BANDS, 1)) && in.left == 0;
    if (!ok || !is_text(l->version, sizeof l->version) || !is_text(l->parent, sizeof l->parent) ||
        !is_text(l->code_version, sizeof l->code_version) ||
        !is_text(l->blas_core, sizeof l->blas_core)) {
        return err_set(e, ERR_CORRUPT, "the model's lineage is damaged");
    }
    l->data_from_us = (int64_t)n[0];
    l->data_until_us = (int64_t)n[1];
    l->rows_hash = n[2];
    l->rows = n[3];
    l->frauds = n[4];
    l->seed = n[5];
    l->schema_hash = n[6];
    l->maturity_us = (int64_t)n[7];
    return ERR_OK;
}

static enum err load_calibration(double c[3], struct frame_in *file, struct errmsg *e)
{
    struct frame_in in;
    if (!frame_next(file, "CALB", &in) || !frame_take_double(&in, &c[0]) ||
        !frame_take_double(&in, &c[1]) || !frame_take_double(&in, &c[2]) || in.left != 0 ||
        !(c[0] >= CALIBRATE_SLOPE_MIN && c[0] <= 1e6) ||
        !(c[1] >= CALIBRATE_SLOPE_MIN && c[1] <= 1e6) || !(fabs(c[2]) <= 1e6)) {
        return err_set(e, ERR_CORRUPT, "the model's calibration is damaged");
    }
    return ERR_OK;
}

enum err model_load(const void *bytes, size_t len_bytes, struct model **out, struct errmsg *e)
{
    struct frame_in file;
    struct net_layout layout;
    enum err err = frame_open(bytes, len_bytes, FORMAT_MODEL_MAGIC, FORMAT_MODEL_VERSION,
                              FORMAT_MODEL_SECTIONS, "model", &file, e);
    if (err != ERR_OK) {
        return err;
    }
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to load the model");
    }
    m->hash = hash_id(bytes, len_bytes);
    if (!format_take_shape(&file, &m->shape)) {
        err = err_set(e, ERR_CORRUPT, "the section of the network's sizes is damaged");
    } else if (net_layout_init(&layout, &m->shape, e) != ERR_OK ||
               served_sizes_init(&m->sizes, &m->shape, e) != ERR_OK) {
        err = err_prefix(e, ERR_CORRUPT, "this model");
    }
    err = err == ERR_OK ? load_calibration(m->calibration, &file, e) : err;
    err = err == ERR_OK ? format_take_encoding(&file, &m->shape, &m->encoding, e) : err;
    err = err == ERR_OK ? load_network(m, &file, e) : err;
    err = err == ERR_OK ? load_lineage(&m->lineage, &file, e) : err;
    if (err != ERR_OK) {
        model_free(m);
        return err;
    }
    *out = m;
    return ERR_OK;
}

void model_free(struct model *m)
{
    if (m != NULL) {
        bins_done(&m->encoding);
        free(m->block);
        free(m);
    }
}
