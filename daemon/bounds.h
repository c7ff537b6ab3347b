/* The settings that a reload may change and that decisions depend on: the bounds of alerts and
 * declines, and how far ahead a payment may be dated.  They come by the notices topic, so that all
 * processes have the same at the same place of the recorded order, whatever their files say.
 *
 * A notice of kind "settings", words apart by tabs, numbers such that they come back bit for bit:
 *   fraudd-settings 1
 *   by                    score@host   the process whose file it was
 *   why                   reload       or start
 *   alert.budget          12.5         a day and partition
 *   alert.burst           1.5
 *   alert.floor           0.995
 *   decline.probability   2            above 1: never
 *   decline.cost          0
 *   max-future            300000000    microseconds
 * All lines, in this order.  Any thread. */
#ifndef FD_DAEMON_BOUNDS_H
#define FD_DAEMON_BOUNDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/control.h"
#include "model/threshold.h"

#define BOUNDS_TEXT_MAX 700

struct bounds {
    struct threshold_conf alert; /* day_offset_us does not travel: no reload changes it */
    int64_t max_future_us;
};

/* Writes a notice; returns its length. */
size_t bounds_write(const struct bounds *b, const struct control_about *about,
                    char out[BOUNDS_TEXT_MAX]);
/* Reads one; out->alert.day_offset_us stays as it is.  ERR_CORRUPT names the line; ERR_INVALID as
 * threshold_init; out and out_about are unchanged then. */
FD_MUSTCHECK enum err bounds_read(const char *text, size_t len, struct bounds *out,
                                  struct control_about *out_about, struct errmsg *e);
/* ERR_INVALID as threshold_init, or a time below 0. */
FD_MUSTCHECK enum err bounds_check(const struct bounds *b, struct errmsg *e);
/* Of what travels: equal settings have equal ones. */
uint64_t bounds_hash(const struct bounds *b);

#endif
