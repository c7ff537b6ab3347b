#include "tests/support/bus_mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct mem_log {
    struct mem_record *record;
    size_t count, room;
    int64_t low;
    int64_t committed; /* -1: none */
};

struct bus_mem {
    struct mem_log log[TOPIC_COUNT][BUS_MEM_PARTITIONS];
};

enum { EVENTS_MAX = 64, PENDING_MAX = 65536 };

struct mem_event {
    enum { EVENT_ASSIGN, EVENT_REVOKE, EVENT_TROUBLE } what;
    enum bus_topic topic;
    int32_t partition;
    bool flag; /* lost, fatal */
    const char *text;
};

struct mem_part {
    bool ours, paused;
    int64_t next;
};

/* A record on its way. */
struct mem_pending {
    enum bus_topic topic;
    int32_t partition;
    size_t at;
    uint64_t batch;
};

struct client {
    struct bus_mem *m;
    struct bus_plan plan;
    struct bus_events events;
    struct mem_part part[TOPIC_COUNT][BUS_MEM_PARTITIONS];
    struct mem_event event[EVENTS_MAX];
    size_t event_count;
    bool held[TOPIC_COUNT], begun[TOPIC_COUNT];
    struct mem_pending *pending; /* ring of [PENDING_MAX] */
    size_t pending_first, pending_count;
    bool hold_acks, hold_journal, fail_commits, killed;
    size_t full, room, ack_on_wait;
    enum err refuse[TOPIC_COUNT];
    int32_t turn; /* group partition that comes first */
    struct bus_counters counters;
};

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

void bus_mem_free(struct bus_mem *m)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int p = 0; p < BUS_MEM_PARTITIONS; p++) {
            struct mem_log *l = &m->log[t][p];
            for (size_t i = 0; i < l->count; i++) {
                free(l->record[i].key);
                free(l->record[i].value);
                for (size_t h = 0; h < l->record[i].header_count; h++) {
                    union {
                        const void *in;
                        void *out;
                    } name = {.in = l->record[i].headers[h].name},
                      value = {.in = l->record[i].headers[h].value};
                    free(name.out);
                    free(value.out);
                }
            }
            free(l->record);
        }
    }
    free(m);
}

