/* Sends a feed to the transactions topic in open loop: message i is due at start + i / rate, and a
 * late one is sent at once, so a slow receiver does not slow the clock it is measured by
 * (coordinated omission).
 *
 * Invariants
 *  1. Payments go out in the order of the file, each once for the library; keyed by card.
 *  2. A label goes out before the first payment whose event time has reached its time known.
 * Bus and clock are structs of functions: tests bring their own.  One thread. */
#ifndef FD_DAEMON_PRODUCE_H
#define FD_DAEMON_PRODUCE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/latency.h"
#include "daemon/bus.h"
#include "daemon/feed.h"
#include "daemon/schemas.h"
#include "daemon/verdicts.h"

struct produce_clock {
    void *ctx;
    int64_t (*now_us)(void *ctx);  /* monotonic */
    int64_t (*wall_us)(void *ctx); /* since 1970 */
    void (*sleep_us)(void *ctx, int64_t us);
};

struct produce_conf {
    double rate;             /* payments a second; 0: as fast as they are taken */
    bool stamp_due;          /* Kafka timestamp: when it was due; else when it is sent */
    int64_t from_us;         /* payments before it are not sent, labels known before it neither */
    int64_t to_us;           /* payments from it on are not read; INT64_MAX: no end */
    uint64_t limit;          /* payments to send at most; 0: all */
    uint64_t expected;       /* payments of the file, for the time left; 0: not known */
    bool share_known;        /* the file's share read tells the time left */
    int64_t future_us;       /* a payment dated later than this after now is refused */
    const char *job;         /* for the progress line */
    enum wire_format format; /* of the payments sent; not JSON: with this schema's id */
    uint32_t schema;
    struct produce_clock clock;
};

struct produce_stats {
    uint64_t sent, labels;   /* payments and labels handed to the client library */
    uint64_t acked;          /* of both */
    int64_t elapsed_us;      /* until the last acknowledgement */
    struct latency lateness; /* from due to sent, of payments; empty at rate 0 */
};

/* When message i is due, on the clock of start_us; at rate 0 at once. */
int64_t produce_due(int64_t start_us, double rate, uint64_t i);

/* Sends, then waits for every acknowledgement.  v: NULL, no labels.  *stop 1: sends no more; 2:
 * does not wait either.
 * ERR_INVALID a payment is dated in the future, or what feed_next and verdicts_next refuse;
 * ERR_UNAVAILABLE stopped before everything was acknowledged.  `out` is filled in any case. */
FD_MUSTCHECK enum err produce_run(const struct produce_conf *c, const struct bus *bus,
                                  struct feed *f, struct verdicts *v,
                                  const volatile sig_atomic_t *stop, struct produce_stats *out,
                                  struct errmsg *e);

#endif
