/* Shows how a long job goes: on a terminal one line that is rewritten, elsewhere a structured log
 * line every ten seconds; both with rate and time left.  One thread. */
#ifndef FD_BASE_PROGRESS_H
#define FD_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *job; /* borrowed */
    double total;    /* 0: unknown */
    bool terminal;
    int64_t started_us;
    int64_t shown_us;
    bool shown;
};

void progress_begin(struct progress *p, const char *job, double total);
/* detail: further words for the line, or NULL. */
void progress_update(struct progress *p, double done, const char *detail);
void progress_end(struct progress *p, double done);

/* Monotonic time in microseconds, for rates. */
int64_t progress_now_us(void);

#endif
