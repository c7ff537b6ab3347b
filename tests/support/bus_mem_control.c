/* What the test has happen on a bus in memory. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bus_mem_private.h"

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
    for (size_t i = 0; i < c->pending_count && n > 0; i++) {
        struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
        if (!p->travels && !p->arrived) {
            bus_mem_acknowledge(c, p);
            n--;
        }
    }
    bus_mem_forget_acked(c);
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
        struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
        if (p->topic == topic && !p->travels) {
            bus_mem_acknowledge(c, p);
        }
    }
    bus_mem_forget_acked(c);
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

void bus_mem_watch(struct bus_mem *m, const struct bus_mem_watch *watch)
{
    m->watch = *watch;
}

void bus_mem_now(struct bus_mem *m, int64_t now_us)
{
    m->now_us = now_us;
}

void bus_mem_break(struct bus_mem *m, enum bus_mem_promise promise)
{
    m->broken |= 1U << promise;
}

bool bus_mem_owned(const struct bus *bus, enum bus_topic topic, int32_t partition)
{
    const struct client *c = bus->self;
    return c->part[topic][partition].ours;
}

bool bus_mem_fell(const struct bus *bus)
{
    const struct client *c = bus->self;
    return c->fell;
}

void bus_mem_fence(const struct bus *bus, enum bus_topic topic, int32_t partition)
{
    struct client *c = bus->self;
    c->part[topic][partition].fenced = true;
}

void bus_mem_thin(const struct bus *bus, struct rng *r)
{
    struct client *c = bus->self;
    c->thin = r;
}

void bus_mem_at_call(const struct bus *bus, size_t calls, void (*fn)(void *ctx), void *ctx)
{
    struct client *c = bus->self;
    c->calls_left = calls;
    c->at_call = fn;
    c->at_call_ctx = ctx;
}

void bus_mem_stun(const struct bus *bus)
{
    struct client *c = bus->self;
    c->stunned = true;
}

/* A record that was never acknowledged leaves the log: its leader died, too.  Those behind it are
 * sent again by their writers. */
static void truncate(struct bus_mem *m, enum bus_topic topic, int32_t partition, size_t at)
{
    struct mem_log *l = &m->log[topic][partition];
    bus_mem_drop(&l->record[at]);
    l->count--;
    memmove(&l->record[at], &l->record[at + 1], (l->count - at) * sizeof l->record[0]);
    for (struct client *c = m->first; c != NULL; c = c->next) {
        for (size_t i = 0; i < c->pending_count; i++) {
            struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
            if (p->topic == topic && p->partition == partition && p->at > at && !p->travels) {
                p->at--;
            }
        }
    }
}

void bus_mem_crash(struct bus *bus, struct rng *r)
{
    struct client *c = bus->self;
    bool cut[TOPIC_COUNT][BUS_MEM_PARTITIONS] = {{false}};
    for (size_t i = 0; i < c->pending_count; i++) {
        struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
        if (p->travels || p->arrived) {
            continue;
        }
        bool *gone = &cut[p->topic][p->partition];
        *gone |= rng_below(r, 4) == 0;
        if (*gone) {
            truncate(c->m, p->topic, p->partition, p->at);
        } else {
            bus_mem_acknowledge(c, p);
        }
    }
    bus_mem_forget_client(c);
    *bus = (struct bus){0};
}

/* ---- the journal's way ---- */

void bus_mem_journal_travels(const struct bus *bus, bool travels)
{
    struct client *c = bus->self;
    c->journal_travels = travels;
}

size_t bus_mem_travelling(const struct bus_mem *m)
{
    return m->travel_count;
}

/* The oldest one of the writer of the i-th. */
static size_t oldest_of(const struct bus_mem *m, size_t i)
{
    assert(i < m->travel_count);
    size_t k = 0;
    while (m->travel[k].writer != m->travel[i].writer) {
        k++;
    }
    return k;
}

static void take_out(struct bus_mem *m, size_t i)
{
    m->travel_count--;
    memmove(&m->travel[i], &m->travel[i + 1], (m->travel_count - i) * sizeof m->travel[0]);
}

/* Its writer, if it lives, learns that the record is there. */
static void tell_arrival(const struct bus_mem *m, uint64_t writer, uint64_t sequence)
{
    struct client *c = m->first;
    while (c != NULL && c->number != writer) {
        c = c->next;
    }
    for (size_t i = 0; c != NULL && i < c->pending_count; i++) {
        struct mem_pending *p = &c->pending[(c->pending_first + i) % PENDING_MAX];
        p->arrived |= p->travels && p->sequence == sequence;
    }
    if (c != NULL) {
        bus_mem_forget_acked(c);
    }
}

void bus_mem_arrive(struct bus_mem *m, size_t i, bool twice)
{
    i = oldest_of(m, i);
    const struct mem_travel t = m->travel[i];
    (void)bus_mem_put(m, TOPIC_JOURNAL, 0, &t.record);
    if (twice) {
        const struct bus_message again = {.value = t.record.value, .value_len = t.record.value_len};
        (void)bus_mem_append(m, TOPIC_JOURNAL, 0, &again);
    }
    take_out(m, i);
    tell_arrival(m, t.writer, t.sequence);
}

void bus_mem_vanish(struct bus_mem *m, size_t i)
{
    const uint64_t writer = m->travel[i].writer;
    for (const struct client *c = m->first; c != NULL; c = c->next) {
        if (c->number == writer) {
            return; /* a writer that lives tries until it is there */
        }
    }
    for (i = 0; i < m->travel_count;) {
        if (m->travel[i].writer == writer) {
            bus_mem_drop(&m->travel[i].record);
            take_out(m, i);
        } else {
            i++;
        }
    }
}
