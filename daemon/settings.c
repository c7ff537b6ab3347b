#include "daemon/settings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/card_guard.h"
#include "daemon/cmd.h"
#include "daemon/http.h"
#include "daemon/inputs.h"
#include "daemon/outcomes.h"
#include "daemon/promotion.h"
#include "daemon/schemas.h"
#include "daemon/update.h"
#include "daemon/wire.h"

const struct conf_option SETTINGS_FILE[] = {
    {"config", CONF_TEXT, 0, NULL, 0, 0, "settings file, such as /etc/fraudd/fraudd.conf"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};

const struct conf_option SETTINGS[] = {
    {"brokers", CONF_TEXT, 0, "localhost:9092", 0, 0, "Kafka's addresses, host:port, by commas"},
    {"group", CONF_TEXT, 0, "fraudd-score", 0, 0, "consumer group of the scoring processes"},
    {"sink-group", CONF_TEXT, 0, "fraudd-sink", 0, 0, "consumer group of the sinks"},
    {"log", CONF_TEXT, 0, "transactions-1", 0, 0,
     "name of this incarnation of the transactions topic: part of each decision's identity; choose "
     "another one when the topic is made anew"},
    {"partitions", CONF_INT, 0, "1", 1, 1024,
     "partitions of the transactions topic: each gets its share of the alert budget"},
    {"database", CONF_TEXT, CONF_SECRET, "dbname=fraudd", 0, 0,
     "PostgreSQL, as libpq's connection string or URI"},
    {"model", CONF_TEXT, CONF_RELOAD, NULL, 0, 0, "model file to start with"},
    {"topics.transactions", CONF_TEXT, 0, "transactions", 0, 0, "payments to score"},
    {"topics.labels", CONF_TEXT, 0, "labels", 0, 0, "verdicts; one partition"},
    {"topics.notices", CONF_TEXT, 0, "notices", 0, 0,
     "models, lists, rules, settings; one partition"},
    {"topics.decisions", CONF_TEXT, 0, "decisions", 0, 0,
     "every decision; as many partitions as transactions"},
    {"topics.journal", CONF_TEXT, 0, "journal", 0, 0,
     "the order of everything that decisions depend on; one partition"},
    {"topics.alerts", CONF_TEXT, 0, "alerts", 0, 0, "decisions to review or declined"},
    {"topics.dead-letters", CONF_TEXT, 0, "dead-letters", 0, 0, "input that cannot be scored"},
    {"transactions.format", CONF_TEXT, 0, "json", 0, 0,
     "json, avro or protobuf: the latter two with a schema's id before each payment "
     "(etc/wire/README.md)"},
    {"registry.url", CONF_TEXT, 0, "http://127.0.0.1:8081", 0, 0,
     "address of the schema registry, as Confluent's clients take it (Apicurio: with "
     "/apis/ccompat/v7)"},
    {"registry.user-file", CONF_TEXT, 0, NULL, 0, 0,
     "file with one line user:password for the registry, readable by the daemon's user alone"},
    {"registry.ca-file", CONF_TEXT, 0, NULL, 0, 0,
     "certificates that the registry's is checked against, in PEM; unset: the system's"},
    {"alert.budget", CONF_INT, CONF_RELOAD, "100", 0, 1e7, "alerts a day that analysts can work"},
    {"alert.day-offset", CONF_DURATION, 0, "0", 0, 86399,
     "when the analysts' day begins, after midnight UTC"},
    {"alert.floor", CONF_REAL, CONF_RELOAD, ".995", .01, 1,
     "alert always from this probability on, even where the day's budget is spent"},
    {"decline.probability", CONF_REAL, CONF_RELOAD, "1", .01, 1,
     "decline at once from this probability on; 1: never"},
    {"decline.cost", CONF_REAL, CONF_RELOAD, "0", 0, 1e9,
     "cost of declining a good payment, in the reference currency: decline only where probability "
     "* amount is above it"},
    {"card.numbers", CONF_TEXT, 0, "refuse", 0, 0,
     "a full card number (13 to 19 digits passing Luhn) in place of a card: refuse (a dead letter) "
     "or hash (HMAC-SHA-256 with the key of card.key-file); anywhere else it is refused"},
    {"card.key-file", CONF_TEXT, 0, NULL, 0, 0,
     "file with 64 to 128 hexadecimal digits (`openssl rand -hex 32`), readable by the daemon's "
     "user "
     "alone; another key makes other cards of all: to change it, stop score and sink everywhere, "
     "put "
     "the new file in place, start them again; cards are then learnt anew from warm.days of the "
     "log"},
    {"card.digits", CONF_TEXT, 0, "", 0, 0,
     "identities whose text of digits only passes though it looks like a card number, as one in "
     "ten "
     "does by chance: names among id, merchant, terminal and device, by commas"},
    PROMOTE_SETTINGS_TABLE,
    {"rollback.keep", CONF_DURATION, 0, "7d", 1, 31536000,
     "a former champion goes on in shadow so long, so that a rollback finds it warm"},
    {"max-future", CONF_DURATION, CONF_RELOAD, "5m", 0, 86400,
     "a payment dated later than this after its Kafka timestamp is a dead letter"},
    {"state.cards", CONF_INT, 0, "1000000", 1000, 1e9,
     "cards held in memory a process; the longest idle one makes room"},
    {"state.inputs", CONF_INT, 0, "0", 0, INPUTS_MAX,
     "latest payments of each card whose columns are kept, 528 bytes each, so that a model which "
     "comes later begins with what it would know of the card (32 make the default network's caches "
     "complete); the same for all processes; 0: a challenger begins with empty caches"},
    {"state.terminals", CONF_INT, 0, "200000", 1000, 1e9,
     "terminals, merchants, devices and addresses held, each"},
    {"state.dir", CONF_TEXT, 0, "", 0, 0,
     "folder of the state's checkpoints; processes that share it take over each other's partitions "
     "with their state; empty: none, a start repeats warm.days"},
    {"state.every", CONF_DURATION, 0, "60s", 1, 86400,
     "time between two checkpoints, by the journal; the same for all processes"},
    {"warm.days", CONF_INT, 0, "60", 1, 3660,
     "days of the log that a partition is learnt from before it is decided"},
    {"score.batch", CONF_INT, 0, "4096", 1, 4096, "payments of one batch at most"},
    {"sink.batch", CONF_INT, 0, "5000", 1, BUS_POLL_MAX, "rows of one SQL transaction at most"},
    {"sink.linger", CONF_DURATION, CONF_RELOAD, "1s", 0, 60,
     "rows wait at most so long for more of the same SQL transaction"},
    {"explain.sample", CONF_REAL, 0, ".01", 0, 1,
     "share of decisions, beside all alerts, whose columns and places in the logs are stored with "
     "them"},
    {"train.days", CONF_INT, 0, "365", 1, 3660, "days of history that training reads"},
    {"train.maturity", CONF_DURATION, 0, "7d", 0, 31536000,
     "a payment without a verdict is legitimate after this time"},
    {"train.seed", CONF_INT, 0, "1", 0, 9e15, "of every random number in training"},
    UPDATE_OPTIONS,
    GATE_OPTIONS,
    OUTCOMES_OPTIONS,
    {"http.listen", CONF_TEXT, 0, "127.0.0.1:9464", 0, 0,
     "address of score's /metrics, /healthz and /readyz; empty: none"},
    {"http.sink-listen", CONF_TEXT, 0, "127.0.0.1:9465", 0, 0, "the same of the sink"},
    {"http.console-listen", CONF_TEXT, 0, "127.0.0.1:9467", 0, 0, "the same of the console"},
    {"http.stall", CONF_DURATION, 0, "60s", 5, 3600,
     "/healthz fails when the daemon's loop has not turned for so long"},
    {"console.listen", CONF_TEXT, 0, "127.0.0.1:9466", 0, 0, "address of the analysts' page"},
    {"console.name", CONF_TEXT, 0, "", 0, 0,
     "name under which an HTTPS proxy serves that page, such as fraud.example.org: its cookie then "
     "goes over HTTPS only; empty: no proxy"},
    {"console.tokens", CONF_TEXT, 0, "/etc/fraudd/console.tokens", 0, 0,
     "file of the tokens that open the page; `fraudd console --grant NAME` adds one"},
    {"console.session", CONF_DURATION, 0, "8h", 60, 604800,
     "after this time, or when the token expires, an analyst logs in again"},
    {"console.lease", CONF_DURATION, 0, "15m", 1, 604800,
     "time after which others may take an alert that was claimed on the page"},
    {"log-level", CONF_TEXT, CONF_RELOAD, "info", 0, 0, "debug, info, warn or error"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};

static const char *const TOPIC_OPTIONS[TOPIC_COUNT] = {[TOPIC_TRANSACTIONS] = "topics.transactions",
                                                       [TOPIC_LABELS] = "topics.labels",
                                                       [TOPIC_NOTICES] = "topics.notices",
                                                       [TOPIC_DECISIONS] = "topics.decisions",
                                                       [TOPIC_ALERTS] = "topics.alerts",
                                                       [TOPIC_DEAD_LETTERS] = "topics.dead-letters",
                                                       [TOPIC_JOURNAL] = "topics.journal"};

const char *settings_topic_option(enum bus_topic topic)
{
    return TOPIC_OPTIONS[topic];
}

const char *settings_topic(const struct conf *c, enum bus_topic topic)
{
    return conf_text(c, TOPIC_OPTIONS[topic]);
}

/* A look over the settings; `bad` is the option that a refusal is about. */
struct look {
    const struct conf *c;
    const char *bad;
    struct errmsg *e;
};

/* Words a refusal: where the value comes from, then the text. */
static enum err refuse(struct look *l, const char *name, const char *fmt, ...) FD_PRINTF(3, 4);
static enum err refuse(struct look *l, const char *name, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    l->bad = name;
    return err_set(l->e, ERR_INVALID, "%s: %s", conf_where(l->c, name), text);
}

/* Kafka's rule for topic names: letters, digits, '.', '_', '-', at most 249 bytes. */
static bool topic_name_good(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 249 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static enum err check_topics(struct look *l)
{
    for (unsigned i = 0; i < TOPIC_COUNT; i++) {
        const char *name = settings_topic(l->c, (enum bus_topic)i);
        if (!topic_name_good(name)) {
            return refuse(l, TOPIC_OPTIONS[i],
                          "%s = \"%s\" is no topic name; give 1 to 249 letters, digits, dots, "
                          "dashes or underscores",
                          TOPIC_OPTIONS[i], name);
        }
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(name, settings_topic(l->c, (enum bus_topic)k)) == 0) {
                return refuse(l, TOPIC_OPTIONS[i],
                              "%s and %s are both \"%s\"; give each its own topic",
                              TOPIC_OPTIONS[k], TOPIC_OPTIONS[i], name);
            }
        }
    }
    return ERR_OK;
}

/* Whether text is host, host:port or [v6]:port, perhaps after a protocol://. */
static bool broker_good(const char *text, size_t len)
{
    char one[256];
    if (len == 0 || len >= sizeof one) {
        return false;
    }
    memcpy(one, text, len);
    one[len] = '\0';
    const char *host = strstr(one, "://") != NULL ? strstr(one, "://") + 3 : one;
    const char *close = strrchr(host, ']');
    const char *colon = strrchr(close != NULL ? close : host, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - host) : strlen(host);
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 1;
    return host_len > 0 && strcspn(host, " \t/") == strlen(host) && port >= 1 && port <= 65535 &&
           (colon == NULL || (end != colon + 1 && *end == '\0'));
}

static enum err check_brokers(struct look *l)
{
    const char *at = conf_text(l->c, "brokers");
    for (;;) {
        size_t len = strcspn(at, ",");
        size_t skip = strspn(at, " ");
        skip = skip < len ? skip : len;
        size_t end = len;
        while (end > skip && at[end - 1] == ' ') {
            end--;
        }
        if (!broker_good(at + skip, end - skip)) {
            return refuse(l, "brokers",
                          "brokers = \"%s\": \"%.*s\" is no address; give host:port, several by "
                          "commas",
                          conf_text(l->c, "brokers"), (int)len, at);
        }
        if (at[len] == '\0') {
            return ERR_OK;
        }
        at += len + 1;
    }
}

static enum err check_pages(struct look *l)
{
    static const char *const PAGES[] = {"http.listen", "http.sink-listen", "http.console-listen",
                                        "console.listen"};
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++) {
        const char *text = conf_text(l->c, PAGES[i]);
        const bool may_be_empty = i < 3;
        if ((text[0] != '\0' || !may_be_empty) && http_address_parse(text, NULL, NULL) != ERR_OK) {
            return refuse(l, PAGES[i],
                          "%s = \"%s\" is no address; give numbers and a port such as "
                          "127.0.0.1:9464 or [::1]:9464%s",
                          PAGES[i], text, may_be_empty ? ", or an empty text for none" : "");
        }
        for (size_t j = 0; j < i && text[0] != '\0'; j++) {
            if (strcmp(conf_text(l->c, PAGES[j]), text) == 0) {
                return refuse(l, PAGES[i], "%s and %s are both \"%s\"; give each its own", PAGES[j],
                              PAGES[i], text);
            }
        }
    }
    return ERR_OK;
}

