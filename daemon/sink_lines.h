/* COPY lines of what the sink stores: columns in the order of sink_columns (storage/sink_writer.h).
 * Append to the line; the caller sees to its room: three times the message and 4 KiB.  Any thread.
 */
#ifndef FD_DAEMON_SINK_LINES_H
#define FD_DAEMON_SINK_LINES_H

#include <stddef.h>

#include "daemon/bus.h"
#include "daemon/decision.h"
#include "daemon/wire.h"
#include "features/tx.h"

/* A line that grows in the caller's buffer. */
struct sink_line {
    char *start;
    size_t len;
};

void sink_transaction_line(struct sink_line *l, struct slice log, const struct bus_message *m,
                           const struct tx *t, const struct tx_strings *n);
/* With what it was computed from, where the message's headers carry it. */
void sink_decision_line(struct sink_line *l, const struct bus_message *m, const struct decision *d);
/* body: the message, kept as it is. */
void sink_alert_line(struct sink_line *l, struct slice body, const struct decision *d,
                     const struct tx *t, const struct tx_strings *n);
void sink_label_line(struct sink_line *l, struct slice body, const struct label *b,
                     const struct label_strings *n);

#endif
