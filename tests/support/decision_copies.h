/* What a topic holds of each decision, whether as decision or as alert: how often, and whether with
 * the same bytes.  Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_DECISION_COPIES_H
#define FD_TESTS_SUPPORT_DECISION_COPIES_H

#include <stdint.h>

#include "tests/support/cluster.h"

#define COPIES_PARTITIONS 64

struct copies {
    uint32_t count;
    uint64_t hash; /* of key and value */
};

struct decision_copies {
    const char *log;
    int partitions;
    struct copies *of[COPIES_PARTITIONS]; /* by partition and offset of the transactions topic */
    int64_t end[COPIES_PARTITIONS];
    uint64_t ids;       /* different ones */
    uint64_t repeats;   /* messages beyond the first of each */
    uint64_t differing; /* of them, with other bytes than the one before */
    uint64_t strangers; /* messages that name no transaction of this log */
};

/* Reads `topic`, whose messages begin with the id "log/partition/offset" of a message of the topic
 * `transactions`.  log: borrowed. */
void decision_copies_read(struct decision_copies *d, const struct cluster *c, const char *log,
                          const char *transactions, int partitions, const char *topic);
/* Ids of which the two have other bytes, or only one has any. */
uint64_t decision_copies_unlike(const struct decision_copies *a, const struct decision_copies *b);
void decision_copies_done(struct decision_copies *d);

#endif
