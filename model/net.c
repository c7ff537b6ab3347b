/* Shape, layout and names of the network's parameters; the rotation of an event.
 *
 * Invariants
 *  1. Tensors lie one after another in the order of enum net_tensor_kind, the layers of a kind one
 *     after another, without gaps: offset + size of the last is `total`.
 *  2. No product of two admitted sizes overflows 32 bits; `total` is below 2^31. */
#include "model/net.h"

#include "base/detmath.h"

#define DAY_US 86400e6
#define TWO_PI 6.283185307179586476925286766559
#define PERIOD_FIRST_DAYS 0.04
#define PERIOD_LAST_DAYS 60.0
#define ROUND_DOUBLE 6755399441055744.0 /* 1.5 * 2^52 */
#define PARAMS_MAX ((size_t)1 << 31)

struct bound {
    const char *name;
    size_t at; /* offset in struct net_shape */
    uint32_t low, high, multiple;
};

#define BOUND(field, low, high, multiple)                                                          \
    {                                                                                              \
#field, offsetof(struct net_shape, field), low, high, multiple                             \
    }
/* The multiples are what the INT8 kernels group: four bytes a lane. */
static const struct bound BOUNDS[] = {
    BOUND(columns, 1, 1024, 1),
    BOUND(bins, 1, 1U << 18, 1),
    BOUND(width, 4, 1024, 4),
    BOUND(layers, 1, NET_LAYERS_MAX, 1),
    BOUND(heads, 1, 64, 1),
    BOUND(head_dim, 4, 256, 4),
    BOUND(rank, 4, 256, 4),
    BOUND(rope, 2, NET_ROPE_MAX, 2),
    BOUND(experts, 1, NET_EXPERTS_MAX, 1),
    BOUND(top, 1, 8, 1),
    BOUND(expert_hidden, 4, 1024, 4),
    BOUND(shared_hidden, 4, 4096, 4),
    BOUND(window, 1, 1024, 1),
};

static const char *const NAMES[NET_KIND_COUNT] = {
    [NET_INPUT_W] = "input.w",
    [NET_INPUT_B] = "input.b",
    [NET_TABLE] = "input.table",
    [NET_NORM1] = "norm1",
    [NET_Q] = "attention.q",
    [NET_DOWN] = "attention.down",
    [NET_LATENT_NORM] = "attention.latent_norm",
    [NET_UK] = "attention.uk",
    [NET_UV] = "attention.uv",
    [NET_O] = "attention.o",
    [NET_NORM2] = "norm2",
    [NET_GATE] = "experts.gate",
    [NET_S1] = "experts.s1",
    [NET_S2] = "experts.s2",
    [NET_W1] = "experts.w1",
    [NET_W2] = "experts.w2",
    [NET_NORM_OUT] = "norm_out",
    [NET_HEAD_W] = "head.w",
    [NET_HEAD_B] = "head.b",
    [NET_NEXT] = "next",
};

const char *net_tensor_name(enum net_tensor_kind kind)
{
    return (unsigned)kind < NET_KIND_COUNT ? NAMES[kind] : "unknown";
}

void net_shape_default(struct net_shape *out, uint32_t columns, uint32_t bins)
{
    *out = (struct net_shape){.columns = columns,
                              .bins = bins,
                              .width = 96,
                              .layers = 2,
                              .heads = 4,
                              .head_dim = 16,
                              .rank = 16,
                              .rope = 16,
                              .experts = 16,
                              .top = 2,
                              .expert_hidden = 16,
                              .shared_hidden = 32,
                              .window = 16};
}

static enum err check_shape(const struct net_shape *s, struct errmsg *e)
{
    for (size_t i = 0; i < sizeof BOUNDS / sizeof BOUNDS[0]; i++) {
        const struct bound *b = &BOUNDS[i];
        uint32_t value = *(const uint32_t *)(const void *)((const char *)s + b->at);
        if (value < b->low || value > b->high || value % b->multiple != 0) {
            return err_set(e, ERR_INVALID,
                           "network size %s = %u is not allowed; give a multiple of %u from %u to "
                           "%u",
                           b->name, value, b->multiple, b->low, b->high);
        }
    }
    if (s->top > s->experts) {
        return err_set(e, ERR_INVALID, "network size top = %u is above experts = %u", s->top,
                       s->experts);
    }
    if (s->bins < s->columns) {
        return err_set(e, ERR_INVALID, "network size bins = %u is below columns = %u", s->bins,
                       s->columns);
    }
    return ERR_OK;
}

