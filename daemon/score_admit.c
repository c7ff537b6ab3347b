/* What we write to the journal: claims of the partitions the group gave us, and batches of their
 * messages.  One thing is under way at a time, so a batch is made from state that knows everything
 * before it. */
#include <inttypes.h>

#include "base/log.h"
#include "daemon/score_private.h"

static bool write_entry(struct score *s)
{
    size_t len = journal_encode(s->writing, s->bytes);
    const struct bus_record r = {
        .topic = TOPIC_JOURNAL, .partition = 0, .value = s->bytes, .value_len = len};
    if (!score_send(s, &r)) {
        return false;
    }
    s->under_way++;
    s->sent_ns = s->clock_ns != NULL ? s->clock_ns() : 0;
    return true;
}

/* A partition whose position no entry tells, though the journal is older than what was read of it:
 * begin from further back. */
static bool must_go_back(struct score *s, int32_t partition)
{
    if (s->order->turns[partition].placed != 0 || s->order->begin <= s->journal_low ||
        s->from_low) {
        return false;
    }
    score_go_back(s);
    return true;
}

/* Claims what is ours by the group and not by the journal; false: something is to wait for. */
static bool claim(struct score *s)
{
    bool all = true;
    const int64_t now_us = s->conf.now_us();
    for (int32_t p = 0; p < s->partition_top; p++) {
        struct owned *o = &s->owned[p];
        if (o->lane == NULL || now_us < o->claim_us ||
            journal_order_owns(s->order, &s->writer, p)) {
            continue;
        }
        const struct journal_turn *t = &s->order->turns[p];
        if (must_go_back(s, p) || (t->placed != 0 && score_lacks_entries(s, p, t->next))) {
            return false;
        }
        journal_claim(s->writing, &s->writer, s->order->position - 1, p,
                      t->placed != 0 ? t->next : o->learn);
        if (!write_entry(s)) {
            return false;
        }
        all = false;
        log_line(FD_LOG_INFO, "claim", "partition=%" PRId32 " next=%" PRId64, p,
                 t->placed != 0 ? t->next : o->learn);
    }
    return all;
}

/* Whether messages of a partition wait to be put into a batch. */
static bool has_messages(struct score *s, int32_t partition)
{
    const struct owned *o = &s->owned[partition];
    const int64_t next = s->order->turns[partition].next;
    if (o->lane == NULL || !journal_order_owns(s->order, &s->writer, partition)) {
        return false;
    }
    /* a claim may be older than the log: what is gone is absent */
    score_read_from(s, partition, next > o->low ? next : o->low);
    const struct bus_message *m = NULL;
    return inbox_head(&o->inbox, &m) > 0 && score_readable(s, m, false);
}

static enum journal_fate look_at(struct score *s, const struct owned *o,
                                 const struct bus_message *m, struct tx *out)
{
    if (score_crashed(s, m->topic, m->partition, m->offset, HAND_LOOK)) {
        return JOURNAL_DEAD_LETTER;
    }
    hand_take(s->hand, HAND_LOOK, m->topic, m->partition, m->offset, m->offset);
    enum journal_fate fate = pipeline_admit(s->pipeline, o->lane, m, out);
    hand_done(s->hand);
    return fate;
}

static void add_part(struct score *s, int32_t partition, size_t max)
{
    const struct owned *o = &s->owned[partition];
    struct inbox_at at = {0};
    const struct bus_message *m = inbox_next(&o->inbox, &at);
    journal_part(s->writing, partition, s->order->turns[partition].next);
    for (size_t i = 0; i < max && m != NULL; i++) {
        if (i > 0 && !score_readable(s, m, false)) { /* the first one was asked about just now */
            return;
        }
        struct tx t;
        enum journal_fate fate = look_at(s, o, m, &t);
        if (!journal_add(s->writing, m->offset, fate, fate == JOURNAL_DECIDED ? &t : NULL)) {
            return;
        }
        m = inbox_next(&o->inbox, &at);
    }
}

void score_admit(struct score *s)
{
    if (s->conf.watch != NULL || s->failed || s->under_way > 0 || s->unsent != UINT64_MAX ||
        s->rebuild || s->applying.begun || s->journal.count > 0 ||
        s->order->position < s->rebuilt_until || !followed(&s->labels) || !followed(&s->notices) ||
        !score_start_settled(s) || !claim(s)) {
        return;
    }
    size_t waiting = 0;
    for (int32_t p = 0; p < s->partition_top; p++) {
        waiting += has_messages(s, p);
    }
    /* a model is switched where nothing comes, too: whoever promoted it looks whether it is */
    if (waiting == 0 && (s->stats.partitions == 0 || s->notices.next <= s->order->notices_next)) {
        return;
    }
    size_t room =
        s->conf.batch_max < JOURNAL_MESSAGES_MAX ? s->conf.batch_max : JOURNAL_MESSAGES_MAX;
    size_t share = waiting > 0 && room / waiting > 0 ? room / waiting : 1;
    journal_batch(s->writing, &s->writer, s->order->position - 1, s->labels.next, s->notices.next);
    pipeline_admit_begin(s->pipeline);
    for (int32_t p = 0; p < s->partition_top && s->writing->message_count < room; p++) {
        if (has_messages(s, p)) {
            add_part(s, p, share);
        }
    }
    s->batch++;
    s->stats.batches++;
    (void)write_entry(s);
}
