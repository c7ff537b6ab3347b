/* Entries of the journal, one after the other: the only place where state changes. */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "daemon/schemas.h"
#include "daemon/score_private.h"

#define EXECUTE_MAX 512 /* messages handed to the pipeline at once */

/* ---- rebuilding ---- */

/* Where the stretch of the journal that is repeated begins.  Asked anew each time: retention may
 * have moved the log's beginning since it was first read. */
static int64_t journal_start(const struct score *s)
{
    if (s->bus.offset_at == NULL) {
        return s->journal_low;
    }
    bool all = s->from_low || s->conf.warm_us <= 0 || s->conf.wall_us == NULL;
    int64_t at = s->bus.offset_at(s->bus.self, TOPIC_JOURNAL, 0,
                                  all ? 0 : s->conf.wall_us() - s->conf.warm_us);
    return at > s->journal_low ? at : s->journal_low;
}

static enum err new_lane(struct score *s, int32_t partition, struct errmsg *e)
{
    struct owned *o = &s->owned[partition];
    score_count_owned(o, &s->stats);
    lane_free(o->lane);
    o->lane = NULL;
    inbox_clear(&o->inbox);
    o->from = -1;
    o->emit_from = o->next > o->emit_from ? o->next : o->emit_from; /* sent already: never again */
    o->had = o->follows = false;
    if (!o->fresh && s->bus.offset_at != NULL) { /* retention may have moved it since */
        int64_t low = s->bus.offset_at(s->bus.self, TOPIC_TRANSACTIONS, partition, 0);
        o->low = low > o->low ? low : o->low;
    }
    o->fresh = false;
    return lane_create(s->pipeline, s->world, partition, &o->lane, e);
}

static enum err new_state(struct score *s, struct errmsg *e)
{
    enum err err = score_follow_again(s, e);
    struct feat_world *old = s->world;
    s->world = NULL;
    if (err == ERR_OK) {
        err = feat_world_create(&s->conf.pipeline.params, &s->conf.world, &s->world, e);
    }
    for (int32_t p = 0; err == ERR_OK && p < s->partition_top; p++) {
        if (s->owned[p].lane != NULL) {
            err = new_lane(s, p, e);
        }
    }
    if (old != NULL) {
        score_count_world(old, &s->stats);
        if (err != ERR_OK) { /* some lanes stand in it still */
            for (int32_t p = 0; p < s->partition_top; p++) {
                lane_free(s->owned[p].lane);
                s->owned[p].lane = NULL;
            }
        }
        feat_world_free(old);
    }
    return err;
}

void score_rebuild(struct score *s)
{
    struct errmsg e = {""};
    int64_t past = s->order->position > s->journal_high ? s->order->position : s->journal_high;
    s->rebuild = false;
    recovery_reach(&s->recovery, RECOVERY_FOLLOWED, s->conf.now_us());
    int64_t applied = s->order->position - s->applying.begun; /* that entry is begun anew */
    s->applied = applied > s->applied ? applied : s->applied;
    if (new_state(s, &e) != ERR_OK) {
        score_fail(s, "rebuild_failed", "%s", e.text);
        return;
    }
    journal_order_init(s->order, 0);
    enum keep_loaded kept = s->from_low ? KEEP_NONE : score_keep_load(s, past);
    if (kept == KEEP_SPOILT && new_state(s, &e) != ERR_OK) {
        score_fail(s, "rebuild_failed", "%s", e.text);
        return;
    }
    if (kept != KEEP_LOADED) {
        int64_t start = journal_start(s);
        if (s->under_way > 0 && start > s->applied) {
            start = s->applied; /* what is on its way lies behind it */
        }
        journal_order_init(s->order, start);
    }
    score_keep_begin(s);
    int64_t begin = s->order->position;
    s->rebuilt_until = past;
    s->applying = (struct applying){.begun = false};
    inbox_clear(&s->journal);
    if (s->journal_paused) {
        s->bus.pause(s->bus.self, TOPIC_JOURNAL, 0, false);
        s->journal_paused = false;
    }
    s->bus.seek(s->bus.self, TOPIC_JOURNAL, 0, begin);
    s->stats.rebuilds++;
    log_line(FD_LOG_INFO, "rebuild", "partitions=%d journal_from=%" PRId64 " journal_end=%" PRId64,
             s->stats.partitions, begin, past);
}

void score_go_back(struct score *s)
{
    s->from_low = s->rebuild = true;
}

