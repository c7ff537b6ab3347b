/* What must be true in a simulation, whatever happens. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "daemon/decode.h"
#include "tests/support/chaos_private.h"

#define ANSWERS 30 /* a card remembers at least so many */

/* ---- while it runs ---- */

/* The id of a decision, or of the message that a dead letter is about. */
static bool id_of(enum bus_topic topic, const struct mem_record *r, int32_t *out_partition,
                  int64_t *out_offset)
{
    char source[80] = "";
    if (topic == TOPIC_DECISIONS) {
        return sscanf(r->value, "{\"id\":\"" SCORER_LOG "/%" SCNd32 "/%" SCNd64 "\",",
                      out_partition, out_offset) == 2;
    }
    if (topic != TOPIC_DEAD_LETTERS || strstr(r->value, "{\"source\":\"s\"") != NULL) {
        return false; /* an alert, or a label's dead letter */
    }
    const struct bus_header *h = &r->headers[2];
    memcpy(source, h->value, h->len < sizeof source ? h->len : sizeof source - 1);
    return strcmp(h->name, "source") == 0 &&
           sscanf(source, SCORER_LOG "/%" SCNd32 "/%" SCNd64, out_partition, out_offset) == 2;
}

static bool dead_as(const struct mem_record *r, enum dead_reason reason)
{
    const char *name = dead_reason_name(reason);
    return r->headers[0].len == strlen(name) &&
           memcmp(r->headers[0].value, name, r->headers[0].len) == 0;
}

static void judge_dead(struct chaos *s, const struct made_message *of, const struct mem_record *r)
{
    if (of->reason != DEAD_NONE
            ? !dead_as(r, of->reason)
            : !dead_as(r, DEAD_FUTURE) && !(s->weak && dead_as(r, DEAD_ANSWER_LOST))) {
        chaos_fail(s, "a dead letter for the wrong reason: %.*s", (int)r->headers[0].len,
                   (const char *)r->headers[0].value);
    }
}

static void on_acked(void *ctx, enum bus_topic topic, const struct mem_record *r)
{
    struct chaos *s = ctx;
    int32_t p = 0;
    int64_t offset = 0;
    if (!id_of(topic, r, &p, &offset)) {
        return;
    }
    if (p < 0 || p >= s->partitions || offset < s->begin[p] ||
        offset >= s->begin[p] + (int64_t)s->placed_count[p]) {
        chaos_fail(s, "an outcome of what never was: %d/%" PRId64, (int)p, offset);
        return;
    }
    struct placed *at = &s->placed[p][offset - s->begin[p]];
    const struct made_message *of = &s->all.m[at->message];
    if (topic == TOPIC_DEAD_LETTERS) {
        at->outcome |= OUTCOME_DEAD;
        judge_dead(s, of, r);
    } else {
        s->tally->repeated += (at->outcome & OUTCOME_DECIDED) != 0;
        s->tally->decisions++;
        at->outcome |= OUTCOME_DECIDED;
        at->decision = r->value;
        if (of->reason != DEAD_NONE) {
            chaos_fail(s, "decided, though it is no payment: %.100s", r->value);
        }
    }
    if (at->outcome == (OUTCOME_DECIDED | OUTCOME_DEAD) && !s->weak) {
        chaos_fail(s, "%d/%" PRId64 " was decided and dead-lettered", (int)p, offset);
    }
}

static void on_committed(void *ctx, enum bus_topic topic, int32_t p, int64_t next)
{
    struct chaos *s = ctx;
    const int64_t before = bus_mem_committed(s->m, topic, p);
    s->tally->commits++;
    chaos_trace(s, "commit %d/%" PRId64, (int)p, next);
    if (next < before) {
        chaos_fail(s, "commit of %d/%" PRId64 " after %" PRId64, (int)p, next, before);
    }
    for (int64_t i = before > s->begin[p] ? before : s->begin[p]; i < next; i++) {
        if (i - s->begin[p] >= (int64_t)s->placed_count[p] ||
            s->placed[p][i - s->begin[p]].outcome == 0) {
            chaos_fail(s, "commit of %d/%" PRId64 ", but %" PRId64 " has no acknowledged outcome",
                       (int)p, next, i);
        }
    }
}

