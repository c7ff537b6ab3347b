#include "model/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct entry {
    float score;
    uint32_t label;
    uint32_t day, card;
    size_t row;
    double weight;
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

/* Returns owned entries of weight > 0, their number in *out_n; NULL: failed, *out_err says why. */
static struct entry *gather(const float *score, const uint8_t *label, const float *weight, size_t n,
                            size_t *out_n, enum err *out_err, struct errmsg *e)
{
    struct entry *list = calloc(n + 1, sizeof *list);
    if (list == NULL) {
        *out_err = err_set(e, ERR_NOMEM, "no memory to measure %zu scores", n);
        return NULL;
    }
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight == NULL ? 1 : (double)weight[i];
        if (!(w > 0)) {
            continue;
        }
        if (isnan(score[i])) {
            free(list);
            *out_err = err_set(e, ERR_NUMERIC, "score %zu of %zu is not a number", i, n);
            return NULL;
        }
        list[count++] = (struct entry){.score = score[i], .label = label[i], .row = i, .weight = w};
    }
    *out_n = count;
    return list;
}

enum err metrics_rank(const float *score, const uint8_t *label, const float *weight, size_t n,
                      double *out_auc, double *out_ap, struct errmsg *e)
{
    size_t count = 0;
    enum err rc = ERR_OK;
    struct entry *list = gather(score, label, weight, n, &count, &rc, e);
    if (list == NULL) {
        return rc;
    }
    qsort(list, count, sizeof *list, highest_first);
    double fraud = 0; /* weight so far, from the highest score down */
    double other = 0;
    double area = 0;
    double precision = 0;
    for (size_t i = 0; i < count;) {
        double more_fraud = 0;
        double more_other = 0;
        size_t j = i;
        for (; j < count && !(list[j].score < list[i].score); j++) {
            *(list[j].label ? &more_fraud : &more_other) += list[j].weight;
        }
        area += more_other * (fraud + more_fraud / 2);
        fraud += more_fraud;
        other += more_other;
        precision += more_fraud * fraud / (fraud + other);
        i = j;
    }
    free(list);
    bool both = fraud > 0 && other > 0;
    *out_auc = both ? area / (fraud * other) : (double)NAN;
    *out_ap = both ? precision / fraud : (double)NAN;
    return ERR_OK;
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

static int by_day_card_score(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return highest_first(a, b);
}

/* Keeps of list[0, n) (one day) one entry a card not found yet: its highest score, with a label if
 * any of the card's payments of the day is a fraud, at the card's first row.  Returns how many. */
static size_t merge_cards(struct entry *list, size_t n, const uint8_t *found)
{
    size_t kept = 0;
    for (size_t i = 0; i < n;) {
        struct entry best = list[i];
        size_t j = i;
        for (; j < n && list[j].card == best.card; j++) {
            best.label |= list[j].label;
            best.row = list[j].row < best.row ? list[j].row : best.row;
        }
        if (!found[best.card]) {
            list[kept++] = best;
        }
        i = j;
    }
    return kept;
}

enum err metrics_card_precision(const float *score, const uint8_t *label, const uint32_t *day,
                                const uint32_t *card, size_t n, size_t k, double *out,
                                struct errmsg *e)
{
    size_t count = 0;
    enum err rc = ERR_OK;
    struct entry *list = gather(score, label, NULL, n, &count, &rc, e);
    if (list == NULL) {
        return rc;
    }
    size_t cards = 0;
    for (size_t i = 0; i < n; i++) {
        list[i].day = day[i];
        list[i].card = card[i];
        cards = card[i] >= cards ? (size_t)card[i] + 1 : cards;
    }
    uint8_t *found = calloc(cards + 1, 1);
    if (found == NULL) {
        free(list);
        return err_set(e, ERR_NOMEM, "no memory for %zu cards", cards);
    }
    qsort(list, n, sizeof *list, by_day_card_score);
    double sum = 0;
    size_t days = 0;
    for (size_t i = 0; i < n; days++) {
        size_t j = i;
        while (j < n && list[j].day == list[i].day) {
            j++;
        }
        size_t left = merge_cards(list + i, j - i, found);
        qsort(list + i, left, sizeof *list, highest_first);
        size_t hits = 0;
        for (size_t x = i; x < i + left && x < i + k; x++) {
            hits += list[x].label != 0;
            found[list[x].card] |= list[x].label != 0;
        }
        sum += (double)hits / (double)k;
        i = j;
    }
    free(found);
    free(list);
    *out = days > 0 ? sum / (double)days : (double)NAN;
    return ERR_OK;
}
