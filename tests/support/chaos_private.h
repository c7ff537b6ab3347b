/* The inside of the simulation: chaos.c (a seed from its beginning to its end), chaos_act.c (what
 * happens), chaos_disk.c (checkpoints), chaos_scenes.c (what
 * chance seldom brings together), chaos_check.c (what must be true).  Private to them. */
#ifndef FD_TESTS_CHAOS_PRIVATE_H
#define FD_TESTS_CHAOS_PRIVATE_H

#include "base/err.h"
#include "base/rng.h"
#include "tests/support/chaos.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/scorer.h"

enum {
    MEMBERS = 3,
    PARTITIONS_MAX = 4,
    MESSAGES_MAX = 96,
    MODELS = 6,
    CONTROLS = 6,
    FILES = 2,
    DEPTH_MAX = 2
};

enum life {
    GONE,
    RUNS,
    INSIDE /* its turn is on the stack: it is stopped at a call of the bus, or has been called */
};

struct member {
    struct process process;
    enum life life;
    struct chaos *chaos;
    struct rng thin;
    bool stunned;         /* dead within its turn */
    bool stops;           /* asked to end: does not wait for the brokers */
    bool refused;         /* its records are: it may fail */
    bool planted;         /* stunned by a message: its hand is marked */
    uint64_t checkpoints; /* reported so far */
    bool stopped;         /* by the hook: the group may take its partitions */
};

/* What is known of a message's outcome. */
enum { OUTCOME_DECIDED = 1, OUTCOME_DEAD = 2 };

/* A message in its log. */
struct placed {
    size_t message;       /* in chaos.all */
    uint8_t outcome;      /* acknowledged */
    const char *decision; /* NULL: none */
};

struct chaos {
    struct rng r;
    uint64_t seed;
    bool trace, weak, calm, failed;
    enum safeguard without;
    struct chaos_tally *tally;
    char *why;
    size_t why_size;
    int depth;

    struct bus_mem *m;
    struct score_conf conf;
    struct member member[MEMBERS];
    struct hand_page hand[MEMBERS], dead_hand[MEMBERS]; /* outlive the processes */
    int member_count;
    bool keeps; /* state on the disk */
    int64_t keep_every_us, brokers_us;
    struct faulty_disk disk; /* of all processes */
    struct state_folder folder[MEMBERS];
    int64_t reported[MEMBERS]; /* position of the latest checkpoint reported; 0: none */
    enum { PROMPT, HELD, TRAVELS } journal;
    int32_t partitions;
    int owner[PARTITIONS_MAX], wanted[PARTITIONS_MAX]; /* member; -1: nobody */
    bool revoking[PARTITIONS_MAX];

    struct messages all;
    uint32_t cards;
    size_t appended;
    int64_t begin[PARTITIONS_MAX]; /* the logs' first offset */
    struct placed placed[PARTITIONS_MAX][MESSAGES_MAX];
    size_t placed_count[PARTITIONS_MAX];
    uint64_t labels;
};

/* Monotonic time of all processes. */
extern int64_t chaos_now_us;

void chaos_fail(struct chaos *s, const char *fmt, ...) FD_PRINTF(2, 3);
void chaos_trace(const struct chaos *s, const char *fmt, ...) FD_PRINTF(2, 3);
/* true once in n. */
bool chaos_one_in(struct chaos *s, uint64_t n);

/* chaos_act.c */
void chaos_start(struct chaos *s, struct member *one);
/* Something happens. */
void chaos_step(struct chaos *s);
/* The next n messages come into their logs. */
void chaos_append(struct chaos *s, size_t n);
/* The group gives partitions to other members, as far as these have given them up. */
void chaos_coordinate(struct chaos *s);
/* Draws who is to have which partition. */
void chaos_rebalance(struct chaos *s);
void chaos_turn(struct chaos *s, struct member *one);
/* What is planted ends the process of this pipeline or world (unsafe.h). */
void chaos_fault(void *ctx, const void *of);
/* Ends a process: as asked to, or by death. */
void chaos_end(struct chaos *s, struct member *one);
void chaos_die(struct chaos *s, struct member *one);
/* From here on nothing goes wrong. */
void chaos_calm(struct chaos *s);
int chaos_number_of(const struct chaos *s, const struct member *one);
/* One that runs: as chaos_turn, with brokers whose mood is drawn. */
void chaos_turn_of_one(struct chaos *s, struct member *one);
/* One that runs: its file has changed, or another one's settings are to be taken back. */
void chaos_reload_one(struct chaos *s, struct member *one);
void chaos_append_label(struct chaos *s);
void chaos_append_notice(struct chaos *s);
/* Some entries of the journal arrive. */
void chaos_move_journal(struct chaos *s);
/* The owner answers no more: the group gives its partition away. */
void chaos_expel(struct chaos *s, int32_t p);

/* chaos_disk.c */
void chaos_disk_begin(struct chaos *s);
void chaos_disk_end(struct chaos *s);
/* A process that starts keeps its state, where this seed has it so. */
void chaos_keep(struct chaos *s, struct member *one);
/* What goes wrong with the disk in the next turn. */
void chaos_disk_weather(struct chaos *s);
/* After a turn or the end: what was written; whether the process died of it. */
void chaos_disk_look(struct chaos *s, struct member *one);
/* A process is gone; what it wrote is where it was. */
void chaos_disk_dead(struct chaos *s, const struct member *one);
/* All processes die, and what was not synced is lost or torn. */
void chaos_power(struct chaos *s);

/* chaos_scenes.c */
void chaos_read_late(struct chaos *s);
void chaos_come_late(struct chaos *s);
void chaos_inherit(struct chaos *s);

/* chaos_check.c */
struct bus_mem_watch chaos_watch(struct chaos *s);
/* At the end of a process's life: what it counted. */
void chaos_check_process(struct chaos *s, const struct member *one);
/* All that is checked when everything is decided. */
void chaos_check(struct chaos *s);
bool chaos_all_committed(const struct chaos *s);

/* chaos.c */
const struct mem_record *chaos_notice(size_t i);

/* A model's file. */
struct chaos_file {
    uint8_t *bytes;
    size_t len;
    struct model *model;
};
const struct chaos_file *chaos_file(size_t i); /* below FILES */

#endif
