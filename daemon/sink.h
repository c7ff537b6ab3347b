/* Kafka to PostgreSQL: transactions, decisions, alerts and labels become rows; the positions are in
 * the same SQL transaction, so a restart goes on where the database says and repeats change
 * nothing.  A database that has less than was written (a failover, a restored backup) gets it again
 * from the logs.  The other way go the labels of verdicts given in the database (outbox.h).  While
 * the database is away nothing is lost: reading waits, the logs keep.  One thread. */
#ifndef FD_DAEMON_SINK_H
#define FD_DAEMON_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/latency.h"
#include "daemon/bus.h"
#include "daemon/hand.h"
#include "daemon/rates.h"
#include "daemon/wire.h"

struct sink;

struct sink_conf {
    const char *conninfo; /* borrowed */
    const struct rates *rates;
    const struct card_rules *cards; /* for the creation; NULL: card numbers pass */
    struct schemas *schemas;        /* borrowed; NULL: payments are JSON */
    const char *topic_name[TOPIC_COUNT];
    struct slice log;
    int64_t max_future_us; /* as `score` has it: what is later is a dead letter and no history */
    size_t batch_max;      /* messages of one SQL transaction */
    int poll_ms;
    int64_t linger_us;      /* rows wait at most so long for more of the same SQL transaction */
    struct hand_page *hand; /* notes of what is in hand (borrowed); NULL: none outlive it */
    /* Asked every 100 ms or so while a turn waits; false: give up what is not written (it is read
     * again later).  NULL: wait for ever. */
    bool (*go_on)(void *ctx);
    void *ctx;
};

struct sink_stats {
    uint64_t rows, rejected, undecodable, transactions, outages, retries;
    uint64_t taken_back; /* times the database had less than was written */
    uint64_t published;  /* labels of the outbox */
    bool database_up;
    struct bus_counters bus;
};

/* Connects and checks the schema: errors as db_open and migrate_check. */
FD_MUSTCHECK enum err sink_create(const struct sink_conf *c, struct sink **out, struct errmsg *e);
struct bus_events sink_events(struct sink *s);
void sink_attach(struct sink *s, struct bus bus);

/* Reads what is there and writes it.  Returns the rows written.  A database or schema registry
 * that is away is waited for inside (backing off), until go_on says no. */
size_t sink_turn(struct sink *s);
/* Whether the bus told of a fatal trouble or a refusal: end. */
bool sink_failed(const struct sink *s);
/* What it amounts to: ERR_REFUSED with the brokers' words, or ERR_UNAVAILABLE (the log has them).
 */
FD_MUSTCHECK enum err sink_failure(const struct sink *s, struct errmsg *e);
/* Other values from the next turn on. */
void sink_set(struct sink *s, int64_t linger_us, int64_t max_future_us);
/* Of one SQL transaction. */
const struct latency *sink_write_times(const struct sink *s);
void sink_stats(const struct sink *s, struct sink_stats *out);
void sink_free(struct sink *s);

#endif
