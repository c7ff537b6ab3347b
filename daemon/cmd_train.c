/* fraudd train: history to a model, in a file or in the registry. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/actions.h"
#include "daemon/cmd.h"
#include "daemon/learn.h"
#include "daemon/model_roles.h"
#include "daemon/model_view.h"
#include "daemon/past.h"
#include "daemon/past_db.h"
#include "daemon/rates.h"
#include "daemon/settings.h"
#include "daemon/train_settings.h"
#include "daemon/update.h"
#include "daemon/update_report.h"
#include "model/model.h"
#include "storage/payments.h"
#include "storage/registry.h"

#define REGISTER_TRIES 60
#define REGISTER_PAUSE_S 5
#define NOTICE_TIMEOUT_US (30 * TIME_S)

static const struct conf_option OPTIONS[] = {
    {"input", CONF_TEXT, 0, NULL, 0, 0,
     "history in CSV, plain or .gz, .xz, .zst; without it PostgreSQL's"},
    {"until", CONF_DATE, 0, NULL, 0, 0,
     "no payment at or after this UTC time is read (default with PostgreSQL: now minus maturity)"},
    {"out", CONF_TEXT, 0, NULL, 0, 0, "model file to write"},
    {"from", CONF_TEXT, 0, NULL, 0, 0,
     "model file to update, its training state beside it (with PostgreSQL: the model in service)"},
    {"report", CONF_TEXT, 0, NULL, 0, 0,
     "HTML page on an update to write: gate, figures, drift; also where the gate says no"},
    {"full", CONF_BOOL, 0, "false", 0, 0,
     "train anew from all of the history, also where a model is in service"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 8.2e6,
     "after which a verdict is known, where the CSV does not say"},
    {"maturity", CONF_DURATION, 0, NULL, 0, 8.2e6,
     "after which a payment without verdict counts as legitimate (default: label-delay with CSV, "
     "train.maturity with PostgreSQL)"},
    {"warmup", CONF_DURATION, 0, "30d", 0, 1e9,
     "first stretch of the history that only fills windows"},
    {"epochs", CONF_INT, 0, "0", 0, 100,
     "passes over the data at most, 0: as many as show a fit 4 million payments, from 5 to 10"},
    {"memory", CONF_REAL, 0, "4", 0, 1e6,
     "GiB that rows may take in memory; what is beyond lies in files in --work"},
    {"work", CONF_TEXT, 0, NULL, 0, 0,
     "folder for those files, 640 bytes a payment (default: TMPDIR, or /var/tmp)"},
    {"threads", CONF_INT, 0, "0", 0, 256, "worker threads, 0: one a CPU (the result is the same)"},
    {"seed", CONF_INT, 0, NULL, 0, 4e9, "of weights, order and dropout (default: train.seed)"},
    ACTION_AS,
    ACTION_END};
static const struct conf_option *const TABLES[] = {OPTIONS, TRAIN_SETTINGS, SETTINGS_FILE, SETTINGS,
                                                   NULL};
static const struct conf_option *const SHOWN[] = {OPTIONS, TRAIN_SETTINGS, SETTINGS_FILE, NULL};

static const struct verb VERB = {
    "train", "fraudd train [--input FILE --until DATE --out MODEL [--from MODEL]] [OPTIONS]",
    "Replays the history before DATE through the features and trains the network on it.\n"
    "\n"
    "An update (--from, or a model in service) goes on from a model and its training state: it\n"
    "learns what has matured since, and again the payments before (update.fresh) and a sample of\n"
    "still older ones.  The newest week before DATE is not learnt: half of its cards calibrate, "
    "the\n"
    "other half is the gate.  Where a bound of the settings gate.* is missed, nothing is written\n"
    "and the exit code is 1.  Where nothing new has matured, nothing is written either; the exit "
    "code is 0.\n"
    "A full training (no model yet, or --full) takes all of the history.  The last week decides\n"
    "how long to train and calibrates; then all of it is learnt.\n"
    "\n"
    "With --input the history is a CSV file and the model goes to MODEL; its training state for\n"
    "later updates to MODEL.state.  Without, history and matured labels are those in PostgreSQL\n"
    "(settings database, train.days, train.maturity, train.seed), and the model becomes a\n"
    "candidate in the registry; only one such training runs at a time.  Where a champion serves "
    "and\n"
    "the settings name brokers, it is put into shadow at once (update.shadow).",
    "fraudd train --input history.csv.xz --until 2018-08-01 --out model.fraudd\n"
    "  fraudd train --input history.csv.xz --until 2018-08-15 --from model.fraudd --out "
    "new.fraudd\n"
    "  fraudd train --config /etc/fraudd/fraudd.conf"};

/* Most memory that this process held at once, parts of mapped files in it. */
static double peak_gib(void)
{
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) == 0 ? (double)use.ru_maxrss / (1 << 20) : 0;
}

