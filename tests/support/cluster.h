/* A real Kafka for tests in C: the broker that TEST_BROKERS names (tests/run.sh starts one a lane,
 * shared by its tests), or one of our own through tests/kafka/kafka.sh.  Programs run from the
 * repository's root.  Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_CLUSTER_H
#define FD_TESTS_SUPPORT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"

struct rd_kafka_message_s;

struct cluster {
    char home[128]; /* the broker's folder; its file `pid` holds the process id */
    char brokers[64];
    bool own;
};

void cluster_start(struct cluster *c);
void cluster_stop(struct cluster *c); /* ends and removes one of our own */

/* The broker's process: a signal; ended (SIGTERM, or SIGKILL) and waited for; started again. */
void cluster_signal(const struct cluster *c, int number);
void cluster_down(const struct cluster *c, bool kill_it);
void cluster_up(const struct cluster *c);

/* A name nobody else uses: "test-<process>-<name>".  Static memory of the call's `out`. */
const char *cluster_name(char out[96], const char *name);
/* settings: {name, value, .., NULL} or NULL. */
void cluster_topic(const struct cluster *c, const char *name, int partitions,
                   const char *const *settings);
/* A conf of the daemons' settings with the brokers and these "name", "value", .., NULL. */
struct conf *cluster_conf(const struct cluster *c, const char *const *settings);

/* Visits every message of a topic, each partition from its first to what is its last now.  Returns
 * the number. */
size_t cluster_read(const struct cluster *c, const char *topic,
                    void (*visit)(void *ctx, const struct rd_kafka_message_s *m), void *ctx);
/* Next offset of one partition, and of all together. */
int64_t cluster_end(const struct cluster *c, const char *topic, int32_t partition);
int64_t cluster_size(const struct cluster *c, const char *topic, int partitions);

/* Next offset that a group has committed; -1: none. */
int64_t cluster_committed(const struct cluster *c, const char *group, const char *topic,
                          int32_t partition);

/* Produces one message and waits for its acknowledgement; partition -1: by the key. */
void cluster_send(const struct cluster *c, const char *topic, int32_t partition, const char *key,
                  const void *value, size_t len);

/* A port of 127.0.0.1 that, with the one after it, nobody uses now; below those that the system
 * hands out. */
int cluster_free_port(void);

#endif
