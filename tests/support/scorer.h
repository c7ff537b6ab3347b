/* A process that scores, over a log in memory, and what it decided. */
#ifndef FD_TESTS_SCORER_H
#define FD_TESTS_SCORER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/timefmt.h"
#include "daemon/score.h"
#include "tests/support/bus_mem.h"
#include "tests/support/messages.h"

#define SCORER_N 600 /* messages of scorer_filled */
#define SCORER_CARDS 40
#define SCORER_PARTITIONS 2
#define SCORER_BATCH 16
#define SCORER_LOG "test-log"
#define SCORER_WALL_US (MESSAGES_START_US + 40 * TIME_DAY)

/* A process. */
struct process {
    struct score *score;
    struct bus bus;
    int waits_left; /* go_on says no after so many; negative: never */
};

/* What all processes share: a model, rates.  cmocka's setup and teardown of a group; logging is
 * off. */
int scorer_setup(void **state);
int scorer_teardown(void **state);

/* The settings of scorer_start, for those that want others; ctx and go_on are the caller's. */
struct score_conf scorer_conf(void);
/* Opens a process with these settings.  Aborts on an error. */
void scorer_open(struct process *p, struct bus_mem *m, const struct score_conf *c);

void scorer_start(struct process *p, struct bus_mem *m);
void scorer_start_warm(struct process *p, struct bus_mem *m, int64_t warm_us);
void scorer_assign(const struct process *p, int32_t partition);
void scorer_assign_all(const struct process *p);
/* Turns until nothing comes. */
void scorer_run_dry(struct process *p);
/* Turns until more than n decisions of the partition are there. */
void scorer_until_decided(const struct process *p, const struct bus_mem *m, int32_t partition,
                          size_t n);
void scorer_end(struct process *p);
void scorer_die(struct process *p);

/* ---- the logs ---- */

/* A fraud label of payment t<number>; tail: "}", or what spoils it. */
void scorer_append_label(struct bus_mem *m, int32_t partition, uint64_t number, const char *tail);
/* Sends a model as `fraudd model` does; schema_hash 0: the program's own. */
void scorer_append_model(struct bus_mem *m, uint64_t seed, const char *version,
                         uint64_t schema_hash);
/* The same as challenger; and that its shadow ends. */
void scorer_append_shadow(struct bus_mem *m, uint64_t seed, const char *version);
void scorer_append_end(struct bus_mem *m, uint64_t seed, const char *version);
/* Sends changes of lists or the mode: lines of daemon/control.h after by and why. */
void scorer_append_control(struct bus_mem *m, const char *lines);
/* SCORER_N messages of two partitions, and labels. */
struct bus_mem *scorer_filled(size_t labels);
/* What decisions depend on, copied: transactions, labels, notices, journal. */
struct bus_mem *scorer_copy(const struct bus_mem *m);

/* ---- what came out ---- */

/* The first decision on a message; all others on it must be the same, byte for byte. */
const struct mem_record *scorer_decision(const struct bus_mem *m, int32_t partition, int64_t offset,
                                         size_t *out_count);
size_t scorer_dead_letters(const struct bus_mem *m);
/* An undisturbed run over scorer_filled. */
struct bus_mem *scorer_undisturbed(size_t labels);
/* Every decision has the bytes that follow from the recorded order: one undisturbed process makes
 * them from the logs.  Returns how often some were repeated. */
size_t scorer_expect_as_recorded(const struct bus_mem *m);

#endif