static enum err check_texts(struct look *l)
{
    static const char *const NEEDED[] = {"group", "sink-group"};
    const char *log = conf_text(l->c, "log");
    if (log[0] == '\0' || strlen(log) > WIRE_LOG_MAX) {
        return refuse(l, "log", "log = \"%.80s\" is not allowed; give 1 to %d bytes", log,
                      WIRE_LOG_MAX);
    }
    if (log_level_find(conf_text(l->c, "log-level")) < 0) {
        return refuse(l, "log-level",
                      "log-level = \"%s\" is not allowed; give debug, info, warn or error",
                      conf_text(l->c, "log-level"));
    }
    for (size_t i = 0; i < 2; i++) {
        if (conf_text(l->c, NEEDED[i])[0] == '\0') {
            return refuse(l, NEEDED[i], "%s must not be empty; name a consumer group", NEEDED[i]);
        }
    }
    if (strcmp(conf_text(l->c, "group"), conf_text(l->c, "sink-group")) == 0) {
        return refuse(l, "sink-group",
                      "group and sink-group are both \"%s\"; give each daemon its own",
                      conf_text(l->c, "group"));
    }
    return ERR_OK;
}

static enum err check_cards(struct look *l)
{
    struct errmsg e = {""};
    const char *bad = NULL;
    enum err err = card_rules_check(l->c, &bad, &e);
    return err == ERR_OK ? ERR_OK : refuse(l, bad, "%s", e.text);
}

