/* The partitions that are read.  One starts where the owner said, and only inside the log. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/bus_kafka.h"

int bus_kafka_topic_of(const struct bus_kafka *b, const char *name)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        if (b->names[i] != NULL && (b->plan.group_topic[i] || b->plan.whole_topic[i]) &&
            strcmp(b->names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

struct bus_part *bus_kafka_part(const struct bus_kafka *b, int topic, int32_t partition)
{
    const struct bus_parts *p = &b->parts[topic];
    return partition >= 0 && partition < p->count ? &p->part[partition] : NULL;
}

/* The entry of a partition, made where there is none; NULL: no memory or too many. */
static struct bus_part *make_part(struct bus_kafka *b, int topic, int32_t partition)
{
    struct bus_parts *p = &b->parts[topic];
    if (partition < 0 || partition >= BUS_PARTITIONS_MAX) {
        return NULL;
    }
    if (partition >= p->count) {
        int32_t count = partition + 16;
        struct bus_part *grown = realloc(p->part, (size_t)count * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + p->count, 0, (size_t)(count - p->count) * sizeof *grown);
        p->part = grown;
        p->count = count;
    }
    return &p->part[partition];
}

bool bus_kafka_start(struct bus_kafka *b, int topic, int32_t partition, int64_t committed,
                     int64_t low, int64_t high)
{
    struct bus_part *p = make_part(b, topic, partition);
    if (p == NULL) {
        bus_kafka_trouble(b, true, "partition %" PRId32 " of \"%s\": at most %d can be read",
                          partition, b->names[topic], BUS_PARTITIONS_MAX);
        return false;
    }
    p->ours = false;
    p->paused = false;
    int64_t start = b->events.assigned != NULL
                        ? b->events.assigned(b->events.ctx, (enum bus_topic)topic, partition,
                                             committed, low, high)
                    : committed >= 0 ? committed
                                     : low;
    bool paused = p->paused; /* the owner may have said so from inside `assigned` */
    *p = (struct bus_part){
        .next = start, .sought = -1, .commit = -1, .ours = true, .paused = paused};
    if (start < low || start > high) {
        p->refused = true;
        bus_kafka_trouble(b, true,
                          "partition %" PRId32 " of \"%s\" was to be read from offset %" PRId64
                          ", but the log holds %" PRId64 " to %" PRId64 ": %" PRId64
                          " messages are gone; if the topic was made anew give `log` another name, "
                          "otherwise restore it or choose to go on from %" PRId64
                          " by committing that offset",
                          partition, b->names[topic], start, low, high,
                          start < low ? low - start : start - high, low);
    }
    return !p->refused;
}
