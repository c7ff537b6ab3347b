/* Card precision.  A card's best score of a day does not depend on which cards were found before,
 * so each day's list is made and sorted once; measuring walks it until k places are taken. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "model/metrics.h"

struct entry {
    float score; /* the card's highest of the day */
    uint32_t day, card;
    uint32_t row; /* the card's first of the day */
    bool fraud;   /* any of the card's payments of the day */
};

struct metrics_cards {
    struct entry *list; /* by day, then highest first */
    size_t n;
    size_t cards;
    uint32_t *found; /* [cards] copies of the card found so far */
};

static int by_day_card(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

static int by_day_score(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    if (x->score < y->score || x->score > y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* One entry a card and day.  Returns how many. */
static size_t merge(struct entry *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof *list, by_day_card);
    for (size_t i = 0; i < n; i++) {
        struct entry *last = kept > 0 ? &list[kept - 1] : NULL;
        if (last != NULL && last->day == list[i].day && last->card == list[i].card) {
            last->score = list[i].score > last->score ? list[i].score : last->score;
            last->fraud |= list[i].fraud;
        } else {
            list[kept++] = list[i];
        }
    }
    return kept;
}

enum err metrics_cards_create(const float *score, const uint8_t *label, const uint32_t *day,
                              const uint32_t *card, size_t n, size_t cards,
                              struct metrics_cards **out, struct errmsg *e)
{
    struct metrics_cards *c = calloc(1, sizeof *c);
    if (c == NULL || (c->list = malloc((n + 1) * sizeof *c->list)) == NULL ||
        (c->found = malloc((cards + 1) * sizeof *c->found)) == NULL) {
        metrics_cards_free(c);
        return err_set(e, ERR_NOMEM, "no memory to measure %zu scores of %zu cards", n, cards);
    }
    for (size_t i = 0; i < n; i++) {
        if (isnan(score[i])) {
            metrics_cards_free(c);
            return err_set(e, ERR_NUMERIC, "score %zu of %zu is not a number", i, n);
        }
        c->list[i] = (struct entry){score[i], day[i], card[i], (uint32_t)i, label[i] != 0};
    }
    c->n = merge(c->list, n);
    c->cards = cards;
    qsort(c->list, c->n, sizeof *c->list, by_day_score);
    *out = c;
    return ERR_OK;
}

void metrics_cards_free(struct metrics_cards *c)
{
    if (c != NULL) {
        free(c->list);
        free(c->found);
        free(c);
    }
}

/* Frauds found on the day that begins at list[from]. */
static size_t examine(struct metrics_cards *c, const uint32_t *copies, size_t k, size_t from)
{
    size_t hits = 0;
    size_t left = k;
    for (size_t i = from; i < c->n && c->list[i].day == c->list[from].day && left > 0; i++) {
        const struct entry *t = &c->list[i];
        size_t take = (copies == NULL ? 1 : copies[t->card]) - c->found[t->card];
        take = take < left ? take : left;
        left -= take;
        if (t->fraud) {
            hits += take;
            c->found[t->card] += (uint32_t)take;
        }
    }
    return hits;
}

double metrics_cards_precision(struct metrics_cards *c, const uint32_t *copies, size_t k)
{
    double sum = 0;
    size_t days = 0;
    for (size_t i = 0; i < c->cards; i++) {
        c->found[i] = 0;
    }
    for (size_t i = 0; i < c->n; days++) {
        uint32_t today = c->list[i].day;
        sum += (double)examine(c, copies, k, i) / (double)k;
        while (i < c->n && c->list[i].day == today) {
            i++;
        }
    }
    return days > 0 ? sum / (double)days : (double)NAN;
}

enum err metrics_card_precision(const float *score, const uint8_t *label, const uint32_t *day,
                                const uint32_t *card, size_t n, size_t k, double *out,
                                struct errmsg *e)
{
    struct metrics_cards *c = NULL;
    size_t cards = 0;
    for (size_t i = 0; i < n; i++) {
        cards = card[i] >= cards ? (size_t)card[i] + 1 : cards;
    }
    enum err rc = metrics_cards_create(score, label, day, card, n, cards, &c, e);
    if (c != NULL) {
        *out = metrics_cards_precision(c, NULL, k);
    }
    metrics_cards_free(c);
    return rc;
}