static enum err check_formats(struct look *l)
{
    const char *format = conf_text(l->c, "transactions.format");
    const char *url = conf_text(l->c, "registry.url");
    enum wire_format f = FORMAT_JSON;
    if (!schemas_format(format, &f)) {
        return refuse(l, "transactions.format",
                      "transactions.format = \"%s\" is not allowed; give json, avro or protobuf",
                      format);
    }
    const char *host = strstr(url, "://");
    const bool http = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    if (!http || strcspn(host + 3, " /?#") == 0) {
        return refuse(l, "registry.url",
                      "registry.url = \"%s\" is no address such as https://registry:8081", url);
    }
    if (strpbrk(url, "@?# ") != NULL) {
        return refuse(l, "registry.url",
                      "registry.url holds one of @ ? # or a space; a password belongs in the file "
                      "of registry.user-file");
    }
    return ERR_OK;
}

enum err settings_check(const struct conf *c, const char **out_bad, struct errmsg *e)
{
    struct look l = {.c = c, .e = e};
    enum err err = check_texts(&l);
    if (err == ERR_OK) {
        err = check_brokers(&l);
    }
    if (err == ERR_OK) {
        err = check_topics(&l);
    }
    if (err == ERR_OK) {
        err = check_pages(&l);
    }
    if (err == ERR_OK) {
        err = check_cards(&l);
    }
    if (err == ERR_OK) {
        err = check_formats(&l);
    }
    if (err != ERR_OK && out_bad != NULL) {
        *out_bad = l.bad;
    }
    return err;
}

