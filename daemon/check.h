/* What `fraudd check` finds: one line for each thing looked at, and for what is wrong the command
 * that mends it.
 *
 *   ok      topic labels: 1 partition, kept for ever
 *   wrong   topic decisions: 4 partitions, transactions has 8
 *   remedy  kafka-topics.sh --bootstrap-server 'localhost:9092' --alter --topic 'decisions' ..
 *
 * The judgement on topics is pure: facts in, lines out. */
#ifndef FD_DAEMON_CHECK_H
#define FD_DAEMON_CHECK_H

#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "daemon/bus.h"
#include "daemon/bus_admin.h"

struct check {
    FILE *out;
    int code; /* of the first thing wrong; 0: nothing */
};

void check_ok(struct check *c, const char *fmt, ...) FD_PRINTF(2, 3);
/* code: an exit code, kept if it is the first. */
void check_wrong(struct check *c, int code, const char *fmt, ...) FD_PRINTF(3, 4);
void check_remedy(struct check *c, const char *fmt, ...) FD_PRINTF(2, 3);

/* Judges the topics of the settings.  facts: [TOPIC_COUNT], as bus_admin_facts filled them. */
void check_topics(struct check *c, const struct conf *conf, const struct bus_topic_facts *facts);

#endif
