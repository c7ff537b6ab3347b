/* Publishes label_outbox: reads labels in order, sends them to the labels topic, and removes them
 * when a broker has acknowledged all.
 *
 *   idle --(rows there)--> sending --(all taken by the bus)--> waiting --(acknowledged)--> idle
 *
 * Invariants
 *  1. A row is removed after its acknowledgement, never before: a crash between sends it again with
 *     the same source and number, and readers drop it.
 *  2. Whoever publishes sends a run of rows that starts with the first one there, in order.  So
 *     when a number first appears on the topic, those before it have, even where two processes
 *     overlap.
 * One thread; the bus must have nobody else who sends. */
#ifndef FD_DAEMON_OUTBOX_H
#define FD_DAEMON_OUTBOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/bus.h"
#include "storage/db.h"

/* A plain value; zero to begin with, outbox_forget at the end. */
struct outbox {
    struct db_rows *rows; /* read and not yet removed; NULL: idle */
    int sent;             /* of them */
    uint64_t batch;       /* their number for the bus */
    int64_t asked_us;     /* monotonic: when the database was last asked */
    bool ours;            /* this session has the lock */
    uint64_t published;   /* labels acknowledged and removed */
};

/* One step; never waits for the broker.  now_us: monotonic.  ERR_UNAVAILABLE the database is away:
 * call outbox_forget and go on with a new connection. */
FD_MUSTCHECK enum err outbox_turn(struct outbox *o, struct db *d, const struct bus *bus,
                                  int64_t now_us, struct errmsg *e);

/* The connection is gone, and its lock with it. */
void outbox_forget(struct outbox *o);

#endif
