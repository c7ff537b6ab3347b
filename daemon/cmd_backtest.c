/* fraudd backtest: a stretch of history through the path that serves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "daemon/backtest.h"
#include "daemon/cmd.h"
#include "daemon/csv_out.h"
#include "daemon/options.h"
#include "daemon/past.h"
#include "daemon/rates.h"
#include "daemon/report.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)

static const struct conf_option OPTIONS[] = {
    {"input", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "history in CSV, plain or .gz, .xz, .zst"},
    {"model", CONF_TEXT, 0, NULL, 0, 0, "model file; without one only --features are written"},
    {"against", CONF_TEXT, 0, NULL, 0, 0, "another model file, to compare the first one with"},
    {"from", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "first UTC time to score"},
    {"to", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "end of it, not included"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 8.2e6,
     "after which a verdict is known, where the file does not say"},
    {"alert.budget", CONF_REAL, 0, "100", 0, 1e9, "alerts a day"},
    {"top-cards", CONF_INT, 0, "100", 1, 1e9, "cards examined a day, for card precision (CP@k)"},
    {"leave-out-known-cards", CONF_BOOL, 0, "false", 0, 0,
     "also print the handbook's population: cards known to be defrauded left out"},
    {"segment", CONF_TEXT, 0, NULL, 0, 0,
     "calibration by channel, country, mcc, type or amount, too"},
    {"bootstrap", CONF_INT, 0, "200", 0, EVALUATE_RESAMPLES_MAX,
     "resamples of cards that the intervals come from; 0: no intervals"},
    {"seed", CONF_INT, 0, "1", 0, 4e9, "of the resamples"},
    {"json", CONF_BOOL, 0, "false", 0, 0, "print the figures as one JSON object"},
    {"report", CONF_TEXT, 0, NULL, 0, 0, "HTML page to write, with curves"},
    {"scores", CONF_TEXT, 0, NULL, 0, 0, "file for tx_id,score of --model"},
    {"features", CONF_TEXT, 0, NULL, 0, 0, "file for tx_id and the 128 columns"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {OPTIONS, NULL};

static const struct verb VERB = {
    "backtest", "fraudd backtest --input FILE --model MODEL --from DATE --to DATE [OPTIONS]",
    "Replays the history before --from to build state, then scores every payment up to --to as\n"
    "`score` would have, and prints what the scores were worth, with 95 % intervals.  With\n"
    "--against it does the same for a second model and prints the differences.",
    "fraudd backtest --input history.csv.xz --model model.fraudd --from 2018-08-08 --to 2018-08-15 "
    "--against last-week.fraudd"};

/* Files that are written payment by payment; NULL where not asked for. */
struct writing {
    struct csv_out *scores, *features;
};

static void on_payment(void *ctx, const struct past_row *row, const char *id,
                       const struct scored *s)
{
    struct writing *w = ctx;
    if (w->scores != NULL) {
        csv_out_text(w->scores, id, row->id_len);
        csv_out_real(w->scores, (float)s->probability);
        csv_out_end_row(w->scores);
    }
    if (w->features != NULL) {
        csv_out_text(w->features, id, row->id_len);
        for (size_t i = 0; i < FEAT_DIM; i++) {
            csv_out_real(w->features, s->x[i]);
        }
        csv_out_end_row(w->features);
    }
}

static void put_word(struct csv_out *c, const char *word)
{
    csv_out_text(c, word, strlen(word));
}

static enum err writing_begin(struct writing *w, const struct conf *c, struct errmsg *e)
{
    enum err err = ERR_OK;
    if (conf_text(c, "scores") != NULL) {
        err = csv_out_open(conf_text(c, "scores"), &w->scores, e);
    }
    if (err == ERR_OK && conf_text(c, "features") != NULL) {
        err = csv_out_open(conf_text(c, "features"), &w->features, e);
    }
    if (w->scores != NULL) {
        put_word(w->scores, "tx_id");
        put_word(w->scores, "score");
        csv_out_end_row(w->scores);
    }
    if (w->features != NULL) {
        put_word(w->features, "tx_id");
        for (size_t i = 0; i < FEAT_DIM; i++) {
            put_word(w->features, feature_info(i)->name);
        }
        csv_out_end_row(w->features);
    }
    return err;
}

