/* Notices of kind "crash": a message that ended processes which looked into it, and is passed by
 * all from now on.  Header kind = "crash"; the value is one line of text,
 *   STEP TOPIC PARTITION OFFSET LOG
 * such as "look transactions 3 4711 transactions-1": what of it is left out (daemon/hand.h), whose
 * message it is, in which incarnation of the topics (the setting `log`). */
#ifndef FD_DAEMON_CRASH_NOTICE_H
#define FD_DAEMON_CRASH_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"
#include "daemon/hand.h"
#include "daemon/wire.h"

struct crash {
    enum bus_topic topic; /* transactions or labels */
    int32_t partition;
    int64_t offset;
    enum hand_step step;
};

#define CRASH_NOTICE_MAX (WIRE_LOG_MAX + 80)

/* Writes the line; out [CRASH_NOTICE_MAX]. */
size_t crash_notice_write(const struct crash *c, struct slice log, char *out);
/* Whether a message of the notices topic names one of this log. */
bool crash_notice_read(const struct bus_message *m, struct slice log, struct crash *out);

/* Rising: by topic, partition, offset, step.  Negative, 0, positive. */
int crash_compare(const struct crash *a, const struct crash *b);

#endif