struct bus_mem_watch chaos_watch(struct chaos *s)
{
    return (struct bus_mem_watch){.ctx = s, .acked = on_acked, .committed = on_committed};
}

void chaos_check_process(struct chaos *s, const struct member *one)
{
    struct score_stats t;
    score_stats(one->process.score, &t);
    s->tally->entries += t.entries;
    s->tally->not_counted += t.not_counted;
    s->tally->damaged += t.entries_damaged;
    if (t.missing > 0 || t.pipeline.diverged > 0 || t.labels_forgotten > 0) {
        chaos_fail(s, "%" PRIu64 " missing, %" PRIu64 " diverged, %" PRIu64 " labels forgotten",
                   t.missing, t.pipeline.diverged, t.labels_forgotten);
    }
}

bool chaos_all_committed(const struct chaos *s)
{
    for (int32_t p = 0; p < s->partitions; p++) {
        if (s->placed_count[p] > 0 && bus_mem_committed(s->m, TOPIC_TRANSACTIONS, p) !=
                                          s->begin[p] + (int64_t)s->placed_count[p]) {
            return false;
        }
    }
    return true;
}

/* ---- in the end ---- */

static void check_outcomes(struct chaos *s)
{
    for (int32_t p = 0; p < s->partitions; p++) {
        for (size_t i = 0; i < s->placed_count[p]; i++) {
            if (s->placed[p][i].outcome == 0) {
                chaos_fail(s, "%d/%" PRId64 " was never decided", (int)p, s->begin[p] + (int64_t)i);
            }
        }
    }
}

/* From the score to the outcome: what a repeat gets again. */
static size_t answer_in(const char *decision, const char **out)
{
    const char *from = strstr(decision, ",\"score\":");
    const char *to = strstr(decision, ",\"model\":");
    *out = from;
    return from != NULL && to != NULL ? (size_t)(to - from) : 0;
}

static bool same_answer(const char *a, const char *b)
{
    const char *of_a = NULL;
    const char *of_b = NULL;
    size_t n = answer_in(a, &of_a);
    return answer_in(b, &of_b) == n && n > 0 && memcmp(of_a, of_b, n) == 0;
}

static void check_repeat(struct chaos *s, int32_t p, size_t i)
{
    const struct placed *again = &s->placed[p][i];
    const struct made_message *m = &s->all.m[again->message];
    size_t between = 0;
    size_t k = i;
    while (k > 0 && (int64_t)s->placed[p][k].message != m->of) {
        k--;
        between += strcmp(s->all.m[s->placed[p][k].message].key, m->key) == 0;
    }
    const struct placed *first = &s->placed[p][k];
    if ((int64_t)first->message != m->of || between > ANSWERS || first->decision == NULL ||
        again->decision == NULL) {
        return;
    }
    if (strstr(again->decision, ",\"repeat\":true") == NULL ||
        !same_answer(first->decision, again->decision)) {
        chaos_fail(s, "a repeat got another answer: %s\nfirst %s", again->decision,
                   first->decision);
    }
}

static void check_repeats(struct chaos *s)
{
    for (int32_t p = 0; p < s->partitions; p++) {
        for (size_t i = 0; i < s->placed_count[p]; i++) {
            if (s->all.m[s->placed[p][i].message].of >= 0) {
                check_repeat(s, p, i);
            }
        }
    }
}

/* A record that came out. */
struct came {
    uint64_t hash;
    const struct mem_record *record;
};

struct came_all {
    struct came *one;
    size_t count;
};

static uint64_t hash_record(enum bus_topic topic, int32_t partition, const struct mem_record *r)
{
    uint64_t h = hash_bytes(r->value, r->value_len, (uint64_t)topic * 64 + (uint64_t)partition);
    h = r->key != NULL ? hash_bytes(r->key, r->key_len, h) : h;
    for (size_t i = 0; i < r->header_count; i++) {
        h = hash_bytes(r->headers[i].name, strlen(r->headers[i].name), h);
        h = hash_bytes(r->headers[i].value, r->headers[i].len, h);
    }
    return h;
}

