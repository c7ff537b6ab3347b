#include "daemon/bus_admin.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "daemon/bus_kafka.h"
#include "daemon/bus_refusal.h"

#define FACTS_MAX 64
#define CLOSE_MS 1200
#define PIECE_MS 1000

struct bus_admin {
    rd_kafka_t *rk;
    struct errmsg refusal; /* "" none */
};

static void on_error(rd_kafka_t *rk, int code, const char *words, void *opaque)
{
    struct bus_admin *a = opaque;
    (void)rk;
    /* anything else comes back as the answer's error */
    (void)bus_refusal_of((rd_kafka_resp_err_t)code, words, &a->refusal);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk; /* failures come back as errors */
    (void)level;
    (void)facility;
    (void)text;
}

static enum err set(void *ctx, const char *name, const char *value, struct errmsg *e)
{
    char text[256];
    if (rd_kafka_conf_set(ctx, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        return err_set(e, ERR_INVALID, "kafka.%s: %s", name, text);
    }
    return ERR_OK;
}

enum err bus_admin_open(const struct conf *c, struct bus_admin **out, struct errmsg *e)
{
    char text[256];
    const char *brokers = conf_text(c, "brokers");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct bus_admin *a = calloc(1, sizeof *a);
    enum err err = a == NULL ? err_set(e, ERR_NOMEM, "cannot ask Kafka: no memory") : ERR_OK;
    if (err == ERR_OK) {
        err = set(conf, "bootstrap.servers", brokers != NULL ? brokers : "", e);
    }
    if (err == ERR_OK) {
        err = conf_visit_passed(c, set, conf, e);
    }
    if (err == ERR_OK && a != NULL) {
        rd_kafka_conf_set_opaque(conf, a);
        rd_kafka_conf_set_error_cb(conf, on_error);
        rd_kafka_conf_set_log_cb(conf, on_log);
        bus_refusal_watch(conf);
        a->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
        if (a->rk != NULL) {
            *out = a;
            return ERR_OK;
        }
        err = err_set(e, ERR_INVALID, "cannot set up the Kafka client: %s; check kafka.*", text);
    }
    rd_kafka_conf_destroy(conf);
    free(a);
    return err;
}

void bus_admin_close(struct bus_admin *a)
{
    if (a != NULL) {
        bus_kafka_end(a->rk); /* waits for a broker that hangs: in the background */
        (void)bus_kafka_ended(CLOSE_MS);
        free(a);
    }
}

static enum err away(struct errmsg *e, rd_kafka_resp_err_t why)
{
    return err_set(e, ERR_UNAVAILABLE,
                   "no Kafka broker answered: %s; check `brokers`, the network and, where the "
                   "cluster asks for it, kafka.security.*",
                   rd_kafka_err2str(why));
}

static int64_t number_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return end == text || *end != '\0' || errno != 0 ? INT64_MIN : v;
}

static void take_setting(struct bus_topic_facts *f, const char *name, const char *value)
{
    if (strcmp(name, "cleanup.policy") == 0) {
        snprintf(f->cleanup, sizeof f->cleanup, "%s", value);
    } else if (strcmp(name, "retention.ms") == 0) {
        f->retention_ms = number_of(value);
    } else if (strcmp(name, "retention.bytes") == 0) {
        f->retention_bytes = number_of(value);
    } else if (strcmp(name, "min.insync.replicas") == 0) {
        f->in_sync_min = number_of(value);
    } else if (strcmp(name, "max.message.bytes") == 0 && number_of(value) > 0) {
        f->bytes_max = number_of(value);
    }
}

/* Waits for the answer to an admin question; NULL on a timeout. */
static rd_kafka_event_t *answer(rd_kafka_queue_t *queue, rd_kafka_event_type_t type, int timeout_ms)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, timeout_ms);
    while (ev != NULL && rd_kafka_event_type(ev) != type) {
        rd_kafka_event_destroy(ev);
        ev = rd_kafka_queue_poll(queue, timeout_ms);
    }
    return ev;
}

