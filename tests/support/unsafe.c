#include "tests/support/unsafe.h"

#include <string.h>

#include "daemon/score_keep_private.h"

const char *const SAFEGUARD_NAMES[SAFE_COUNT] = {
    [SAFE_ALL] = "none",          [SAFE_OWNER] = "owner",
    [SAFE_NEXT] = "next",         [SAFE_POSITIONS] = "positions",
    [SAFE_WAIT] = "wait",         [SAFE_REBUILD] = "rebuild",
    [SAFE_AGAIN] = "again",       [SAFE_FOLLOW] = "follow",
    [SAFE_FATES] = "fates",       [SAFE_REPEATS] = "repeats",
    [SAFE_READ_ACKED] = "read",   [SAFE_ACKS] = "acks",
    [SAFE_QUEUE] = "queue",       [SAFE_SEEK] = "seek",
    [SAFE_SETTINGS] = "settings", [SAFE_START] = "start",
    [SAFE_SYNC] = "sync",         [SAFE_SYNC_DIR] = "folder",
    [SAFE_BETWEEN] = "between",   [SAFE_COMMITTED] = "committed",
    [SAFE_ALIKE] = "alike",       [SAFE_CRASH] = "crash",
};

const char *const SAFEGUARD_TEXTS[SAFE_COUNT] = {
    [SAFE_ALL] = "nothing is removed",
    [SAFE_OWNER] = "a part counts only if its writer owns the partition",
    [SAFE_NEXT] = "a part counts only if it begins where the partition's last one ended",
    [SAFE_POSITIONS] = "labels and notices are in force from the recorded positions on",
    [SAFE_WAIT] = "an entry waits until the labels and notices that it names are read",
    [SAFE_REBUILD] = "a partition that comes is learnt before it is decided",
    [SAFE_AGAIN] = "state made anew is given the labels and models of before again",
    [SAFE_FOLLOW] = "payments of other processes' partitions change the world, too",
    [SAFE_FATES] = "what was recorded of a message is done, not what would be found now",
    [SAFE_REPEATS] = "a payment that came before gets its answer again",
    [SAFE_READ_ACKED] = "an entry is executed only once all replicas have it",
    [SAFE_ACKS] = "offsets are committed after acknowledgement",
    [SAFE_QUEUE] = "a record that finds the queue full waits, it is not dropped",
    [SAFE_SEEK] = "a partition is read from where the journal says it goes on",
    [SAFE_SETTINGS] = "settings are in force from the recorded positions on",
    [SAFE_START] = "nothing is decided before the start's settings and model are told",
    [SAFE_SYNC] = "a checkpoint is synced before it has its name",
    [SAFE_SYNC_DIR] = "a checkpoint's name is synced before it is reported",
    [SAFE_BETWEEN] = "state is written between two entries of the journal",
    [SAFE_COMMITTED] = "state is used where all that it holds as decided is committed",
    [SAFE_ALIKE] = "parts of a state are of one position of the journal",
    [SAFE_CRASH] = "a message that ended processes is passed by all",
};

static enum safeguard removed;
static void (*plant_fault)(void *ctx, const void *of);
static void *plant_ctx;

void unsafe_without(enum safeguard which)
{
    removed = which;
}

void unsafe_bus(struct bus_mem *m, enum safeguard which)
{
    if (which == SAFE_READ_ACKED) {
        bus_mem_break(m, PROMISE_READ_ACKED);
    } else if (which == SAFE_ACKS) {
        bus_mem_break(m, PROMISE_ACKS);
    } else if (which == SAFE_QUEUE) {
        bus_mem_break(m, PROMISE_QUEUE);
    } else if (which == SAFE_SEEK) {
        bus_mem_break(m, PROMISE_SEEK);
    }
}

void unsafe_plant(void (*fault)(void *ctx, const void *of), void *ctx)
{
    plant_fault = fault;
    plant_ctx = ctx;
}

/* Meets what is planted in a message. */
static void meet(const struct bus_message *m, const char *plant, const void *of)
{
    if (plant_fault != NULL && m->value_len > 0 &&
        memmem(m->value, m->value_len, plant, strlen(plant)) != NULL) {
        plant_fault(plant_ctx, of);
    }
}

/* What the linker calls instead of a function, and the function itself. */
/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
void __real_journal_order_apply(struct journal_order *o, int64_t offset,
                                const struct journal_entry *e, enum journal_verdict *out);
void __wrap_journal_order_apply(struct journal_order *o, int64_t offset,
                                const struct journal_entry *e, enum journal_verdict *out);
bool __real_score_follow_to(struct score *s, int64_t labels_next, int64_t notices_next);
bool __wrap_score_follow_to(struct score *s, int64_t labels_next, int64_t notices_next);
enum err __real_score_follow_again(struct score *s, struct errmsg *e);
enum err __wrap_score_follow_again(struct score *s, struct errmsg *e);
void __real_score_rebuild(struct score *s);
void __wrap_score_rebuild(struct score *s);
void __real_feat_world_follow(struct feat_world *w, const struct tx *t);
void __wrap_feat_world_follow(struct feat_world *w, const struct tx *t);
void __real_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from);
void __wrap_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from);
enum journal_fate __real_pipeline_admit(struct pipeline *p, const struct lane *l,
                                        const struct bus_message *m, struct tx *out_tx);
enum journal_fate __wrap_pipeline_admit(struct pipeline *p, const struct lane *l,
                                        const struct bus_message *m, struct tx *out_tx);
bool __real_pipeline_label_message(struct pipeline *p, const struct bus_message *m, bool emit,
                                   struct label *out);
bool __wrap_pipeline_label_message(struct pipeline *p, const struct bus_message *m, bool emit,
                                   struct label *out);