static size_t tensor_size(const struct net_shape *s, enum net_tensor_kind kind)
{
    size_t width = s->width;
    size_t keys = (size_t)s->heads * s->head_dim;
    switch (kind) {
    case NET_INPUT_W:
    case NET_NEXT:
        return s->columns * width;
    case NET_TABLE:
        return s->bins * width;
    case NET_INPUT_B:
    case NET_NORM1:
    case NET_NORM2:
    case NET_NORM_OUT:
    case NET_HEAD_W:
        return width;
    case NET_Q:
        return (keys + (size_t)s->heads * s->rope) * width;
    case NET_DOWN:
        return ((size_t)s->rank + s->rope) * width;
    case NET_LATENT_NORM:
        return s->rank;
    case NET_UK:
    case NET_UV:
        return keys * s->rank;
    case NET_O:
        return keys * width;
    case NET_GATE:
        return s->experts * width;
    case NET_S1:
        return 2 * (size_t)s->shared_hidden * width;
    case NET_S2:
        return s->shared_hidden * width;
    case NET_W1:
        return 2 * (size_t)s->experts * s->expert_hidden * width;
    case NET_W2:
        return (size_t)s->experts * s->expert_hidden * width;
    case NET_HEAD_B:
        return 1;
    case NET_KIND_COUNT:
        break;
    }
    return 0;
}

enum err net_layout_init(struct net_layout *out, const struct net_shape *shape, struct errmsg *e)
{
    enum err rc = check_shape(shape, e);
    if (rc != ERR_OK) {
        return rc;
    }
    struct net_layout l = {.total = 0};
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        enum net_tensor_kind kind = (enum net_tensor_kind)k;
        uint32_t copies = kind >= NET_NORM1 && kind <= NET_W2 ? shape->layers : 1;
        l.size[k] = tensor_size(shape, kind);
        for (uint32_t i = 0; i < copies; i++) {
            l.offset[k][i] = l.total;
            l.total += l.size[k];
        }
    }
    if (l.total >= PARAMS_MAX) {
        return err_set(e, ERR_INVALID, "a network of %zu parameters is too large; at most 2^31",
                       l.total);
    }
    *out = l;
    return ERR_OK;
}

void net_turns(uint32_t rope, double *out)
{
    uint32_t half = rope / 2;
    double slower = half > 1 ? det_pow(PERIOD_FIRST_DAYS / PERIOD_LAST_DAYS, 1.0 / (half - 1)) : 1;
    double turns = 1 / PERIOD_FIRST_DAYS;
    for (uint32_t k = 0; k < half; k++) {
        out[k] = turns;
        turns *= slower;
    }
}

/* The nearest whole number, ties to even, for |x| < 2^51. */
static double nearest(double x)
{
    return (x + ROUND_DOUBLE) - ROUND_DOUBLE;
}

void net_rotation_at(const double *turns, uint32_t half, int64_t event_us, float *out_cos,
                     float *out_sin)
{
    double days = (double)event_us / DAY_US;
    for (uint32_t k = 0; k < half; k++) {
        /* what is left of whole and half turns, at most a quarter; then Taylor's series */
        double t = days * turns[k];
        t = t - nearest(t);
        double halves = nearest(2 * t);
        double sign = 1 - 2 * (halves * halves);
        double a = TWO_PI * (t - halves / 2);
        double z = a * a;
        double s = 1.6059043836821613e-10;
        s = s * z - 2.505210838544172e-8;
        s = s * z + 2.7557319223985893e-6;
        s = s * z - 1.984126984126984e-4;
        s = s * z + 8.333333333333333e-3;
        s = s * z - 1.6666666666666666e-1;
        double c = -1.1470745597729725e-11;
        c = c * z + 2.08767569878681e-9;
        c = c * z - 2.755731922398589e-7;
        c = c * z + 2.48015873015873e-5;
        c = c * z - 1.388888888888889e-3;
        c = c * z + 4.1666666666666664e-2;
        c = c * z - 0.5;
        out_sin[k] = (float)(sign * (a + a * z * s));
        out_cos[k] = (float)(sign * (1 + z * c));
    }
}

void net_rotation(int64_t event_us, uint32_t rope, float *out_cos, float *out_sin)
{
    double turns[NET_ROPE_MAX / 2];
    net_turns(rope, turns);
    net_rotation_at(turns, rope / 2, event_us, out_cos, out_sin);
}