/* Fills what DescribeConfigs tells; a cluster that declines leaves the defaults.  Any broker knows;
 * without a choice the library waits for the controller, which a cluster may not name. */
static void ask_settings(rd_kafka_t *rk, int32_t broker, const char *const *names, size_t n,
                         struct bus_topic_facts *out, int timeout_ms)
{
    rd_kafka_ConfigResource_t *asked[FACTS_MAX];
    char text[128];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (out[i].exists) {
            asked[count++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, names[i]);
        }
    }
    if (count > 0 && rd_kafka_AdminOptions_set_broker(options, broker, text, sizeof text) == 0 &&
        rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text) == 0) {
        rd_kafka_DescribeConfigs(rk, asked, count, options, queue);
        rd_kafka_event_t *ev =
            answer(queue, RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT, timeout_ms + 500);
        size_t got = 0;
        const rd_kafka_ConfigResource_t **r =
            ev == NULL || rd_kafka_event_error(ev) != 0
                ? NULL
                : rd_kafka_DescribeConfigs_result_resources(
                      rd_kafka_event_DescribeConfigs_result(ev), &got);
        for (size_t i = 0; r != NULL && i < got; i++) {
            for (size_t k = 0; k < n; k++) {
                size_t entries = 0;
                const rd_kafka_ConfigEntry_t **entry =
                    rd_kafka_ConfigResource_configs(r[i], &entries);
                bool same = strcmp(rd_kafka_ConfigResource_name(r[i]), names[k]) == 0;
                for (size_t j = 0; same && j < entries; j++) {
                    const char *value = rd_kafka_ConfigEntry_value(entry[j]);
                    if (value != NULL) {
                        take_setting(&out[k], rd_kafka_ConfigEntry_name(entry[j]), value);
                    }
                }
            }
        }
        if (ev != NULL) {
            rd_kafka_event_destroy(ev);
        }
    }
    rd_kafka_ConfigResource_destroy_array(asked, count);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
}

enum err bus_admin_facts_of(struct rd_kafka_s *rk, const char *const *names, size_t n,
                            struct bus_topic_facts *out, int timeout_ms, struct errmsg *e)
{
    if (n > FACTS_MAX) {
        return err_set(e, ERR_INVALID, "%zu topics asked at once; at most %d", n, FACTS_MAX);
    }
    const struct rd_kafka_metadata *meta = NULL;
    rd_kafka_resp_err_t why = rd_kafka_metadata(rk, 1, NULL, &meta, timeout_ms);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return away(e, why);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct bus_topic_facts){.retention_ms = INT64_MIN,
                                          .retention_bytes = INT64_MIN,
                                          .bytes_max = BUS_MESSAGE_BYTES};
        for (int k = 0; k < meta->topic_cnt; k++) {
            const struct rd_kafka_metadata_topic *t = &meta->topics[k];
            if (strcmp(t->topic, names[i]) == 0 && t->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                out[i].exists = true;
                out[i].partitions = t->partition_cnt;
                out[i].replicas = t->partition_cnt > 0 ? t->partitions[0].replica_cnt : 0;
            }
        }
    }
    int32_t broker = meta->orig_broker_id;
    if (broker < 0 && meta->broker_cnt > 0) {
        broker = meta->brokers[0].id; /* the one that answered was not known by its id yet */
    }
    rd_kafka_metadata_destroy(meta);
    ask_settings(rk, broker, names, n, out, timeout_ms);
    return ERR_OK;
}

enum err bus_admin_facts(struct bus_admin *a, const char *const *names, size_t n,
                         struct bus_topic_facts *out, int timeout_ms, struct errmsg *e)
{
    enum err err = ERR_OK;
    int64_t until_us = progress_now_us() + (int64_t)timeout_ms * 1000;
    do { /* in pieces, between which refusals are told */
        err = bus_admin_facts_of(a->rk, names, n, out,
                                 timeout_ms < PIECE_MS ? timeout_ms : PIECE_MS, e);
        rd_kafka_poll(a->rk, 0);
    } while (err == ERR_UNAVAILABLE && a->refusal.text[0] == '\0' && progress_now_us() < until_us);
    return err == ERR_UNAVAILABLE && a->refusal.text[0] != '\0'
               ? err_set(e, ERR_REFUSED, "%s", a->refusal.text)
               : err;
}

