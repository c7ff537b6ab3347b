#include "tests/support/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <librdkafka/rdkafka.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/bus_admin.h"
#include "daemon/settings.h"

#define SCRIPT "tests/kafka/kafka.sh"
#define WAIT_MS 20000
#define TRIES 4
#define MESSAGE_MAX "20000000"

static const struct conf_option *const TABLES[] = {SETTINGS, NULL};

/* Runs kafka.sh with up to two arguments and this broker's folder. */
static int script(const struct cluster *c, const char *verb, const char *argument)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        setenv("KAFKA_HOME", c->home, 1);
        execl("/bin/sh", "sh", SCRIPT, verb, argument, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        return -1;
    }
    return WEXITSTATUS(status);
}

static bool is_free(int port)
{
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return bound;
}

int cluster_free_port(void)
{
    int port = 20000 + (int)(getpid() * 7 % 10000);
    while (!is_free(port) || !is_free(port + 1)) {
        port += 2;
    }
    return port;
}

void cluster_start(struct cluster *c)
{
    const char *brokers = getenv("TEST_BROKERS");
    const char *home = getenv("TEST_KAFKA_HOME");
    char port[16];
    memset(c, 0, sizeof *c);
    if (brokers != NULL && home != NULL) {
        snprintf(c->brokers, sizeof c->brokers, "%s", brokers);
        snprintf(c->home, sizeof c->home, "%s", home);
        return;
    }
    snprintf(c->home, sizeof c->home, "/tmp/fraudd-kafka-XXXXXX");
    assert_non_null(mkdtemp(c->home));
    c->own = true;
    snprintf(port, sizeof port, "%d", cluster_free_port());
    snprintf(c->brokers, sizeof c->brokers, "127.0.0.1:%s", port);
    if (script(c, "fetch", NULL) != 0 || script(c, "start", port) != 0) {
        fail_msg("cannot start a Kafka broker; its output is in %s", c->home);
    }
}

void cluster_stop(struct cluster *c)
{
    if (!c->own) {
        return;
    }
    (void)script(c, "stop", NULL);
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", c->home, (char *)NULL);
        _exit(127);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
    c->own = false;
}

static pid_t broker_pid(const struct cluster *c)
{
    char path[160];
    char text[32] = "";
    snprintf(path, sizeof path, "%s/pid", c->home);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    long pid = strtol(text, NULL, 10);
    assert_true(pid > 1);
    return (pid_t)pid;
}

void cluster_signal(const struct cluster *c, int number)
{
    assert_int_equal(kill(broker_pid(c), number), 0);
}

void cluster_down(const struct cluster *c, bool kill_it)
{
    if (kill_it) {
        cluster_signal(c, SIGKILL);
    }
    assert_int_equal(script(c, "stop", NULL), 0);
}

void cluster_up(const struct cluster *c)
{
    assert_int_equal(script(c, "start", strchr(c->brokers, ':') + 1), 0);
}

const char *cluster_name(char out[96], const char *name)
{
    snprintf(out, 96, "test-%ld-%s", (long)getpid(), name);
    return out;
}

struct conf *cluster_conf(const struct cluster *c, const char *const *settings)
{
    struct conf *conf = NULL;
    struct errmsg e;
    assert_int_equal(conf_create(TABLES, "kafka.", &conf, &e), ERR_OK);
    assert_int_equal(conf_set(conf, "brokers", c->brokers, &e), ERR_OK);
    for (const char *const *s = settings; s != NULL && *s != NULL; s += 2) {
        if (conf_set(conf, s[0], s[1], &e) != ERR_OK) {
            fail_msg("%s", e.text);
        }
    }
    return conf;
}

void cluster_topic(const struct cluster *c, const char *name, int partitions,
                   const char *const *settings)
{
    struct errmsg e;
    struct bus_admin *a = NULL;
    struct conf *conf = cluster_conf(c, NULL);
    assert_int_equal(bus_admin_open(conf, &a, &e), ERR_OK);
    if (bus_admin_create(a, name, partitions, 1, settings, WAIT_MS, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    bus_admin_close(a);
    conf_free(conf);
}

static rd_kafka_t *open_client(const struct cluster *c, rd_kafka_type_t type,
                               void (*on_delivery)(rd_kafka_t *rk, const rd_kafka_message_t *m,
                                                   void *opaque))
{
    bool reads = type == RD_KAFKA_CONSUMER;
    const char *const settings[] = {"bootstrap.servers",
                                    c->brokers,
                                    "message.max.bytes",
                                    MESSAGE_MAX,
                                    "log_level",
                                    "2",
                                    reads ? "enable.partition.eof" : "partitioner",
                                    reads ? "true" : "murmur2_random"};
    char text[256] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i += 2) {
        assert_int_equal(rd_kafka_conf_set(conf, settings[i], settings[i + 1], text, sizeof text),
                         RD_KAFKA_CONF_OK);
    }
    if (on_delivery != NULL) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk == NULL) {
        fail_msg("%s", text);
    }
    return rk;
}

