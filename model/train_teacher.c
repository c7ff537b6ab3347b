#include "model/train_teacher.h"

#include <math.h>
#include <stdlib.h>

#include "model/train_score.h"

enum err teacher_targets(const struct fit *teacher, int64_t until_us, float share,
                         float **out_target, struct errmsg *e)
{
    const struct train_rows *rows = teacher->rows;
    const struct tape_net net = fit_averaged(teacher);
    const struct tape_data data = fit_data(teacher);
    const struct score_span span = {INT64_MIN, until_us, NULL};
    size_t left = 0;
    float *target = malloc((rows->n + 1) * sizeof *target);
    if (target == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for the targets of %zu rows", rows->n);
    }
    for (size_t i = 0; i < rows->n; i++) {
        left += rows->event_us[i] < until_us;
    }
    /* The logits come without gaps; from the last row on, each is read before its place is taken.
     */
    enum err rc = train_score(&net, &data, &span, teacher->pool, target, NULL, e);
    for (size_t i = rows->n; i-- > 0 && rc == ERR_OK;) {
        double label = rows->label[i];
        if (rows->event_us[i] < until_us) {
            double opinion = 1 / (1 + exp(-(double)target[--left]));
            label += (double)share * (opinion - label);
        }
        target[i] = (float)label;
    }
    if (rc != ERR_OK) {
        free(target);
        return rc;
    }
    *out_target = target;
    return ERR_OK;
}
