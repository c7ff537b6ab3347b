/* Safeguards of scoring that a simulation can do without, one at a time, to see that it notices.
 * Functions of daemon/ are replaced at the linker (--wrap, see the Makefile), so the program itself
 * has no switch for it; what a bus promises is broken in the bus (bus_mem_break). */
#ifndef FD_TESTS_UNSAFE_H
#define FD_TESTS_UNSAFE_H

#include "tests/support/bus_mem.h"

enum safeguard {
    SAFE_ALL,        /* nothing is removed */
    SAFE_OWNER,      /* a part counts only if its writer owns the partition */
    SAFE_NEXT,       /* a part counts only if it begins where the partition's last one ended */
    SAFE_POSITIONS,  /* labels and notices are in force from the recorded positions on */
    SAFE_WAIT,       /* an entry waits until the labels and notices that it names are read */
    SAFE_REBUILD,    /* a partition that comes is learnt before it is decided */
    SAFE_AGAIN,      /* state made anew is given the labels and models of before again */
    SAFE_FOLLOW,     /* payments of other processes' partitions change the world, too */
    SAFE_FATES,      /* what was recorded of a message is done, not what would be found now */
    SAFE_REPEATS,    /* a payment that came before gets its answer again */
    SAFE_READ_ACKED, /* an entry is executed only once all replicas have it */
    SAFE_ACKS,       /* offsets are committed after acknowledgement */
    SAFE_QUEUE,      /* a record that finds the queue full waits, it is not dropped */
    SAFE_SEEK,       /* a partition is read from where the journal says it goes on */
    SAFE_SETTINGS,   /* settings are in force from the recorded positions on */
    SAFE_START,      /* nothing is decided before the start's settings and model are told */
    SAFE_SYNC,       /* a checkpoint is synced before it has its name */
    SAFE_SYNC_DIR,   /* a checkpoint's name is synced before it is reported */
    SAFE_BETWEEN,    /* state is written between two entries of the journal */
    SAFE_COMMITTED,  /* state is used where all that it holds as decided is committed */
    SAFE_ALIKE,      /* parts of a state are of one position of the journal */
    SAFE_CRASH,      /* a message that ended processes is passed by all */
    SAFE_COUNT
};

/* Short name and what it is. */
extern const char *const SAFEGUARD_NAMES[SAFE_COUNT];
extern const char *const SAFEGUARD_TEXTS[SAFE_COUNT];

/* Removes one (SAFE_ALL: puts it back) from here on, in this process. */
void unsafe_without(enum safeguard which);
/* ... and from a bus, where it is a promise of its. */
void unsafe_bus(struct bus_mem *m, enum safeguard which);

/* Messages with a fault of the program planted: payments with a member "plant", "admit" (ends who
 * looks whether it is one), "execute" (ends who decides it) or "follow" (ends everybody who learns
 * of it; its mcc is PLANT_MCC), labels with "plant".  fault is called instead of an end, with the
 * pipeline or world that would have met it; NULL: none is. */
#define PLANT_MCC 9998
void unsafe_plant(void (*fault)(void *ctx, const void *of), void *ctx);

#endif
