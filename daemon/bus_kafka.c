/* The Kafka bus: properties, open and close.  bus_kafka.h names the other parts.
 *
 * Invariants
 *  1. The properties that the guarantees of bus.h rest on cannot be overridden.
 *  2. Every callback of the library runs on the owner's thread, inside poll, wait or close. */
#include "daemon/bus_kafka.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/progress.h"

#define START_MS 1000         /* for a first answer */
#define START_SECURED_MS 5000 /* after handshakes, or a refusal */
#define CLOSE_MS 1200

void bus_kafka_trouble(struct bus_kafka *b, bool fatal, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (b->events.trouble != NULL) {
        b->events.trouble(b->events.ctx, fatal, text);
    }
}

static void tell_refusal(struct bus_kafka *b, const char *text)
{
    if (b->answered || b->events.refused == NULL) {
        bus_kafka_trouble(b, !b->answered, "%s", text);
    } else {
        b->events.refused(b->events.ctx, text);
    }
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct bus_kafka *b = opaque;
    if (b->closing) { /* maybe from the background, when the owner is gone */
        return;
    }
    b->counters.broker_errors++;
    if (b->refusal.text[0] != '\0') {
        return; /* said enough */
    }
    struct errmsg refusal = {""};
    bool refused = bus_refusal_of((rd_kafka_resp_err_t)code, reason, &refusal);
    if (refused && !b->answered) {
        b->refusal = refusal;
    }
    if (b->asking) {
        return;
    }
    if (refused) {
        tell_refusal(b, refusal.text);
        return;
    }
    if ((rd_kafka_resp_err_t)code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[256];
        rd_kafka_resp_err_t cause = rd_kafka_fatal_error(rk, text, sizeof text);
        if (rk == b->producer[WRITER_BULK] || rk == b->producer[WRITER_PROMPT]) {
            b->replace = true;
            bus_kafka_trouble(b, false, "the producer gave up (%s: %s); making a new one",
                              rd_kafka_err2name(cause), text);
        } else {
            bus_kafka_trouble(b, true, "the consumer gave up: %s: %s%s", rd_kafka_err2name(cause),
                              text,
                              cause == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
                                  ? "; another process has a copy of this one's state.dir: give "
                                    "it a folder of its own, or the same one"
                                  : "");
        }
        return;
    }
    bus_kafka_trouble(b, false, "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)code), reason);
}

/* Called by the library's own threads: only logs. */
static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    static struct log_limit quiet = LOG_LIMIT_INIT;
    char quoted[512];
    uint64_t held = 0;
    /* every handle gets the properties of readers and writers, and grumbles about the other's; what
     * a connection failed of comes to on_error, too */
    bool expected = (strcmp(fac, "CONFWARN") == 0 && strstr(text, "will be ignored") != NULL) ||
                    strcmp(fac, "FAIL") == 0 || strcmp(fac, "SSLCERTVRFY") == 0;
    enum log_level ours = expected || level > LOG_WARNING ? FD_LOG_DEBUG
                          : level <= LOG_ERR              ? FD_LOG_WARN
                                                          : FD_LOG_INFO;
    if (log_limit_pass(&quiet, text, progress_now_us(), &held)) {
        log_line(ours, "kafka_client", "client=%s facility=%s not_shown=%" PRIu64 " text=%s",
                 rd_kafka_name(rk), fac, held, log_quote(quoted, sizeof quoted, text));
    }
}

static enum err set(rd_kafka_conf_t *conf, const char *name, const char *value, struct errmsg *e)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        bool secret = strstr(name, "password") != NULL || strstr(name, "secret") != NULL;
        return err_set(e, ERR_INVALID, "kafka.%s = \"%s\": %s; see librdkafka's CONFIGURATION.md",
                       name, secret ? "(hidden)" : value, text);
    }
    return ERR_OK;
}

