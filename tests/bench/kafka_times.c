/* Latency and throughput of a run, from the timestamps in Kafka:
 *
 *   kafka_times BROKERS TRANSACTIONS-TOPIC DECISIONS-TOPIC [SKIP-SECONDS [FILE]]
 *
 * Latency is the time of a decision minus the time of its transaction (Kafka's own, in whole
 * milliseconds), over all decisions (first copies) of transactions that came SKIP-SECONDS or later
 * after the first one.  With message.timestamp.type=LogAppendTime at the decisions topic the broker
 * stamps a decision when it is in the log; `fraudd produce --rate` stamps a transaction with the
 * time at which it was due.  FILE gets a line for each: seconds since the first transaction,
 * partition, latency in ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <inttypes.h>
#include <librdkafka/rdkafka.h>

#include "tests/support/cluster.h"

#define PARTITIONS_MAX 64

struct times {
    int64_t *sent[PARTITIONS_MAX]; /* ms, by offset */
    int64_t end[PARTITIONS_MAX];
    int64_t first_sent, last_sent;
    int64_t first, last; /* decisions */
    int64_t skip_ms;
    int64_t *latency; /* ms */
    size_t n, decisions, repeats;
    bool by_broker;
    FILE *lines; /* NULL: none */
};

static void on_transaction(void *ctx, const struct rd_kafka_message_s *m)
{
    struct times *t = ctx;
    rd_kafka_timestamp_type_t type;
    if (m->partition >= PARTITIONS_MAX) {
        fail_msg("at most %d partitions", PARTITIONS_MAX);
    }
    if (m->offset >= t->end[m->partition]) {
        int64_t room = 2 * t->end[m->partition] + 65536;
        int64_t *grown = realloc(t->sent[m->partition], (size_t)room * sizeof *grown);
        assert_non_null(grown);
        t->sent[m->partition] = grown;
        t->end[m->partition] = room;
    }
    int64_t at = rd_kafka_message_timestamp(m, &type);
    t->sent[m->partition][m->offset] = at;
    t->first_sent = t->first_sent == 0 || at < t->first_sent ? at : t->first_sent;
    t->last_sent = at > t->last_sent ? at : t->last_sent;
}

static void on_decision(void *ctx, const struct rd_kafka_message_s *m)
{
    struct times *t = ctx;
    char id[128];
    rd_kafka_timestamp_type_t type;
    int64_t at = rd_kafka_message_timestamp(m, &type);
    t->by_broker = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    snprintf(id, sizeof id, "%.*s", (int)(m->len < 120 ? m->len : 120), (const char *)m->payload);
    char *quote = strchr(id + 7, '"');
    assert_non_null(quote);
    *quote = '\0';
    int64_t offset = strtoll(strrchr(id, '/') + 1, NULL, 10);
    assert_true(offset < t->end[m->partition]);
    int64_t *sent = &t->sent[m->partition][offset];
    if (*sent < 0) {
        t->repeats++;
        return;
    }
    if (*sent - t->first_sent >= t->skip_ms) {
        t->latency[t->n++] = at - *sent;
        if (t->lines != NULL) {
            fprintf(t->lines, "%.3f %d %" PRId64 "\n", (double)(*sent - t->first_sent) / 1e3,
                    (int)m->partition, at - *sent);
        }
    }
    *sent = -1;
    t->first = t->first == 0 || at < t->first ? at : t->first;
    t->last = at > t->last ? at : t->last;
    t->decisions++;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int argc, char **argv)
{
    struct cluster c = {.own = false};
    struct times t = {.skip_ms = argc > 4 ? strtoll(argv[4], NULL, 10) * 1000 : 0};
    if (argc < 4) {
        fputs("usage: kafka_times BROKERS TRANSACTIONS DECISIONS [SKIP-SECONDS [FILE]]\n", stderr);
        return 64;
    }
    snprintf(c.brokers, sizeof c.brokers, "%s", argv[1]);
    size_t n = cluster_read(&c, argv[2], on_transaction, &t);
    t.latency = calloc(n + 1, sizeof *t.latency);
    assert_non_null(t.latency);
    if (argc > 5 && (t.lines = fopen(argv[5], "w")) == NULL) {
        fprintf(stderr, "kafka_times: cannot write %s\n", argv[5]);
        return 74;
    }
    cluster_read(&c, argv[3], on_decision, &t);
    if (t.lines != NULL && fclose(t.lines) != 0) {
        fprintf(stderr, "kafka_times: cannot write %s\n", argv[5]);
        return 74;
    }
    qsort(t.latency, t.n, sizeof *t.latency, by_value);
    printf("%zu transactions in %.1f s, %zu decided (%zu repeats) in %.1f s: %.0f tx/s\n", n,
           (double)(t.last_sent - t.first_sent) / 1e3, t.decisions, t.repeats,
           (double)(t.last - t.first) / 1e3,
           (double)t.decisions * 1e3 / (double)(t.last > t.first ? t.last - t.first : 1));
    if (t.n > 0) {
        printf("latency of %zu, to the decision's %s: p50 %" PRId64 ", p90 %" PRId64
               ", p99 %" PRId64 ", p99.9 %" PRId64 ", max %" PRId64 " ms\n",
               t.n, t.by_broker ? "append by the broker" : "creation", t.latency[t.n / 2],
               t.latency[t.n * 9 / 10], t.latency[t.n * 99 / 100], t.latency[t.n * 999 / 1000],
               t.latency[t.n - 1]);
    }
    for (int p = 0; p < PARTITIONS_MAX; p++) {
        free(t.sent[p]);
    }
    free(t.latency);
    return 0;
}
