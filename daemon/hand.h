/* What a process has in hand, in a small file that outlives it: before each step that looks into a
 * message from outside, a note says which.  A death inside the step (a failed assertion, a fault)
 * leaves the note marked, and the next life knows what to suspect.
 *
 *   nothing --(died at a step)--> suspect --(died again at it, taken alone)--> condemned
 *              suspect --(taken alone, and nothing happened)--> nothing
 *
 * Invariants
 *  1. Only a death by a signal that means a fault of the program marks a note: SIGKILL, an end of
 *     power or an operator's signal cost no message.
 *  2. Nothing is condemned before it has ended two lives, the second time as the only message in
 *     hand; so one piece of bad luck costs nothing.
 *  3. A suspect stays in the file until it was taken without harm or is cleared.
 * One thread; taking a message is a few stores into memory, no system call. */
#ifndef FD_DAEMON_HAND_H
#define FD_DAEMON_HAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/bus.h"

enum hand_step {
    HAND_NOTHING = 0,
    HAND_LOOK,   /* decoded, scored, taken in: anything but what follows */
    HAND_FOLLOW, /* the world sees a payment, no card does */
    HAND_REFUSE, /* copied into a dead letter */
    HAND_STEP_COUNT
};

/* "look", "follow", "refuse"; static memory. */
const char *hand_step_name(enum hand_step step);

/* Offsets first to last of one partition. */
struct hand_note {
    uint32_t step; /* enum hand_step */
    uint32_t topic;
    int32_t partition;
    uint32_t alone; /* one message, known as suspect */
    int64_t first, last;
};

/* The file's bytes. */
struct hand_page {
    char magic[8];
    volatile uint32_t marked; /* died inside the step of `note` */
    uint32_t condemned;       /* `suspect` is */
    struct hand_note note, suspect;
};

struct hand {
    struct hand_page *page; /* NULL: not open */
    int fd;
    char path[512];
};

/* Opens the first file NAME.0, NAME.1 .. in dir that no other process holds, and turns the note of
 * a death into a suspect.  ERR_REFUSED, ERR_NOTFOUND, ERR_IO: there is none, *h is not open. */
FD_MUSTCHECK enum err hand_open(struct hand *h, const char *dir, const char *name,
                                struct errmsg *e);
/* The same in `dir` if it names a folder, else in systemd's $STATE_DIRECTORY, else in /tmp, by a
 * name made of `what` and of `which`, the texts that tell one group of processes from another (NULL
 * at the end).  A failure is logged, and *h is not open. */
void hand_open_for(struct hand *h, const char *dir, const char *what, const char *const *which);
/* Has this process's deaths marked from here on; one at a time, from the thread that takes. */
void hand_watch(struct hand *h);
/* Ends that (of one that is open); removes the file where it suspects nothing. */
void hand_close(struct hand *h);

/* A page in memory, for a process without a file: zero it first.  hand_open does the same. */
void hand_begin(struct hand_page *p);
/* What a death inside the step does. */
void hand_mark(struct hand_page *p);

/* Whether offsets first to last hold a suspect, whatever the step. */
static inline bool hand_suspects(const struct hand_page *p, enum bus_topic topic, int32_t partition,
                                 int64_t first, int64_t last)
{
    const struct hand_note *s = &p->suspect;
    return s->step != HAND_NOTHING && s->topic == (uint32_t)topic && s->partition == partition &&
           first <= s->last && last >= s->first;
}

/* Before a step, and after it. */
static inline void hand_take(struct hand_page *p, enum hand_step step, enum bus_topic topic,
                             int32_t partition, int64_t first, int64_t last)
{
    const bool alone = first == last && p->suspect.step == (uint32_t)step &&
                       hand_suspects(p, topic, partition, first, last);
    p->note = (struct hand_note){(uint32_t)step, (uint32_t)topic, partition, alone, first, last};
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* before what may end us */
}
void hand_passed(struct hand_page *p);
static inline void hand_done(struct hand_page *p)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (p->note.alone != 0) {
        hand_passed(p);
    }
    p->note.step = HAND_NOTHING;
}

/* The suspect is dealt with. */
void hand_clear(struct hand_page *p);

#endif
