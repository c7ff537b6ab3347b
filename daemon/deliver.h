/* Brings notices to the scoring processes: sends them by the notices topic and waits until the
 * brokers have them. */
#ifndef FD_DAEMON_DELIVER_H
#define FD_DAEMON_DELIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

/* One notice; kinds "model" and "shadow" travel in parts, others as one message. */
struct deliver_notice {
    const char *kind;
    const uint8_t *bytes; /* borrowed */
    size_t len;
};

/* Sends them in order.  c: the daemons' settings.  ERR_NOTFOUND the topic does not exist;
 * ERR_MISMATCH it has several partitions; ERR_UNAVAILABLE not acknowledged within timeout_us (some
 * may be on the topic; of one in parts, without the last one they change nothing). */
FD_MUSTCHECK enum err deliver_notices(const struct conf *c, const struct deliver_notice *notices,
                                      size_t n, int64_t timeout_us, struct errmsg *e);
/* kind: "model" or "shadow". */
FD_MUSTCHECK enum err deliver_model(const struct conf *c, const char *kind, const uint8_t *model,
                                    size_t len, int64_t timeout_us, struct errmsg *e);

#endif
