/* What a `fraudd score` was doing, from its own log's lines and from how far the journal and the
 * decisions topic are. */
#ifndef FD_TESTS_SUPPORT_SCORE_PHASE_H
#define FD_TESTS_SUPPORT_SCORE_PHASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/order_watch.h"

enum score_phase {
    PHASE_START,      /* before it has joined the group: settings, model, brokers */
    PHASE_REBALANCE,  /* in the group without a partition: they are on their way to it or from it */
    PHASE_CATCH_UP,   /* has partitions, state is being made anew from the journal */
    PHASE_CLAIM,      /* its claims are written, nothing of those partitions is journalled by it */
    PHASE_BETWEEN,    /* decides; the journal has payments of its partitions that no decision has */
    PHASE_DECIDING,   /* decides, and every journalled payment of its partitions is decided */
    PHASE_CHECKPOINT, /* beside any of these, a child of its writes a checkpoint */
    PHASE_COUNT
};

const char *score_phase_name(enum score_phase p);

/* One process's life as its log has it; a partition is a bit. */
struct score_life {
    bool started;
    uint64_t assigned;  /* partitions it has */
    uint64_t claimed;   /* by it, since its latest rebuild */
    int64_t rebuild_ms; /* Unix time of that; 0: none since partitions came */
};

/* log: of one process from its start, written without JOURNAL_STREAM in its environment. */
void score_life_read(const char *log, struct score_life *out);
/* Whether a process has a child: one that writes a checkpoint. */
bool score_writes_checkpoint(pid_t pid);
/* Never PHASE_CHECKPOINT. */
enum score_phase score_phase_of(const struct score_life *l, const struct order_turn *turns,
                                int partitions);

#endif