/* Closes both; keeps the first error. */
static enum err writing_end(struct writing *w, enum err err, struct errmsg *e)
{
    enum err closed = csv_out_close(w->scores, err == ERR_OK ? e : NULL);
    err = err == ERR_OK ? closed : err;
    closed = csv_out_close(w->features, err == ERR_OK ? e : NULL);
    return err == ERR_OK ? closed : err;
}

static enum err load_model(const char *path, struct model **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (path == NULL) {
        return ERR_OK;
    }
    enum err err = file_read(path, MODEL_MAX_BYTES, &bytes, &len, e);
    if (err == ERR_OK) {
        err = model_load(bytes, len, out, e);
        err = err == ERR_OK ? err : err_prefix(e, err, "%s", path);
    }
    free(bytes);
    return err;
}

static enum err check(const struct conf *c, struct backtest_conf *out, struct errmsg *e)
{
    const char *segment = conf_text(c, "segment");
    *out = (struct backtest_conf){
        .from_us = conf_date_us(c, "from"),
        .to_us = conf_date_us(c, "to"),
        .input = conf_text(c, "input"),
        .budget = conf_real(c, "alert.budget"),
        .leave_out_known = conf_bool(c, "leave-out-known-cards"),
        .segment = segment != NULL ? segment_find(segment) : -1,
        .evaluate = {.top_cards = (size_t)conf_int(c, "top-cards"),
                     .resamples = (size_t)conf_int(c, "bootstrap"),
                     .seed = (uint64_t)conf_int(c, "seed")},
    };
    if (out->from_us >= out->to_us) {
        return err_set(e, ERR_INVALID, "--from %s is not before --to %s", conf_text(c, "from"),
                       conf_text(c, "to"));
    }
    if (conf_text(c, "model") == NULL &&
        (conf_text(c, "features") == NULL || conf_text(c, "against") != NULL)) {
        return err_set(e, ERR_INVALID, "--model is needed, or --features to write columns only");
    }
    if (segment != NULL && out->segment < 0) {
        return err_set(e, ERR_INVALID,
                       "--segment %s is not one of channel, country, mcc, type, amount", segment);
    }
    return ERR_OK;
}

/* Replays the first model, then the second. */
static enum err replay(struct backtest *b, const struct conf *c, struct model *const model[],
                       struct errmsg *e)
{
    struct writing w = {0};
    enum err err = writing_begin(&w, c, e);
    if (err == ERR_OK) {
        err = backtest_replay(b, model[0], conf_text(c, "model"), on_payment, &w, e);
    }
    err = writing_end(&w, err, e);
    if (err == ERR_OK && model[1] != NULL) {
        err = backtest_replay(b, model[1], conf_text(c, "against"), NULL, NULL, e);
    }
    return err;
}

static enum err run(const struct conf *c, struct errmsg *e)
{
    struct past past = {0};
    struct rates *rates = NULL;
    struct model *model[BACKTEST_SIDES] = {NULL, NULL};
    struct backtest_conf bc;
    struct backtest b;
    enum err err = check(c, &bc, e);
    if (err != ERR_OK) {
        return err;
    }
    backtest_init(&b, &bc);
    b.conf.past = &past;
    err = load_model(conf_text(c, "model"), &model[0], e);
    if (err == ERR_OK) {
        err = load_model(conf_text(c, "against"), &model[1], e);
    }
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        b.conf.rates_version = rates_version(rates);
        err = past_read_csv(&past, bc.input, rates, bc.to_us, conf_duration_us(c, "label-delay"),
                            false, e);
    }
    if (err == ERR_OK) {
        err = replay(&b, c, model, e);
    }
    if (err == ERR_OK && b.sides > 0) {
        err = backtest_measure(&b, e);
    }
    if (err == ERR_OK && b.sides > 0 && conf_text(c, "report") != NULL) {
        err = report_write(&b, conf_text(c, "report"), e);
    }
    if (err == ERR_OK && b.sides > 0) {
        (conf_bool(c, "json") ? backtest_print_json : backtest_print)(&b, stdout);
    }
    backtest_done(&b);
    model_free(model[0]);
    model_free(model[1]);
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
