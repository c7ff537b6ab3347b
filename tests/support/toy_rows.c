#include "tests/support/toy_rows.h"

#include <stdlib.h>

#include "base/rng.h"

static void *get(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (p == NULL) {
        abort();
    }
    return p;
}

void toy_rows_init(struct toy_rows *t, uint64_t seed, size_t cards, size_t per_card, size_t columns)
{
    size_t n = cards * per_card;
    struct rng rng;
    rng_init(&rng, seed);
    t->x = get(n * columns, sizeof *t->x);
    t->event_us = get(n, sizeof *t->event_us);
    t->card = get(n, sizeof *t->card);
    t->label = get(n, sizeof *t->label);
    t->weight = get(n, sizeof *t->weight);
    for (size_t i = 0; i < n; i++) {
        size_t place = i % per_card;
        float *x = t->x + i * columns;
        t->card[i] = (uint32_t)(i / per_card);
        t->event_us[i] = (int64_t)((double)place + rng_uniform(&rng)) * 1000000 +
                         (int64_t)place * TOY_DAYS * TOY_DAY_US / (int64_t)per_card;
        for (size_t c = 0; c + 1 < columns; c++) {
            x[c] = (float)rng_normal(&rng) * (float)(c + 1);
        }
        x[columns - 1] = 3.5F;
        bool odd_before = place > 0 && (x - columns)[1] > 2.5F;
        t->label[i] = x[0] > 1.6F || (odd_before && x[2] > 0);
        t->weight[i] = place < 2 ? 0 : 1;
    }
    t->rows = (struct train_rows){.n = n,
                                  .columns = columns,
                                  .x = t->x,
                                  .event_us = t->event_us,
                                  .card = t->card,
                                  .label = t->label,
                                  .weight = t->weight};
}

void toy_rows_done(struct toy_rows *t)
{
    free(t->x);
    free(t->event_us);
    free(t->card);
    free(t->label);
    free(t->weight);
}

void toy_conf(struct train_conf *c)
{
    train_conf_default(c);
    c->shape.width = 16;
    c->shape.heads = 2;
    c->shape.head_dim = 8;
    c->shape.rank = 8;
    c->shape.rope = 4;
    c->shape.experts = 4;
    c->shape.expert_hidden = 8;
    c->shape.shared_hidden = 8;
    c->shape.window = 4;
    c->holdout_from_us = (TOY_DAYS - 10) * TOY_DAY_US;
    c->epochs = 2;
    c->teacher_trees = 8;
    c->piece = 12;
    c->context = 6;
    c->batch = 24;
    c->shards = 5;
    c->warmup_steps = 5;
    c->threads = 1;
}
