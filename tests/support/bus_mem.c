#include "tests/support/bus_mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tests/support/bus_mem_private.h"

static void *must(void *p)
{
    assert(p != NULL);
    return p;
}

static void *copy(const void *from, size_t len)
{
    char *to = must(malloc(len + 1));
    if (len > 0) {
        memcpy(to, from, len);
    }
    to[len] = '\0';
    return to;
}

struct bus_mem *bus_mem_create(void)
{
    struct bus_mem *m = must(calloc(1, sizeof *m));
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int p = 0; p < BUS_MEM_PARTITIONS; p++) {
            m->log[t][p].committed = -1;
        }
    }
    return m;
}

void bus_mem_drop(struct mem_record *r)
{
    free(r->key);
    free(r->value);
    for (size_t h = 0; h < r->header_count; h++) {
        union {
            const void *in;
            void *out;
        } name = {.in = r->headers[h].name}, value = {.in = r->headers[h].value};
        free(name.out);
        free(value.out);
    }
}

void bus_mem_free(struct bus_mem *m)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int p = 0; p < BUS_MEM_PARTITIONS; p++) {
            struct mem_log *l = &m->log[t][p];
            for (size_t i = 0; i < l->count; i++) {
                bus_mem_drop(&l->record[i]);
            }
            free(l->record);
        }
    }
    for (size_t i = 0; i < m->travel_count; i++) {
        bus_mem_drop(&m->travel[i].record);
    }
    free(m);
}

struct mem_record *bus_mem_put(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                               const struct mem_record *r)
{
    assert(partition >= 0 && partition < BUS_MEM_PARTITIONS);
    struct mem_log *l = &m->log[topic][partition];
    if (l->count == l->room) {
        l->room = l->room * 2 + 64;
        l->record = must(realloc(l->record, l->room * sizeof *l->record));
    }
    struct mem_record *to = &l->record[l->count++];
    *to = *r;
    return to;
}

static void copy_headers(struct mem_record *to, const struct bus_header *from, size_t n)
{
    to->header_count = n;
    for (size_t i = 0; i < n; i++) {
        to->headers[i] = (struct bus_header){copy(from[i].name, strlen(from[i].name)),
                                             copy(from[i].value, from[i].len), from[i].len};
    }
}

int64_t bus_mem_append(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                       const struct bus_message *message)
{
    struct mem_record r = {.key =
                               message->key != NULL ? copy(message->key, message->key_len) : NULL,
                           .key_len = message->key_len,
                           .value = copy(message->value, message->value_len),
                           .value_len = message->value_len,
                           .timestamp_us = message->timestamp_us,
                           .acked = true};
    copy_headers(&r, message->headers, message->header_count);
    (void)bus_mem_put(m, topic, partition, &r);
    return (int64_t)m->log[topic][partition].count - 1;
}

void bus_mem_append_copy(struct bus_mem *m, enum bus_topic topic, int32_t partition,
                         const struct mem_record *r)
{
    struct mem_record to = *r;
    to.key = r->key != NULL ? copy(r->key, r->key_len) : NULL;
    to.value = copy(r->value, r->value_len);
    to.acked = true;
    copy_headers(&to, r->headers, r->header_count);
    (void)bus_mem_put(m, topic, partition, &to);
}

int64_t bus_mem_low(const struct bus_mem *m, enum bus_topic topic, int32_t partition)
{
    return m->log[topic][partition].low;
}

void bus_mem_trim(struct bus_mem *m, enum bus_topic topic, int32_t partition, int64_t low)
{
    m->log[topic][partition].low = low;
}

size_t bus_mem_size(const struct bus_mem *m, enum bus_topic topic, int32_t partition)
{
    return m->log[topic][partition].count;
}

const struct mem_record *bus_mem_record(const struct bus_mem *m, enum bus_topic topic,
                                        int32_t partition, size_t i)
{
    assert(i < m->log[topic][partition].count);
    return &m->log[topic][partition].record[i];
}

int64_t bus_mem_committed(const struct bus_mem *m, enum bus_topic topic, int32_t partition)
{
    return m->log[topic][partition].committed;
}

void bus_mem_set_committed(struct bus_mem *m, enum bus_topic topic, int32_t partition, int64_t next)
{
    m->log[topic][partition].committed = next;
}

/* ---- one process's bus ---- */

