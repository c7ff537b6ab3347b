/* fraudd produce: pushes payments of a file to Kafka at a chosen rate. */
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus_admin.h"
#include "daemon/card_guard.h"
#include "daemon/cmd.h"
#include "daemon/produce.h"
#include "daemon/schemas.h"
#include "daemon/settings.h"

#define BROKER_WAIT_MS 10000

static const struct conf_option OWN[] = {
    {"input", CONF_TEXT, CONF_REQUIRED | CONF_OPERAND, NULL, 0, 0,
     "CSV history or JSON lines, plain, .gz, .xz or .zst; -: standard input"},
    {"format", CONF_TEXT, 0, "auto", 0, 0,
     "csv, jsonl or auto: jsonl where the name says so (.jsonl, .ndjson, .json), else csv"},
    {"rate", CONF_REAL, 0, "0", 0, 1e7,
     "payments a second, whatever the brokers do; 0: as fast as they take them"},
    {"timestamps", CONF_TEXT, 0, "due", 0, 0,
     "Kafka timestamps: due (when the payment was to be sent; at rate 0 when it is sent) or sent"},
    {"shift", CONF_BOOL, 0, NULL, 0, 0,
     "move all times by whole weeks, so that the file ends in the week before now"},
    {"from", CONF_DATE, 0, NULL, 0, 0, "send payments from this day on (after the shift)"},
    {"to", CONF_DATE, 0, NULL, 0, 0, "... and before this one"},
    {"limit", CONF_INT, 0, "0", 0, 9e15, "payments to send at most; 0: all"},
    {"labels", CONF_BOOL, 0, NULL, 0, 0,
     "send the CSV's labels too: each before the first payment after it became known, at the end "
     "those known by now"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 0,
     "from a fraud to its label where the file has no label_ts"},
    {"label-source", CONF_TEXT, 0, NULL, 0, 0,
     "the labels' source [the file's name]; numbers of a source seen before are repeats"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {SETTINGS_FILE, OWN, SETTINGS, NULL};
static const struct conf_option *const SHOWN[] = {SETTINGS_FILE, OWN, NULL};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = stopping + 1;
}

static void print_help(void)
{
    puts("usage: fraudd produce [--config FILE] [OPTIONS] FILE\n\n"
         "Pushes payments of a CSV history or of JSON lines to the transactions topic, keyed by\n"
         "card, in the format of transactions.format, whose schema is registered where it is not\n"
         "yet.  The clock is open loop: a payment that is late is sent at once.  Waits until the\n"
         "brokers have acknowledged everything.  The first interrupt sends no more, the second\n"
         "does not wait either.\n\noptions:");
    conf_print_help(stdout, SHOWN);
    puts(
        "and brokers, topics.transactions, topics.labels, transactions.format, registry.*, card.*\n"
        "and kafka.* as in the settings file\n\n"
        "examples:\n"
        "  fraudd produce --rate 5000 --labels --shift history.csv.zst\n"
        "  fraudd simulate --format jsonl --transactions 100000 | fraudd produce --format jsonl -\n"
        "  fraudd produce --transactions.format avro --registry.url http://registry:8081 day.csv");
}

static int64_t now_us(void *ctx)
{
    (void)ctx;
    return progress_now_us();
}

static int64_t wall_us(void *ctx)
{
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

static void sleep_us(void *ctx, int64_t us)
{
    const struct timespec t = {us / TIME_S, us % TIME_S * 1000};
    (void)ctx;
    nanosleep(&t, NULL);
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    char quoted[512];
    (void)ctx;
    log_line(fatal ? FD_LOG_ERROR : FD_LOG_WARN, "kafka_trouble", "fatal=%d detail=%s", fatal,
             log_quote(quoted, sizeof quoted, text));
}

/* What the options say beyond single values. */
static enum err read_options(const struct conf *c, struct feed_conf *feed,
                             struct produce_conf *produce, struct errmsg *e)
{
    const char *path = conf_text(c, "input");
    const char *format = conf_text(c, "format");
    const char *stamps = conf_text(c, "timestamps");
    bool piped = strcmp(path, "-") == 0;
    bool named = strcmp(format, "csv") == 0 || strcmp(format, "jsonl") == 0;
    *feed = (struct feed_conf){.path = piped ? "/dev/stdin" : path,
                               .need_label = conf_bool(c, "labels"),
                               .label_delay_us = conf_duration_us(c, "label-delay")};
    *produce = (struct produce_conf){
        .rate = conf_real(c, "rate"),
        .stamp_due = strcmp(stamps, "due") == 0,
        .from_us = conf_given(c, "from") ? conf_date_us(c, "from") : INT64_MIN,
        .to_us = conf_given(c, "to") ? conf_date_us(c, "to") : INT64_MAX,
        .limit = (uint64_t)conf_int(c, "limit"),
        .share_known = !piped && !conf_given(c, "from") && !conf_given(c, "to"),
        .future_us = conf_duration_us(c, "max-future"),
        .job = "produce",
        .clock = {NULL, now_us, wall_us, sleep_us}};
    if (!named && strcmp(format, "auto") != 0) {
        return err_set(e, ERR_INVALID, "--format=%s: it is csv, jsonl or auto", format);
    }
    feed->format =
        named ? (strcmp(format, "csv") == 0 ? FEED_CSV : FEED_LINES) : feed_format_of(path);
    if (!produce->stamp_due && strcmp(stamps, "sent") != 0) {
        return err_set(e, ERR_INVALID, "--timestamps=%s: it is due or sent", stamps);
    }
    if (produce->from_us >= produce->to_us) {
        return err_set(e, ERR_INVALID, "--from=%s is not before --to=%s", conf_text(c, "from"),
                       conf_text(c, "to"));
    }
    if (piped && conf_bool(c, "shift")) {
        return err_set(e, ERR_INVALID, "--shift reads the file twice: give a file instead of -");
    }
    if (feed->need_label && feed->format == FEED_LINES) {
        return err_set(e, ERR_INVALID, "--labels needs a CSV file: lines of JSON hold no labels");
    }
    return ERR_OK;
}

static enum err check_topics(const struct conf *c, bool labels, struct errmsg *e)
{
    const char *names[] = {settings_topic(c, TOPIC_TRANSACTIONS), settings_topic(c, TOPIC_LABELS)};
    struct bus_topic_facts facts[2];
    struct bus_admin *a = NULL;
    size_t n = labels ? 2 : 1;
    enum err err = bus_admin_open(c, &a, e);
    if (err == ERR_OK) {
        err = bus_admin_facts(a, names, n, facts, BROKER_WAIT_MS, e);
    }
    for (size_t i = 0; err == ERR_OK && i < n; i++) {
        if (!facts[i].exists) {
            err = err_set(e, ERR_NOTFOUND,
                          "topic \"%s\" does not exist at %s; `fraudd check` prints the command "
                          "that makes it",
                          names[i], conf_text(c, "brokers"));
        }
    }
    bus_admin_close(a);
    return err;
}

static const char *source_of(const struct conf *c)
{
    const char *path = conf_text(c, "input");
    const char *slash = strrchr(path, '/');
    return conf_given(c, "label-source") ? conf_text(c, "label-source")
           : slash != NULL               ? slash + 1
                                         : path;
}

static void print_summary(const struct produce_stats *s)
{
    double seconds = (double)s->elapsed_us / 1e6;
    printf("produced %" PRIu64 " payments and %" PRIu64 " labels, %" PRIu64
           " acknowledged, in %.1f s: %.0f payments/s",
           s->sent, s->labels, s->acked, seconds, seconds > 0 ? (double)s->sent / seconds : 0.0);
    if (atomic_load(&s->lateness.count) > 0) {
        printf(", late by p50 %.2f, p99 %.2f, max %.2f ms",
               (double)latency_quantile(&s->lateness, .5) / 1e6,
               (double)latency_quantile(&s->lateness, .99) / 1e6,
               (double)latency_quantile(&s->lateness, 1) / 1e6);
    }
    putchar('\n');
}

/* Opens everything and runs. */
static enum err run(const struct conf *c, const struct feed_conf *fc, const struct produce_conf *pc,
                    struct errmsg *e)
{
    struct feature_params params;
    struct produce_stats stats;
    struct feed *feed = NULL;
    struct verdicts *verdicts = NULL;
    struct bus bus = {0};
    const struct bus_events events = {.trouble = on_trouble};
    const struct bus_plan plan = {
        .client = "fraudd-produce",
        .topic_name = {[TOPIC_TRANSACTIONS] = settings_topic(c, TOPIC_TRANSACTIONS),
                       [TOPIC_LABELS] = fc->need_label ? settings_topic(c, TOPIC_LABELS) : NULL},
        .produces = true};
    feature_params_default(&params);
    params.rates_version = rates_version(fc->rates);
    enum err err = feed_open(fc, &feed, e);
    if (err == ERR_OK && fc->need_label) {
        err = verdicts_create(&params, source_of(c), &verdicts, e);
    }
    if (err == ERR_OK) {
        err = bus_kafka_open(c, &plan, &events, &bus, e);
    }
    if (err == ERR_OK) {
        err = produce_run(pc, &bus, feed, verdicts, &stopping, &stats, e);
        bus.close(bus.self);
        print_summary(&stats);
    }
    verdicts_free(verdicts);
    feed_close(feed);
    return err;
}

/* The id of our schema, registered where it is not yet. */
static enum err find_schema(const struct conf *c, struct produce_conf *pc, struct errmsg *e)
{
    struct schemas *schemas = NULL;
    char subject[SCHEMAS_SUBJECT_MAX];
    (void)schemas_format(conf_text(c, "transactions.format"), &pc->format);
    enum err err = schemas_create(c, progress_now_us, &schemas, e);
    if (err == ERR_OK && schemas != NULL) {
        schemas_subject(settings_topic(c, TOPIC_TRANSACTIONS), subject);
        err = schemas_register(schemas, subject, &pc->schema, e);
    }
    schemas_free(schemas);
    return err;
}

static enum err produce(const struct conf *c, struct errmsg *e)
{
    struct rates *rates = NULL;
    struct card_rules cards = {.key = NULL};
    struct feed_conf fc;
    struct produce_conf pc;
    int64_t last_us = 0;
    enum err err = read_options(c, &fc, &pc, e);
    if (err == ERR_OK) {
        err = rates_create_default(&rates, e);
        fc.rates = rates;
    }
    if (err == ERR_OK) {
        err = card_rules_read(c, &cards, e);
        fc.cards = &cards;
    }
    if (err == ERR_OK) {
        err = check_topics(c, fc.need_label, e);
    }
    if (err == ERR_OK) {
        err = find_schema(c, &pc, e);
    }
    if (err == ERR_OK && conf_bool(c, "shift")) {
        uint64_t count = 0;
        err = feed_scan(&fc, &last_us, &count, e);
        fc.shift_us = err == ERR_OK ? feed_shift(last_us, wall_us(NULL)) : 0;
        pc.expected = conf_given(c, "from") || conf_given(c, "to") ? 0 : count;
    }
    if (err == ERR_OK) {
        err = run(c, &fc, &pc, e);
    }
    card_rules_done(&cards);
    rates_free(rates);
    return err;
}

int cmd_produce(int argc, char **argv)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    bool usage = false;
    enum err err = settings_load(TABLES, argc, argv, &c, &usage, &e);
    if (err == ERR_END) {
        print_help();
        return EXIT_OK;
    }
    if (err != ERR_OK) {
        return settings_fail("produce", err, usage, &e);
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    log_set_level((enum log_level)log_level_find(conf_text(c, "log-level")));
    err = produce(c, &e);
    conf_free(c);
    return err == ERR_OK ? EXIT_OK : cmd_fail("produce", err, &e);
}