static enum err set_passed(void *ctx, const char *name, const char *value, struct errmsg *e)
{
    static const char *const OURS[] = {"bootstrap.servers",
                                       "metadata.broker.list",
                                       "group.id",
                                       "client.id",
                                       "enable.auto.commit",
                                       "enable.auto.offset.store",
                                       "auto.offset.reset",
                                       "partition.assignment.strategy",
                                       "enable.idempotence",
                                       "acks",
                                       "request.required.acks",
                                       "message.timeout.ms",
                                       "delivery.timeout.ms",
                                       "transactional.id",
                                       "partitioner"};
    for (size_t i = 0; i < sizeof OURS / sizeof OURS[0]; i++) {
        if (strcmp(name, OURS[i]) == 0) {
            return err_set(e, ERR_INVALID,
                           "kafka.%s = \"%s\" cannot be chosen: the guarantees rest on it, or "
                           "another setting sets it; leave it out",
                           name, value);
        }
    }
    return set(ctx, name, value, e);
}

enum err bus_kafka_handle(struct bus_kafka *b, enum bus_use use, const char *const *properties,
                          rd_kafka_t **out, struct errmsg *e)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(b->base[use]);
    for (const char *const *p = properties; *p != NULL; p += 2) {
        enum err err = set(conf, p[0], p[1], e);
        if (err != ERR_OK) {
            rd_kafka_conf_destroy(conf);
            return err;
        }
    }
    rd_kafka_type_t type = use == USE_WRITE ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER;
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_INVALID, "cannot set up the Kafka client: %s; check kafka.*", text);
    }
    *out = rk;
    return ERR_OK;
}

/* Defaults that kafka.* may change.
 *
 * A fetch is answered as soon as fetch.min.bytes (1) are there, so waiting long costs no latency;
 * but what changes meanwhile (a partition more, a seek) waits for the answer: 100 ms. */
static const char *const DEFAULTS[] = {"socket.nagle.disable",
                                       "true",
                                       "socket.keepalive.enable",
                                       "true",
                                       "reconnect.backoff.max.ms",
                                       "2000",
                                       "topic.metadata.refresh.interval.ms",
                                       "60000",
                                       NULL};
static const char *const DEFAULTS_OF[USE_COUNT][12] = {
    [USE_GROUP] = {"fetch.wait.max.ms", "100", "fetch.error.backoff.ms", "100", "check.crcs",
                   "true",
                   /* a member that died is missed after so long; the others hear of it, and have
                    * its partitions, with their next heartbeat */
                   "session.timeout.ms", "6000", "heartbeat.interval.ms", "500", NULL},
    /* one connection a broker answers in order: whatever else is asked at a start (bounds of the
     * next topic, a seek) waits for the fetch of a topic where nothing comes */
    [USE_WHOLE] = {"fetch.wait.max.ms", "100", "fetch.error.backoff.ms", "100", "check.crcs",
                   "true", NULL},
    /* the library sends one request a partition: at 5,000 records a second in 8 partitions 1 ms
     * gathers one record each, and requests are what the broker's time goes into */
    [USE_WRITE] = {"compression.codec", "lz4", "linger.ms", "2", NULL}};
/* Of a group that reads for throughput: few large answers. */
static const char *const PATIENT[] = {"fetch.min.bytes", "65536", "fetch.wait.max.ms", "250", NULL};

static enum err set_all(rd_kafka_conf_t *conf, const char *const *properties, struct errmsg *e)
{
    enum err err = ERR_OK;
    for (const char *const *p = properties; err == ERR_OK && *p != NULL; p += 2) {
        err = set(conf, p[0], p[1], e);
    }
    return err;
}

