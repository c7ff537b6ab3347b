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
#include <unistd.h>

#include "base/file.h"
#include "daemon/evaluate.h"
#include "model/model.h"
#include "model/model_format.h"
#include "model/train.h"
#include "tests/support/history.h"

#define FILE_MAX_BYTES ((size_t)256 << 20)

/* The rows and what both networks make of them. */
struct rows {
    struct history h;
    float *fp32, *int8; /* [n] logits */
};

static void score_int8(const struct model *m, struct rows *r)
{
    struct model_work *w = NULL;
    struct errmsg e;
    void *cache = aligned_alloc(64, model_cache_bytes(m));
    history_check(cache != NULL ? model_work_create(m, 1, &w, &e) : ERR_NOMEM, &e);
    for (size_t i = 0; i < r->h.past.n; i++) {
        if (i == 0 || r->h.card[i] != r->h.card[i - 1]) {
            memset(cache, 0, model_cache_bytes(m));
        }
        model_step(m, w, 1, r->h.x + i * FEAT_DIM, &r->h.event_us[i], &cache, &r->int8[i]);
    }
    model_work_free(w);
    free(cache);
}

/* Frauds of the whole history, for the handbook's rule. */
static void mark_known(const struct past *past, struct judged *judged, size_t n, int64_t from_us)
{
    struct card_fraud *frauds = history_array(past->n + 1, sizeof *frauds);
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
    history_check(judged_set_create(judged, n, with, NULL, &set, &e), &e);
    history_check(evaluate(set, &conf, &f, &e), &e);
    printf("%s, %-15s  AUC %.4f AP %.4f CP@100 %.4f\n", network, population, f.value[FIGURE_AUC],
           f.value[FIGURE_AP], f.value[FIGURE_CARD_PRECISION]);
    figures_done(&f);
    judged_set_free(set);
}

static void print_quality(const struct rows *r, const struct model *m, int64_t from_us,
                          const float *logit, const char *network)
{
    struct judged *judged = history_array(r->h.past.n + 1, sizeof *judged);
    size_t n = 0;
    for (size_t i = 0; i < r->h.past.n; i++) {
        const struct tx *t = &r->h.past.rows[i].tx;
        if (r->h.weight[r->h.place[i]] > 0) {
            judged[n++] = (struct judged){
                .card = t->card,
                .event_us = t->event_us,
                .score = (float)model_probability(m, (double)logit[r->h.place[i]]),
                .fraud = r->h.past.rows[i].fraud,
            };
        }
    }
    mark_known(&r->h.past, judged, n, from_us);
    print_population(judged, n, NULL, network, "all cards");
    print_population(judged, n, judged_not_known, network, "cards not known");
    free(judged);
}

static void print_differences(const struct rows *r)
{
    double squares = 0;
    double worst = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->h.past.n; i++) {
        if (r->h.weight[i] > 0) {
            double d = fabs((double)r->int8[i] - (double)r->fp32[i]);
            squares += d * d;
            worst = d > worst ? d : worst;
            n++;
        }
    }
    printf("%zu payments: logits differ by %.3f (root mean square), %.2f at most\n", n,
           sqrt(squares / (double)n), worst);
}

static void load(const char *path, struct model **m, struct train_result *state)
{
    char beside[4096];
    uint8_t *bytes = NULL;
    size_t len = 0;
    uint64_t hash = 0;
    struct errmsg e;
    snprintf(beside, sizeof beside, "%s.state", path);
    history_check(file_read(path, FILE_MAX_BYTES, &bytes, &len, &e), &e);
    history_check(model_load(bytes, len, m, &e), &e);
    size_t int8_bytes = len;
    free(bytes);
    history_check(file_read(beside, FILE_MAX_BYTES, &bytes, &len, &e), &e);
    history_check(train_state_load(bytes, len, state, &hash, &e), &e);
    free(bytes);
    if (hash != model_hash(*m)) {
        fprintf(stderr, "%s is not the state of %s\n", beside, path);
        exit(1);
    }
    printf("%s: %zu bytes, kernel %s\n", path, int8_bytes, model_kernel_name());
}

static void run(char **argv)
{
    struct model *m = NULL;
    struct train_result state;
    struct rows r = {.fp32 = NULL};
    struct errmsg e;
    struct feature_params params;
    int64_t from_us = history_date(argv[3]);
    load(argv[2], &m, &state);
    feature_params_default(&params);
    params.maturity_us = model_lineage(m)->maturity_us;
    params.blame_ratio = model_lineage(m)->blame_ratio;
    params.blame_tail = model_lineage(m)->blame_tail;
    history_read(&r.h, argv[1], history_date(argv[4]), from_us, params);
    r.fp32 = history_array(r.h.past.n, sizeof *r.fp32);
    r.int8 = history_array(r.h.past.n, sizeof *r.int8);
    const struct train_rows rows = history_rows(&r.h);
    history_check(train_forward(&state, &rows, (uint32_t)sysconf(_SC_NPROCESSORS_ONLN), r.fp32, &e),
                  &e);
    score_int8(m, &r);
    print_quality(&r, m, from_us, r.fp32, "FP32");
    print_quality(&r, m, from_us, r.int8, "INT8");
    print_differences(&r);
    history_done(&r.h);
    free(r.fp32);
    free(r.int8);
    train_result_done(&state);
    model_free(m);
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