void score_read_from(struct score *s, int32_t partition, int64_t offset)
{
    struct owned *o = &s->owned[partition];
    const struct bus_message *m = NULL;
    if (o->from >= 0 && offset >= o->from && offset <= o->read) {
        while (inbox_head(&o->inbox, &m) > 0 && m->offset < offset) {
            inbox_take(&o->inbox, 1);
        }
        o->from = offset;
        return;
    }
    if (o->paused) {
        s->bus.pause(s->bus.self, TOPIC_TRANSACTIONS, partition, false);
        o->paused = false;
    }
    inbox_clear(&o->inbox);
    s->bus.seek(s->bus.self, TOPIC_TRANSACTIONS, partition, offset);
    o->from = o->read = offset;
}

bool score_readable(struct score *s, const struct bus_message *m, bool decided)
{
    return s->conf.schemas == NULL ||
           schemas_ready(s->conf.schemas, m->value, m->value_len, decided);
}

/* ---- one part ---- */

static enum journal_fate fate_here(struct score *s, const struct journal_part *part)
{
    struct applying *a = &s->applying;
    const struct journal_run *runs = &s->entry->runs[part->run];
    while (a->offset >= a->run_begin + runs[a->run].length) {
        a->run_begin += runs[a->run++].length;
    }
    return runs[a->run].fate;
}

static void step(struct score *s, enum journal_fate fate)
{
    s->applying.offset++;
    s->applying.tx += fate == JOURNAL_DECIDED;
}

/* From the log's timestamps of messages just decided to now. */
static void time_messages(struct score *s, const struct owned *o, const struct bus_message *m,
                          size_t n)
{
    if (s->conf.wall_us == NULL) {
        return;
    }
    int64_t now_us = s->conf.wall_us();
    for (size_t i = 0; i < n; i++) {
        if (m[i].offset >= o->emit_from && m[i].timestamp_us > 0) {
            int64_t took_us = now_us - m[i].timestamp_us;
            latency_add(&s->message_time, took_us > 0 ? (uint64_t)took_us * 1000 : 0);
        }
    }
}

/* All at once, or one by one where one of them is suspected of having ended us: which it was is
 * known then, and the bytes are the same. */
static void decide(struct score *s, struct owned *o, const struct bus_message *m,
                   const uint8_t *fates, size_t n)
{
    const size_t few =
        hand_suspects(s->hand, m->topic, m->partition, m->offset, m[n - 1].offset) ? 1 : n;
    for (size_t i = 0; i < n; i += few) {
        hand_take(s->hand, HAND_LOOK, m->topic, m->partition, m[i].offset, m[i + few - 1].offset);
        pipeline_messages(s->pipeline, o->lane, m + i, fates + i, few, o->emit_from);
        hand_done(s->hand);
    }
}

static void execute(struct score *s, struct owned *o, const struct bus_message *m,
                    const uint8_t *fates, size_t n)
{
    decide(s, o, m, fates, n);
    for (size_t i = 0; i < n; i++) {
        s->stats.warmed += m[i].offset < o->emit_from;
    }
    time_messages(s, o, m, n);
    o->next = m[n - 1].offset + 1;
    score_note_flight(s, m->partition, o->next);
}

/* The world sees the payment, no card does. */
static void follow_one(struct score *s, int32_t partition, enum journal_fate fate)
{
    const int64_t offset = s->applying.offset;
    if (fate == JOURNAL_DECIDED &&
        !score_crashed(s, TOPIC_TRANSACTIONS, partition, offset, HAND_FOLLOW)) {
        hand_take(s->hand, HAND_FOLLOW, TOPIC_TRANSACTIONS, partition, offset, offset);
        feat_world_follow(s->world, &s->entry->tx[s->applying.tx]);
        hand_done(s->hand);
        s->stats.followed++;
    }
    step(s, fate);
}

static void follow_rest(struct score *s, const struct journal_part *part)
{
    while (s->applying.offset <= part->last) {
        enum journal_fate fate = fate_here(s, part);
        if (fate == JOURNAL_ABSENT) {
            const struct journal_run *run = &s->entry->runs[part->run + s->applying.run];
            int64_t end = s->applying.run_begin + run->length;
            s->applying.offset = end <= part->last ? end : part->last + 1;
        } else {
            follow_one(s, part->partition, fate);
        }
    }
}

/* The log lacks what the entry says was there. */
static void pass_missing(struct score *s, const struct journal_part *part, int64_t until)
{
    struct owned *o = &s->owned[part->partition];
    while (s->applying.offset < until && s->applying.offset <= part->last) {
        enum journal_fate fate = fate_here(s, part);
        if (fate != JOURNAL_ABSENT) {
            s->stats.missing += s->applying.offset >= o->emit_from;
            s->stats.unlearnt += s->applying.offset < o->emit_from;
        }
        follow_one(s, part->partition, fate);
    }
}

/* Whether a message is the next one, has a fate, does not end whoever looks into it, and can be
 * read. */
