/* fraudd train: history to a model file. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/region.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/learn.h"
#include "daemon/options.h"
#include "daemon/past.h"
#include "daemon/rates.h"
#include "model/model.h"

static const struct conf_option OPTIONS[] = {
    {"input", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "history in CSV, plain or .gz, .xz, .zst"},
    {"until", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "no row at or after this UTC time is read"},
    {"out", CONF_TEXT, CONF_REQUIRED, NULL, 0, 0, "model file to write"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 8.2e6,
     "after which a verdict is known, where the file does not say"},
    {"maturity", CONF_DURATION, 0, NULL, 0, 8.2e6,
     "after which a payment without verdict counts as legitimate (default: label-delay)"},
    {"warmup", CONF_DURATION, 0, "30d", 0, 1e9,
     "first stretch of the history that only fills windows"},
    {"epochs", CONF_INT, 0, "6", 1, 100, "passes over the data at most"},
    {"threads", CONF_INT, 0, "0", 0, 256, "worker threads, 0: one a CPU (the result is the same)"},
    {"seed", CONF_INT, 0, "1", 0, 4e9, "of weights, order and dropout"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {OPTIONS, NULL};

static const struct verb VERB = {
    "train", "fraudd train --input FILE --until DATE --out MODEL [OPTIONS]",
    "Replays the history before DATE through the features, trains the network on it and writes a\n"
    "model file.  The last week before DATE decides how long to train and calibrates; then all of\n"
    "it is learnt.  A training state for later updates is written beside it (MODEL.state).",
    "fraudd train --input history.csv.xz --until 2018-08-01 --out model.fraudd"};

/* Most memory that this process held at once. */
static double peak_gib(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (double)use.ru_maxrss / (1 << 20) : 0;
}

static int show_progress(void *ctx, const struct train_progress *p)
{
    char detail[96];
    snprintf(detail, sizeof detail,
             "fit=%s epoch=%" PRIu32 "/%" PRIu32 " loss=%.4f held_out_ap=%.3f",
             p->final_fit ? "all_rows" : "held_out", p->epoch, p->epochs, p->loss, p->holdout_ap);
    progress_update(ctx, (double)p->step, detail);
    return 0;
}

static int on_progress(void *ctx, const struct train_progress *p)
{
    struct progress *progress = ctx;
    progress->total = (double)p->steps;
    return show_progress(ctx, p);
}

static enum err run(const struct conf *c, struct errmsg *e)
{
    struct past past = {0};
    struct rates *rates = NULL;
    struct learnt learnt = {0};
    struct progress progress;
    struct learn_conf lc;
    learn_conf_default(&lc);
    lc.until_us = conf_date_us(c, "until");
    lc.warmup_us = conf_duration_us(c, "warmup");
    lc.params.maturity_us = conf_given(c, "maturity") ? conf_duration_us(c, "maturity")
                                                      : conf_duration_us(c, "label-delay");
    lc.train.epochs = (uint32_t)conf_int(c, "epochs");
    lc.train.seed = (uint64_t)conf_int(c, "seed");
    int64_t threads = conf_int(c, "threads");
    lc.train.threads = (uint32_t)(threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN));
    enum err err = rates_create_default(&rates, e);
    if (err == ERR_OK) {
        err = past_read_csv(&past, conf_text(c, "input"), rates, lc.until_us,
                            conf_duration_us(c, "label-delay"), true, e);
    }
    if (err == ERR_OK) {
        lc.params.rates_version = rates_version(rates);
        progress_begin(&progress, "training", 0);
        err = learn(&past, &lc, on_progress, &progress, &learnt, e);
    }
    if (err == ERR_OK) {
        err = learnt_write(&learnt, conf_text(c, "out"), e);
    }
    if (err == ERR_OK) {
        printf("model %s: %" PRIu64 " payments, %" PRIu64
               " frauds; held-out week AUC %.4f AP %.4f\n",
               learnt.version, learnt.rows, learnt.frauds, learnt.holdout_auc, learnt.holdout_ap);
        printf("wrote %s (%zu bytes); peak memory %.2f GiB\n", conf_text(c, "out"),
               learnt.model_len, peak_gib());
    }
    learnt_done(&learnt);
    past_done(&past);
    rates_free(rates);
    return err;
}

int cmd_train(int argc, char **argv)
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
