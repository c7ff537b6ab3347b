/* Brings a model to the scoring processes: sends it by the notices topic and waits until the
 * brokers have it. */
#ifndef FD_DAEMON_DELIVER_H
#define FD_DAEMON_DELIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

/* c: the daemons' settings.  ERR_NOTFOUND the topic does not exist; ERR_MISMATCH it has several
 * partitions; ERR_UNAVAILABLE not acknowledged within timeout_us (some parts may be on the topic;
 * without the last one they change nothing). */
FD_MUSTCHECK enum err deliver_model(const struct conf *c, const uint8_t *model, size_t len,
                                    int64_t timeout_us, struct errmsg *e);

#endif
