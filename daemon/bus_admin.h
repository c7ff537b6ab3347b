/* Questions to a Kafka cluster about its topics, and making topics: for `fraudd check`, the demo,
 * tests, and the size limits of the bus. */
#ifndef FD_DAEMON_BUS_ADMIN_H
#define FD_DAEMON_BUS_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

#define BUS_MESSAGE_BYTES 1048588 /* Kafka's own default of max.message.bytes */

struct bus_topic_facts {
    bool exists;
    int32_t partitions;
    int32_t replicas;        /* of partition 0 */
    char cleanup[32];        /* cleanup.policy; empty where the cluster would not say */
    int64_t retention_ms;    /* -1: for ever; INT64_MIN: not said */
    int64_t retention_bytes; /* of a partition; -1: no bound; INT64_MIN: not said */
    int64_t bytes_max;       /* max.message.bytes; BUS_MESSAGE_BYTES where not said */
    int64_t in_sync_min;     /* min.insync.replicas; 0: not said */
};

struct bus_admin;
struct rd_kafka_s; /* librdkafka's handle */

/* Connects with conf's "brokers" and "kafka.*".  Returns owned.  ERR_INVALID a property is refused.
 */
FD_MUSTCHECK enum err bus_admin_open(const struct conf *c, struct bus_admin **out,
                                     struct errmsg *e);
/* Takes at most a second or two, also where a broker hangs. */
void bus_admin_close(struct bus_admin *a);

/* Facts of `n` topics.  names: [n]; out: [n].  Waits at most timeout_ms.
 * ERR_UNAVAILABLE no broker answered in time; ERR_REFUSED they refuse us or cannot be trusted. */
FD_MUSTCHECK enum err bus_admin_facts(struct bus_admin *a, const char *const *names, size_t n,
                                      struct bus_topic_facts *out, int timeout_ms,
                                      struct errmsg *e);
/* The same with any handle. */
FD_MUSTCHECK enum err bus_admin_facts_of(struct rd_kafka_s *rk, const char *const *names, size_t n,
                                         struct bus_topic_facts *out, int timeout_ms,
                                         struct errmsg *e);

/* Makes a topic and waits until it can be used; one that exists is left as it is.  settings: {name,
 * value, .., NULL} or NULL.  ERR_INVALID the cluster refuses it; ERR_UNAVAILABLE no answer in time.
 */
FD_MUSTCHECK enum err bus_admin_create(struct bus_admin *a, const char *name, int32_t partitions,
                                       int replicas, const char *const *settings, int timeout_ms,
                                       struct errmsg *e);

#endif
