/* What the parts of the Kafka bus share: bus_kafka.c (properties, open, close), bus_kafka_group.c
 * and bus_kafka_whole.c (topics shared in a group, and read whole), bus_kafka_parts.c (where their
 * partitions start), bus_kafka_read.c (queues, continuity of offsets), bus_kafka_commit.c (offsets
 * of groups), bus_kafka_write.c (producer, acknowledgements), bus_kafka_end.c (handles that end).
 * Private to them. */
#ifndef FD_DAEMON_BUS_KAFKA_H
#define FD_DAEMON_BUS_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "daemon/bus.h"
#include "daemon/bus_admin.h"
#include "daemon/bus_refusal.h"

#define BUS_SLOTS 65536         /* records in flight */
#define BUS_BATCHES 8192        /* batch numbers in flight */
#define BUS_PARTITIONS_MAX 4096 /* of one topic */
#define BUS_ASK_MS 5000         /* patience with an answer of the brokers */
#define BUS_RETRY_US 1000000    /* before the same is asked again */

/* What a handle is for. */
enum bus_use { USE_GROUP, USE_WHOLE, USE_WRITE, USE_COUNT };

/* Producers: one gathers records for a moment, one sends each at once. */
enum bus_writer { WRITER_BULK, WRITER_PROMPT, WRITER_COUNT };

static inline enum bus_writer bus_kafka_writer(int topic)
{
    return topic == TOPIC_JOURNAL ? WRITER_PROMPT : WRITER_BULK;
}

/* How we read one partition. */
struct bus_part {
    int64_t next;       /* offset of the next message to hand out */
    int64_t sought;     /* a jump was sought back to here already; -1 none */
    bool moved;         /* seek_wanted because the owner goes elsewhere */
    int64_t commit;     /* next offset to be committed soon; -1 none */
    bool ours;          /* assigned, or started (whole topics) */
    bool seek_wanted;   /* a jump was seen, or the owner moves: go to `next` */
    bool refused;       /* its start lies outside the log */
    bool paused;        /* as its owner wants it */
    int64_t seek_after; /* monotonic us of the next try */
};

struct bus_parts {
    struct bus_part *part; /* [count] */
    int32_t count;
};

/* The records of one batch number. */
struct bus_batch {
    uint64_t number;
    uint64_t outstanding;
};

/* One record in flight: the library's opaque of it. */
struct bus_slot {
    uint64_t seq;
    struct bus_batch *batch;
    struct bus_slot *free_next;
    int64_t timestamp_ms; /* 0: now */
    int32_t partition;
    uint8_t topic;
};

/* A record that came back unsent; exceptional, so allocated. */
struct bus_failed {
    struct bus_slot *slot;
    struct bus_failed *next;
    rd_kafka_headers_t *headers; /* owned or NULL */
    size_t key_len, value_len;
    bool has_key, has_value;
    unsigned char bytes[]; /* key, value */
};

struct bus_kafka {
    struct bus_plan plan;
    char *names[TOPIC_COUNT]; /* owned copies */
    struct bus_events events;
    struct bus_counters counters;
    rd_kafka_conf_t *base[USE_COUNT]; /* defaults, brokers and kafka.* */
    bool closing;
    bool answered;         /* a broker has let us in */
    bool asking;           /* at the start: errors are looked at, not told */
    struct errmsg refusal; /* what the brokers' refusal amounts to; "" none */

    /* reading */
    rd_kafka_t *group;
    rd_kafka_t *whole;
    rd_kafka_queue_t *whole_queue;
    rd_kafka_queue_t *group_queue; /* NULL: no group */
    int ready;                     /* eventfd: something came into an empty queue; -1: none */
    bool group_held;
    rd_kafka_topic_t *whole_topic[TOPIC_COUNT];
    struct bus_parts parts[TOPIC_COUNT];
    int64_t whole_check_us; /* monotonic time of the next look at the whole topics' partitions */
    bool rejoin;            /* an assignment failed: join again */
    bool commit_wanted;     /* some part has a commit waiting */
    int64_t commit_us;      /* monotonic time from which it is sent */
    rd_kafka_message_t *held[BUS_POLL_MAX];
    size_t held_count;