/* Defaults, brokers and kafka.* of one use. */
static enum err make_base(struct bus_kafka *b, enum bus_use use, const struct conf *c,
                          struct errmsg *e)
{
    const char *brokers = conf_text(c, "brokers");
    const char *const own[] = {"bootstrap.servers", brokers != NULL ? brokers : "", "client.id",
                               b->plan.client != NULL ? b->plan.client : "fraudd", NULL};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    b->base[use] = conf;
    rd_kafka_conf_set_opaque(conf, b);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    bus_refusal_watch(conf);
    enum err err = set_all(conf, DEFAULTS, e);
    if (err == ERR_OK) {
        err = set_all(conf, DEFAULTS_OF[use], e);
    }
    if (err == ERR_OK && use == USE_GROUP && b->plan.patient) {
        err = set_all(conf, PATIENT, e);
    }
    if (err == ERR_OK) {
        err = set_all(conf, own, e);
    }
    return err == ERR_OK ? conf_visit_passed(c, set_passed, conf, e) : err;
}

static bool is_secured(const rd_kafka_conf_t *conf)
{
    char value[32] = "";
    size_t size = sizeof value;
    return rd_kafka_conf_get(conf, "security.protocol", value, &size) == RD_KAFKA_CONF_OK &&
           strcmp(value, "plaintext") != 0;
}

/* Asks until a broker answers, refuses us, or the patience is over; the answer's error. */
static enum err ask_patiently(struct bus_kafka *b, rd_kafka_t *rk, const char *const *names,
                              size_t n, struct bus_topic_facts *facts, struct errmsg *e)
{
    int64_t until_us =
        progress_now_us() + (is_secured(b->base[USE_WRITE]) ? START_SECURED_MS : START_MS) * 1000;
    enum err err = ERR_UNAVAILABLE;
    b->asking = true;
    do {
        err = bus_admin_facts_of(rk, names, n, facts, START_MS, e);
        rd_kafka_poll(rk, 0); /* errors are told from inside */
    } while (err == ERR_UNAVAILABLE && b->refusal.text[0] == '\0' && progress_now_us() < until_us);
    b->asking = false;
    b->answered = err == ERR_OK;
    if (b->answered) {
        b->refusal.text[0] = '\0'; /* another one has let us in */
    }
    return err;
}

/* Whether the topics exist, and how large their messages may be; nothing is learned where no broker
 * answers soon. */
static enum err ask_facts(struct bus_kafka *b, struct errmsg *e)
{
    const char *names[TOPIC_COUNT];
    size_t at[TOPIC_COUNT];
    struct bus_topic_facts facts[TOPIC_COUNT];
    size_t n = 0;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        b->bytes_max[i] = BUS_MESSAGE_BYTES;
        if (b->names[i] != NULL) {
            names[n] = b->names[i];
            at[n++] = i;
        }
    }
    static const char *const NONE[] = {NULL};
    rd_kafka_t *rk = NULL;
    enum err err = bus_kafka_handle(b, USE_WRITE, NONE, &rk, e);
    if (err != ERR_OK) {
        return err;
    }
    struct errmsg away;
    err = n > 0 ? ask_patiently(b, rk, names, n, facts, &away) : ERR_UNAVAILABLE;
    bus_kafka_end(rk);
    if (b->refusal.text[0] != '\0') {
        return err_set(e, ERR_REFUSED, "%s", b->refusal.text);
    }
    if (err != ERR_OK) {
        return ERR_OK;
    }
    for (size_t i = 0; i < n; i++) {
        size_t topic = at[i];
        bool used = b->plan.group_topic[topic] || b->plan.whole_topic[topic] || b->plan.produces;
        if (used && !facts[i].exists) {
            return err_set(e, ERR_NOTFOUND,
                           "topic \"%s\" does not exist at these brokers; `fraudd check` prints "
                           "the command that makes it",
                           names[i]);
        }
        b->bytes_max[topic] = (size_t)facts[i].bytes_max;
    }
    return ERR_OK;
}

static void fill_counters(void *self, struct bus_counters *out)
{
    const struct bus_kafka *b = self;
    *out = b->counters;
    out->lag = bus_kafka_lag(b);
}

