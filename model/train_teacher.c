#include "model/train_teacher.h"

#include <math.h>
#include <stdlib.h>

#include "model/train_score.h"

static enum err targets_alloc(const struct train_rows *rows, float **out, struct errmsg *e)
{
    *out = malloc((rows->n + 1) * sizeof **out);
    return *out != NULL ? ERR_OK
                        : err_set(e, ERR_NOMEM, "no memory for the targets of %zu rows", rows->n);
}

/* Of log odds of the rows before until_us, each in its row's place. */
static void mix(const struct train_rows *rows, int64_t until_us, float share, float *target)
{
    for (size_t i = 0; i < rows->n; i++) {
        double label = rows->label[i];
        if (rows->event_us[i] < until_us) {
            double opinion = 1 / (1 + exp(-(double)target[i]));
            label += (double)share * (opinion - label);
        }
        target[i] = (float)label;
    }
}

/* Log odds that came without gaps go to their rows' places, the last ones first. */
static void spread(const struct train_rows *rows, int64_t until_us, float *odds)
{
    size_t left = 0;
    for (size_t i = 0; i < rows->n; i++) {
        left += rows->event_us[i] < until_us;
    }
    for (size_t i = rows->n; i-- > 0;) {
        if (rows->event_us[i] < until_us) {
            odds[i] = odds[--left];
        }
    }
}

enum err teacher_network(const struct fit *teacher, int64_t until_us, float share,
                         float **out_target, struct errmsg *e)
{
    const struct train_rows *rows = teacher->rows;
    const struct tape_net net = fit_averaged(teacher);
    const struct tape_data data = fit_data(teacher);
    const struct score_span span = {INT64_MIN, until_us, NULL};
    float *target;
    enum err rc = targets_alloc(rows, &target, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = train_score(&net, &data, &span, teacher->pool, &(struct score_out){.logit = target}, e);
    if (rc != ERR_OK) {
        free(target);
        return rc;
    }
    spread(rows, until_us, target);
    mix(rows, until_us, share, target);
    *out_target = target;
    return ERR_OK;
}

enum err teacher_trees(const struct trees *teacher, const struct train_rows *rows, int64_t until_us,
                       float share, struct pool *pool, float **out_target, struct errmsg *e)
{
    float *target;
    enum err rc = targets_alloc(rows, &target, e);
    if (rc != ERR_OK) {
        return rc;
    }
    rc = trees_apply(teacher, rows, until_us, pool, target, e);
    if (rc != ERR_OK) {
        free(target);
        return rc;
    }
    mix(rows, until_us, share, target);
    *out_target = target;
    return ERR_OK;
}
