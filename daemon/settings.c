#include "daemon/settings.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
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
    {"database", CONF_TEXT, CONF_SECRET, "dbname=fraudd", 0, 0,
     "PostgreSQL, as libpq's connection string or URI"},
    {"model", CONF_TEXT, CONF_RELOAD, NULL, 0, 0, "model file to start with"},
    {"models", CONF_TEXT, 0, "/var/lib/fraudd/models", 0, 0, "folder of received models"},
    {"topics.transactions", CONF_TEXT, 0, "transactions", 0, 0, "payments to score"},
    {"topics.labels", CONF_TEXT, 0, "labels", 0, 0, "verdicts; one partition"},
    {"topics.notices", CONF_TEXT, 0, "notices", 0, 0, "models and settings; one partition"},
    {"topics.decisions", CONF_TEXT, 0, "decisions", 0, 0,
     "every decision; as many partitions as transactions"},
    {"topics.alerts", CONF_TEXT, 0, "alerts", 0, 0, "decisions to review or declined"},
    {"topics.dead-letters", CONF_TEXT, 0, "dead-letters", 0, 0, "input that cannot be scored"},
    {"alert.budget", CONF_INT, CONF_RELOAD, "100", 0, 1e7, "alerts a day that analysts can work"},
    {"alert.day-offset", CONF_DURATION, CONF_RELOAD, "0", 0, 86399,
     "when the analysts' day begins, after midnight UTC"},
    {"alert.floor", CONF_REAL, CONF_RELOAD, ".05", 0, 1,
     "no alert below this probability, however much of the budget is left"},
    {"decline.probability", CONF_REAL, CONF_RELOAD, "1", 0, 1,
     "decline at once from this probability on; 1: never"},
    {"decline.cost", CONF_REAL, CONF_RELOAD, "0", 0, 1e9,
     "cost of declining a good payment, in the reference currency: decline only where probability "
     "* amount is above it"},
    {"max-future", CONF_DURATION, CONF_RELOAD, "5m", 0, 86400,
     "a payment dated later than this after its Kafka timestamp is a dead letter"},
    {"state.cards", CONF_INT, 0, "1000000", 1000, 1e9,
     "cards held in memory a process; the longest idle one makes room"},
    {"state.terminals", CONF_INT, 0, "200000", 1000, 1e9,
     "terminals, merchants, devices and addresses held, each"},
    {"state.directory", CONF_TEXT, 0, "/var/lib/fraudd", 0, 0, "folder of checkpoints"},
    {"state.checkpoint", CONF_DURATION, CONF_RELOAD, "60s", 1, 86400, "time between checkpoints"},
    {"warm.days", CONF_INT, 0, "60", 0, 3660,
     "days of history read again where there is no checkpoint"},
    {"score.batch", CONF_INT, 0, "256", 1, 4096, "payments of one batch at most"},
    {"score.linger", CONF_DURATION, CONF_RELOAD, "5ms", 0, 10,
     "wait for messages at most so long in one poll"},
    {"sink.batch", CONF_INT, 0, "5000", 1, 100000, "rows of one SQL transaction at most"},
    {"sink.linger", CONF_DURATION, CONF_RELOAD, "1s", 0, 600, "a row waits at most so long"},
    {"train.days", CONF_INT, 0, "365", 1, 3660, "days of history that training reads"},
    {"train.maturity", CONF_DURATION, 0, "7d", 0, 31536000,
     "a payment without a verdict is legitimate after this time"},
    {"train.seed", CONF_INT, 0, "1", 0, 9e15, "of every random number in training"},
    {"http.listen", CONF_TEXT, 0, "127.0.0.1:9464", 0, 0,
     "address of /metrics, /healthz and /readyz; empty: none"},
    {"log-level", CONF_TEXT, CONF_RELOAD, "info", 0, 0, "debug, info, warn or error"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};