static enum err created(rd_kafka_event_t *ev, const char *name, struct errmsg *e)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **r =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    if (rd_kafka_event_error(ev) != 0 || n != 1) {
        return away(e, rd_kafka_event_error(ev));
    }
    rd_kafka_resp_err_t why = rd_kafka_topic_result_error(r[0]);
    if (why != RD_KAFKA_RESP_ERR_NO_ERROR && why != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        const char *text = rd_kafka_topic_result_error_string(r[0]);
        return err_set(e, ERR_INVALID, "cannot make topic \"%s\": %s", name,
                       text != NULL ? text : rd_kafka_err2str(why));
    }
    return ERR_OK;
}

/* Whether every partition of a topic has a leader that serves it. */
static bool is_served(rd_kafka_t *rk, rd_kafka_topic_t *topic, const char *name, int timeout_ms)
{
    const struct rd_kafka_metadata *meta = NULL;
    if (rd_kafka_metadata(rk, 0, topic, &meta, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    bool served = meta->topic_cnt == 1 && meta->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
                  meta->topics[0].partition_cnt > 0;
    for (int p = 0; served && p < meta->topics[0].partition_cnt; p++) {
        int64_t low = 0;
        int64_t high = 0;
        served = meta->topics[0].partitions[p].leader >= 0 &&
                 rd_kafka_query_watermark_offsets(rk, name, p, &low, &high, timeout_ms) ==
                     RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_metadata_destroy(meta);
    return served;
}

/* Waits until a new topic can be used: a cluster says "created" before its brokers serve it. */
static enum err await_topic(rd_kafka_t *rk, const char *name, int timeout_ms, struct errmsg *e)
{
    int64_t until_us = progress_now_us() + (int64_t)timeout_ms * 1000;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    bool served = false;
    while (topic != NULL && !served && progress_now_us() < until_us) {
        served = is_served(rk, topic, name, timeout_ms);
        if (!served) {
            rd_kafka_poll(rk, 20);
        }
    }
    if (topic != NULL) {
        rd_kafka_topic_destroy(topic);
    }
    return served ? ERR_OK
                  : err_set(e, ERR_UNAVAILABLE,
                            "topic \"%s\" was made, but its partitions are not served after %d ms",
                            name, timeout_ms);
}

enum err bus_admin_create(struct bus_admin *a, const char *name, int32_t partitions, int replicas,
                          const char *const *settings, int timeout_ms, struct errmsg *e)
{
    char text[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, partitions, replicas, text, sizeof text);
    if (topic == NULL) {
        return err_set(e, ERR_INVALID, "cannot make topic \"%s\": %s", name, text);
    }
    for (const char *const *s = settings; s != NULL && *s != NULL; s += 2) {
        if (rd_kafka_NewTopic_set_config(topic, s[0], s[1]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_NewTopic_destroy(topic);
            return err_set(e, ERR_INVALID, "topic \"%s\" cannot have %s=%s", name, s[0], s[1]);
        }
    }
    enum err err = ERR_OK;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(a->rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(a->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_event_t *ev = NULL;
    if (rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text) != 0 ||
        rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, text, sizeof text) != 0) {
        err = err_set(e, ERR_INVALID, "cannot make topic \"%s\": %s", name, text);
        goto out;
    }
    rd_kafka_CreateTopics(a->rk, &topic, 1, options, queue);
    ev = answer(queue, RD_KAFKA_EVENT_CREATETOPICS_RESULT, timeout_ms + 500);
    err = ev == NULL ? away(e, RD_KAFKA_RESP_ERR__TIMED_OUT) : created(ev, name, e);
    if (err == ERR_OK) {
        err = await_topic(a->rk, name, timeout_ms, e);
    }
out:
    if (ev != NULL) {
        rd_kafka_event_destroy(ev);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(topic);
    return err;
}
