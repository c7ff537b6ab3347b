/* The log that `score` and `sink` read from and write to, behind a struct of functions: Kafka
 * (bus_kafka.c), or memory with faults by seed (bus_mem.c: unit tests and simulation).
 *
 * Invariants
 *  1. Messages of one partition arrive in offset order, each once for a given start; a jump back or
 * a repeat by the client library is dropped, a jump forward is sought back once and then counted.
 *  2. A record is acknowledged (acks=all) or waits for ever: no clock drops it.
 *  3. `commit` names offsets only; the caller calls it when everything emitted up to them is
 *     acknowledged.
 * One thread calls all functions of one bus. */
#ifndef FD_DAEMON_BUS_H
#define FD_DAEMON_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

enum bus_topic {
    TOPIC_TRANSACTIONS = 0,
    TOPIC_LABELS,
    TOPIC_NOTICES,
    TOPIC_DECISIONS,
    TOPIC_ALERTS,
    TOPIC_DEAD_LETTERS,
    TOPIC_JOURNAL, /* records leave at once: whoever wrote one waits to read it back */
    TOPIC_COUNT
};

#define BUS_HEADERS_MAX 8
#define BUS_POLL_MAX 16384 /* messages of one poll, whatever was asked for */

struct bus_header {
    const char *name;
    const void *value;
    size_t len;
};

/* A message read.  Pointers are valid until `release`. */
struct bus_message {
    enum bus_topic topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us; /* Kafka's own */
    const void *key;      /* NULL: none */
    size_t key_len;
    const void *value;
    size_t value_len;
    size_t header_count;
    /* filled for dead letters, notices and decisions only */
    struct bus_header headers[BUS_HEADERS_MAX];
};

/* A message to write; the bus copies it. */
struct bus_record {
    enum bus_topic topic;
    int32_t partition; /* -1: by the key, as Java's default partitioner does */
    const void *key;
    size_t key_len;
    const void *value;
    size_t value_len;
    const struct bus_header *headers;
    size_t header_count;
    int64_t timestamp_us; /* Kafka's own, to the millisecond; 0: now */
    uint64_t batch;       /* rising number of the batch it belongs to */
    bool cut;             /* a value larger than the topic takes loses its end, not refused */
};

/* What the bus tells its owner, from inside `poll`. */
struct bus_events {
    void *ctx;
    /* A partition is ours.  committed: next offset to decide, or -1 where none was committed; low
     * and high: the log's bounds now.  Returns the offset to read from. */
    int64_t (*assigned)(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                        int64_t low, int64_t high);
    /* A partition goes away.  lost: too late to commit.  Everything of it must be acknowledged and
     * committed before returning (the owner calls `wait` and `commit`). */
    void (*revoked)(void *ctx, enum bus_topic topic, int32_t partition, bool lost);
    /* Something went wrong; retried inside.  fatal: the bus is of no more use. */
    void (*trouble)(void *ctx, bool fatal, const char *text);
    /* The brokers refuse us, or cannot be trusted, and none has let us in yet: of no more use.
     * NULL: told as a fatal trouble.  Later on it is a trouble like others: what has worked is
     * waited for. */
    void (*refused)(void *ctx, const char *text);
};

struct bus_counters {
    uint64_t consumed, produced, acked, produce_errors, gaps, repeats, broker_errors, rebalances;
    int64_t lag;     /* of our partitions of the followed group topics; -1 unknown */
    uint64_t queued; /* records not yet acknowledged */
};

struct bus {
    void *self;
    /* Fills up to `max` messages (BUS_POLL_MAX at most), those of whole topics first, waits at most
     * timeout_ms for the first; 0: none. */
    size_t (*poll)(void *self, struct bus_message *out, size_t max, int timeout_ms);
    /* Whether messages of group topics wait in the bus for now; shortly, since the group's news
     * wait with them.  (Pausing gives up what is fetched already.) */
    void (*hold)(void *self, bool held);
    /* Gives the memory of the messages of the latest poll back. */
    void (*release)(void *self);
    /* Queues a record.  ERR_FULL: call `wait` and try again.  ERR_INVALID: larger than the topic
     * takes (nothing queued). */
    enum err (*send)(void *self, const struct bus_record *r, struct errmsg *e);
    /* Serves acknowledgements for at most timeout_ms (0: only what is there); returns the number of
     * the first batch with an unacknowledged record (UINT64_MAX: none). */
    uint64_t (*wait)(void *self, int timeout_ms);
    /* Commits next offsets to read.  sync: waits for the broker; else soon, many in one request,
     * and again until it succeeds or the partition goes away. */
    enum err (*commit)(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                       bool sync, struct errmsg *e);
    /* Stops and continues fetching of a partition.  Called from `assigned` it holds before the
     * partition's first message. */
    void (*pause)(void *self, enum bus_topic topic, int32_t partition, bool paused);
    /* Goes on with another offset of a partition that is ours and not paused: the next message
     * handed out is the one there, or the first after it.  Not from inside `assigned`. */
    void (*seek)(void *self, enum bus_topic topic, int32_t partition, int64_t offset);
    void (*counters)(void *self, struct bus_counters *out);
    /* First offset of a partition that is read whose Kafka timestamp is timestamp_us or later (the
     * log's end where all are earlier); -1: not known.  May be called from `assigned`. */
    int64_t (*offset_at)(void *self, enum bus_topic topic, int32_t partition, int64_t timestamp_us);
    void (*close)(void *self);
};

/* How a bus reads.  group topics are shared by the group's members and commit; whole topics are
 * read by everybody, every partition, from where `assigned` says (committed is -1 there; without
 * `assigned` from `low`). */
struct bus_plan {
    const char *client; /* name for the broker's logs */
    const char *group;  /* NULL: no group topics */
    /* Our name in the group, of nobody else at the same time; NULL or "": none.  Who comes back
     * under a name gets its partitions at once, and who ends keeps them until its session is over.
     * Borrowed while it opens. */
    const char *member;
    bool group_topic[TOPIC_COUNT];
    bool whole_topic[TOPIC_COUNT];
    const char *topic_name[TOPIC_COUNT];
    bool produces;
    bool patient; /* group topics: fewer, larger answers, up to a quarter of a second later */
};

/* Connects to conf's "brokers" with every "kafka.*" property.  Does not wait for a broker: one that
 * is away is retried for ever and told through `trouble`. ERR_INVALID a property is refused by the
 * library (named); ERR_NOTFOUND a topic does not exist, ERR_REFUSED the brokers refuse us (asked
 * where a broker answers within a second, five where connections are secured). */
FD_MUSTCHECK enum err bus_kafka_open(const struct conf *c, const struct bus_plan *plan,
                                     const struct bus_events *events, struct bus *out,
                                     struct errmsg *e);

#endif
