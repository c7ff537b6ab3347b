/* Invariants
 *  1. A span holds whole units, and a span's result depends on the span alone: any thread may take
 *     it. */
#include "model/train_adam.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/train_loops.h"

#define SPAN_FLOATS 16384 /* about as many as stay in the second-level cache with their moments */
#define EPSILON 1e-8
#define NORM_MIN 1e-3 /* Brock et al.: lets weights leave zero */

enum decay { DECAY_NONE, DECAY_MATRIX, DECAY_TABLE, DECAY_INPUT };

struct span {
    size_t first;  /* in the parameter block */
    uint32_t rows; /* units */
    uint32_t len;  /* floats a unit */
    enum decay decay;
    bool clips;
};

struct adam {
    const struct train_loops *loops;
    size_t total;
    uint64_t steps;
    float *m, *v; /* [total] */
    float *sum;   /* [total] the gradient, parts added */
    struct span *span;
    uint32_t spans;
};

struct job {
    struct adam *adam;
    const struct adam_step *step;
    const float *const *grad;
    uint32_t parts;
    float *params, *ema;
    struct adam_rates rates; /* but for `keep` */
    float keep[4];           /* by enum decay: what decay leaves of a weight */
};

/* Floats of one unit of a tensor: a row, or the whole of a vector. */
static size_t unit_len(const struct net_shape *s, const struct net_layout *l,
                       enum net_tensor_kind kind)
{
    switch (kind) {
    case NET_INPUT_W:
        return s->columns;
    case NET_TABLE:
    case NET_Q:
    case NET_DOWN:
    case NET_GATE:
    case NET_S1:
    case NET_W1:
    case NET_NEXT:
        return s->width;
    case NET_UK:
    case NET_UV:
        return s->rank;
    case NET_O:
        return (size_t)s->heads * s->head_dim;
    case NET_S2:
        return s->shared_hidden;
    case NET_W2:
        return s->expert_hidden;
    case NET_INPUT_B:
    case NET_NORM1:
    case NET_LATENT_NORM:
    case NET_NORM2:
    case NET_NORM_OUT:
    case NET_HEAD_W:
    case NET_HEAD_B:
    case NET_KIND_COUNT:
        break;
    }
    return l->size[kind];
}

static enum decay decay_of(enum net_tensor_kind kind)
{
    switch (kind) {
    case NET_TABLE:
        return DECAY_TABLE;
    case NET_INPUT_W:
        return DECAY_INPUT;
    case NET_INPUT_B:
    case NET_NORM1:
    case NET_LATENT_NORM:
    case NET_NORM2:
    case NET_NORM_OUT:
    case NET_HEAD_B:
        return DECAY_NONE;
    case NET_Q:
    case NET_DOWN:
    case NET_UK:
    case NET_UV:
    case NET_O:
    case NET_GATE:
    case NET_S1:
    case NET_S2:
    case NET_W1:
    case NET_W2:
    case NET_HEAD_W:
    case NET_NEXT:
    case NET_KIND_COUNT:
        break;
    }
    return DECAY_MATRIX;
}

/* Appends the spans of one tensor; out NULL only counts. */
static uint32_t cut_tensor(size_t first, size_t size, size_t len, enum net_tensor_kind kind,
                           struct span *out)
{
    size_t rows = size / len;
    size_t most = len < SPAN_FLOATS ? SPAN_FLOATS / len : 1;
    uint32_t count = 0;
    for (size_t i = 0; i < rows; i += most, count++) {
        size_t n = rows - i < most ? rows - i : most;
        if (out != NULL) {
            out[count] = (struct span){.first = first + i * len,
                                       .rows = (uint32_t)n,
                                       .len = (uint32_t)len,
                                       .decay = decay_of(kind),
                                       .clips = kind != NET_HEAD_W && kind != NET_HEAD_B};
        }
    }
    return count;
}

static uint32_t cut_all(const struct net_shape *s, const struct net_layout *l, struct span *out)
{
    uint32_t count = 0;
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        enum net_tensor_kind kind = (enum net_tensor_kind)k;
        uint32_t copies = kind >= NET_NORM1 && kind <= NET_W2 ? s->layers : 1;
        for (uint32_t i = 0; i < copies; i++) {
            count += cut_tensor(l->offset[k][i], l->size[k], unit_len(s, l, kind), kind,
                                out == NULL ? NULL : out + count);
        }
    }
    return count;
}