/* Whether the call has an effect: begins every function of the bus. */
static bool alive(struct client *c)
{
    if (c->at_call != NULL && c->calls_left-- == 0) {
        void (*fn)(void *ctx) = c->at_call;
        c->at_call = NULL;
        fn(c->at_call_ctx);
    }
    return !c->stunned;
}

static bool breaks(const struct client *c, enum bus_mem_promise promise)
{
    return (c->m->broken & (1U << promise)) != 0;
}

/* After the last message that readers see. */
static int64_t high_of(const struct mem_log *l)
{
    size_t high = 0;
    while (high < l->count && l->record[high].acked) {
        high++;
    }
    return (int64_t)high;
}

static void start(struct client *c, enum bus_topic topic, int32_t partition, int64_t committed)
{
    const struct mem_log *l = &c->m->log[topic][partition];
    struct mem_part *p = &c->part[topic][partition];
    int64_t high = high_of(l);
    p->paused = p->fenced = false;
    const int64_t low = l->low;
    int64_t next = c->events.assigned(c->events.ctx, topic, partition, committed, low, high);
    if (next < l->low || next > high) {
        c->fell = l->low > low; /* while it was being asked */
        c->events.trouble(c->events.ctx, true, "the start lies outside the log");
        return;
    }
    p->ours = true;
    p->next = next;
}

static void do_event(struct client *c, const struct mem_event *e)
{
    struct mem_part *p = &c->part[e->topic][e->partition];
    switch (e->what) {
    case EVENT_ASSIGN:
        c->counters.rebalances++;
        start(c, e->topic, e->partition, c->m->log[e->topic][e->partition].committed);
        break;
    case EVENT_REVOKE:
        c->counters.rebalances++;
        if (p->ours) {
            c->events.revoked(c->events.ctx, e->topic, e->partition, e->flag);
            p->ours = false;
        }
        break;
    case EVENT_TROUBLE:
        c->events.trouble(c->events.ctx, e->flag, e->text);
        break;
    }
}

/* Of at most `max` messages, how many a poll hands out. */
static size_t thinned(const struct client *c, size_t max)
{
    if (c->thin == NULL) {
        return max;
    }
    uint64_t kind = rng_below(c->thin, 3);
    size_t few = (size_t)rng_below(c->thin, 5);
    return kind == 0 ? 0 : kind == 1 && few < max ? few : max;
}

static size_t take(struct client *c, enum bus_topic topic, int32_t partition,
                   struct bus_message *out, size_t max)
{
    struct mem_part *p = &c->part[topic][partition];
    const struct mem_log *l = &c->m->log[topic][partition];
    size_t n = 0;
    if (!p->ours || p->paused || c->held[topic]) {
        return 0;
    }
    max = thinned(c, max);
    if (p->next < l->low) {
        c->fell = true;
        c->events.trouble(c->events.ctx, true, "the offset is no longer in the log");
        return 0;
    }
    for (; n < max && p->next < (int64_t)l->count; p->next++) {
        const struct mem_record *r = &l->record[p->next];
        if (!r->acked && !r->lost && !breaks(c, PROMISE_READ_ACKED)) {
            break; /* readers see what all replicas have */
        }
        if (r->lost) {
            continue;
        }
        struct bus_message *m = &out[n++];
        *m = (struct bus_message){.topic = topic,
                                  .partition = partition,
                                  .offset = p->next,
                                  .timestamp_us = r->timestamp_us,
                                  .key = r->key,
                                  .key_len = r->key_len,
                                  .value = r->value,
                                  .value_len = r->value_len,
                                  .header_count = r->header_count};
        memcpy(m->headers, r->headers, r->header_count * sizeof m->headers[0]);
    }
    return n;
}

static size_t mem_poll(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    struct client *c = self;
    size_t n = 0;
    (void)timeout_ms; /* nothing comes while we wait */
    if (!alive(c)) {
        return 0;
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->plan.whole_topic[t] && !c->begun[t] && !c->held[t]) {
            c->begun[t] = true;
            start(c, (enum bus_topic)t, 0, -1);
        }
    }
    for (size_t i = 0; i < c->event_count; i++) {
        do_event(c, &c->event[i]);
    }
    c->event_count = 0;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->plan.whole_topic[t] && p < BUS_MEM_PARTITIONS; p++) {
            n += take(c, (enum bus_topic)t, p, out + n, max - n);
        }
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t i = 0; c->plan.group_topic[t] && !c->group_held && i < BUS_MEM_PARTITIONS;
             i++) {
            n += take(c, (enum bus_topic)t, (c->turn + i) % BUS_MEM_PARTITIONS, out + n, max - n);
        }
    }
    c->turn = (c->turn + 1) % BUS_MEM_PARTITIONS;
    c->counters.consumed += n;
    return n;
}