bool __real_score_known_crash(const struct score *s, enum bus_topic topic, int32_t partition,
                              int64_t offset, enum hand_step step);
bool __wrap_score_known_crash(const struct score *s, enum bus_topic topic, int32_t partition,
                              int64_t offset, enum hand_step step);

void __real_score_settings_to(struct score *s, int64_t notices_next);
void __wrap_score_settings_to(struct score *s, int64_t notices_next);
bool __real_score_start_settled(struct score *s);
bool __wrap_score_start_settled(struct score *s);

bool __real_score_keep_may_write(const struct score *s);
bool __wrap_score_keep_may_write(const struct score *s);
bool __real_score_keep_is_committed(const struct score *s);
bool __wrap_score_keep_is_committed(const struct score *s);
size_t __real_score_keep_alike(const struct score_keep *k, size_t first);
size_t __wrap_score_keep_alike(const struct score_keep *k, size_t first);

/* A part's verdict is given up: it counts, and moves the partition's next offset. */
static void count_anyway(struct journal_order *o, const struct journal_part *p,
                         enum journal_verdict *verdict)
{
    o->turns[p->partition].next = p->last + 1;
    *verdict = JOURNAL_COUNTS;
}

void __wrap_journal_order_apply(struct journal_order *o, int64_t offset,
                                const struct journal_entry *e, enum journal_verdict *out)
{
    __real_journal_order_apply(o, offset, e, out);
    for (size_t i = 0; e->kind == JOURNAL_BATCH && i < e->part_count; i++) {
        const struct journal_part *p = &e->parts[i];
        const struct journal_turn *t = &o->turns[p->partition];
        /* of a stranger's parts those that fit, so that only the owner is not asked after */
        if ((removed == SAFE_OWNER && out[i] == JOURNAL_NOT_OWNER && p->first == t->next) ||
            (removed == SAFE_NEXT && out[i] == JOURNAL_NOT_NEXT)) {
            count_anyway(o, p, &out[i]);
        }
    }
}

bool __wrap_score_follow_to(struct score *s, int64_t labels_next, int64_t notices_next)
{
    if (removed == SAFE_POSITIONS && labels_next <= s->labels.next &&
        notices_next <= s->notices.next) {
        labels_next = s->labels.next;
        notices_next = s->notices.next;
    }
    if (removed == SAFE_WAIT) {
        labels_next = labels_next < s->labels.next ? labels_next : s->labels.next;
        notices_next = notices_next < s->notices.next ? notices_next : s->notices.next;
    }
    return __real_score_follow_to(s, labels_next, notices_next);
}

enum err __wrap_score_follow_again(struct score *s, struct errmsg *e)
{
    return removed == SAFE_AGAIN ? ERR_OK : __real_score_follow_again(s, e);
}

void __wrap_score_settings_to(struct score *s, int64_t notices_next)
{
    __real_score_settings_to(s, removed == SAFE_SETTINGS ? s->notices.next : notices_next);
}

bool __wrap_score_start_settled(struct score *s)
{
    return removed == SAFE_START || __real_score_start_settled(s);
}

bool __wrap_score_keep_may_write(const struct score *s)
{
    return __real_score_keep_may_write(s) ||
           (removed == SAFE_BETWEEN && s->keep->writer != NULL && !s->rebuild && !s->failed &&
            (uint64_t)s->order->position > s->keep->written);
}

bool __wrap_score_keep_is_committed(const struct score *s)
{
    return removed == SAFE_COMMITTED || __real_score_keep_is_committed(s);
}

size_t __wrap_score_keep_alike(const struct score_keep *k, size_t first)
{
    return removed == SAFE_ALIKE ? k->candidate_count : __real_score_keep_alike(k, first);
}

void __wrap_score_rebuild(struct score *s)
{
    if (removed == SAFE_REBUILD && s->stats.rebuilds > 0) {
        s->rebuild = false;
        return;
    }
    __real_score_rebuild(s);
}

void __wrap_feat_world_follow(struct feat_world *w, const struct tx *t)
{
    if (plant_fault != NULL && t->mcc == PLANT_MCC) {
        plant_fault(plant_ctx, w);
    }
    if (removed != SAFE_FOLLOW) {
        __real_feat_world_follow(w, t);
    }
}

void __wrap_pipeline_messages(struct pipeline *p, struct lane *l, const struct bus_message *m,
                              const uint8_t *fate, size_t n, int64_t emit_from)
{
    for (size_t i = 0; i < n; i++) {
        meet(&m[i], "\"plant\":\"execute\"", p);
        meet(&m[i], "\"plant\":\"follow\"", p);
    }
    __real_pipeline_messages(p, l, m, removed == SAFE_FATES ? NULL : fate, n, emit_from);
}

enum journal_fate __wrap_pipeline_admit(struct pipeline *p, const struct lane *l,
                                        const struct bus_message *m, struct tx *out_tx)
{
    meet(m, "\"plant\":\"admit\"", p);
    enum journal_fate fate = __real_pipeline_admit(p, l, m, out_tx);
    return removed == SAFE_REPEATS && fate == JOURNAL_REPEAT ? JOURNAL_DECIDED : fate;
}

bool __wrap_pipeline_label_message(struct pipeline *p, const struct bus_message *m, bool emit,
                                   struct label *out)
{
    meet(m, "\"plant\":\"label\"", p);
    return __real_pipeline_label_message(p, m, emit, out);
}

bool __wrap_score_known_crash(const struct score *s, enum bus_topic topic, int32_t partition,
                              int64_t offset, enum hand_step step)
{
    return removed != SAFE_CRASH && __real_score_known_crash(s, topic, partition, offset, step);
}
/* NOLINTEND(bugprone-reserved-identifier) */