static bool is_next(struct score *s, const struct journal_part *part, const struct bus_message *m,
                    uint8_t *fate)
{
    const struct applying *a = &s->applying;
    if (a->offset > part->last || m->offset != a->offset) {
        return false;
    }
    *fate = (uint8_t)fate_here(s, part);
    if (*fate == JOURNAL_ABSENT || score_crashed(s, m->topic, m->partition, m->offset, HAND_LOOK)) {
        return false;
    }
    /* what is known to be no payment waits only where its dead letter must say why */
    const bool dead = *fate == JOURNAL_DEAD_LETTER;
    const bool told = s->conf.watch == NULL && m->offset >= s->owned[part->partition].emit_from;
    s->schema_waits = !score_readable(s, m, !dead) && (!dead || told);
    return !s->schema_waits;
}

/* A message that its writer did not see, or that is passed by all. */
static void pass_one(struct score *s, struct owned *o, const struct journal_part *part,
                     const struct bus_message *m)
{
    const enum journal_fate fate = fate_here(s, part);
    if (fate == JOURNAL_ABSENT) {
        step(s, fate);
        return;
    }
    if (m->offset >= o->emit_from) {
        score_refuse_crashed(s, m);
    } else {
        s->stats.warmed++;
    }
    follow_one(s, part->partition, fate);
    o->next = m->offset + 1;
    score_note_flight(s, m->partition, o->next);
}

/* Executes the messages of a part as far as they are here; false: more must come. */
static bool run_part(struct score *s, const struct journal_part *part)
{
    struct owned *o = &s->owned[part->partition];
    struct applying *a = &s->applying;
    const struct bus_message *m = NULL;
    uint8_t fates[EXECUTE_MAX];
    while (a->offset <= part->last) {
        size_t n = inbox_head(&o->inbox, &m);
        size_t k = 0;
        s->schema_waits = false;
        if (n == 0) {
            return false;
        }
        while (k < n && k < EXECUTE_MAX && is_next(s, part, &m[k], &fates[k])) {
            step(s, (enum journal_fate)fates[k++]);
        }
        if (k > 0) {
            execute(s, o, m, fates, k);
            inbox_take(&o->inbox, k);
        } else if (s->schema_waits) {
            return false;
        } else if (m->offset == a->offset) {
            pass_one(s, o, part, m);
            inbox_take(&o->inbox, 1);
        } else if (m->offset < a->offset) {
            inbox_take(&o->inbox, 1);
        } else {
            pass_missing(s, part, m->offset);
        }
    }
    o->from = a->offset > o->from ? a->offset : o->from;
    return true;
}

bool score_lacks_entries(struct score *s, int32_t partition, int64_t next)
{
    struct owned *o = &s->owned[partition];
    if (o->follows || next <= o->emit_from) {
        o->follows = true;
        return false;
    }
    if (s->order->begin > s->journal_low && !s->from_low) {
        score_go_back(s);
        return true;
    }
    score_fail(s, "journal_gone",
               "partition %" PRId32 ": offsets %" PRId64 " to %" PRId64
               " were not decided yet, and the journal's entries about them are gone; raise the "
               "journal's retention, and commit offset %" PRId64 " to go on without them",
               partition, o->emit_from, next - 1, next);
    return true;
}

/* The beginning of a part that retention has taken already: the world learns it, the cards do not.
 * Where it was to be decided that is the end: somebody must know. */
static void pass_gone(struct score *s, const struct journal_part *part)
{
    const struct owned *o = &s->owned[part->partition];
    if (s->applying.offset >= o->low) {
        return;
    }
    if (o->emit_from < o->low && part->last >= o->emit_from) {
        score_fail(s, "messages_gone",
                   "partition %" PRId32 ": offsets from %" PRId64
                   " on were to be decided, but the log begins at %" PRId64
                   "; raise the transactions topic's retention, and commit an offset from there "
                   "on to go on without them",
                   part->partition, o->emit_from, o->low);
    }
    pass_missing(s, part, o->low);
}

/* false: more must come. */
static bool apply_part(struct score *s, const struct journal_part *part,
                       enum journal_verdict verdict)
{
    struct owned *o = &s->owned[part->partition];
    struct applying *a = &s->applying;
    if (a->offset < 0) {
        a->offset = a->run_begin = part->first;
        a->run = 0;
        a->tx = part->tx;
    }
    if (verdict != JOURNAL_COUNTS) {
        s->stats.not_counted++;
    } else if (o->lane == NULL) {
        follow_rest(s, part);
    } else if (score_lacks_entries(s, part->partition, part->first)) {
        return false;
    } else {
        pass_gone(s, part);
        if (a->offset <= part->last) {
            score_read_from(s, part->partition, a->offset);
            if (!run_part(s, part)) {
                return false;
            }
        }
    }
    a->part++;
    a->offset = -1;
    return true;
}

