#include "daemon/crash_notice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/notice.h"

static const struct {
    const char *name;
    enum bus_topic topic;
} TOPICS[] = {{"transactions", TOPIC_TRANSACTIONS}, {"labels", TOPIC_LABELS}};

size_t crash_notice_write(const struct crash *c, struct slice log, char *out)
{
    const char *topic = TOPICS[c->topic == TOPIC_LABELS].name;
    int n = snprintf(out, CRASH_NOTICE_MAX, "%s %s %" PRId32 " %" PRId64 " %.*s",
                     hand_step_name(c->step), topic, c->partition, c->offset, (int)log.len, log.at);
    return (size_t)n;
}

static bool find_topic(const char *name, enum bus_topic *out)
{
    for (size_t i = 0; i < sizeof TOPICS / sizeof *TOPICS; i++) {
        if (strcmp(name, TOPICS[i].name) == 0) {
            *out = TOPICS[i].topic;
            return true;
        }
    }
    return false;
}

static bool find_step(const char *name, enum hand_step *out)
{
    for (int s = HAND_LOOK; s < HAND_STEP_COUNT; s++) {
        if (strcmp(name, hand_step_name((enum hand_step)s)) == 0) {
            *out = (enum hand_step)s;
            return true;
        }
    }
    return false;
}

bool crash_notice_read(const struct bus_message *m, struct slice log, struct crash *out)
{
    char line[CRASH_NOTICE_MAX];
    char step[16];
    char topic[16];
    int at = 0;
    if (!notice_is(m, "crash") || m->value_len >= sizeof line) {
        return false;
    }
    memcpy(line, m->value, m->value_len);
    line[m->value_len] = '\0';
    if (sscanf(line, "%15s %15s %9" SCNd32 " %18" SCNd64 " %n", step, topic, &out->partition,
               &out->offset, &at) != 4 ||
        at == 0) {
        return false;
    }
    return strlen(line) == m->value_len && m->value_len - (size_t)at == log.len &&
           memcmp(line + at, log.at, log.len) == 0 && out->partition >= 0 && out->offset >= 0 &&
           find_topic(topic, &out->topic) && find_step(step, &out->step);
}

int crash_compare(const struct crash *a, const struct crash *b)
{
    const int64_t x[] = {(int64_t)a->topic, a->partition, a->offset, (int64_t)a->step};
    const int64_t y[] = {(int64_t)b->topic, b->partition, b->offset, (int64_t)b->step};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}
