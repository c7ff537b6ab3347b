/* What an outage cost, from the logs alone, for tests/bench/outages.sh:
 *
 *   decided_once BROKERS LOG PARTITIONS TRANSACTIONS-TOPIC DECISIONS-TOPIC ALERTS-TOPIC SINCE
 *
 * Prints name=value pairs: how many transactions, decisions and alerts there are, how many were
 * sent again and how many of those with other bytes; and, in seconds after SINCE (Unix time in ms):
 * again: the first decision of a transaction that had none before; all_again: until every partition
 * has one; caught_up: the last decision that came more than LATE_MS after its
 * transaction was due.  -1: none.  Exits with 1 where a transaction has no decision, or one that
 * was sent twice was not the same bytes.  The decisions topic must have
 * message.timestamp.type=LogAppendTime. */
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
#include "tests/support/decision_copies.h"

#define LATE_MS 1000

struct times {
    int64_t *due[COPIES_PARTITIONS]; /* ms, by offset; -1: decided */
    int64_t end[COPIES_PARTITIONS];
    int64_t since, caught_up; /* ms */
    int64_t again[COPIES_PARTITIONS];
};

static void on_transaction(void *ctx, const struct rd_kafka_message_s *m)
{
    struct times *t = ctx;
    rd_kafka_timestamp_type_t type;
    if (m->offset < t->end[m->partition]) {
        t->due[m->partition][m->offset] = rd_kafka_message_timestamp(m, &type);
    }
}

static void on_decision(void *ctx, const struct rd_kafka_message_s *m)
{
    struct times *t = ctx;
    char text[128];
    rd_kafka_timestamp_type_t type;
    const int64_t at = rd_kafka_message_timestamp(m, &type);
    snprintf(text, sizeof text, "%.*s", (int)(m->len < 120 ? m->len : 120), (char *)m->payload);
    const char *slash = strrchr(strtok(text + 7, "\""), '/');
    const int64_t offset = slash != NULL ? strtoll(slash + 1, NULL, 10) : -1;
    if (offset < 0 || offset >= t->end[m->partition] || t->due[m->partition][offset] < 0) {
        return; /* counted by decision_copies_read */
    }
    if (at >= t->since) {
        int64_t *again = &t->again[m->partition];
        *again = *again < 0 || at < *again ? at : *again;
        if (at - t->due[m->partition][offset] > LATE_MS) {
            t->caught_up = at > t->caught_up ? at : t->caught_up;
        }
    }
    t->due[m->partition][offset] = -1;
}

static double after(const struct times *t, int64_t at)
{
    return at < 0 ? -1 : (double)(at - t->since) / 1e3;
}

static void print_times(const struct cluster *c, char **argv, int partitions)
{
    struct times t = {.since = strtoll(argv[7], NULL, 10), .caught_up = -1};
    int64_t first = INT64_MAX;
    int64_t last = -1;
    for (int p = 0; p < partitions; p++) {
        t.again[p] = -1;
        t.end[p] = cluster_end(c, argv[4], p);
        t.due[p] = calloc((size_t)t.end[p] + 1, sizeof *t.due[p]);
        assert_non_null(t.due[p]);
    }
    cluster_read(c, argv[4], on_transaction, &t);
    cluster_read(c, argv[5], on_decision, &t);
    for (int p = 0; p < partitions; p++) {
        first = t.again[p] >= 0 && t.again[p] < first ? t.again[p] : first;
        last = t.again[p] > last ? t.again[p] : last;
        free(t.due[p]);
    }
    printf(" again=%.1f all_again=%.1f caught_up=%.1f\n", after(&t, last < 0 ? -1 : first),
           after(&t, last), after(&t, t.caught_up));
}

int main(int argc, char **argv)
{
    struct cluster c = {.own = false};
    struct decision_copies decisions;
    struct decision_copies alerts;
    if (argc != 8) {
        fputs("usage: decided_once BROKERS LOG PARTITIONS TRANSACTIONS DECISIONS ALERTS SINCE\n",
              stderr);
        return 64;
    }
    const int partitions = (int)strtol(argv[3], NULL, 10);
    snprintf(c.brokers, sizeof c.brokers, "%s", argv[1]);
    const int64_t sent = cluster_size(&c, argv[4], partitions);
    decision_copies_read(&decisions, &c, argv[2], argv[4], partitions, argv[5]);
    decision_copies_read(&alerts, &c, argv[2], argv[4], partitions, argv[6]);
    printf("transactions=%" PRId64 " decided=%" PRIu64 " repeats=%" PRIu64 " differing=%" PRIu64
           " alerts=%" PRIu64 " alert_repeats=%" PRIu64 " alerts_differing=%" PRIu64,
           sent, decisions.ids, decisions.repeats, decisions.differing, alerts.ids, alerts.repeats,
           alerts.differing);
    print_times(&c, argv, partitions);
    const bool good = (int64_t)decisions.ids == sent && decisions.differing == 0 &&
                      decisions.strangers == 0 && alerts.differing == 0 && alerts.strangers == 0;
    decision_copies_done(&decisions);
    decision_copies_done(&alerts);
    return good ? 0 : 1;
}