bool score_waits_for(const struct score *s, int32_t partition)
{
    const struct applying *a = &s->applying;
    return a->begun && !s->schema_waits && a->part < s->entry->part_count &&
           s->entry->parts[a->part].partition == partition;
}

/* ---- one entry ---- */

static bool ours(const struct score *s, const struct journal_entry *e)
{
    return memcmp(e->writer.bytes, s->writer.bytes, sizeof s->writer.bytes) == 0;
}

/* The first new decision: how long it took. */
static void tell_recovery(struct score *s)
{
    char text[300];
    recovery_reach(&s->recovery, RECOVERY_DECIDED, s->conf.now_us());
    if (recovery_end(&s->recovery, text, sizeof text)) {
        log_line(FD_LOG_INFO, "recovered", "partitions=%d %s", s->stats.partitions, text);
    }
}

/* An entry of ours came back for the first time: the next may be written.  Were one written before,
 * its writer would not have seen the one under way, and claims could chase each other for ever. */
static void came_back(struct score *s, const struct journal_entry *e)
{
    if (!ours(s, e) || s->under_way == 0 || s->order->position <= s->applied) {
        return;
    }
    s->under_way--;
    if (s->sent_ns != 0) {
        latency_add(&s->journal_time, s->clock_ns() - s->sent_ns);
        s->sent_ns = 0;
    }
}

/* Another one has claimed a partition of ours: it stops here.  If the group still thinks it is ours
 * after a while, so do we. */
static void look_for_losses(struct score *s, const struct journal_entry *e)
{
    struct owned *o = &s->owned[e->partition];
    if (e->kind != JOURNAL_CLAIM || o->lane == NULL) {
        return;
    }
    if (ours(s, e)) {
        o->had = true;
    } else if (o->had && s->order->position > s->rebuilt_until) {
        o->had = false;
        o->claim_us = s->conf.now_us() + SCORE_YIELD_US;
        s->stats.yields++;
        log_line(FD_LOG_WARN, "partition_claimed",
                 "partition=%" PRId32 " detail=\"another process has claimed it; this one stops "
                 "deciding it\"",
                 e->partition);
    }
}

enum begin { BEGUN, PASSED, WAITS };

/* Decodes the entry at the head and judges it.  PASSED: it is none. */
static enum begin begin_entry(struct score *s, const struct bus_message *m)
{
    struct errmsg e;
    enum err err = journal_decode(m->value, m->value_len, s->entry, &e);
    if (err == ERR_CORRUPT) { /* for every reader alike */
        journal_order_pass(s->order, m->offset);
        s->stats.entries_damaged++;
        log_line(FD_LOG_ERROR, "journal_damaged", "offset=%" PRId64, m->offset);
        inbox_take(&s->journal, 1);
        return PASSED;
    }
    if (err != ERR_OK) {
        score_fail(s, "journal_refused", "offset %" PRId64 ": %s", m->offset, e.text);
        return WAITS;
    }
    if (s->entry->kind == JOURNAL_BATCH &&
        !score_follow_to(s, s->entry->labels_next, s->entry->notices_next)) {
        return WAITS;
    }
    journal_order_apply(s->order, m->offset, s->entry, s->applying.verdict);
    const struct positions at = {m->offset, s->order->labels_next, s->order->notices_next};
    pipeline_at(s->pipeline, &at);
    s->applying.begun = true;
    s->applying.part = 0;
    s->applying.offset = -1;
    return BEGUN;
}

static void end_entry(struct score *s)
{
    if (s->entry->kind == JOURNAL_CLAIM) {
        look_for_losses(s, s->entry);
    }
    came_back(s, s->entry);
    if (s->order->position >= s->rebuilt_until) {
        const bool new = ours(s, s->entry) && s->entry->kind == JOURNAL_BATCH &&
                         s->order->position > s->rebuilt_until;
        recovery_pass(&s->recovery, RECOVERY_REPEATED, s->conf.now_us());
        if (new) {
            tell_recovery(s);
        }
    }
    s->applying.begun = false;
    s->stats.entries++;
    inbox_take(&s->journal, 1);
}

void score_apply(struct score *s)
{
    const struct bus_message *m = NULL;
    while (!s->failed && inbox_head(&s->journal, &m) > 0) {
        if (!s->applying.begun) {
            score_keep_between(s, m);
        }
        enum begin begin = s->applying.begun ? BEGUN : begin_entry(s, m);
        if (begin == WAITS) {
            return;
        }
        if (begin == PASSED) {
            continue;
        }
        size_t parts = s->entry->kind == JOURNAL_BATCH ? s->entry->part_count : 0;
        while (s->applying.part < parts) {
            const size_t at = s->applying.part;
            if (!apply_part(s, &s->entry->parts[at], s->applying.verdict[at])) {
                return;
            }
        }
        end_entry(s);
    }
}
