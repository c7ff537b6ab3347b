/* Kafka to PostgreSQL: transactions, decisions, alerts and labels become rows; the positions are in
 * the same SQL transaction, so a restart goes on where the database says and repeats change
 * nothing.  While the database is away nothing is lost: reading waits, the logs keep.  One thread.
 */
#ifndef FD_DAEMON_SINK_H
#define FD_DAEMON_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/bus.h"
#include "daemon/rates.h"
#include "daemon/wire.h"

struct sink;

struct sink_conf {
    const char *conninfo; /* borrowed */
    const struct rates *rates;
    const char *topic_name[TOPIC_COUNT];
    struct slice log;
    int64_t max_future_us; /* as `score` has it: what is later is a dead letter and no history */
    size_t batch_max;      /* messages of one SQL transaction */
    int poll_ms;
};

struct sink_stats {
    uint64_t rows, rejected, undecodable, transactions, outages;
    struct bus_counters bus;
};

/* Connects and checks the schema: ERR_UNAVAILABLE, ERR_REFUSED, ERR_NOTFOUND as db_open. */
FD_MUSTCHECK enum err sink_create(const struct sink_conf *c, struct sink **out, struct errmsg *e);
struct bus_events sink_events(struct sink *s);
void sink_attach(struct sink *s, struct bus bus);

/* Reads what is there and writes it.  Returns the rows written.  A database that is away is waited
 * for inside (backing off), until *stop is set. */
size_t sink_turn(struct sink *s, const volatile int *stop);
void sink_stats(const struct sink *s, struct sink_stats *out);
void sink_free(struct sink *s);

#endif
