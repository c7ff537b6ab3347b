/* The inside of the log in memory: bus_mem.c (the broker and a process's bus), bus_mem_control.c
 * (what the test has happen).  Private to them. */
#ifndef FD_TESTS_BUS_MEM_PRIVATE_H
#define FD_TESTS_BUS_MEM_PRIVATE_H

#include "base/rng.h"
#include "tests/support/bus_mem.h"

struct mem_log {
    struct mem_record *record;
    size_t count, room;
    int64_t low;
    int64_t committed; /* -1: none */
};

enum { EVENTS_MAX = 64, PENDING_MAX = 65536, TRAVEL_MAX = 256 };

struct client;

/* A record of the journal between its writer and the log. */
struct mem_travel {
    struct mem_record record;
    uint64_t writer; /* number of the client */
    uint64_t sequence;
};

struct bus_mem {
    struct mem_log log[TOPIC_COUNT][BUS_MEM_PARTITIONS];
    struct mem_travel travel[TRAVEL_MAX]; /* of one writer in the order in which they were sent */
    size_t travel_count;
    struct client *first; /* buses that are open */
    uint64_t clients;
    int64_t now_us;
    unsigned broken; /* bits of enum bus_mem_promise */
    struct bus_mem_watch watch;
};

struct mem_event {
    enum { EVENT_ASSIGN, EVENT_REVOKE, EVENT_TROUBLE } what;
    enum bus_topic topic;
    int32_t partition;
    bool flag; /* lost, fatal */
    const char *text;
};

struct mem_part {
    bool ours, paused, fenced;
    int64_t next;
};

/* A record on its way. */
struct mem_pending {
    enum bus_topic topic;
    int32_t partition;
    size_t at;
    uint64_t batch;
    uint64_t sequence;
    bool travels, arrived; /* not in the log before it has arrived */
};

struct client {
    struct bus_mem *m;
    struct client *next;
    uint64_t number;
    struct bus_plan plan;
    struct bus_events events;
    struct mem_part part[TOPIC_COUNT][BUS_MEM_PARTITIONS];
    struct mem_event event[EVENTS_MAX];
    size_t event_count;
    bool held[TOPIC_COUNT], begun[TOPIC_COUNT], group_held;
    struct mem_pending *pending; /* ring of [PENDING_MAX] */
    size_t pending_first, pending_count;
    uint64_t sent;
    bool hold_acks, hold_journal, journal_travels, fail_commits, killed, stunned, fell;
    size_t full, room, ack_on_wait;
    enum err refuse[TOPIC_COUNT];
    int32_t turn;     /* group partition that comes first */
    struct rng *thin; /* NULL: polls hand out all there is */
    size_t calls_left;
    void (*at_call)(void *ctx); /* NULL: none waits */
    void *at_call_ctx;
    struct bus_counters counters;
};

/* Marks what is on its way as acknowledged; forgets the oldest ones that are. */
void bus_mem_acknowledge(struct client *c, struct mem_pending *p);
void bus_mem_forget_acked(struct client *c);
/* Puts a record into the log, taking its bytes over. */
struct mem_record *bus_mem_put(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                               const struct mem_record *r);
/* Frees what a record owns. */
void bus_mem_drop(struct mem_record *r);
/* Ends a client without a word to its process. */
void bus_mem_forget_client(struct client *c);

#endif
