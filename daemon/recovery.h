/* Where the time goes from a start, or from partitions that come, to the first new decision. */
#ifndef FD_DAEMON_RECOVERY_H
#define FD_DAEMON_RECOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In this order; what is before a step that was reached counts as reached with it. */
enum recovery_step {
    RECOVERY_BEGUN,    /* the process, or the first partition that came since the last decision */
    RECOVERY_ASSIGNED, /* the latest partition came */
    RECOVERY_FOLLOWED, /* labels and notices are read */
    RECOVERY_UNPACKED, /* the files with the state are read */
    RECOVERY_INDEXED,  /* what finds cards and places is made */
    RECOVERY_REPEATED, /* the journal is repeated as far as it went */
    RECOVERY_DECIDED,  /* a batch of its own is decided */
    RECOVERY_STEPS
};

/* One thread.  All zero: over, nothing to tell. */
struct recovery {
    bool open;
    int64_t at_us[RECOVERY_STEPS]; /* monotonic */
    enum recovery_step reached;
};

/* Begins where none is under way. */
void recovery_begin(struct recovery *r, int64_t now_us);
/* A step is reached; one behind it that was reached before is open again.  Nothing where none is
 * under way. */
void recovery_reach(struct recovery *r, enum recovery_step step, int64_t now_us);
/* The same, but a step reached before stays as it is. */
void recovery_pass(struct recovery *r, enum recovery_step step, int64_t now_us);
/* Where a new decision has come: ends it and writes "group_ms=.. logs_ms=.. unpack_ms=..
 * index_ms=.. repeat_ms=.. decide_ms=.. all_ms=..", each from the step before.  False: not yet. */
bool recovery_end(struct recovery *r, char *out, size_t size);

#endif