    /* writing */
    rd_kafka_t *producer[WRITER_COUNT];
    rd_kafka_topic_t *topic[TOPIC_COUNT];
    size_t bytes_max[TOPIC_COUNT]; /* of one message with its overhead */
    struct bus_slot *slots;        /* [BUS_SLOTS] */
    struct bus_slot *slot_free;
    struct bus_batch *batches; /* ring of [BUS_BATCHES] */
    size_t batch_first, batch_count;
    uint64_t seq;
    struct bus_failed *failed; /* in order of seq */
    struct bus_failed *failed_last;
    int64_t resend_us; /* monotonic time of the next try */
    bool replace;      /* the producer turned fatal */
    bool abandon;      /* closing: what comes back unsent is dropped */
};

/* Tells the owner, with the text formatted. */
void bus_kafka_trouble(struct bus_kafka *b, bool fatal, const char *fmt, ...) FD_PRINTF(3, 4);
/* A handle with the base properties of its use and the given ones ({name, value, .., NULL}). */
FD_MUSTCHECK enum err bus_kafka_handle(struct bus_kafka *b, enum bus_use use,
                                       const char *const *properties, rd_kafka_t **out,
                                       struct errmsg *e);

/* Ends a handle in the background; everything taken from it has been given back.  leave: of a
 * consumer, which leaves its group first; callbacks may come from the background then. */
void bus_kafka_end(rd_kafka_t *rk);
void bus_kafka_leave(rd_kafka_t *group);
/* Waits for all handles of the process that are ending; false: some still are. */
bool bus_kafka_ended(int timeout_ms);

/* The topic of that name that is read, or -1; a partition's entry, or NULL. */
int bus_kafka_topic_of(const struct bus_kafka *b, const char *name);
struct bus_part *bus_kafka_part(const struct bus_kafka *b, int topic, int32_t partition);

/* Asks the owner where to start a partition that is new here and checks the answer against the log,
 * which holds low .. high - 1.  committed: -1: nothing.  Returns whether it is to be read. */
bool bus_kafka_start(struct bus_kafka *b, int topic, int32_t partition, int64_t committed,
                     int64_t low, int64_t high);
FD_MUSTCHECK enum err bus_kafka_group_open(struct bus_kafka *b, struct errmsg *e);
/* Joins the group, again after it was left. */
FD_MUSTCHECK enum err bus_kafka_group_join(struct bus_kafka *b, struct errmsg *e);
/* Starts whole topics, and finds partitions that were added to them; to be called often. */
void bus_kafka_whole_tend(struct bus_kafka *b);

FD_MUSTCHECK enum err bus_kafka_read_open(struct bus_kafka *b, struct errmsg *e);
void bus_kafka_read_close(struct bus_kafka *b);
size_t bus_kafka_poll(void *self, struct bus_message *out, size_t max, int timeout_ms);
void bus_kafka_hold(void *self, bool held);
void bus_kafka_release(void *self);
/* Commits what waits and waits for the answer, a second at most. */
FD_MUSTCHECK enum err bus_kafka_commit_now(struct bus_kafka *b, struct errmsg *e);
enum err bus_kafka_commit(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                          bool sync, struct errmsg *e);
void bus_kafka_tend_commits(struct bus_kafka *b); /* sends what waits, when it is time */
void bus_kafka_pause(void *self, enum bus_topic topic, int32_t partition, bool paused);
void bus_kafka_seek(void *self, enum bus_topic topic, int32_t partition, int64_t offset);
int64_t bus_kafka_offset_at(void *self, enum bus_topic topic, int32_t partition,
                            int64_t timestamp_us);
int64_t bus_kafka_lag(const struct bus_kafka *b);

FD_MUSTCHECK enum err bus_kafka_write_open(struct bus_kafka *b, struct errmsg *e);
void bus_kafka_write_close(struct bus_kafka *b);
enum err bus_kafka_send(void *self, const struct bus_record *r, struct errmsg *e);
uint64_t bus_kafka_wait(void *self, int timeout_ms);

#endif