static void mem_hold(void *self, bool held)
{
    struct client *c = self;
    c->group_held = held;
}

static void mem_release(void *self)
{
    (void)self; /* the log keeps its messages */
}

void bus_mem_acknowledge(struct client *c, struct mem_pending *p)
{
    p->arrived = true;
    if (p->travels) {
        return;
    }
    struct mem_record *r = &c->m->log[p->topic][p->partition].record[p->at];
    if (!r->acked) {
        c->counters.acked++;
        r->acked = true;
        if (c->m->watch.acked != NULL) {
            c->m->watch.acked(c->m->watch.ctx, p->topic, r);
        }
    }
}

void bus_mem_forget_acked(struct client *c)
{
    while (c->pending_count > 0 && c->pending[c->pending_first].arrived) {
        c->pending_first = (c->pending_first + 1) % PENDING_MAX;
        c->pending_count--;
    }
}

/* The oldest that is in the log. */
static void ack_oldest(struct client *c)
{
    bus_mem_acknowledge(c, &c->pending[c->pending_first]);
    bus_mem_forget_acked(c);
}

/* Whether the oldest is in the log. */
static bool can_ack(const struct client *c)
{
    return c->pending_count > 0 && !c->pending[c->pending_first].travels;
}

static void ack_all(struct client *c)
{
    while (can_ack(c)) {
        ack_oldest(c);
    }
}

/* The record as it will lie in the log. */
static struct mem_record made_of(const struct bus_mem *m, const struct bus_record *r)
{
    struct mem_record to = {.key = r->key != NULL ? copy(r->key, r->key_len) : NULL,
                            .key_len = r->key_len,
                            .value = copy(r->value, r->value_len),
                            .value_len = r->value_len,
                            .timestamp_us = r->timestamp_us != 0 ? r->timestamp_us : m->now_us,
                            .batch = r->batch};
    copy_headers(&to, r->headers, r->header_count);
    return to;
}

/* Sends a record of the journal on its way. */
static void travel(struct client *c, const struct mem_record *r)
{
    struct bus_mem *m = c->m;
    assert(m->travel_count < TRAVEL_MAX);
    m->travel[m->travel_count++] =
        (struct mem_travel){.record = *r, .writer = c->number, .sequence = c->sent};
    m->travel[m->travel_count - 1].record.acked = true;
}

static enum err mem_send(void *self, const struct bus_record *r, struct errmsg *e)
{
    struct client *c = self;
    if (!alive(c)) {
        return ERR_OK;
    }
    bool travels = r->topic == TOPIC_JOURNAL && c->journal_travels;
    bool prompt = r->topic == TOPIC_JOURNAL && !c->hold_journal && !travels;
    if (c->full > 0 || (c->room == 0 && !prompt) || c->pending_count == PENDING_MAX) {
        c->full -= c->full > 0;
        return breaks(c, PROMISE_QUEUE) ? ERR_OK : err_set(e, ERR_FULL, "the queue is full");
    }
    if (c->refuse[r->topic] != ERR_OK) {
        return err_set(e, c->refuse[r->topic], "refused by the test");
    }
    c->room -= c->room != SIZE_MAX && !prompt;
    int32_t partition = r->partition;
    if (partition < 0) {
        partition = (int32_t)(hash_bytes(r->key, r->key_len, 0) % BUS_MEM_PARTITIONS);
    }
    struct mem_record made = made_of(c->m, r);
    c->counters.produced++;
    if (prompt) {
        made.acked = true;
        c->counters.acked++;
        (void)bus_mem_put(c->m, r->topic, partition, &made);
        return ERR_OK;
    }
    if (travels) {
        travel(c, &made);
    } else {
        (void)bus_mem_put(c->m, r->topic, partition, &made);
    }
    c->pending[(c->pending_first + c->pending_count++) % PENDING_MAX] =
        (struct mem_pending){.topic = r->topic,
                             .partition = partition,
                             .at = c->m->log[r->topic][partition].count - 1,
                             .batch = r->batch,
                             .sequence = c->sent++,
                             .travels = travels};
    if (!c->hold_acks) {
        ack_all(c);
    }
    return ERR_OK;
}

