/* Keeps a trouble that repeats from filling the log: the first line of a kind is written at once,
 * then one after 1 s, 2 s, 4 s .. 60 s, each telling how many it stands for.  A kind is the text
 * without its digits (ports, times and counts differ from one attempt to the next).  Any thread. */
#ifndef FD_BASE_LOG_LIMIT_H
#define FD_BASE_LOG_LIMIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_KINDS 16 /* told apart; the longest silent one gives way */

struct log_limit_kind {
    uint64_t text; /* hash; 0: free */
    int64_t last_us;
    int64_t next_us;
    int64_t step_us;
    uint64_t held;
};

struct log_limit {
    pthread_mutex_t lock;
    struct log_limit_kind kind[LOG_LIMIT_KINDS];
};

#define LOG_LIMIT_INIT                                                                             \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* Whether the line is to be written now.  now_us: monotonic.  out_held: lines of this kind that
 * were held back since the last one written. */
bool log_limit_pass(struct log_limit *l, const char *text, int64_t now_us, uint64_t *out_held);

#endif
