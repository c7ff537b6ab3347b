#include "model/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct entry {
    float score;
    uint32_t row;
};

static int highest_first(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->score < y->score || x->score > y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

enum err metrics_order(const float *score, size_t n, uint32_t *out_order, struct errmsg *e)
{
    if (n > UINT32_MAX) {
        return err_set(e, ERR_INVALID, "%zu scores are too many to measure", n);
    }
    struct entry *list = malloc((n + 1) * sizeof *list);
    if (list == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to measure %zu scores", n);
    }
    for (size_t i = 0; i < n; i++) {
        if (isnan(score[i])) {
            free(list);
            return err_set(e, ERR_NUMERIC, "score %zu of %zu is not a number", i, n);
        }
        list[i] = (struct entry){score[i], (uint32_t)i};
    }
    qsort(list, n, sizeof *list, highest_first);
    for (size_t i = 0; i < n; i++) {
        out_order[i] = list[i].row;
    }
    free(list);
    return ERR_OK;
}

void metrics_rank_sorted(const float *score, const uint8_t *label, const float *weight, size_t n,
                         double *out_auc, double *out_ap)
{
    double fraud = 0; /* weight so far, from the highest score down */
    double other = 0;
    double area = 0;
    double precision = 0;
    for (size_t i = 0; i < n;) {
        double more[2] = {0, 0}; /* of this score: others, frauds */
        size_t j = i;
        for (; j < n && !(score[j] < score[i]); j++) {
            double w = weight == NULL ? 1 : (double)weight[j];
            more[label[j] != 0] += w > 0 ? w : 0;
        }
        area += more[0] * (fraud + more[1] / 2);
        fraud += more[1];
        other += more[0];
        precision += more[1] > 0 ? more[1] * fraud / (fraud + other) : 0;
        i = j;
    }
    bool both = fraud > 0 && other > 0;
    *out_auc = both ? area / (fraud * other) : (double)NAN;
    *out_ap = both ? precision / fraud : (double)NAN;
}

/* Rows of weight > 0, then the same in order. */
struct ranked {
    float *score, *weight; /* [2n] */
    uint8_t *label;        /* [2n] */
    uint32_t *order;       /* [n] */
};

static size_t keep_weighted(struct ranked *r, const float *score, const uint8_t *label,
                            const float *weight, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        float w = weight == NULL ? 1 : weight[i];
        if (w > 0) {
            r->score[kept] = score[i];
            r->weight[kept] = w;
            r->label[kept++] = label[i];
        }
    }
    return kept;
}

enum err metrics_rank(const float *score, const uint8_t *label, const float *weight, size_t n,
                      double *out_auc, double *out_ap, struct errmsg *e)
{
    struct ranked r = {.score = calloc(2 * n + 1, sizeof *r.score),
                       .weight = malloc((2 * n + 1) * sizeof *r.weight),
                       .label = malloc(2 * n + 1),
                       .order = calloc(n + 1, sizeof *r.order)};
    enum err rc = ERR_OK;
    if (r.score == NULL || r.weight == NULL || r.label == NULL || r.order == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory to measure %zu scores", n);
        goto out;
    }
    size_t kept = keep_weighted(&r, score, label, weight, n);
    rc = metrics_order(r.score, kept, r.order, e);
    if (rc != ERR_OK) {
        goto out;
    }
    for (size_t i = 0; i < kept; i++) {
        r.score[kept + i] = r.score[r.order[i]];
        r.weight[kept + i] = r.weight[r.order[i]];
        r.label[kept + i] = r.label[r.order[i]];
    }
    metrics_rank_sorted(r.score + kept, r.label + kept, r.weight + kept, kept, out_auc, out_ap);
out:
    free(r.score);
    free(r.weight);
    free(r.label);
    free(r.order);
    return rc;
}

double metrics_brier(const double *probability, const uint8_t *label, const float *weight, size_t n)
{
    double sum = 0;
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        double miss = probability[i] - label[i];
        sum += w > 0 ? w * miss * miss : 0;
        total += w > 0 ? w : 0;
    }
    return total > 0 ? sum / total : (double)NAN;
}