static uint64_t mem_wait(void *self, int timeout_ms)
{
    struct client *c = self;
    if (!alive(c)) {
        return 0;
    }
    for (size_t n = timeout_ms > 0 ? c->ack_on_wait : 0; n > 0 && can_ack(c); n--) {
        ack_oldest(c);
    }
    if (breaks(c, PROMISE_ACKS)) {
        return UINT64_MAX;
    }
    return c->pending_count > 0 ? c->pending[c->pending_first].batch : UINT64_MAX;
}

static enum err mem_commit(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                           bool sync, struct errmsg *e)
{
    struct client *c = self;
    if (!alive(c)) {
        return ERR_OK;
    }
    assert(c->plan.group_topic[topic] && c->part[topic][partition].ours);
    if (c->fail_commits) {
        return err_set(e, ERR_UNAVAILABLE, "commits fail by the test's wish");
    }
    if (c->part[topic][partition].fenced) { /* another member's by now, as the group knows */
        return sync ? err_set(e, ERR_UNAVAILABLE, "the partition is another member's") : ERR_OK;
    }
    if (c->m->watch.committed != NULL) {
        c->m->watch.committed(c->m->watch.ctx, topic, partition, next_offset);
    }
    c->m->log[topic][partition].committed = next_offset;
    return ERR_OK;
}

static void mem_pause(void *self, enum bus_topic topic, int32_t partition, bool paused)
{
    struct client *c = self;
    (void)alive(c);
    c->part[topic][partition].paused = paused;
}

static void mem_seek(void *self, enum bus_topic topic, int32_t partition, int64_t offset)
{
    struct client *c = self;
    (void)alive(c);
    assert(c->part[topic][partition].ours && !c->part[topic][partition].paused);
    if (!breaks(c, PROMISE_SEEK)) {
        c->part[topic][partition].next = offset;
    }
}

static void mem_counters(void *self, struct bus_counters *out)
{
    const struct client *c = self;
    *out = c->counters;
    out->queued = c->pending_count;
    out->lag = 0;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int p = 0; c->plan.group_topic[t] && p < BUS_MEM_PARTITIONS; p++) {
            if (c->part[t][p].ours) {
                out->lag += (int64_t)c->m->log[t][p].count - c->part[t][p].next;
            }
        }
    }
}

static int64_t mem_offset_at(void *self, enum bus_topic topic, int32_t partition,
                             int64_t timestamp_us)
{
    const struct client *c = self;
    const struct mem_log *l = &c->m->log[topic][partition];
    int64_t i = l->low;
    while (i < (int64_t)l->count && l->record[i].timestamp_us < timestamp_us) {
        i++;
    }
    return i;
}

void bus_mem_forget_client(struct client *c)
{
    struct client **at = &c->m->first;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    free(c->pending);
    free(c);
}

static void mem_close(void *self)
{
    struct client *c = self;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->plan.group_topic[t] && p < BUS_MEM_PARTITIONS; p++) {
            if (c->part[t][p].ours && !c->killed) {
                c->events.revoked(c->events.ctx, (enum bus_topic)t, p, false);
            }
        }
    }
    while (c->pending_count > 0) { /* they are in the log or will be, whoever asked */
        ack_oldest(c);
    }
    bus_mem_forget_client(c);
}

struct bus bus_mem_open(struct bus_mem *m, const struct bus_plan *plan,
                        const struct bus_events *events)
{
    struct client *c = must(calloc(1, sizeof *c));
    c->m = m;
    c->plan = *plan;
    c->events = *events;
    c->room = SIZE_MAX;
    c->number = m->clients++;
    c->next = m->first;
    m->first = c;
    c->pending = must(calloc(PENDING_MAX, sizeof *c->pending));
    return (struct bus){c,          mem_poll,  mem_hold, mem_release,  mem_send,      mem_wait,
                        mem_commit, mem_pause, mem_seek, mem_counters, mem_offset_at, mem_close};
}

void bus_mem_kill(struct bus *bus)
{
    struct client *c = bus->self;
    c->killed = true;
    mem_close(c);
    *bus = (struct bus){0};
}