int64_t cluster_end(const struct cluster *c, const char *topic, int32_t partition)
{
    int64_t low = 0;
    int64_t high = 0;
    rd_kafka_t *rk = open_client(c, RD_KAFKA_CONSUMER, NULL);
    rd_kafka_resp_err_t why = RD_KAFKA_RESP_ERR__TIMED_OUT;
    /* seen once on a machine with many times more work than processors: no answer for 20 s */
    for (int i = 0; i < TRIES && why == RD_KAFKA_RESP_ERR__TIMED_OUT; i++) {
        why = rd_kafka_query_watermark_offsets(rk, topic, partition, &low, &high, WAIT_MS / TRIES);
    }
    assert_int_equal(why, RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(rk);
    return high;
}

int64_t cluster_size(const struct cluster *c, const char *topic, int partitions)
{
    int64_t sum = 0;
    for (int p = 0; p < partitions; p++) {
        sum += cluster_end(c, topic, p);
    }
    return sum;
}

int64_t cluster_committed(const struct cluster *c, const char *group, const char *topic,
                          int32_t partition)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", c->brokers, text, sizeof text),
                     RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "group.id", group, text, sizeof text),
                     RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    assert_int_equal(rd_kafka_committed(rk, list, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t next = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return next < 0 ? -1 : next;
}

/* Visits one partition from `low` up to, not including, `high`. */
static size_t read_partition(rd_kafka_topic_t *t, int32_t partition, int64_t low, int64_t high,
                             void (*visit)(void *ctx, const struct rd_kafka_message_s *m),
                             void *ctx)
{
    size_t n = 0;
    assert_int_equal(rd_kafka_consume_start(t, partition, low), 0);
    for (bool more = low < high; more;) {
        rd_kafka_message_t *m = rd_kafka_consume(t, partition, WAIT_MS);
        if (m == NULL) {
            fail_msg("partition %d gave nothing for %d ms", (int)partition, WAIT_MS);
        } else if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (visit != NULL) {
                visit(ctx, m);
            }
            n++;
            more = m->offset + 1 < high;
        } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            more = m->offset < high; /* the last offsets may be control records */
        } else {
            fail_msg("%s", rd_kafka_message_errstr(m));
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consume_stop(t, partition);
    return n;
}

size_t cluster_read(const struct cluster *c, const char *topic,
                    void (*visit)(void *ctx, const struct rd_kafka_message_s *m), void *ctx)
{
    const struct rd_kafka_metadata *meta = NULL;
    size_t n = 0;
    rd_kafka_t *rk = open_client(c, RD_KAFKA_CONSUMER, NULL);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    assert_int_equal(rd_kafka_metadata(rk, 0, t, &meta, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(meta->topic_cnt, 1);
    for (int p = 0; p < meta->topics[0].partition_cnt; p++) {
        int64_t low = 0;
        int64_t high = 0;
        assert_int_equal(rd_kafka_query_watermark_offsets(rk, topic, p, &low, &high, WAIT_MS),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
        n += read_partition(t, p, low, high, visit, ctx);
    }
    rd_kafka_metadata_destroy(meta);
    rd_kafka_topic_destroy(t);
    rd_kafka_destroy(rk);
    return n;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    rd_kafka_resp_err_t *told = m->_private;
    *told = m->err;
}

void cluster_send(const struct cluster *c, const char *topic, int32_t partition, const char *key,
                  const void *value, size_t len)
{
    rd_kafka_resp_err_t told = RD_KAFKA_RESP_ERR__STATE;
    union {
        const void *in;
        void *out;
    } cast = {.in = value};
    rd_kafka_t *rk = open_client(c, RD_KAFKA_PRODUCER, on_delivery);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    assert_int_equal(rd_kafka_produce(t, partition < 0 ? RD_KAFKA_PARTITION_UA : partition,
                                      RD_KAFKA_MSG_F_COPY, cast.out, len, key,
                                      key != NULL ? strlen(key) : 0, &told),
                     0);
    rd_kafka_flush(rk, WAIT_MS);
    assert_int_equal(told, RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_destroy(t);
    rd_kafka_destroy(rk);
}
