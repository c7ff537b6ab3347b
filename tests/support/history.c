#include "tests/support/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/rates.h"
#include "daemon/replay.h"

void history_check(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

void *history_array(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (p == NULL) {
        fprintf(stderr, "no memory for %zu times %zu bytes\n", n, size);
        exit(1);
    }
    return p;
}

int64_t history_date(const char *text)
{
    int64_t us = 0;
    struct errmsg e;
    enum err err = time_parse(text, strlen(text), &us);
    history_check(err == ERR_OK ? err : err_set(&e, err, "\"%s\" is not a date", text), &e);
    return us;
}

static const struct past *sorting; /* qsort has no context */

static int by_card(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a;
    uint32_t k = *(const uint32_t *)b;
    uint64_t x = sorting->rows[i].tx.card;
    uint64_t y = sorting->rows[k].tx.card;
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return i < k ? -1 : i > k;
}

static void order_rows(struct history *h, int64_t weight_from_us)
{
    const struct past *past = &h->past;
    uint32_t *order = history_array(past->n, sizeof *order);
    for (size_t i = 0; i < past->n; i++) {
        order[i] = (uint32_t)i;
    }
    sorting = past;
    qsort(order, past->n, sizeof *order, by_card);
    for (size_t k = 0; k < past->n; k++) {
        const struct past_row *row = &past->rows[order[k]];
        bool next = k > 0 && row->tx.card != past->rows[order[k - 1]].tx.card;
        bool judged = tx_is_payment(&row->tx) || row->tx.type == TX_CHECK;
        h->place[order[k]] = (uint32_t)k;
        h->card[k] = k == 0 ? 0 : h->card[k - 1] + next;
        h->event_us[k] = row->tx.event_us;
        h->label[k] = row->fraud;
        h->weight[k] = judged && row->tx.event_us >= weight_from_us;
    }
    free(order);
}

static void keep_row(void *ctx, const struct scored *s)
{
    struct history *h = ctx;
    memcpy(h->x + (size_t)h->place[s->tag] * FEAT_DIM, s->x, FEAT_DIM * sizeof *s->x);
}

void history_read(struct history *h, const char *path, int64_t until_us, int64_t weight_from_us,
                  struct feature_params params)
{
    struct rates *rates = NULL;
    struct errmsg e;
    memset(h, 0, sizeof *h);
    history_check(rates_create_default(&rates, &e), &e);
    params.rates_version = rates_version(rates);
    history_check(past_read_csv(&h->past, path, rates, until_us, params.maturity_us, true, &e), &e);
    rates_free(rates);
    size_t n = h->past.n;
    h->place = history_array(n, sizeof *h->place);
    h->x = history_array(n * FEAT_DIM, sizeof *h->x);
    h->event_us = history_array(n, sizeof *h->event_us);
    h->card = history_array(n, sizeof *h->card);
    h->label = history_array(n, sizeof *h->label);
    h->weight = history_array(n, sizeof *h->weight);
    order_rows(h, weight_from_us);
    const struct replay_conf rc = {
        .params = params,
        .job = "features",
        .threshold = {.budget = 0, .burst = 1, .floor = 1, .decline = 2}};
    history_check(replay_run(&h->past, &rc, keep_row, h, &e), &e);
}

void history_done(struct history *h)
{
    past_done(&h->past);
    free(h->place);
    free(h->x);
    free(h->event_us);
    free(h->card);
    free(h->label);
    free(h->weight);
}

struct train_rows history_rows(const struct history *h)
{
    return (struct train_rows){.n = h->past.n,
                               .columns = FEAT_DIM,
                               .x = h->x,
                               .event_us = h->event_us,
                               .card = h->card,
                               .label = h->label,
                               .weight = h->weight};
}
