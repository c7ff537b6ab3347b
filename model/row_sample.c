#include "model/row_sample.h"

#include <stdlib.h>

#include "base/rng.h"

/* Selection sampling (Knuth 3.4.2 S): of `left` rows to come exactly `want` are taken, in order. */
struct draw {
    struct rng rng;
    size_t left, want;
    double scale; /* rows that a drawn one stands for */
};

static void draw_init(struct draw *d, size_t rows, size_t most, uint64_t seed)
{
    *d = (struct draw){.left = rows, .want = rows < most ? rows : most};
    d->scale = (double)rows / (double)d->want;
    rng_init(&d->rng, seed);
}

static bool draw_next(struct draw *d)
{
    bool take = d->want > 0 && rng_below(&d->rng, d->left) < d->want;
    d->left--;
    d->want -= take;
    return take;
}

enum err row_sample_draw(const struct train_rows *rows, int64_t until_us, size_t frauds,
                         size_t others, uint64_t seed, struct row_sample *out, struct errmsg *e)
{
    size_t all[2] = {0, 0}; /* legitimate ones, frauds */
    for (size_t i = 0; i < rows->n; i++) {
        if (row_teaches(rows, i, until_us)) {
            all[rows->label[i]]++;
        }
    }
    if (all[0] == 0 || all[1] == 0) {
        return err_set(e, ERR_INVALID,
                       "%zu frauds among %zu rows before the held-out time: training needs "
                       "frauds and legitimate payments",
                       all[1], all[0] + all[1]);
    }
    struct draw draw[2];
    draw_init(&draw[0], all[0], others, seed ^ 0x62696e73U);
    draw_init(&draw[1], all[1], frauds, seed ^ 0x66726175U);
    size_t room = draw[0].want + draw[1].want;
    struct row_sample s = {.row = malloc(room * sizeof *s.row),
                           .weight = malloc(room * sizeof *s.weight),
                           .label = malloc(room)};
    if (s.row == NULL || s.weight == NULL || s.label == NULL) {
        row_sample_done(&s);
        return err_set(e, ERR_NOMEM, "no memory for a sample of %zu rows", room);
    }
    for (size_t i = 0; i < rows->n; i++) {
        if (row_teaches(rows, i, until_us) && draw_next(&draw[rows->label[i]])) {
            s.row[s.n] = i;
            s.weight[s.n] = (double)rows->weight[i] * draw[rows->label[i]].scale;
            s.label[s.n++] = rows->label[i];
        }
    }
    *out = s;
    return ERR_OK;
}

void row_sample_done(struct row_sample *s)
{
    free(s->row);
    free(s->weight);
    free(s->label);
    *s = (struct row_sample){0};
}
