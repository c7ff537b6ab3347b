/* Waiting for what other processes do, in tests. */
#ifndef FD_TESTS_UNTIL_H
#define FD_TESTS_UNTIL_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"

static inline void nap_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* By how much a bound on time that holds on an idle machine is to be multiplied on this one now. */
static inline double busy_times(void)
{
    double load = 0;
    return getloadavg(&load, 1) == 1 ? 1 + load / (double)sysconf(_SC_NPROCESSORS_ONLN) : 1;
}

/* Waits for a condition; after patience_us it runs `show` and fails the test (cmocka's fail_msg).
 */
#define UNTIL_OR_SHOW(condition, patience_us, show)                                                \
    do {                                                                                           \
        int64_t until_us_ = progress_now_us() + (patience_us);                                     \
        while (!(condition)) {                                                                     \
            if (progress_now_us() > until_us_) {                                                   \
                show;                                                                              \
                fail_msg("never: %s", #condition);                                                 \
            }                                                                                      \
            nap_ms(20);                                                                            \
        }                                                                                          \
    } while (0)

#endif