static int by_hash(const void *a, const void *b)
{
    const struct came *x = a;
    const struct came *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* All that readers see of decisions, alerts and dead letters of payments, each once, sorted. */
static struct came_all all_of(const struct bus_mem *m)
{
    static const enum bus_topic OUT[] = {TOPIC_DECISIONS, TOPIC_ALERTS, TOPIC_DEAD_LETTERS};
    struct came_all all = {NULL, 0};
    size_t room = 0;
    for (size_t t = 0; t < 3; t++) {
        for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
            room += bus_mem_size(m, OUT[t], p);
        }
    }
    all.one = calloc(room + 1, sizeof *all.one);
    if (all.one == NULL) {
        abort();
    }
    for (size_t t = 0; t < 3; t++) {
        for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
            for (size_t i = 0; i < bus_mem_size(m, OUT[t], p); i++) {
                const struct mem_record *r = bus_mem_record(m, OUT[t], p, i);
                int32_t partition = 0;
                int64_t offset = 0;
                if (r->acked && !r->lost &&
                    (OUT[t] != TOPIC_DEAD_LETTERS || id_of(OUT[t], r, &partition, &offset))) {
                    all.one[all.count++] = (struct came){hash_record(OUT[t], p, r), r};
                }
            }
        }
    }
    qsort(all.one, all.count, sizeof *all.one, by_hash);
    size_t n = 0;
    for (size_t i = 0; i < all.count; i++) {
        if (n == 0 || all.one[n - 1].hash != all.one[i].hash) {
            all.one[n++] = all.one[i];
        }
    }
    all.count = n;
    return all;
}

static void compare(struct chaos *s, const struct came_all *wanted, const struct came_all *got)
{
    size_t i = 0;
    size_t k = 0;
    while (i < wanted->count || k < got->count) {
        int order = i == wanted->count ? 1
                    : k == got->count  ? -1
                                       : by_hash(&wanted->one[i], &got->one[k]);
        if (order != 0) {
            const struct came *c = order < 0 ? &wanted->one[i] : &got->one[k];
            chaos_fail(s, "%s: %.600s",
                       order < 0 ? "the recorded order makes this, nobody sent it"
                                 : "sent, but it does not follow from the recorded order",
                       c->record->value);
            return;
        }
        i++;
        k++;
    }
}

/* What one undisturbed process makes from the logs and the recorded journal. */
static struct bus_mem *replay(const struct chaos *s)
{
    struct bus_mem *m = scorer_copy(s->m);
    struct process p;
    struct score_conf c = s->conf;
    memset(c.writer.bytes, 0xff, sizeof c.writer.bytes);
    scorer_open(&p, m, &c);
    for (int32_t i = 0; i < s->partitions; i++) {
        scorer_assign(&p, i);
    }
    scorer_run_dry(&p);
    scorer_end(&p);
    return m;
}

static void check_replay(struct chaos *s)
{
    struct bus_mem *again = replay(s);
    struct came_all wanted = all_of(again);
    struct came_all got = all_of(s->m);
    size_t outcomes = 0;
    for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
        outcomes += bus_mem_size(again, TOPIC_DECISIONS, p);
    }
    if (outcomes + scorer_dead_letters(again) != s->all.n) {
        chaos_fail(s,
                   "an undisturbed process has %zu decisions and %zu dead letters for %zu "
                   "messages",
                   outcomes, scorer_dead_letters(again), s->all.n);
    }
    compare(s, &wanted, &got);
    free(wanted.one);
    free(got.one);
    bus_mem_free(again);
}

void chaos_check(struct chaos *s)
{
    check_outcomes(s);
    if (!s->weak) {
        check_repeats(s);
    }
    unsafe_without(SAFE_ALL); /* by the rules, whatever was removed */
    if (!s->weak && !s->failed) {
        check_replay(s);
    }
}