static const char *const TOPIC_OPTIONS[TOPIC_COUNT] = {[TOPIC_TRANSACTIONS] = "topics.transactions",
                                                       [TOPIC_LABELS] = "topics.labels",
                                                       [TOPIC_NOTICES] = "topics.notices",
                                                       [TOPIC_DECISIONS] = "topics.decisions",
                                                       [TOPIC_ALERTS] = "topics.alerts",
                                                       [TOPIC_DEAD_LETTERS] =
                                                           "topics.dead-letters"};

const char *settings_topic_option(enum bus_topic topic)
{
    return TOPIC_OPTIONS[topic];
}

const char *settings_topic(const struct conf *c, enum bus_topic topic)
{
    return conf_text(c, TOPIC_OPTIONS[topic]);
}

/* Kafka's rule for topic names: letters, digits, '.', '_', '-', at most 249 bytes. */
static bool topic_name_good(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 249 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static enum err check_topics(const struct conf *c, struct errmsg *e)
{
    for (unsigned i = 0; i < TOPIC_COUNT; i++) {
        const char *name = settings_topic(c, (enum bus_topic)i);
        if (!topic_name_good(name)) {
            return err_set(e, ERR_INVALID,
                           "%s = \"%s\" is no topic name; give 1 to 249 letters, digits, dots, "
                           "dashes or underscores",
                           TOPIC_OPTIONS[i], name);
        }
        for (unsigned k = 0; k < i; k++) {
            if (strcmp(name, settings_topic(c, (enum bus_topic)k)) == 0) {
                return err_set(e, ERR_INVALID, "%s and %s are both \"%s\"; give each its own topic",
                               TOPIC_OPTIONS[k], TOPIC_OPTIONS[i], name);
            }
        }
    }
    return ERR_OK;
}

enum err settings_check(const struct conf *c, struct errmsg *e)
{
    const char *log = conf_text(c, "log");
    if (log[0] == '\0' || strlen(log) > WIRE_LOG_MAX) {
        return err_set(e, ERR_INVALID, "log = \"%.80s\" is not allowed; give 1 to %d bytes", log,
                       WIRE_LOG_MAX);
    }
    if (log_level_find(conf_text(c, "log-level")) < 0) {
        return err_set(e, ERR_INVALID,
                       "log-level = \"%s\" is not allowed; give debug, info, warn or error",
                       conf_text(c, "log-level"));
    }
    if (conf_text(c, "brokers")[0] == '\0' || conf_text(c, "group")[0] == '\0' ||
        conf_text(c, "sink-group")[0] == '\0') {
        return err_set(e, ERR_INVALID, "brokers, group and sink-group must not be empty");
    }
    if (strcmp(conf_text(c, "group"), conf_text(c, "sink-group")) == 0) {
        return err_set(e, ERR_INVALID,
                       "group and sink-group are both \"%s\"; give each daemon its own",
                       conf_text(c, "group"));
    }
    return check_topics(c, e);
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

enum err settings_load(const struct conf_option *const *tables, int argc, char **argv,
                       struct conf **out, struct errmsg *e)
{
    struct conf *c = NULL;
    const char *path = find_path(argc, argv);
    enum err err = conf_create(tables, "kafka.", &c, e);
    for (int i = 1; err == ERR_OK && i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            err = ERR_END; /* even where the file is wrong */
        }
    }
    if (err == ERR_OK && path != NULL && path[0] != '\0') {
        err = conf_read_file(c, path, e);
    }
    if (err == ERR_OK) {
        err = conf_read_env(c, environ, e);
    }
    if (err == ERR_OK) {
        err = conf_read_args(c, argc, argv, e);
    }
    if (err == ERR_OK) {
        err = conf_check_required(c, e);
    }
    if (err == ERR_OK) {
        err = settings_check(c, e);
    }
    if (err != ERR_OK) {
        conf_free(c);
        return err;
    }
    *out = c;
    return ERR_OK;
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
