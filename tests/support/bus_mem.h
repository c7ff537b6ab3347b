/* The log in memory behind struct bus, with the test as broker: what is written, acknowledged,
 * assigned, taken away, refused, and when.
 *
 * Invariants of bus.h hold here, too: messages of a partition in offset order, each once for a
 * given start; a record stays until the test acknowledges it.  Whole topics begin at the first
 * poll, in order of their numbers; group partitions come and go by bus_mem_assign and
 * bus_mem_revoke, from inside the next poll.  Poll order: whole topics, then group partitions in
 * turn.  One thread; aborts without memory. */
#ifndef FD_TESTS_BUS_MEM_H
#define FD_TESTS_BUS_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"

#define BUS_MEM_PARTITIONS 8

struct bus_mem; /* the broker: outlives the buses that are opened on it */

/* A record in the log. */
struct mem_record {
    char *key; /* NULL: none; zero-terminated besides */
    size_t key_len;
    char *value; /* zero-terminated besides */
    size_t value_len;
    int64_t timestamp_us;
    size_t header_count;
    struct bus_header headers[BUS_HEADERS_MAX]; /* owned */
    uint64_t batch;
    bool acked; /* what the test appended itself counts as acknowledged */
    bool lost;  /* a gap: nobody ever reads it */
};

struct bus_mem *bus_mem_create(void);
void bus_mem_free(struct bus_mem *m);

/* Appends as another producer would; returns the offset. */
int64_t bus_mem_append(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                       const struct bus_message *message);
/* Appends what lies in another log, lost or not, as acknowledged. */
void bus_mem_append_copy(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                         const struct mem_record *r);
int64_t bus_mem_low(const struct bus_mem *m, enum bus_topic topic, int32_t partition);
/* The log's first offset is this from now on (retention). */
void bus_mem_trim(struct bus_mem *m, enum bus_topic topic, int32_t partition, int64_t low);
/* Records of a partition; NULL-terminated keys and values. */
size_t bus_mem_size(const struct bus_mem *m, enum bus_topic topic, int32_t partition);
const struct mem_record *bus_mem_record(const struct bus_mem *m, enum bus_topic topic,
                                        int32_t partition, size_t i);
/* Next offset committed by the group; -1: none.  Set by the test where it wants. */
int64_t bus_mem_committed(const struct bus_mem *m, enum bus_topic topic, int32_t partition);
void bus_mem_set_committed(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                           int64_t next);

/* The bus of one process.  A second one while the first is open stands for another process. */
struct bus bus_mem_open(struct bus_mem *m, const struct bus_plan *plan,
                        const struct bus_events *events);
/* The process died: nothing is told to it any more, what it sent stays in the log. */
void bus_mem_kill(struct bus *bus);

/* What happens inside the bus's next poll. */
void bus_mem_assign(const struct bus *bus, enum bus_topic topic, int32_t partition);
void bus_mem_revoke(const struct bus *bus, enum bus_topic topic, int32_t partition, bool lost);
void bus_mem_trouble(const struct bus *bus, bool fatal, const char *text);

/* Acknowledgements: at once (the beginning), or held until bus_mem_ack lets the n oldest go. */
void bus_mem_hold_acks(const struct bus *bus, bool hold);
/* Records of the journal are in the log at once, in spite of that and of bus_mem_room; true: they
 * are treated like others. */
void bus_mem_hold_journal(const struct bus *bus, bool hold);
void bus_mem_ack(const struct bus *bus, size_t n);
/* Each wait with a timeout lets the n oldest go. */
void bus_mem_ack_on_wait(const struct bus *bus, size_t n);
/* All of one topic at once: brokers acknowledge partitions in any order. */
void bus_mem_ack_topic(const struct bus *bus, enum bus_topic topic);
/* The next n sends find the queue full; every send of a topic fails with this error. */
void bus_mem_full(const struct bus *bus, size_t n);
/* The queue takes n more records, then none; SIZE_MAX: without end. */
void bus_mem_room(const struct bus *bus, size_t n);
void bus_mem_refuse(const struct bus *bus, enum bus_topic topic, enum err err);
/* Commits fail until told otherwise. */
void bus_mem_fail_commits(const struct bus *bus, bool fail);
/* Whole topics are not read while held. */
void bus_mem_hold_topic(const struct bus *bus, enum bus_topic topic, bool hold);
/* ---- faults for simulations ---- */

struct rng;

/* Told of what happens to the log: each record when it is acknowledged, each commit before it takes
 * effect.  NULL: not told. */
struct bus_mem_watch {
    void *ctx;
    void (*acked)(void *ctx, enum bus_topic topic, const struct mem_record *r);
    void (*committed)(void *ctx, enum bus_topic topic, int32_t partition, int64_t next);
};
void bus_mem_watch(struct bus_mem *m, const struct bus_mem_watch *watch);

/* What a bus promises; broken for all processes, to see that it matters. */
enum bus_mem_promise {
    PROMISE_READ_ACKED, /* readers see what is acknowledged only */
    PROMISE_ACKS,       /* `wait` tells of records that are not acknowledged */
    PROMISE_QUEUE,      /* a queue that is full refuses, it drops nothing */
    PROMISE_SEEK        /* reading goes on where it was asked to */
};
void bus_mem_break(struct bus_mem *m, enum bus_mem_promise promise);

/* The brokers' time, of records that come without one; 0 at the beginning. */
void bus_mem_now(struct bus_mem *m, int64_t now_us);

/* Whether the process knows the partition as its own. */
bool bus_mem_owned(const struct bus *bus, enum bus_topic topic, int32_t partition);
/* Whether it was to read what the log had no more, and was told so as of a fatal trouble. */
bool bus_mem_fell(const struct bus *bus);
/* The group has given the partition to others; the process does not know yet.  Its commits have no
 * effect. */
void bus_mem_fence(const struct bus *bus, enum bus_topic topic, int32_t partition);
/* From each partition a poll hands out nothing, a few or all messages, by chance.  NULL: all. */
void bus_mem_thin(const struct bus *bus, struct rng *r);
/* After so many further calls of the bus's functions, fn is called from inside one, once. */
void bus_mem_at_call(const struct bus *bus, size_t calls, void (*fn)(void *ctx), void *ctx);
/* The process is as good as dead: what it does has no effect, it reads nothing. */
void bus_mem_stun(const struct bus *bus);
/* As bus_mem_kill, but of what was on its way each partition keeps some first part only. */
void bus_mem_crash(struct bus *bus, struct rng *r);

/* Records of the journal are not in the log before bus_mem_arrive lets them in, though their writer
 * die. */
void bus_mem_journal_travels(const struct bus *bus, bool travels);
size_t bus_mem_travelling(const struct bus_mem *m);
/* The oldest of the writer of the i-th one travelling comes into the log; twice: a second copy,
 * too. */
void bus_mem_arrive(struct bus_mem *m, size_t i, bool twice);
/* All of the writer of the i-th never arrive, if it is dead. */
void bus_mem_vanish(struct bus_mem *m, size_t i);

/* Whether fetching of a partition is stopped. */
bool bus_mem_paused(const struct bus *bus, enum bus_topic topic, int32_t partition);

#endif