static int on_progress(void *ctx, const struct train_progress *p)
{
    learn_show(p, ctx);
    return 0;
}

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S;
}

/* What was asked, with defaults that depend on where the history is. */
static enum err read_options(const struct conf *c, struct learn_conf *out, struct errmsg *e)
{
    bool csv = conf_text(c, "input") != NULL;
    int64_t threads = conf_int(c, "threads");
    if (csv && (!conf_given(c, "until") || conf_text(c, "out") == NULL)) {
        return err_set(e, ERR_INVALID, "--input needs --%s too; --help shows an example",
                       conf_given(c, "until") ? "out" : "until");
    }
    out->params.maturity_us = conf_given(c, "maturity") ? conf_duration_us(c, "maturity")
                              : csv                     ? conf_duration_us(c, "label-delay")
                                                        : conf_duration_us(c, "train.maturity");
    out->until_us =
        conf_given(c, "until") ? conf_date_us(c, "until") : wall_us() - out->params.maturity_us;
    out->warmup_us = conf_duration_us(c, "warmup");
    train_settings_apply(c, &out->train);
    out->train.epochs = (uint32_t)conf_int(c, "epochs");
    out->train.seed = (uint64_t)conf_int(c, conf_given(c, "seed") ? "seed" : "train.seed");
    out->train.threads = (uint32_t)(threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN));
    return ERR_OK;
}

/* Where rows lie.  Borrows c. */
static struct scratch read_scratch(const struct conf *c)
{
    const char *folder = conf_text(c, "work");
    folder = folder != NULL ? folder : getenv("TMPDIR");
    return (struct scratch){.folder = folder != NULL ? folder : "/var/tmp",
                            .memory_max_bytes = (size_t)(conf_real(c, "memory") * (1 << 30))};
}

static enum err read_history(const struct conf *c, struct db *db, const struct rates *rates,
                             const struct learn_conf *lc, struct past *past, struct errmsg *e)
{
    if (db == NULL) {
        return past_read_csv(past, conf_text(c, "input"), rates, lc->until_us,
                             conf_duration_us(c, "label-delay"), true, e);
    }
    return past_read_db(past, db, rates, lc->until_us - conf_int(c, "train.days") * TIME_DAY,
                        lc->until_us, lc->params.maturity_us, e);
}

/* Adds the model to the registry.  A database that went away while we computed is waited for: it
 * must not cost an hour of training. */
static enum err enter(const struct conf *c, struct db **db, const struct learnt *l, const char *who,
                      struct errmsg *e)
{
    const struct registry_bytes bytes = {l->model, l->model_len, l->state, l->state_len};
    struct model *model = NULL;
    bool is_new = false;
    enum err err = model_load(l->model, l->model_len, &model, e);
    for (int tries = 0; err == ERR_OK; tries++) {
        enum err added = *db != NULL ? ERR_OK : db_open(conf_text(c, "database"), db, e);
        if (added == ERR_OK) {
            added =
                registry_add(*db, &bytes, model_lineage(model), model_hash(model), who, &is_new, e);
        }
        if (added != ERR_UNAVAILABLE || tries == REGISTER_TRIES) {
            err = added;
            break;
        }
        char quoted[600];
        log_line(FD_LOG_WARN, "database_away", "retry_s=%d detail=%s", REGISTER_PAUSE_S,
                 log_quote(quoted, sizeof quoted, e->text));
        db_close(*db);
        *db = NULL;
        sleep(REGISTER_PAUSE_S);
    }
    if (err == ERR_OK) {
        printf("model %s is %s\n", l->version,
               is_new ? "a candidate in the registry" : "in the registry already");
    }
    model_free(model);
    return err;
}

