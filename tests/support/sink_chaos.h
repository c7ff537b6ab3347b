/* `sink` while everything goes wrong: a deterministic simulation by seed.  Two processes, the
 * program's own `struct sink`, read logs in memory (what a `score` has made of payments, labels and
 * models) into a database in memory (tests/support/database_mem.h).
 *
 * What is drawn: connections that are lost before a statement has its effect, or after it and
 * before anybody hears of it, COMMIT included; databases that are away; failovers to a standby that
 * lacks what was committed last; processes that die at any statement and start again; partitions
 * that move, also while their former owner does not know yet; polls that hand out little; rows that
 * the database refuses.
 *
 * What is checked:
 *  1. After each COMMIT: of every message below a partition's position its row is there, among the
 *     rejects where the database refuses it.  Positions are never ahead of rows.
 *  2. In the end rows, rejects and positions are, line for line, what one undisturbed process
 *     leaves that writes message by message: each transaction, decision, alert and label once. */
#ifndef FD_TESTS_SUPPORT_SINK_CHAOS_H
#define FD_TESTS_SUPPORT_SINK_CHAOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the simulation can do without, one at a time, to see that it notices. */
enum sink_safeguard {
    SINK_SAFE_ALL,      /* nothing is removed */
    SINK_SAFE_TOGETHER, /* positions are in the SQL transaction of their rows */
    SINK_SAFE_CONFLICT, /* a row that is there already changes nothing */
    SINK_SAFE_KNOWN,    /* a position is written over the one that is known to be there only */
    SINK_SAFE_DOUBT,    /* after a lost connection all positions are compared */
    SINK_SAFE_COUNT
};
extern const char *const SINK_SAFEGUARD_NAMES[SINK_SAFE_COUNT];
extern const char *const SINK_SAFEGUARD_TEXTS[SINK_SAFE_COUNT];

/* How often things happened, over all runs. */
struct sink_chaos_tally {
    uint64_t seeds, commits, lost, failovers, deaths, moves, taken_back, rejected, rows;
};

/* The logs; once, between scorer_setup and scorer_teardown (tests/support/scorer.h). */
void sink_chaos_open(void);
void sink_chaos_close(void);
/* Runs a seed.  false: a check failed, why says which. */
bool sink_chaos_run(uint64_t seed, enum sink_safeguard without, struct sink_chaos_tally *tally,
                    char *why, size_t why_size);

#endif