int64_t bus_kafka_offset_at(void *self, enum bus_topic topic, int32_t partition,
                            int64_t timestamp_us)
{
    const struct bus_kafka *b = self;
    int64_t low = 0;
    int64_t high = 0;
    rd_kafka_t *rk = b->plan.group_topic[topic] ? b->group : b->whole;
    if (rk == NULL || (!b->plan.group_topic[topic] && !b->plan.whole_topic[topic])) {
        return -1;
    }
    if (timestamp_us <= 0) { /* its beginning: the embedded broker finds no times */
        return rd_kafka_query_watermark_offsets(rk, b->names[topic], partition, &low, &high,
                                                BUS_ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR
                   ? low
                   : -1;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *asked =
        rd_kafka_topic_partition_list_add(list, b->names[topic], partition);
    asked->offset = timestamp_us / 1000;
    rd_kafka_resp_err_t why = rd_kafka_offsets_for_times(rk, list, BUS_ASK_MS);
    int64_t at = why == RD_KAFKA_RESP_ERR_NO_ERROR && asked->err == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? asked->offset
                     : -1;
    rd_kafka_topic_partition_list_destroy(list);
    if (at == RD_KAFKA_OFFSET_END) { /* every message is older */
        why = rd_kafka_query_watermark_offsets(rk, b->names[topic], partition, &low, &high,
                                               BUS_ASK_MS);
        at = why == RD_KAFKA_RESP_ERR_NO_ERROR ? high : -1;
    }
    return at >= 0 ? at : -1;
}

static void bus_free(struct bus_kafka *b)
{
    if (b == NULL) {
        return;
    }
    b->closing = true;
    bus_kafka_read_close(b);
    bus_kafka_write_close(b);
    if (!bus_kafka_ended(CLOSE_MS)) {
        return; /* a broker hangs: the handles' callbacks may still look at b */
    }
    for (size_t i = 0; i < USE_COUNT; i++) {
        if (b->base[i] != NULL) {
            rd_kafka_conf_destroy(b->base[i]);
        }
    }
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        free(b->names[i]);
        free(b->parts[i].part);
    }
    free(b);
}

static void bus_close(void *self)
{
    bus_free(self);
}

static enum err copy_plan(struct bus_kafka *b, const struct bus_plan *plan, struct errmsg *e)
{
    b->plan = *plan;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        bool read = plan->group_topic[i] || plan->whole_topic[i];
        if (read && plan->topic_name[i] == NULL) {
            return err_set(e, ERR_INVALID, "a topic to read has no name; set topics.*");
        }
        if (plan->topic_name[i] != NULL) {
            b->names[i] = strdup(plan->topic_name[i]);
            if (b->names[i] == NULL) {
                return err_set(e, ERR_NOMEM, "cannot hold the topics' names: no memory");
            }
        }
    }
    return ERR_OK;
}

enum err bus_kafka_open(const struct conf *c, const struct bus_plan *plan,
                        const struct bus_events *events, struct bus *out, struct errmsg *e)
{
    struct bus_kafka *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return err_set(e, ERR_NOMEM, "cannot set up the Kafka bus: no memory");
    }
    b->events = *events;
    b->ready = -1;
    enum err err = copy_plan(b, plan, e);
    for (int use = 0; err == ERR_OK && use < USE_COUNT; use++) {
        err = make_base(b, (enum bus_use)use, c, e);
    }
    if (err == ERR_OK) {
        err = ask_facts(b, e);
    }
    if (err == ERR_OK) {
        err = bus_kafka_read_open(b, e);
    }
    if (err == ERR_OK && plan->produces) {
        err = bus_kafka_write_open(b, e);
    }
    if (err != ERR_OK) {
        b->events.trouble = NULL;
        bus_free(b);
        return err;
    }
    *out = (struct bus){b,
                        bus_kafka_poll,
                        bus_kafka_hold,
                        bus_kafka_release,
                        bus_kafka_send,
                        bus_kafka_wait,
                        bus_kafka_commit,
                        bus_kafka_pause,
                        bus_kafka_seek,
                        fill_counters,
                        bus_kafka_offset_at,
                        bus_close};
    return ERR_OK;
}
