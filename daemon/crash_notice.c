#include "daemon/crash_notice.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

/* The next word of a line, up to a space; false: there is none that fits. */
static bool take_word(const char **at, char out[16])
{
    const size_t len = strcspn(*at, " ");
    if (len == 0 || len >= 16 || (*at)[len] != ' ') {
        return false;
    }
    memcpy(out, *at, len);
    out[len] = '\0';
    *at += len + 1;
    return true;
}

/* The next number up to a space, 0 to max. */
static bool take_number(const char **at, int64_t max, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    if (**at < '0' || **at > '9') {
        return false;
    }
    const long long v = strtoll(*at, &end, 10);
    if (errno != 0 || *end != ' ' || v > max) {
        return false;
    }
    *out = v;
    *at = end + 1;
    return true;
}

bool crash_notice_read(const struct bus_message *m, struct slice log, struct crash *out)
{
    char line[CRASH_NOTICE_MAX];
    char step[16];
    char topic[16];
    int64_t partition = 0;
    if (!notice_is(m, "crash") || m->value_len >= sizeof line) {
        return false;
    }
    memcpy(line, m->value, m->value_len);
    line[m->value_len] = '\0';
    const char *at = line;
    if (!take_word(&at, step) || !take_word(&at, topic) ||
        !take_number(&at, INT32_MAX, &partition) || !take_number(&at, INT64_MAX, &out->offset)) {
        return false;
    }
    out->partition = (int32_t)partition;
    return (size_t)(line + m->value_len - at) == log.len && memcmp(at, log.at, log.len) == 0 &&
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
