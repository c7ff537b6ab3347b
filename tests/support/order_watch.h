/* How far the journal and the decisions topic are, partition by partition, for a test that kills
 * what writes them.  Failures end the test by cmocka's fail().  One thread. */
#ifndef FD_TESTS_SUPPORT_ORDER_WATCH_H
#define FD_TESTS_SUPPORT_ORDER_WATCH_H

#include <stdint.h>

#include "tests/support/cluster.h"

#define ORDER_WATCH_PARTITIONS 64

struct order_turn {
    int64_t journalled_next; /* after the last offset that a counted entry names */
    int64_t decided_next;    /* after the highest offset decided */
    int64_t claim, batch;    /* journal offsets of the latest of each kind that counts; -1: none */
    int64_t batch_ms;        /* when it was written, Unix time */
};

struct order_watch;

struct order_watch *order_watch_open(const struct cluster *c, const char *journal,
                                     const char *decisions, int partitions);
void order_watch_close(struct order_watch *w);
/* Reads what has come, without waiting for more. */
void order_watch_poll(struct order_watch *w);
/* Reads everything that the topics hold at the time of the call. */
void order_watch_settle(struct order_watch *w);
/* Borrowed, [partitions]; changes by the calls above. */
const struct order_turn *order_watch_turns(const struct order_watch *w);
/* Parts read so far that do not count: their writers were no owners any more. */
int order_watch_uncounted(const struct order_watch *w);

#endif
