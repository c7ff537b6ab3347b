/* The inside of the scoring loop: score.c (the loop), score_stats.c (what it shows).  Private to
 * them. */
#ifndef FD_DAEMON_SCORE_PRIVATE_H
#define FD_DAEMON_SCORE_PRIVATE_H

#include "base/log_limit.h"
#include "daemon/notice.h"
#include "daemon/score.h"

/* batches whose records may be on their way at once */
#define FLIGHT_MAX 4096

struct owned {
    struct lane *lane;
    struct feat_world *world; /* the lane's own */
    int64_t emit_from;        /* offsets below are learnt from only */
    int64_t next;             /* after the last message handled */
    int64_t committed;        /* next offset as committed by us; -1 nothing yet */
    bool paused;
};

/* After this batch the partition's next offset is `next`. */
struct flight {
    uint64_t batch;
    int32_t partition;
    int64_t next;
};

/* A topic that is read whole: it must be read up to its end at the start before anything is
 * decided.
 */
struct follow {
    bool begun;
    int64_t next, high; /* read up to; end of the log at the start */
};

struct score {
    struct score_conf conf;
    struct bus bus;
    bool attached;
    struct pipeline *pipeline;
    struct owned owned[SCORE_PARTITIONS_MAX];
    int32_t partition_top; /* after the highest owned */
    struct flight flight[FLIGHT_MAX];
    size_t flight_first, flight_count;
    uint64_t batch;
    struct bus_message *messages;
    struct follow labels, notices;
    struct label *label; /* [label_max] every one read, for partitions that come later */
    size_t label_count, label_max;
    struct notice_reader notice;
    struct model *noticed; /* the model that came last by notice, owned */
    bool failed;
    uint64_t unsent; /* first batch with a record that was not queued; UINT64_MAX: none */
    struct latency message_time;
    struct log_limit quiet;
    struct score_stats stats;
};

static inline bool followed(const struct follow *f)
{
    return f->begun && f->next >= f->high;
}

/* Adds what a partition has counted since it came. */
void score_count_owned(const struct owned *o, struct score_stats *to);

#endif
