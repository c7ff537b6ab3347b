/* Rows a second from messages to PostgreSQL: transactions and their decisions from memory through
 * the sink (decoding, COPY, INSERT, positions) into a throwaway PostgreSQL (fsync off). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/sink.h"
#include "tests/support/database.h"

#define PAYMENTS 200000
#define PARTITIONS 8
#define POLL_MAX 4096 /* what one poll of Kafka hands out */
#define MESSAGE_MAX 360

struct message {
    char card[16];
    char value[MESSAGE_MAX];
    size_t len;
};

static struct message *messages; /* [2 * PAYMENTS]: a transaction, its decision, .. */
static size_t next;

static void make(size_t i)
{
    char when[TIME_TEXT_MAX];
    struct message *t = &messages[2 * i];
    struct message *d = t + 1;
    time_format(when, INT64_C(1775000000000000) + (int64_t)i * 13 * TIME_S);
    snprintf(t->card, sizeof t->card, "c%07zu", i * 7919 % 50000);
    t->len = (size_t)snprintf(
        t->value, MESSAGE_MAX,
        "{\"id\":\"t%09zu\",\"ts\":\"%s\",\"card\":\"%s\",\"type\":\"purchase\",\"amount\":%zu,"
        "\"currency\":\"EUR\",\"merchant\":\"m%06zu\",\"terminal\":\"t%06zu\",\"mcc\":\"5411\","
        "\"country\":\"DE\",\"channel\":\"pos\",\"entry\":\"contactless\",\"lat\":52.5201,"
        "\"lon\":13.4049}",
        i, when, t->card, i % 20000, i % 3000, i % 9000);
    memcpy(d->card, t->card, sizeof d->card);
    d->len = (size_t)snprintf(
        d->value, MESSAGE_MAX,
        "{\"id\":\"log/%zu/%zu\",\"tx\":\"t%09zu\",\"ts\":\"%s\",\"score\":0.00123456789,"
        "\"threshold\":0.412,\"outcome\":\"approve\",\"model\":\"20260401-8f3a12cd\",\"schema\":"
        "\"00ab12cd34ef5678\",\"revision\":1,\"amount_ratio\":1.5}",
        i % PARTITIONS, i / PARTITIONS, i, when);
}

static size_t poll_messages(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    size_t n = 0;
    (void)self;
    (void)timeout_ms;
    for (; n < max && n < POLL_MAX && next < (size_t)2 * PAYMENTS; n++, next++) {
        const struct message *m = &messages[next];
        out[n] = (struct bus_message){.topic = next % 2 == 0 ? TOPIC_TRANSACTIONS : TOPIC_DECISIONS,
                                      .partition = (int32_t)(next / 2 % PARTITIONS),
                                      .offset = (int64_t)(next / 2 / PARTITIONS),
                                      .timestamp_us = INT64_C(1800000000000000),
                                      .key = m->card,
                                      .key_len = strlen(m->card),
                                      .value = m->value,
                                      .value_len = m->len};
    }
    return n;
}

static void release(void *self)
{
    (void)self;
}

static uint64_t wait_none(void *self, int timeout_ms)
{
    (void)self;
    (void)timeout_ms;
    return UINT64_MAX;
}

static void counters(void *self, struct bus_counters *out)
{
    (void)self;
    memset(out, 0, sizeof *out);
}

/* CPU seconds of a process so far; 0 where the system does not say. */
static double cpu_seconds(long pid)
{
    char path[40];
    char line[512] = "";
    long long user = 0;
    long long system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }
    const char *after = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    fclose(f);
    if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld",
                                &user, &system) != 2) {
        return 0;
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

int main(void)
{
    static const char *const NAMES[TOPIC_COUNT] = {"transactions", "labels", "notices",
                                                   "decisions",    "alerts", "dead-letters"};
    const struct bus bus = {
        .poll = poll_messages, .release = release, .wait = wait_none, .counters = counters};
    struct sink_conf sc = {.log = {"log", 3}, .max_future_us = TIME_MIN, .batch_max = 5000};
    struct sink_stats stats;
    struct database d;
    struct rates *rates = NULL;
    struct sink *sink = NULL;
    struct errmsg e = {""};
    messages = calloc((size_t)2 * PAYMENTS, sizeof *messages);
    if (messages == NULL) {
        return 1;
    }
    for (size_t i = 0; i < PAYMENTS; i++) {
        make(i);
    }
    memcpy(sc.topic_name, NAMES, sizeof NAMES);
    database_start(&d);
    database_must(rates_create_default(&rates, &e), &e);
    sc.rates = rates;
    sc.conninfo = d.server.conninfo;
    database_must(sink_create(&sc, &sink, &e), &e);
    sink_attach(sink, bus);
    long server = database_count(d.db, "SELECT pid FROM pg_stat_activity WHERE backend_type = "
                                       "'client backend' AND pid <> pg_backend_pid()");
    double own_cpu = cpu_seconds((long)getpid());
    double server_cpu = cpu_seconds(server);
    int64_t begin = progress_now_us();
    while (sink_turn(sink) > 0) {
    }
    double seconds = (double)(progress_now_us() - begin) / 1e6;
    own_cpu = cpu_seconds((long)getpid()) - own_cpu;
    server_cpu = cpu_seconds(server) - server_cpu;
    const struct latency *write = sink_write_times(sink);
    sink_stats(sink, &stats);
    printf(
        "sink: %d transactions and as many decisions in %.1f s: %.0f payments/s; SQL "
        "transactions p50 %.0f ms, p99 %.0f ms; CPU a payment: sink %.1f us, PostgreSQL %.1f us; "
        "%llu refused\n",
        PAYMENTS, seconds, PAYMENTS / seconds, (double)latency_quantile(write, .5) / 1e6,
        (double)latency_quantile(write, .99) / 1e6, own_cpu * 1e6 / PAYMENTS,
        server_cpu * 1e6 / PAYMENTS, (unsigned long long)stats.rejected);
    bool all = stats.rows == (uint64_t)2 * PAYMENTS;
    sink_free(sink);
    rates_free(rates);
    database_stop(&d);
    free(messages);
    return all ? 0 : 1;
}