/* The settings file's path from the command line or the environment, without reading the rest. */
static const char *find_path(int argc, char **argv)
{
    static const char OPTION[] = "--config";
    size_t len = sizeof OPTION - 1;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], OPTION, len) != 0) {
            continue;
        }
        if (argv[i][len] == '=') {
            return argv[i] + len + 1;
        }
        if (argv[i][len] == '\0' && i + 1 < argc) {
            return argv[i + 1];
        }
    }
    for (char **v = environ; *v != NULL; v++) {
        if (strncmp(*v, "FRAUDD_CONFIG=", 14) == 0) {
            return *v + 14;
        }
    }
    return NULL;
}

static bool help_wanted(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/* Reads file, environment and command line into c; *out_usage: the command line is at fault. */
static enum err read_all(struct conf *c, int argc, char **argv, bool *out_usage, struct errmsg *e)
{
    const char *path = find_path(argc, argv);
    const char *bad = NULL;
    enum err err = ERR_OK;
    if (path != NULL && path[0] != '\0') {
        err = conf_read_file(c, path, e);
    }
    if (err == ERR_OK) {
        err = conf_read_env(c, environ, e);
    }
    if (err == ERR_OK) {
        err = conf_read_args(c, argc, argv, e);
        *out_usage = err != ERR_OK;
    }
    if (err == ERR_OK) {
        err = conf_check_required(c, e);
        *out_usage = err != ERR_OK;
    }
    if (err == ERR_OK) {
        err = settings_check(c, &bad, e);
        *out_usage = err != ERR_OK && strcmp(conf_where(c, bad), "command line") == 0;
    }
    return err;
}

enum err settings_load(const struct conf_option *const *tables, int argc, char **argv,
                       struct conf **out, bool *out_usage, struct errmsg *e)
{
    struct conf *c = NULL;
    bool usage = false;
    if (help_wanted(argc, argv)) {
        return ERR_END; /* even where the file is wrong */
    }
    enum err err = conf_create(tables, "kafka.", &c, e);
    if (err == ERR_OK) {
        err = read_all(c, argc, argv, &usage, e);
    }
    if (err != ERR_OK) {
        conf_free(c);
        if (out_usage != NULL) {
            *out_usage = usage;
        }
        return err;
    }
    *out = c;
    return ERR_OK;
}

int settings_fail(const char *verb, enum err err, bool usage, const struct errmsg *e)
{
    int code = cmd_fail(verb, err, e);
    return err == ERR_INVALID && !usage ? EXIT_CONFIG : code;
}

int settings_begin(const struct verb *v, const struct conf_option *const *tables,
                   const struct conf_option *const *shown, int argc, char **argv, struct conf **out)
{
    struct errmsg e = {""};
    bool usage = false;
    enum err err = settings_load(tables, argc, argv, out, &usage, &e);
    if (err == ERR_END) {
        options_print_help(v, shown);
        return EXIT_OK;
    }
    return err == ERR_OK ? -1 : settings_fail(v->name, err, usage, &e);
}

void settings_print_sample(FILE *f)
{
    fputs("# Settings of fraudd: `fraudd VERB --config=FILE`.  Environment (FRAUDD_ALERT_BUDGET) "
          "and\n"
          "# command line (--alert.budget) come after this file and win.\n"
          "# Properties of librdkafka go into a group kafka, dots as underscores:\n"
          "# kafka = { security_protocol = \"ssl\"; ssl_ca_location = \"/etc/ssl/kafka.pem\"; };\n",
          f);
    conf_print_sample(f, SETTINGS);
}