static struct mem_record *new_record(struct bus_mem *m, enum bus_topic topic, int32_t partition)
{
    assert(partition >= 0 && partition < BUS_MEM_PARTITIONS);
    struct mem_log *l = &m->log[topic][partition];
    if (l->count == l->room) {
        l->room = l->room * 2 + 256;
        l->record = must(realloc(l->record, l->room * sizeof *l->record));
    }
    struct mem_record *r = &l->record[l->count++];
    *r = (struct mem_record){0};
    return r;
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
    struct mem_record *r = new_record(m, topic, partition);
    r->key = message->key != NULL ? copy(message->key, message->key_len) : NULL;
    r->key_len = message->key_len;
    r->value = copy(message->value, message->value_len);
    r->value_len = message->value_len;
    r->timestamp_us = message->timestamp_us;
    r->acked = true;
    copy_headers(r, message->headers, message->header_count);
    return (int64_t)m->log[topic][partition].count - 1;
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

static void start(struct client *c, enum bus_topic topic, int32_t partition, int64_t committed)
{
    const struct mem_log *l = &c->m->log[topic][partition];
    struct mem_part *p = &c->part[topic][partition];
    int64_t high = (int64_t)l->count;
    p->paused = false;
    int64_t next = c->events.assigned(c->events.ctx, topic, partition, committed, l->low, high);
    if (next < l->low || next > high) {
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

static size_t take(struct client *c, enum bus_topic topic, int32_t partition,
                   struct bus_message *out, size_t max)
{
    struct mem_part *p = &c->part[topic][partition];
    const struct mem_log *l = &c->m->log[topic][partition];
    size_t n = 0;
    for (; p->ours && !p->paused && n < max && p->next < (int64_t)l->count; p->next++) {
        const struct mem_record *r = &l->record[p->next];
        if (!r->acked) {
            break; /* readers see what all replicas have */
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
        memcpy(m->headers, r->headers, sizeof m->headers);
    }
    return n;
}

static size_t mem_poll(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    struct client *c = self;
    size_t n = 0;
    (void)timeout_ms; /* nothing comes while we wait */
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
        for (int32_t i = 0; c->plan.group_topic[t] && i < BUS_MEM_PARTITIONS; i++) {
            n += take(c, (enum bus_topic)t, (c->turn + i) % BUS_MEM_PARTITIONS, out + n, max - n);
        }
    }
    c->turn = (c->turn + 1) % BUS_MEM_PARTITIONS;
    c->counters.consumed += n;
    return n;
}

static void mem_release(void *self)
{
    (void)self; /* the log keeps its messages */
}

static void acknowledge(struct client *c, const struct mem_pending *p)
{
    struct mem_record *r = &c->m->log[p->topic][p->partition].record[p->at];
    c->counters.acked += !r->acked;
    r->acked = true;
}

/* Forgets the oldest ones that are acknowledged. */
static void forget_acked(struct client *c)
{
    while (c->pending_count > 0) {
        const struct mem_pending *p = &c->pending[c->pending_first];
        if (!c->m->log[p->topic][p->partition].record[p->at].acked) {
            break;
        }
        c->pending_first = (c->pending_first + 1) % PENDING_MAX;
        c->pending_count--;
    }
}

static void ack_oldest(struct client *c)
{
    acknowledge(c, &c->pending[c->pending_first]);
    forget_acked(c);
}

static enum err mem_send(void *self, const struct bus_record *r, struct errmsg *e)
{
    struct client *c = self;
    bool prompt = r->topic == TOPIC_JOURNAL && !c->hold_journal;
    if (c->full > 0 || (c->room == 0 && !prompt) || c->pending_count == PENDING_MAX) {
        c->full -= c->full > 0;
        return err_set(e, ERR_FULL, "the queue is full");
    }
    if (c->refuse[r->topic] != ERR_OK) {
        return err_set(e, c->refuse[r->topic], "refused by the test");
    }
    c->room -= c->room != SIZE_MAX && !prompt;
    int32_t partition = r->partition;
    if (partition < 0) {
        partition = (int32_t)(hash_bytes(r->key, r->key_len, 0) % BUS_MEM_PARTITIONS);
    }
    struct mem_record *to = new_record(c->m, r->topic, partition);
    to->key = r->key != NULL ? copy(r->key, r->key_len) : NULL;
    to->key_len = r->key_len;
    to->value = copy(r->value, r->value_len);
    to->value_len = r->value_len;
    to->timestamp_us = r->timestamp_us;
    to->batch = r->batch;
    copy_headers(to, r->headers, r->header_count);
    c->counters.produced++;
    if (prompt) {
        to->acked = true;
        c->counters.acked++;
        return ERR_OK;
    }
    c->pending[(c->pending_first + c->pending_count++) % PENDING_MAX] = (struct mem_pending){
        r->topic, partition, c->m->log[r->topic][partition].count - 1, r->batch};
    if (!c->hold_acks) {
        while (c->pending_count > 0) {
            ack_oldest(c);
        }
    }
    return ERR_OK;
}

static uint64_t mem_wait(void *self, int timeout_ms)
{
    struct client *c = self;
    for (size_t n = timeout_ms > 0 ? c->ack_on_wait : 0; n > 0 && c->pending_count > 0; n--) {
        ack_oldest(c);
    }
    return c->pending_count > 0 ? c->pending[c->pending_first].batch : UINT64_MAX;
}

static enum err mem_commit(void *self, enum bus_topic topic, int32_t partition, int64_t next_offset,
                           bool sync, struct errmsg *e)
{
    struct client *c = self;
    (void)sync;
    assert(c->plan.group_topic[topic] && c->part[topic][partition].ours);
    if (c->fail_commits) {
        return err_set(e, ERR_UNAVAILABLE, "commits fail by the test's wish");
    }
    c->m->log[topic][partition].committed = next_offset;
    return ERR_OK;
}

static void mem_pause(void *self, enum bus_topic topic, int32_t partition, bool paused)
{
    struct client *c = self;
    c->part[topic][partition].paused = paused;
}

static void mem_seek(void *self, enum bus_topic topic, int32_t partition, int64_t offset)
{
    struct client *c = self;
    assert(c->part[topic][partition].ours && !c->part[topic][partition].paused);
    c->part[topic][partition].next = offset;
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
    while (c->pending_count > 0) { /* they are in the log, whoever asked */
        ack_oldest(c);
    }
    free(c->pending);
    free(c);
}

struct bus bus_mem_open(struct bus_mem *m, const struct bus_plan *plan,
                        const struct bus_events *events)
{
    struct client *c = must(calloc(1, sizeof *c));
    c->m = m;
    c->plan = *plan;
    c->events = *events;
    c->room = SIZE_MAX;
    c->pending = must(calloc(PENDING_MAX, sizeof *c->pending));
    return (struct bus){c,         mem_poll, mem_release,  mem_send,      mem_wait, mem_commit,
                        mem_pause, mem_seek, mem_counters, mem_offset_at, mem_close};
}

void bus_mem_kill(struct bus *bus)
{
    struct client *c = bus->self;
    c->killed = true;
    mem_close(c);
    *bus = (struct bus){0};
}

static void add_event(const struct bus *bus, struct mem_event e)
{
    struct client *c = bus->self;
    assert(c->event_count < EVENTS_MAX);
    c->event[c->event_count++] = e;
}

void bus_mem_assign(const struct bus *bus, enum bus_topic topic, int32_t partition)
{
    add_event(bus, (struct mem_event){EVENT_ASSIGN, topic, partition, false, NULL});
}

void bus_mem_revoke(const struct bus *bus, enum bus_topic topic, int32_t partition, bool lost)
{
    add_event(bus, (struct mem_event){EVENT_REVOKE, topic, partition, lost, NULL});
}

void bus_mem_trouble(const struct bus *bus, bool fatal, const char *text)
{
    add_event(bus, (struct mem_event){EVENT_TROUBLE, TOPIC_TRANSACTIONS, 0, fatal, text});
}

void bus_mem_hold_acks(const struct bus *bus, bool hold)
{
    struct client *c = bus->self;
    c->hold_acks = hold;
}

void bus_mem_hold_journal(const struct bus *bus, bool hold)
{
    struct client *c = bus->self;
    c->hold_journal = hold;
}

void bus_mem_ack(const struct bus *bus, size_t n)
{
    struct client *c = bus->self;
    for (; n > 0 && c->pending_count > 0; n--) {
        ack_oldest(c);
    }
}

void bus_mem_ack_on_wait(const struct bus *bus, size_t n)
{
    struct client *c = bus->self;
    c->ack_on_wait = n;
}

void bus_mem_ack_topic(const struct bus *bus, enum bus_topic topic)
{
    struct client *c = bus->self;
    for (size_t i = 0; i < c->pending_count; i++) {
        const struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
        if (p->topic == topic) {
            acknowledge(c, p);
        }
    }
    forget_acked(c);
}

void bus_mem_full(const struct bus *bus, size_t n)
{
    struct client *c = bus->self;
    c->full = n;
}

void bus_mem_room(const struct bus *bus, size_t n)
{
    struct client *c = bus->self;
    c->room = n;
}

void bus_mem_refuse(const struct bus *bus, enum bus_topic topic, enum err err)
{
    struct client *c = bus->self;
    c->refuse[topic] = err;
}

void bus_mem_fail_commits(const struct bus *bus, bool fail)
{
    struct client *c = bus->self;
    c->fail_commits = fail;
}

void bus_mem_hold_topic(const struct bus *bus, enum bus_topic topic, bool hold)
{
    struct client *c = bus->self;
    c->held[topic] = hold;
}

bool bus_mem_paused(const struct bus *bus, enum bus_topic topic, int32_t partition)
{
    const struct client *c = bus->self;
    return c->part[topic][partition].paused;
}
