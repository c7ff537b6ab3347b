#include "daemon/train_settings.h"

#include <stddef.h>
#include <string.h>

const struct conf_option TRAIN_SETTINGS[] = {
    {"net.width", CONF_INT, 0, NULL, 4, 1024, "floats of the residual"},
    {"net.layers", CONF_INT, 0, NULL, 1, 8, "blocks of attention and experts"},
    {"net.window", CONF_INT, 0, NULL, 1, 1024, "events attended to; 1: no attention to the past"},
    {"net.experts", CONF_INT, 0, NULL, 1, 64, "routed experts; 1 with net.top 1: a dense layer"},
    {"net.top", CONF_INT, 0, NULL, 1, 8, "routed experts that an event uses"},
    {"net.expert-hidden", CONF_INT, 0, NULL, 4, 1024, "neurons of a routed expert"},
    {"net.shared-hidden", CONF_INT, 0, NULL, 4, 4096, "neurons of the shared expert"},
    {"fit.all-rows", CONF_BOOL, 0, NULL, 0, 0, "fit again on all rows in the end"},
    {"fit.batch", CONF_INT, 0, NULL, 1, 1 << 20, "pieces of histories an optimiser step"},
    {"fit.epoch-steps", CONF_INT, 0, NULL, 0, 1 << 30, "steps of an epoch at most; 0: all rows"},
    {"fit.bin-leaves", CONF_INT, 0, NULL, 1, 256, "leaves of a column's tree"},
    {"fit.learning-rate", CONF_REAL, 0, NULL, 1e-6, 1, "at its highest"},
    {"fit.weight-decay", CONF_REAL, 0, NULL, 0, 100, "of matrices"},
    {"fit.table-decay", CONF_REAL, 0, NULL, 0, 100, "of the input tables"},
    {"fit.input-decay", CONF_REAL, 0, NULL, 0, 100, "of the input matrix"},
    {"fit.dropout", CONF_REAL, 0, NULL, 0, 0.95, "of the residual's additions"},
    {"fit.input-dropout", CONF_REAL, 0, NULL, 0, 0.95, "of columns"},
    {"fit.clip", CONF_REAL, 0, NULL, 0, 1e6, "gradient over weight, by unit; 0: none"},
    {"fit.next-weight", CONF_REAL, 0, NULL, 0, 1000, "weight of the next-event loss"},
    {"fit.distillation", CONF_REAL, 0, NULL, 0, 1, "share of a teacher's opinion; 0: no teacher"},
    {"fit.teacher-trees", CONF_INT, 0, NULL, 1, 10000, "trees of the teacher"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};

/* Where the settings go: sizes are uint32_t, the others float. */
static const struct {
    const char *name;
    size_t at; /* in struct train_conf */
} PLACES[] = {
    {"net.width", offsetof(struct train_conf, shape.width)},
    {"net.layers", offsetof(struct train_conf, shape.layers)},
    {"net.window", offsetof(struct train_conf, shape.window)},
    {"net.experts", offsetof(struct train_conf, shape.experts)},
    {"net.top", offsetof(struct train_conf, shape.top)},
    {"net.expert-hidden", offsetof(struct train_conf, shape.expert_hidden)},
    {"net.shared-hidden", offsetof(struct train_conf, shape.shared_hidden)},
    {"fit.batch", offsetof(struct train_conf, batch)},
    {"fit.epoch-steps", offsetof(struct train_conf, epoch_steps)},
    {"fit.bin-leaves", offsetof(struct train_conf, bin_leaves)},
    {"fit.learning-rate", offsetof(struct train_conf, learning_rate)},
    {"fit.weight-decay", offsetof(struct train_conf, weight_decay)},
    {"fit.table-decay", offsetof(struct train_conf, table_decay)},
    {"fit.input-decay", offsetof(struct train_conf, input_decay)},
    {"fit.dropout", offsetof(struct train_conf, dropout)},
    {"fit.input-dropout", offsetof(struct train_conf, input_dropout)},
    {"fit.clip", offsetof(struct train_conf, clip)},
    {"fit.next-weight", offsetof(struct train_conf, next_weight)},
    {"fit.distillation", offsetof(struct train_conf, distillation)},
    {"fit.teacher-trees", offsetof(struct train_conf, teacher_trees)},
};

static const struct conf_option *option(const char *name)
{
    const struct conf_option *o = TRAIN_SETTINGS;
    while (o->name != NULL && strcmp(o->name, name) != 0) {
        o++;
    }
    return o;
}

void train_settings_apply(const struct conf *c, struct train_conf *out)
{
    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        const char *name = PLACES[i].name;
        char *at = (char *)out + PLACES[i].at;
        if (!conf_given(c, name)) {
            continue;
        }
        if (option(name)->type == CONF_INT) {
            uint32_t value = (uint32_t)conf_int(c, name);
            memcpy(at, &value, sizeof value);
        } else {
            float value = (float)conf_real(c, name);
            memcpy(at, &value, sizeof value);
        }
    }
    if (conf_given(c, "fit.all-rows")) {
        out->final_fit = conf_bool(c, "fit.all-rows");
    }
}
