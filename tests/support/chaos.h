/* Several processes that score, over logs in memory, while everything goes wrong: a deterministic
 * simulation by seed.  The processes are the program's own `struct score`; the brokers, the group's
 * coordinator, the clock and the processes' fates are drawn.
 *
 * What is drawn: processes that start, end, die at any call of the bus, are stopped at any call and
 * go on after their partitions have moved; queues that are full; acknowledgements that come late,
 * in another order or never; commits that fail or come too late; polls that hand out little;
 * records of the journal that arrive late, twice or never, and damaged ones; payments that repeat,
 * hostile messages, and ones in which a fault of the program is planted; labels, models, shadows,
 * lists and modes meanwhile; in two of three seeds checkpoints in a folder of all processes, on a
 * disk that is full, fails, writes less than it was asked to, ends processes within any operation,
 * and loses or tears with the power what was not synced; files with other settings and models at
 * each start, and reloads; retention; logs that do not begin at 0.  Batch sizes differ between
 * processes.
 *
 * What is checked:
 *  1. At each commit: everything before the offset has an acknowledged decision or dead letter.
 *     Commits never go back.
 *  2. In the end each message was decided or dead-lettered, not both, with the reason that belongs
 *     to it, and a repeated payment got its first answer.
 *  3. The set of all decisions, alerts and dead letters of all processes is, byte for byte, what
 *     one undisturbed process makes from the same logs and the recorded journal.
 *  4. After a loss of power each place in the folder has, whole, the checkpoint that was reported
 *     last or a newer one.
 *  5. It comes to rest: with faults over, all is decided and committed, and no process has failed
 *     but those whose records were refused.
 * Seeds with retention during the run, or that learn from `warm_us` ago, leave 3 and the answers of
 * 2 out: there state depends on when a process began to learn (until checkpoints carry it). */
#ifndef FD_TESTS_CHAOS_H
#define FD_TESTS_CHAOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/unsafe.h"

/* How often things happened, over all runs. */
struct chaos_tally {
    uint64_t seeds, messages, decisions, checkpoints, checkpoints_read,
        repeated;    /* repeated: copies of decisions, the same bytes */
    uint64_t faults; /* deaths by what is planted */
    uint64_t starts, ends, deaths, stops, reloads, powers, moves, commits, entries, not_counted,
        damaged;
    uint64_t weak; /* seeds without the comparison */
};

/* Models and notices; once. */
void chaos_open(void);
void chaos_close(void);
/* Runs a seed.  false: a check failed, why says which; trace: what happens is printed. */
bool chaos_run(uint64_t seed, enum safeguard without, bool trace, struct chaos_tally *tally,
               char *why, size_t why_size);

#endif
