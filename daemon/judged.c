#include "daemon/judged.h"

#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "model/reliability.h"

#define KNOWN_DAYS                                                                                 \
    14 /* before the first test day: seven of training, seven until labels are known */
#define DELAY_DAYS 7 /* until labels are known */

static int by_card_time(const void *a, const void *b)
{
    const struct card_fraud *x = a;
    const struct card_fraud *y = b;
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->event_us < y->event_us ? -1 : x->event_us > y->event_us;
}

/* First fraud of the card at or after from_us, or NULL. */
static const struct card_fraud *fraud_from(const struct card_fraud *f, size_t n, uint64_t card,
                                           int64_t from_us)
{
    size_t low = 0;
    size_t high = n;
    const struct card_fraud key = {card, from_us};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_card_time(&f[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n && f[low].card == card ? &f[low] : NULL;
}

void judged_mark_known(struct judged *j, size_t n, struct card_fraud *frauds, size_t fraud_count,
                       int64_t first_day_us)
{
    qsort(frauds, fraud_count, sizeof *frauds, by_card_time);
    int64_t from = (time_day(first_day_us) - KNOWN_DAYS) * TIME_DAY;
    for (size_t i = 0; i < n; i++) {
        int64_t to = (time_day(j[i].event_us) - DELAY_DAYS) * TIME_DAY;
        const struct card_fraud *f = fraud_from(frauds, fraud_count, j[i].card, from);
        j[i].known_card = f != NULL && f->event_us < to;
    }
}

bool judged_not_known(const struct judged *j, void *ctx)
{
    (void)ctx;
    return !j->known_card;
}

struct numbered {
    uint64_t card;
    uint32_t row;
};

static int by_card_row(const void *a, const void *b)
{
    const struct numbered *x = a;
    const struct numbered *y = b;
    if (x->card != y->card) {
        return x->card < y->card ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Numbers the cards in order of their first row: out[row].  scratch: [n].  Returns how many. */
static size_t number_cards(struct numbered *scratch, size_t n, uint32_t *out)
{
    size_t cards = 0;
    qsort(scratch, n, sizeof *scratch, by_card_row);
    uint32_t first = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || scratch[i].card != scratch[i - 1].card) {
            first = scratch[i].row;
        }
        out[scratch[i].row] = first;
    }
    for (size_t i = 0; i < n; i++) { /* a first row comes before the others of its card */
        out[i] = out[i] == i ? (uint32_t)cards++ : out[out[i]];
    }
    return cards;
}

/* What is still in order of time. */
struct unsorted {
    const struct judged **row; /* [n] */
    float *score;
    uint8_t *fraud;
    uint32_t *card, *day, *order;
    struct numbered *scratch;
};

static bool unsorted_init(struct unsorted *u, size_t n)
{
    u->row = malloc((n + 1) * sizeof(const void *));
    u->score = malloc((n + 1) * sizeof *u->score);
    u->fraud = malloc(n + 1);
    u->card = malloc((n + 1) * sizeof *u->card);
    u->day = malloc((n + 1) * sizeof *u->day);
    u->order = malloc((n + 1) * sizeof *u->order);
    u->scratch = malloc((n + 1) * sizeof *u->scratch);
    return u->row != NULL && u->score != NULL && u->fraud != NULL && u->card != NULL &&
           u->day != NULL && u->order != NULL && u->scratch != NULL;
}

static void unsorted_done(struct unsorted *u)
{
    free(u->row);
    free(u->score);
    free(u->fraud);
    free(u->card);
    free(u->day);
    free(u->order);
    free(u->scratch);
}

static bool allocate(struct judged_set *s, size_t n)
{
    s->score = malloc((n + 1) * sizeof *s->score);
    s->logit = malloc((n + 1) * sizeof *s->logit);
    s->amount = malloc((n + 1) * sizeof *s->amount);
    s->fraud = malloc(n + 1);
    s->alert = malloc(n + 1);
    s->card = malloc((n + 1) * sizeof *s->card);
    s->day = malloc((n + 1) * sizeof *s->day);
    s->date = malloc((n + 1) * sizeof *s->date);
    return s->score != NULL && s->logit != NULL && s->amount != NULL && s->fraud != NULL &&
           s->alert != NULL && s->card != NULL && s->day != NULL && s->date != NULL;
}

/* The rows that are in, in order of time, cards and days numbered. */
static void take_rows(struct judged_set *s, struct unsorted *u, const struct judged *j, size_t n,
                      judged_with with, void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        if (with != NULL && !with(&j[i], ctx)) {
            continue;
        }
        size_t k = s->n++;
        int64_t date = time_day(j[i].event_us);
        if (s->days == 0 || s->date[s->days - 1] != date) {
            s->date[s->days++] = date;
        }
        u->row[k] = &j[i];
        u->score[k] = j[i].score;
        u->fraud[k] = j[i].fraud;
        u->day[k] = (uint32_t)(s->days - 1);
        u->scratch[k] = (struct numbered){j[i].card, (uint32_t)k};
        s->frauds += j[i].fraud;
    }
    s->cards = number_cards(u->scratch, s->n, u->card);
}

static void sort_rows(struct judged_set *s, const struct unsorted *u)
{
    for (size_t i = 0; i < s->n; i++) {
        uint32_t from = u->order[i];
        s->score[i] = u->score[from];
        s->logit[i] = reliability_logit(u->score[from]);
        s->amount[i] = u->row[from]->amount;
        s->fraud[i] = u->fraud[from];
        s->alert[i] = u->row[from]->alert;
        s->card[i] = u->card[from];
        s->day[i] = u->day[from];
    }
}

enum err judged_set_create(const struct judged *j, size_t n, judged_with with, void *ctx,
                           struct judged_set **out, struct errmsg *e)
{
    struct unsorted u = {0};
    struct judged_set *s = calloc(1, sizeof *s);
    enum err err = ERR_OK;
    if (s == NULL || !allocate(s, n) || !unsorted_init(&u, n)) {
        err = err_set(e, ERR_NOMEM, "cannot evaluate %zu payments: no memory", n);
        goto out;
    }
    take_rows(s, &u, j, n, with, ctx);
    err = metrics_order(u.score, s->n, u.order, e);
    if (err == ERR_OK) {
        sort_rows(s, &u);
        err = metrics_cards_create(u.score, u.fraud, u.day, u.card, s->n, s->cards, &s->by_card, e);
    }
    if (err == ERR_OK) {
        *out = s;
        s = NULL;
    }
out:
    unsorted_done(&u);
    judged_set_free(s);
    return err;
}

void judged_set_free(struct judged_set *s)
{
    if (s != NULL) {
        free(s->score);
        free(s->logit);
        free(s->amount);
        free(s->fraud);
        free(s->alert);
        free(s->card);
        free(s->day);
        free(s->date);
        metrics_cards_free(s->by_card);
        free(s);
    }
}
