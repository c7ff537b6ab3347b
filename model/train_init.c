#include "model/train_init.h"

#include <math.h>

#include "base/detmath.h"
#include "base/rng.h"

enum rule { RULE_ZERO, RULE_ONE, RULE_UNIFORM, RULE_NORMAL, RULE_NORMAL_HALF };

/* How a tensor starts and how many inputs one of its outputs has. */
static enum rule rule_of(const struct net_shape *s, enum net_tensor_kind kind, size_t *out_inputs)
{
    *out_inputs = s->width;
    switch (kind) {
    case NET_INPUT_W:
        *out_inputs = s->columns;
        return RULE_UNIFORM;
    case NET_Q:
    case NET_DOWN:
    case NET_GATE:
    case NET_S1:
    case NET_HEAD_W:
    case NET_NEXT:
        return RULE_UNIFORM;
    case NET_UK:
    case NET_UV:
        *out_inputs = s->rank;
        return RULE_UNIFORM;
    case NET_O:
        *out_inputs = (size_t)s->heads * s->head_dim;
        return RULE_UNIFORM;
    case NET_S2:
        *out_inputs = s->shared_hidden;
        return RULE_UNIFORM;
    case NET_W1:
        return RULE_NORMAL;
    case NET_W2:
        *out_inputs = s->expert_hidden;
        return RULE_NORMAL_HALF;
    case NET_NORM1:
    case NET_LATENT_NORM:
    case NET_NORM2:
    case NET_NORM_OUT:
        return RULE_ONE;
    case NET_INPUT_B:
    case NET_TABLE:
    case NET_HEAD_B:
    case NET_KIND_COUNT:
        break;
    }
    return RULE_ZERO;
}

static float draw(struct rng *rng, enum rule rule, double scale)
{
    switch (rule) {
    case RULE_ZERO:
        return 0;
    case RULE_ONE:
        return 1;
    case RULE_UNIFORM:
        return (float)(scale * (2 * rng_uniform(rng) - 1));
    case RULE_NORMAL:
        return (float)(scale * rng_normal(rng));
    case RULE_NORMAL_HALF:
        return (float)(scale * rng_normal(rng) / 2);
    }
    return 0;
}

void train_init(const struct net_shape *shape, const struct net_layout *layout, uint64_t seed,
                double rate, float *params)
{
    struct rng rng;
    rng_init(&rng, seed ^ 0x77656967U);
    for (int k = 0; k < NET_KIND_COUNT; k++) {
        enum net_tensor_kind kind = (enum net_tensor_kind)k;
        uint32_t copies = kind >= NET_NORM1 && kind <= NET_W2 ? shape->layers : 1;
        size_t inputs;
        enum rule rule = rule_of(shape, kind, &inputs);
        double scale = 1 / sqrt((double)inputs);
        for (uint32_t i = 0; i < copies; i++) {
            float *w = params + layout->offset[k][i];
            for (size_t j = 0; j < layout->size[k]; j++) {
                w[j] = draw(&rng, rule, scale);
            }
        }
    }
    params[layout->offset[NET_HEAD_B][0]] = (float)det_log(rate / (1 - rate));
}
