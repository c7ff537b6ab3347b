/* Messages that end whoever looks into them: found by the notes in daemon/hand.h, told to all by a
 * notice (daemon/crash_notice.h), passed by all from then on, dead-lettered with reason `crash`.
 *
 * Notices are read whole before anything is executed, so it does not matter where among entries of
 * the journal a crash was found: whoever executes an entry, now or in a year, passes the message.
 * Of a payment that was journalled before it was found, the world learns what the journal holds, as
 * the processes that follow the partition have learnt it; no card does.  Where that ends processes,
 * too, it ends all of them, and nobody does it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/score_private.h"

/* Where it is in the list, or would be. */
static size_t place_of(const struct score *s, const struct crash *c)
{
    size_t low = 0;
    size_t high = s->crash_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (crash_compare(&s->crash[mid], c) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static bool is_known(const struct score *s, const struct crash *c)
{
    const size_t at = place_of(s, c);
    return at < s->crash_count && crash_compare(&s->crash[at], c) == 0;
}

bool score_known_crash(const struct score *s, enum bus_topic topic, int32_t partition,
                       int64_t offset, enum hand_step step)
{
    const struct crash c = {topic, partition, offset, step};
    const struct crash follow = {topic, partition, offset, HAND_FOLLOW};
    /* what may not be followed may not be looked into, which does that and more */
    return is_known(s, &c) || (step == HAND_LOOK && is_known(s, &follow));
}

bool score_take_crash(struct score *s, const struct bus_message *m)
{
    struct crash c;
    if (!crash_notice_read(m, s->conf.pipeline.log, &c)) {
        return false;
    }
    if (is_known(s, &c)) {
        return true; /* another process has found it, too */
    }
    if (s->crash_count == s->crash_room) {
        const size_t room = 2 * s->crash_room + 64;
        struct crash *grown = realloc(s->crash, room * sizeof *grown);
        if (grown == NULL) {
            score_fail(s, "no_memory", "cannot remember %zu messages that are passed", room);
            return true;
        }
        s->crash = grown;
        s->crash_room = room;
    }
    const size_t at = place_of(s, &c);
    memmove(s->crash + at + 1, s->crash + at, (s->crash_count - at) * sizeof *s->crash);
    s->crash[at] = c;
    s->crash_count++;
    return true;
}

static void tell_all(struct score *s, const struct crash *c)
{
    char line[CRASH_NOTICE_MAX];
    const struct bus_header kind = {"kind", "crash", 5};
    const struct bus_record r = {.topic = TOPIC_NOTICES,
                                 .partition = 0,
                                 .key = "crash",
                                 .key_len = 5,
                                 .value = line,
                                 .value_len = crash_notice_write(c, s->conf.pipeline.log, line),
                                 .headers = &kind,
                                 .header_count = 1};
    s->crash_sent = score_send(s, &r);
    s->mine = *c;
    log_line(FD_LOG_ERROR, "message_passed",
             "topic=%s partition=%" PRId32 " offset=%" PRId64 " step=%s detail=\"it has ended this "
             "process twice: every process passes it from now on, it becomes a dead letter\"",
             c->topic == TOPIC_LABELS ? "labels" : "transactions", c->partition, c->offset,
             hand_step_name(c->step));
}

bool score_crash_waits(struct score *s)
{
    const struct hand_note *n = &s->hand->suspect;
    if (s->hand->condemned == 0) {
        return false;
    }
    const struct crash c = {(enum bus_topic)n->topic, n->partition, n->first,
                            (enum hand_step)n->step};
    if (!followed(&s->notices)) {
        return true; /* it may be told already */
    }
    if (is_known(s, &c)) {
        hand_clear(s->hand);
        return false;
    }
    if (!s->crash_sent) {
        tell_all(s, &c);
    }
    return true;
}

bool score_is_mine(const struct score *s, enum bus_topic topic, int32_t partition, int64_t offset)
{
    return s->crash_sent && s->mine.topic == topic && s->mine.partition == partition &&
           s->mine.offset == offset;
}

void score_refuse_crashed(struct score *s, const struct bus_message *m)
{
    const bool whole = !score_crashed(s, m->topic, m->partition, m->offset, HAND_REFUSE);
    hand_take(s->hand, whole ? HAND_REFUSE : HAND_NOTHING, m->topic, m->partition, m->offset,
              m->offset);
    pipeline_crashed(s->pipeline, m, whole);
    hand_done(s->hand);
}
