/* What rounding to INT8 costs: the same rows scored by training's network in FP32 and by the served
 * model, judged as `fraudd backtest --leave-out-known-cards` judges.
 *
 *   bench_fidelity HISTORY MODEL FROM TO    (MODEL.state lies beside MODEL)
 *
 * Without arguments it says so and ends. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/evaluate.h"
#include "daemon/past.h"
#include "daemon/rates.h"
#include "daemon/replay.h"
#include "model/model.h"
#include "model/model_format.h"
#include "model/train.h"

#define FILE_MAX_BYTES ((size_t)256 << 20)

/* Rows in order of (card, time). */
struct rows {
    const struct past *past;
    uint32_t *place; /* [n] of each row of past */
    float *x;        /* [n, FEAT_DIM] */
    int64_t *event_us;
    uint32_t *card;
    uint8_t *label;
    float *weight; /* 1 for judged rows from FROM on */
    float *fp32, *int8;
};

static void check(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

static void *array(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (p == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
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

static struct rows rows_create(const struct past *past, int64_t from_us)
{
    size_t n = past->n;
    struct rows r = {.past = past,
                     .place = array(n, sizeof *r.place),
                     .x = array(n * FEAT_DIM, sizeof *r.x),
                     .event_us = array(n, sizeof *r.event_us),
                     .card = array(n, sizeof *r.card),
                     .label = array(n, 1),
                     .weight = array(n, sizeof *r.weight),
                     .fp32 = array(n, sizeof *r.fp32),
                     .int8 = array(n, sizeof *r.int8)};
    uint32_t *order = array(n, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    sorting = past;
    qsort(order, n, sizeof *order, by_card);
    for (size_t k = 0; k < n; k++) {
        const struct past_row *row = &past->rows[order[k]];
        bool next = k > 0 && row->tx.card != past->rows[order[k - 1]].tx.card;
        r.place[order[k]] = (uint32_t)k;
        r.card[k] = k == 0 ? 0 : r.card[k - 1] + next;
        r.event_us[k] = row->tx.event_us;
        r.label[k] = row->fraud;
        bool judged = tx_is_payment(&row->tx) || row->tx.type == TX_CHECK;
        r.weight[k] = judged && row->tx.event_us >= from_us;
    }
    free(order);
    return r;
}

static void rows_done(struct rows *r)
{
    free(r->place);
    free(r->x);
    free(r->event_us);
    free(r->card);
    free(r->label);
    free(r->weight);
    free(r->fp32);
    free(r->int8);
}

static void keep_row(void *ctx, const struct scored *s)
{
    struct rows *r = ctx;
    memcpy(r->x + (size_t)r->place[s->tag] * FEAT_DIM, s->x, FEAT_DIM * sizeof *s->x);
}

static void score_int8(const struct model *m, struct rows *r)
{
    struct model_work *w = NULL;
    struct errmsg e;
    void *cache = aligned_alloc(64, model_cache_bytes(m));
    check(cache != NULL ? model_work_create(m, 1, &w, &e) : ERR_NOMEM, &e);
    for (size_t i = 0; i < r->past->n; i++) {
        if (i == 0 || r->card[i] != r->card[i - 1]) {
            memset(cache, 0, model_cache_bytes(m));
        }
        model_step(m, w, 1, r->x + i * FEAT_DIM, &r->event_us[i], &cache, &r->int8[i]);
    }
    model_work_free(w);
    free(cache);
}

/* Frauds of the whole history, for the handbook's rule. */
static void mark_known(const struct past *past, struct judged *judged, size_t n, int64_t from_us)
{
    struct card_fraud *frauds = array(past->n + 1, sizeof *frauds);
    size_t count = 0;
    for (size_t i = 0; i < past->n; i++) {
        if (past->rows[i].fraud) {
            frauds[count++] = (struct card_fraud){past->rows[i].tx.card, past->rows[i].tx.event_us};
        }
    }
    judged_mark_known(judged, n, frauds, count, from_us);
    free(frauds);
}

static void print_population(const struct judged *judged, size_t n, judged_with with,
                             const char *network, const char *population)
{
    const struct evaluate_conf conf = {.top_cards = 100};
    struct judged_set *set = NULL;
    struct figures f = {0};
    struct errmsg e;
    check(judged_set_create(judged, n, with, NULL, &set, &e), &e);
    check(evaluate(set, &conf, &f, &e), &e);
    printf("%s, %-15s  AUC %.4f AP %.4f CP@100 %.4f\n", network, population, f.value[FIGURE_AUC],
           f.value[FIGURE_AP], f.value[FIGURE_CARD_PRECISION]);
    figures_done(&f);
    judged_set_free(set);
}

static void print_quality(const struct rows *r, const struct model *m, int64_t from_us,
                          const float *logit, const char *network)
{
    struct judged *judged = array(r->past->n + 1, sizeof *judged);
    size_t n = 0;
    for (size_t i = 0; i < r->past->n; i++) {
        const struct tx *t = &r->past->rows[i].tx;
        if (r->weight[r->place[i]] > 0) {
            judged[n++] = (struct judged){
                .card = t->card,
                .event_us = t->event_us,
                .score = (float)model_probability(m, (double)logit[r->place[i]]),
                .fraud = r->past->rows[i].fraud,
            };
        }
    }
    mark_known(r->past, judged, n, from_us);
    print_population(judged, n, NULL, network, "all cards");
    print_population(judged, n, judged_not_known, network, "cards not known");
    free(judged);
}

static void print_differences(const struct rows *r)
{
    double squares = 0;
    double worst = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->past->n; i++) {
        if (r->weight[i] > 0) {
            double d = fabs((double)r->int8[i] - (double)r->fp32[i]);
            squares += d * d;
            worst = d > worst ? d : worst;
            n++;
        }
    }
    printf("%zu payments: logits differ by %.3f (root mean square), %.2f at most\n", n,
           sqrt(squares / (double)n), worst);
}

static int64_t date(const char *text)
{
    int64_t us = 0;
    struct errmsg e;
    enum err err = time_parse(text, strlen(text), &us);
    check(err == ERR_OK ? err : err_set(&e, err, "\"%s\" is not a date", text), &e);
    return us;
}

static void load(const char *path, struct model **m, struct train_result *state)
{
    char beside[4096];
    uint8_t *bytes = NULL;
    size_t len = 0;
    uint64_t hash = 0;
    struct errmsg e;
    snprintf(beside, sizeof beside, "%s.state", path);
    check(file_read(path, FILE_MAX_BYTES, &bytes, &len, &e), &e);
    check(model_load(bytes, len, m, &e), &e);
    size_t int8_bytes = len;
    free(bytes);
    check(file_read(beside, FILE_MAX_BYTES, &bytes, &len, &e), &e);
    check(train_state_load(bytes, len, state, &hash, &e), &e);
    free(bytes);
    if (hash != model_hash(*m)) {
        fprintf(stderr, "%s is not the state of %s\n", beside, path);
        exit(1);
    }
    printf("%s: %zu bytes, kernel %s\n", path, int8_bytes, model_kernel_name());
}

static void run(char **argv)
{
    struct past past = {0};
    struct rates *rates = NULL;
    struct model *m = NULL;
    struct train_result state;
    struct errmsg e;
    load(argv[2], &m, &state);
    check(rates_create_default(&rates, &e), &e);
    check(past_read_csv(&past, argv[1], rates, date(argv[4]), model_lineage(m)->maturity_us, true,
                        &e),
          &e);
    struct replay_conf rc = {.job = "features",
                             .threshold = {.budget = 0, .burst = 1, .floor = 1, .decline = 2}};
    feature_params_default(&rc.params);
    rc.params.maturity_us = model_lineage(m)->maturity_us;
    rc.params.blame_ratio = model_lineage(m)->blame_ratio;
    rc.params.blame_tail = model_lineage(m)->blame_tail;
    rc.params.rates_version = rates_version(rates);
    struct rows r = rows_create(&past, date(argv[3]));
    check(replay_run(&past, &rc, keep_row, &r, &e), &e);
    const struct train_rows rows = {past.n, FEAT_DIM, r.x, r.event_us, r.card, r.label, r.weight};
    check(train_forward(&state, &rows, (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), r.fp32, &e), &e);
    score_int8(m, &r);
    print_quality(&r, m, date(argv[3]), r.fp32, "FP32");
    print_quality(&r, m, date(argv[3]), r.int8, "INT8");
    print_differences(&r);
    rows_done(&r);
    train_result_done(&state);
    model_free(m);
    past_done(&past);
    rates_free(rates);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        printf("needs a history and a model with its training state: %s HISTORY MODEL FROM TO\n",
               argv[0]);
        return 0;
    }
    run(argv);
    return 0;
}