enum err adam_create(const struct net_shape *shape, const struct net_layout *layout,
                     struct adam **out, struct errmsg *e)
{
    struct adam *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the optimiser");
    }
    a->loops = train_loops_best();
    a->total = layout->total;
    a->spans = cut_all(shape, layout, NULL);
    a->m = calloc(a->total, sizeof *a->m);
    a->v = calloc(a->total, sizeof *a->v);
    a->sum = calloc(a->total, sizeof *a->sum);
    a->span = calloc(a->spans, sizeof *a->span);
    if (a->m == NULL || a->v == NULL || a->sum == NULL || a->span == NULL) {
        adam_free(a);
        return err_set(e, ERR_NOMEM, "no memory for the moments of %zu parameters", layout->total);
    }
    cut_all(shape, layout, a->span);
    *out = a;
    return ERR_OK;
}

void adam_free(struct adam *a)
{
    if (a != NULL) {
        free(a->m);
        free(a->v);
        free(a->sum);
        free(a->span);
        free(a);
    }
}

static void clip_unit(const struct train_loops *loops, float *g, const float *w, size_t n,
                      double most)
{
    double size = sqrt((double)loops->squares(w, n));
    double bound = most * (size > NORM_MIN ? size : NORM_MIN);
    double have = sqrt((double)loops->squares(g, n));
    if (have > bound) {
        float scale = (float)(bound / have);
        for (size_t i = 0; i < n; i++) {
            g[i] *= scale;
        }
    }
}

static void add_parts(const struct job *j, size_t first, size_t n)
{
    float *sum = j->adam->sum + first;
    memcpy(sum, j->grad[0] + first, n * sizeof *sum);
    for (uint32_t p = 1; p < j->parts; p++) {
        const float *part = j->grad[p] + first;
        for (size_t i = 0; i < n; i++) {
            sum[i] += part[i];
        }
    }
}

/* Adds the gradient of consolidation / 2 * fisher * (w - anchor)^2. */
static void add_pull(const struct adam_pull *p, size_t first, size_t n, const float *w, float *g)
{
    const float stiff = (float)p->consolidation;
    for (size_t i = 0; i < n; i++) {
        g[i] += stiff * p->fisher[first + i] * (w[i] - p->anchor[first + i]);
    }
}

static void run_span(void *ctx, uint32_t worker, uint32_t item)
{
    const struct job *j = ctx;
    const struct adam_step *s = j->step;
    const struct span *sp = &j->adam->span[item];
    size_t n = (size_t)sp->rows * sp->len;
    float *g = j->adam->sum + sp->first;
    float *m = j->adam->m + sp->first;
    float *v = j->adam->v + sp->first;
    float *w = j->params + sp->first;
    float *ema = j->ema + sp->first;
    const struct train_loops *loops = j->adam->loops;
    struct adam_rates rates = j->rates;
    rates.keep = j->keep[sp->decay];
    (void)worker;
    add_parts(j, sp->first, n);
    if (s->pull.anchor != NULL) {
        add_pull(&s->pull, sp->first, n, w, g);
    }
    if (sp->clips && s->clip > 0) {
        for (uint32_t r = 0; r < sp->rows; r++) {
            clip_unit(loops, g + (size_t)r * sp->len, w + (size_t)r * sp->len, sp->len, s->clip);
        }
    }
    const float *anchor = s->pull.anchor;
    float back = (float)(s->learning_rate * s->pull.decay);
    for (size_t i = 0; anchor != NULL && i < n; i++) {
        w[i] -= back * (w[i] - anchor[sp->first + i]);
    }
    loops->adam(&rates, n, g, m, v, w, ema);
}

void adam_run(struct adam *a, struct pool *pool, const struct adam_step *s,
              const float *const *grad, uint32_t parts, float *params, float *ema)
{
    a->steps++;
    double first = 1 - pow(s->beta1, (double)a->steps);
    double second = 1 - pow(s->beta2, (double)a->steps);
    struct job j = {.adam = a,
                    .step = s,
                    .grad = grad,
                    .parts = parts,
                    .params = params,
                    .ema = ema,
                    .rates = {.beta1 = (float)s->beta1,
                              .beta2 = (float)s->beta2,
                              .rate = (float)(s->learning_rate / first),
                              .root = (float)(1 / sqrt(second)),
                              .stay = (float)s->ema,
                              .epsilon = (float)EPSILON},
                    .keep = {1, (float)(1 - s->learning_rate * s->weight_decay),
                             (float)(1 - s->learning_rate * s->table_decay),
                             (float)(1 - s->learning_rate * s->input_decay)}};
    pool_run(pool, a->spans, run_span, &j);
}
