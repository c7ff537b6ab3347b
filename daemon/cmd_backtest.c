/* fraudd backtest: a stretch of history through the path that serves. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/evaluate.h"
#include "daemon/options.h"
#include "daemon/past.h"
#include "daemon/replay.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)

static const struct conf_option OPTIONS[] = {
    {"input", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "history in CSV, plain or .gz, .xz, .zst"},
    {"model", CONF_TEXT, 0, NULL, 0, 0, "model file; without one only --features are written"},
    {"from", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "first UTC time to score"},
    {"to", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "end of it, not included"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 8.2e6,
     "after which a verdict is known, where the file does not say"},
    {"scores", CONF_TEXT, 0, NULL, 0, 0, "file for tx_id,score"},
    {"features", CONF_TEXT, 0, NULL, 0, 0, "file for tx_id and the 128 columns"},
    {"alert.budget", CONF_REAL, 0, "100", 0, 1e9, "alerts a day"},
    {"leave-out-known-cards", CONF_BOOL, 0, "false", 0, 0,
     "also print the handbook's population: cards known to be defrauded left out"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {OPTIONS, NULL};

static const struct verb VERB = {
    "backtest", "fraudd backtest --input FILE --model MODEL --from DATE --to DATE [OPTIONS]",
    "Replays the history before --from to build state, then scores every payment up to --to as\n"
    "`score` would have, and prints what the scores were worth.",
    "fraudd backtest --input history.csv.xz --model model.fraudd --from 2018-08-08 --to 2018-08-15 "
    "--scores scores.csv"};

struct test {
    const struct past *past;
    int64_t from_us;
    FILE *scores;
    FILE *features;
    struct judged *judged;
    size_t n;
};

static void write_features(FILE *f, const char *id, const float *x)
{
    fputs(id, f);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        fprintf(f, ",%.9g", (double)x[i]);
    }
    fputc('\n', f);
}

static void on_scored(void *ctx, const struct scored *s)
{
    struct test *t = ctx;
    const struct past_row *row = &t->past->rows[s->tag];
    if (row->tx.event_us < t->from_us) {
        return;
    }
    char id[WIRE_ID_MAX + 1];
    snprintf(id, sizeof id, "%.*s", (int)row->id_len, past_id(t->past, s->tag));
    if (t->scores != NULL) {
        fprintf(t->scores, "%s,%.9g\n", id, s->probability);
    }
    if (t->features != NULL) {
        write_features(t->features, id, s->x);
    }
    t->judged[t->n++] = (struct judged){.card = row->tx.card,
                                        .event_us = row->tx.event_us,
                                        .score = s->probability,
                                        .amount = (double)row->tx.amount_ref / 100,
                                        .fraud = row->fraud,
                                        .alert = s->outcome != OUTCOME_APPROVE};
}

static enum err open_out(const char *path, FILE **out, struct errmsg *e)
{
    if (path == NULL) {
        return ERR_OK;
    }
    *out = fopen(path, "we");
    return *out != NULL ? ERR_OK : file_errno(e, errno, "write", path);
}

static enum err close_out(FILE *f, const char *path, struct errmsg *e)
{
    if (f != NULL && (ferror(f) | fclose(f)) != 0) {
        return file_errno(e, errno, "write", path);
    }
    return ERR_OK;
}

static void write_headers(const struct test *t)
{
    if (t->scores != NULL) {
        fputs("tx_id,score\n", t->scores);
    }
    if (t->features != NULL) {
        fputs("tx_id", t->features);
        for (size_t i = 0; i < FEAT_DIM; i++) {
            fprintf(t->features, ",%s", feature_info(i)->name);
        }
        fputc('\n', t->features);
    }
}

static enum err print_figures(struct test *t, bool book, struct errmsg *e)
{
    struct figures g;
    enum err err = evaluate(t->judged, t->n, false, &g, e);
    if (err != ERR_OK) {
        return err;
    }
    figures_print(stdout, "all payments", &g);
    if (!book) {
        return ERR_OK;
    }
    size_t n = 0;
    struct card_fraud *frauds = malloc((t->past->n + 1) * sizeof *frauds);
    if (frauds == NULL) {
        return err_set(e, ERR_NOMEM, "cannot evaluate: no memory");
    }
    for (size_t i = 0; i < t->past->n; i++) {
        if (t->past->rows[i].fraud) {
            frauds[n++] =
                (struct card_fraud){t->past->rows[i].tx.card, t->past->rows[i].tx.event_us};
        }
    }
    err = evaluate_mark_known(t->judged, t->n, frauds, n, t->from_us, e);
    if (err == ERR_OK) {
        err = evaluate(t->judged, t->n, true, &g, e);
    }
    if (err == ERR_OK) {
        figures_print(stdout, "without cards known to be defrauded", &g);
    }
    free(frauds);
    return err;
}

static enum err load(const struct conf *c, struct past *past, struct rates **rates,
                     struct model **model, struct replay_conf *rc, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = rates_create_default(rates, e);
    feature_params_default(&rc->params);
    if (err == ERR_OK && conf_text(c, "model") != NULL) {
        err = file_read(conf_text(c, "model"), MODEL_MAX_BYTES, &bytes, &len, e);
        if (err == ERR_OK) {
            err = model_load(bytes, len, model, e);
        }
        if (err == ERR_OK) {
            const struct model_lineage *l = model_lineage(*model);
            rc->params.maturity_us = l->maturity_us;
            rc->params.blame_ratio = l->blame_ratio;
            rc->params.blame_tail = l->blame_tail;
        }
    }
    if (err == ERR_OK) {
        rc->params.rates_version = rates_version(*rates);
        err = past_read_csv(past, conf_text(c, "input"), *rates, conf_date_us(c, "to"),
                            conf_duration_us(c, "label-delay"), false, e);
    }
    free(bytes);
    return err;
}

static enum err run(const struct conf *c, struct errmsg *e)
{
    struct past past = {0};
    struct rates *rates = NULL;
    struct model *model = NULL;
    struct test t = {.past = &past, .from_us = conf_date_us(c, "from")};
    struct replay_conf rc = {
        .job = "backtest",
        .threshold = {
            .budget = conf_real(c, "alert.budget"), .burst = 1.5, .floor = 0.999, .decline = 2}};
    if (t.from_us >= conf_date_us(c, "to")) {
        return err_set(e, ERR_INVALID, "--from %s is not before --to %s", conf_text(c, "from"),
                       conf_text(c, "to"));
    }
    if (conf_text(c, "model") == NULL && conf_text(c, "features") == NULL) {
        return err_set(e, ERR_INVALID, "--model is needed, or --features to write columns only");
    }
    enum err err = load(c, &past, &rates, &model, &rc, e);
    if (err == ERR_OK && (t.judged = malloc((past.n + 1) * sizeof *t.judged)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot evaluate %zu payments: no memory", past.n);
    }
    if (err == ERR_OK) {
        err = open_out(conf_text(c, "scores"), &t.scores, e);
    }
    if (err == ERR_OK) {
        err = open_out(conf_text(c, "features"), &t.features, e);
    }
    if (err == ERR_OK) {
        rc.model = model;
        write_headers(&t);
        err = replay_run(&past, &rc, on_scored, &t, e);
    }
    if (err == ERR_OK && model != NULL) {
        err = print_figures(&t, conf_bool(c, "leave-out-known-cards"), e);
    }
    enum err closed = close_out(t.scores, conf_text(c, "scores"), err == ERR_OK ? e : NULL);
    err = err == ERR_OK ? closed : err;
    closed = close_out(t.features, conf_text(c, "features"), err == ERR_OK ? e : NULL);
    err = err == ERR_OK ? closed : err;
    free(t.judged);
    model_free(model);
    past_done(&past);
    rates_free(rates);
    return err;
}

int cmd_backtest(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    int code = options_read(&VERB, TABLES, argc, argv, &c);
    if (code < 0) {
        enum err err = run(c, &e);
        code = err == ERR_OK ? EXIT_OK : cmd_fail(VERB.name, err, &e);
    }
    conf_free(c);
    return code;
}