/* Whether a champion serves that the model could be compared with. */
static enum err has_champion(struct db *db, bool *out, struct errmsg *e)
{
    char version[32];
    enum err err = registry_champion(db, version, e);
    *out = err == ERR_OK;
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Puts a candidate into shadow, once: one that has been there since, or in service, stays what it
 * is, so that a repetition changes nothing. */
static enum err put_in_shadow(const struct conf *c, struct db *db, const char *version,
                              const char *who, struct errmsg *e)
{
    const struct roles r = {c, db, who, NOTICE_TIMEOUT_US};
    char before[32] = "";
    bool untried = false;
    bool champion = false;
    enum err err = registry_is_untried(db, version, &untried, e);
    if (err == ERR_OK) {
        err = has_champion(db, &champion, e);
    }
    if (err != ERR_OK || !untried) {
        return err;
    }
    if (!champion) {
        printf("`fraudd model promote %s` brings it into service\n", version);
        return ERR_OK;
    }
    if (!conf_bool(c, "update.shadow") || !conf_given(c, "brokers")) {
        printf("%s; `fraudd model shadow %s` has it score beside the champion\n",
               conf_bool(c, "update.shadow") ? "the settings name no brokers to tell of it"
                                             : "update.shadow is false",
               version);
        return ERR_OK;
    }
    err = roles_shadow(&r, version, before, e);
    if (err != ERR_OK) {
        return err_prefix(e, err,
                          "model %s is in the registry but not in shadow (`fraudd model shadow %s` "
                          "puts it there)",
                          version, version);
    }
    printf("model %s is in shadow%s%s; `fraudd model promote %s` brings it into service\n", version,
           before[0] != '\0' ? " in place of " : "", before, version);
    return ERR_OK;
}

static enum err keep(const struct conf *c, struct db **db, const struct learnt *l, const char *who,
                     struct errmsg *e)
{
    const char *path = conf_text(c, "out");
    enum err err = path != NULL ? learnt_write(l, path, e) : ERR_OK;
    if (err != ERR_OK) {
        return err;
    }
    printf("model %s: %" PRIu64 " payments, %" PRIu64
           " frauds; held-out week AUC %.4f AP %.4f; peak memory %.2f GiB\n",
           l->version, l->rows, l->frauds, l->holdout_auc, l->holdout_ap, peak_gib());
    for (uint32_t i = 0; i < l->layers; i++) {
        printf("layer %" PRIu32
               ": its experts get %.2f to %.2f of an even share of the held-out week\n",
               i + 1, l->share_low[i], l->share_high[i]);
    }
    if (path != NULL) {
        printf("wrote %s (%zu bytes)\n", path, l->model_len);
    }
    if (*db == NULL) {
        return ERR_OK;
    }
    err = enter(c, db, l, who, e);
    return err == ERR_OK ? put_in_shadow(c, *db, l->version, who, e) : err;
}

/* The model to update: *out stays empty where a full training is asked for, or none is in service.
 */
static enum err find_base(const struct conf *c, struct db *db, struct model_view *out,
                          struct errmsg *e)
{
    char version[32];
    const char *path = conf_text(c, "from");
    if (conf_bool(c, "full") && path != NULL) {
        return err_set(e, ERR_INVALID, "--full and --from exclude each other");
    }
    if (conf_bool(c, "full") || (path == NULL && db == NULL)) {
        return ERR_OK;
    }
    enum err err = ERR_OK;
    if (path != NULL) {
        err = model_view_file(path, out, e);
    } else {
        err = registry_champion(db, version, e);
        if (err == ERR_NOTFOUND) {
            return ERR_OK;
        }
        if (err == ERR_OK) {
            err = model_view_registry(db, version, out, e);
        }
    }
    if (err == ERR_OK && out->bytes.state == NULL) {
        err =
            err_set(e, ERR_MISMATCH, "model %s has no training state to go on from%s",
                    model_lineage(out->model)->version, path != NULL ? "" : "; --full trains anew");
    }
    return err;
}

static void print_update(const struct update_outcome *u, double drift_bound)
{
    char day[TIME_TEXT_MAX];
    time_format_date(day, u->learnt_until_us);
    printf(
        "update of %s: %zu payments since %s (%zu frauds), again the %zu before (%zu frauds) and "
        "%zu older ones (%zu frauds)",
        u->parent, u->news, day, u->news_frauds, u->young, u->young_frauds, u->replay,
        u->replay_frauds);
    if (u->gate.measured) {
        printf("; %" PRIu32 " passes\n", u->epochs);
    } else {
        puts("; nothing was learnt of them");
    }
    printf("seconds of CPU: reading %.1f, features %.1f, training %.1f, judging %.1f\n",
           u->reading_s, u->features_s, u->training_s, u->judging_s);
    drift_print(&u->drift, drift_bound, stdout);
    gate_print(&u->gate, stdout);
}

/* Trains from the model of `base`; *out stays empty where the gate says no. */
static enum err make_update(const struct conf *c, const struct past *past,
                            const struct learn_conf *lc, const struct model_view *base,
                            struct learnt *out, int *exit_code, struct errmsg *e)
{
    const struct update_base b = {base->bytes.model, base->bytes.state, base->bytes.model_len,
                                  base->bytes.state_len};
    struct update_conf uc = {.learn = *lc};
    struct update_outcome u;
    struct progress progress;
    char text[GATE_TEXT_MAX];
    update_conf_read(c, &uc);
    progress_begin(&progress, "training", 0);
    enum err err = update_run(past, &uc, &b, on_progress, &progress, &u, e);
    if (err == ERR_END) {
        printf("nothing was changed: %s\n", e->text);
        return ERR_OK;
    }
    if (err != ERR_OK) {
        return err;
    }
    print_update(&u, uc.drift);
    if (conf_text(c, "report") != NULL) {
        err = update_report_write(&u, uc.drift, conf_text(c, "report"), e);
    }
    if (err != ERR_OK) {
        update_outcome_done(&u);
        return err;
    }
    if (u.gate.passed) {
        *out = u.learnt;
        return ERR_OK;
    }
    gate_misses(&u.gate, text);
    fprintf(stderr, "fraudd train: the gate is not passed and nothing was changed: %s\n", text);
    *exit_code = EXIT_FAILED;
    update_outcome_done(&u);
    return ERR_OK;
}

static enum err make_full(const struct past *past, const struct learn_conf *lc, struct learnt *out,
                          struct errmsg *e)
{
    struct progress progress;
    progress_begin(&progress, "training", 0);
    return learn(past, lc, on_progress, &progress, out, e);
}

static enum err open_registry(const struct conf *c, struct db **db, const char **who,
                              struct errmsg *e)
{
    if (conf_text(c, "input") != NULL) {
        return ERR_OK;
    }
    enum err err = actions_who(c, who, e);
    if (err == ERR_OK) {
        err = db_open(conf_text(c, "database"), db, e);
    }
    return err == ERR_OK ? payments_lock(*db, e) : err;
}

static enum err run(const struct conf *c, int *exit_code, struct errmsg *e)
{
    struct scratch scratch = read_scratch(c);
    struct past past = {.without_ids = true, .scratch = &scratch};
    struct rates *rates = NULL;
    struct db *db = NULL;
    struct model_view base = {0};
    struct learnt learnt = {0};
    struct learn_conf lc;
    const char *who = NULL;
    learn_conf_default(&lc);
    lc.scratch = &scratch;
    enum err err = read_options(c, &lc, e);
    if (err == ERR_OK) {
        err = open_registry(c, &db, &who, e);
    }
    if (err == ERR_OK) {
        err = find_base(c, db, &base, e);
    }
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
    }
    if (err == ERR_OK) {
        lc.params.rates_version = rates_version(rates);
        err = read_history(c, db, rates, &lc, &past, e);
    }
    if (err == ERR_OK) {
        err = base.model != NULL ? make_update(c, &past, &lc, &base, &learnt, exit_code, e)
                                 : make_full(&past, &lc, &learnt, e);
    }
    if (err == ERR_OK && learnt.model != NULL) {
        err = keep(c, &db, &learnt, who, e);
    }
    learnt_done(&learnt);
    model_view_done(&base);
    past_done(&past);
    rates_free(rates);
    db_close(db);
    return err;
}

int cmd_train(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    bool usage = false;
    int exit_code = EXIT_OK;
    enum err err = settings_load(TABLES, argc, argv, &c, &usage, &e);
    if (err == ERR_END) {
        options_print_help(&VERB, SHOWN);
        return EXIT_OK;
    }
    if (err != ERR_OK) {
        return settings_fail(VERB.name, err, usage, &e);
    }
    err = run(c, &exit_code, &e);
    conf_free(c);
    return err == ERR_OK ? exit_code : cmd_fail(VERB.name, err, &e);
}
