/* journal_order: which entries count.  Against a twin that looks back from each entry, with writers
 * that do anything; and with processes that follow the protocol while partitions move, entries are
 * delayed and processes die, read from every offset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/journal_order.h"
#include "tests/support/journal_entries.h"

#define PARTITIONS 3
#define ENTRIES 400
#define SEEDS 300

/* An entry with at most one part a partition, in few words. */
struct short_entry {
    bool claim;
    uint64_t writer;
    int64_t seen, labels_next;
    int32_t partition;                           /* of a claim */
    int64_t first[PARTITIONS], last[PARTITIONS]; /* last < first: no part; a claim's first */
};

static struct short_entry history[ENTRIES];
static size_t entries;
static struct journal_entry *full;

static int make_room(void **state)
{
    (void)state;
    full = journal_entry_new();
    return 0;
}

static int free_room(void **state)
{
    (void)state;
    free(full);
    return 0;
}

static struct short_entry claim_of(uint64_t writer, int64_t seen, int32_t partition, int64_t first)
{
    struct short_entry s = {.claim = true, .writer = writer, .seen = seen, .partition = partition};
    s.first[partition] = first;
    return s;
}

static struct short_entry batch_of(uint64_t writer, int64_t seen)
{
    struct short_entry s = {.writer = writer, .seen = seen};
    memset(s.last, -1, sizeof s.last);
    return s;
}

static bool has_part(const struct short_entry *s, int32_t p)
{
    return !s->claim && s->last[p] >= s->first[p];
}

/* Makes the real entry, in `full`. */
static void expand(const struct short_entry *s)
{
    struct journal_writer w = journal_writer_number(s->writer);
    if (s->claim) {
        journal_claim(full, &w, s->seen, s->partition, s->first[s->partition]);
        return;
    }
    journal_batch(full, &w, s->seen, s->labels_next, 0);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (has_part(s, p)) {
            journal_part(full, p, s->first[p]);
            if (!journal_add(full, s->last[p], JOURNAL_DEAD_LETTER, NULL)) {
                fail_msg("no room for a message");
            }
        }
    }
}

/* Applies the entry at an offset; out[p]: of the part of partition p, if there is one. */
static void apply(struct journal_order *o, size_t at, enum journal_verdict out[PARTITIONS])
{
    enum journal_verdict verdicts[PARTITIONS];
    expand(&history[at]);
    journal_order_apply(o, (int64_t)at, full, verdicts);
    for (size_t i = 0; i < full->part_count; i++) {
        out[full->parts[i].partition] = verdicts[i];
    }
}

/* The rule in other words: looks for the latest claim and the latest counted part before. */
struct twin {
    enum journal_verdict verdict[ENTRIES][PARTITIONS];
    int64_t next[PARTITIONS]; /* at the end; -1: never claimed */
};

static int64_t twin_next(const struct twin *t, size_t at, int32_t p)
{
    for (size_t i = at; i-- > 0;) {
        if (has_part(&history[i], p) && t->verdict[i][p] == JOURNAL_COUNTS) {
            return history[i].last[p] + 1;
        }
    }
    for (size_t i = 0; i < at; i++) {
        if (history[i].claim && history[i].partition == p) {
            return history[i].first[p];
        }
    }
    return -1;
}

static bool twin_owns(size_t at, int32_t p, uint64_t writer)
{
    for (size_t i = at; i-- > 0;) {
        if (history[i].claim && history[i].partition == p) {
            return history[i].writer == writer;
        }
    }
    return false;
}

static void twin_judge(struct twin *t)
{
    for (size_t i = 0; i < entries; i++) {
        const struct short_entry *s = &history[i];
        for (int32_t p = 0; p < PARTITIONS; p++) {
            t->verdict[i][p] = !twin_owns(i, p, s->writer)         ? JOURNAL_NOT_OWNER
                               : s->first[p] != twin_next(t, i, p) ? JOURNAL_NOT_NEXT
                                                                   : JOURNAL_COUNTS;
        }
    }
    for (int32_t p = 0; p < PARTITIONS; p++) {
        t->next[p] = twin_next(t, entries, p);
    }
}

static struct twin twin;
static size_t seen_verdicts[JOURNAL_UNKNOWN + 1];

/* Reads from `begin` on; whatever is not unknown must be as the twin says. */
static void expect_reader(int64_t begin, uint64_t seed)
{
    static struct journal_order o;
    journal_order_init(&o, begin);
    for (size_t i = (size_t)begin; i < entries; i++) {
        enum journal_verdict out[PARTITIONS];
        apply(&o, i, out);
        for (int32_t p = 0; p < PARTITIONS; p++) {
            if (!has_part(&history[i], p)) {
                continue;
            }
            seen_verdicts[out[p]]++;
            if (out[p] == JOURNAL_UNKNOWN ? history[i].seen >= begin - 1
                                          : out[p] != twin.verdict[i][p]) {
                fail_msg("seed %zu, read from %d: entry %zu, partition %d is %d and not %d",
                         (size_t)seed, (int)begin, i, p, (int)out[p], (int)twin.verdict[i][p]);
            }
        }
    }
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct journal_turn *t = &o.turns[p];
        if ((t->placed != 0 && t->next != twin.next[p]) ||
            (begin == 0 && (t->placed != 0) != (twin.next[p] >= 0))) {
            fail_msg("seed %zu, read from %d: partition %d is at %d and not at %d", (size_t)seed,
                     (int)begin, p, (int)t->next, (int)twin.next[p]);
        }
    }
}

/* Invariant 1, whoever wrote what. */
static void expect_tiles(uint64_t seed)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        int64_t next = -1;
        for (size_t i = 0; i < entries; i++) {
            if (has_part(&history[i], p) && twin.verdict[i][p] == JOURNAL_COUNTS) {
                if (next >= 0 && history[i].first[p] != next) {
                    fail_msg("seed %zu: partition %d counts %d after %d", (size_t)seed, p,
                             (int)history[i].first[p], (int)next);
                }
                next = history[i].last[p] + 1;
            }
        }
    }
}

static void test_any_writers_are_judged_as_the_rule_says(void **state)
{
    (void)state;
    memset(seen_verdicts, 0, sizeof seen_verdicts);
    for (uint64_t seed = 0; seed < SEEDS / 3; seed++) {
        struct rng g;
        rng_init(&g, seed);
        entries = 100;
        for (size_t i = 0; i < entries; i++) {
            uint64_t writer = rng_below(&g, 3);
            int64_t seen = (int64_t)rng_below(&g, 200) - 1;
            if (rng_below(&g, 3) == 0) {
                history[i] = claim_of(writer, seen, (int32_t)rng_below(&g, PARTITIONS),
                                      (int64_t)rng_below(&g, 4));
                continue;
            }
            history[i] = batch_of(writer, seen);
            for (int32_t p = 0; p < PARTITIONS; p++) {
                if (rng_below(&g, 2) == 0) {
                    history[i].first[p] = (int64_t)rng_below(&g, 6);
                    history[i].last[p] = history[i].first[p] + (int64_t)rng_below(&g, 2);
                }
            }
        }
        twin_judge(&twin);
        expect_reader(0, seed);
        expect_tiles(seed);
    }
    assert_true(seen_verdicts[JOURNAL_COUNTS] > 100 && seen_verdicts[JOURNAL_NOT_OWNER] > 100 &&
                seen_verdicts[JOURNAL_NOT_NEXT] > 100);
    assert_int_equal(seen_verdicts[JOURNAL_UNKNOWN], 0);
}

/* A process that follows the protocol.  What it sends arrives later, in order. */
#define PROCESSES 3
#define WAY_MAX (PARTITIONS + 1)

struct process {
    uint64_t writer;
    struct journal_order order;
    bool wants[PARTITIONS];   /* the group gave it the partition, as it believes */
    bool claimed[PARTITIONS]; /* since it was given it */
    struct short_entry way[WAY_MAX];
    size_t way_count;
    size_t unread; /* of its own entries in the journal */
};

static struct process processes[PROCESSES];
static uint64_t writers;

static void start(struct process *p, struct rng *g)
{
    *p = (struct process){.writer = ++writers};
    journal_order_init(&p->order, rng_below(g, 2) == 0 ? 0 : (int64_t)rng_below(g, entries + 1));
}

static void read_some(struct process *p, size_t most)
{
    enum journal_verdict out[PARTITIONS];
    for (; most > 0 && p->order.position < (int64_t)entries; most--) {
        size_t at = (size_t)p->order.position;
        apply(&p->order, at, out);
        p->unread -= history[at].writer == p->writer;
    }
}

static void arrive(struct process *p)
{
    if (p->way_count > 0 && entries < ENTRIES) {
        history[entries++] = p->way[0];
        memmove(p->way, p->way + 1, --p->way_count * sizeof p->way[0]);
        p->unread++;
    }
}

/* Claims what it was given, having read up to the end; where it began too late to know where the
 * partition is, it reads everything. */
static void claim(struct process *p, struct rng *g)
{
    bool placed = true;
    read_some(p, ENTRIES);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        placed = placed && (!p->wants[i] || p->claimed[i] || p->order.turns[i].placed != 0);
    }
    if (!placed && p->order.begin > 0) {
        journal_order_init(&p->order, 0);
        read_some(p, ENTRIES);
        p->unread = 0; /* its own entries again */
    }
    for (int32_t i = 0; i < PARTITIONS; i++) {
        if (p->wants[i] && !p->claimed[i]) {
            const struct journal_turn *t = &p->order.turns[i];
            /* the first claim ever: where the group's committed offset is, for instance */
            int64_t first = t->placed != 0 ? t->next : (int64_t)rng_below(g, 50);
            p->way[p->way_count++] = claim_of(p->writer, p->order.position - 1, i, first);
            p->claimed[i] = true;
        }
    }
}

static void send_batch(struct process *p, struct rng *g)
{
    struct short_entry s = batch_of(p->writer, p->order.position - 1);
    struct journal_writer w = journal_writer_number(p->writer);
    bool any = false;
    for (int32_t i = 0; i < PARTITIONS; i++) {
        if (p->wants[i] && journal_order_owns(&p->order, &w, i) && rng_below(g, 2) == 0) {
            s.first[i] = p->order.turns[i].next;
            s.last[i] = s.first[i] + (int64_t)rng_below(g, 5);
            any = true;
        }
    }
    if (any) {
        p->way[p->way_count++] = s;
    }
}

/* The group moves a partition; who had it may learn of it much later. */
static void move(struct rng *g)
{
    size_t to = rng_below(g, PROCESSES);
    size_t partition = rng_below(g, PARTITIONS);
    for (size_t i = 0; i < PROCESSES; i++) {
        if (i != to && rng_below(g, 3) != 0) {
            processes[i].wants[partition] = false;
        }
    }
    processes[to].wants[partition] = true;
    processes[to].claimed[partition] = false;
}

static void step(struct process *p, struct rng *g)
{
    bool idle = p->way_count == 0 && p->unread == 0;
    switch (rng_below(g, 16)) {
    case 0:
        move(g);
        return;
    case 1:
        if (rng_below(g, 4) == 0) { /* dies; what is on its way may still arrive */
            if (rng_below(g, 2) == 0) {
                arrive(p);
            }
            start(p, g);
        }
        return;
    case 2:
    case 3:
        if (idle) {
            claim(p, g);
        }
        return;
    case 4:
    case 5:
    case 6:
    case 7:
        if (idle) {
            send_batch(p, g);
        }
        return;
    case 8:
    case 9:
    case 10:
    case 11:
        arrive(p);
        return;
    default:
        read_some(p, 1 + rng_below(g, 20));
        return;
    }
}

static void run(uint64_t seed)
{
    struct rng g;
    rng_init(&g, seed);
    entries = 0;
    writers = 0;
    for (size_t i = 0; i < PROCESSES; i++) {
        start(&processes[i], &g);
    }
    for (size_t i = 0; i < 3000 && entries < ENTRIES; i++) {
        step(&processes[rng_below(&g, PROCESSES)], &g);
    }
    twin_judge(&twin);
}

static void test_every_reader_comes_to_the_same_order(void **state)
{
    (void)state;
    memset(seen_verdicts, 0, sizeof seen_verdicts);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        run(seed);
        expect_tiles(seed);
        expect_reader(0, seed);
        size_t stride = seed % 10 == 0 ? 1 : 17;
        for (size_t begin = 1; begin <= entries; begin += stride) {
            expect_reader((int64_t)begin, seed);
        }
    }
    /* writers that follow the protocol begin where the counted parts end, or own nothing */
    assert_int_equal(seen_verdicts[JOURNAL_NOT_NEXT], 0);
    assert_true(seen_verdicts[JOURNAL_COUNTS] > 10000 && seen_verdicts[JOURNAL_NOT_OWNER] > 1000 &&
                seen_verdicts[JOURNAL_UNKNOWN] > 100);
}

static void test_a_late_reader_soon_knows_what_is_alive(void **state)
{
    (void)state;
    size_t known = 0, unknown = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        static struct journal_order o;
        run(seed);
        int64_t begin = (int64_t)(entries / 2);
        journal_order_init(&o, begin);
        for (size_t i = (size_t)begin; i < entries; i++) {
            enum journal_verdict out[PARTITIONS];
            apply(&o, i, out);
        }
        for (int32_t p = 0; p < PARTITIONS; p++) {
            known += o.turns[p].placed != 0;
            unknown += o.turns[p].placed == 0;
        }
    }
    assert_true(known > 20 * (unknown + 1));
}

static enum journal_verdict verdict_of(struct journal_order *o, struct short_entry s)
{
    enum journal_verdict out[PARTITIONS] = {JOURNAL_UNKNOWN};
    entries = (size_t)o->position;
    history[entries++] = s;
    apply(o, entries - 1, out);
    return out[0];
}

static struct short_entry part_of(uint64_t writer, int64_t seen, int64_t first, int64_t last)
{
    struct short_entry s = batch_of(writer, seen);
    s.first[0] = first;
    s.last[0] = last;
    return s;
}

static void test_a_woken_owner_changes_nothing(void **state)
{
    (void)state;
    static struct journal_order o;
    struct journal_writer w1 = journal_writer_number(1), w2 = journal_writer_number(2);
    journal_order_init(&o, 0);
    assert_int_equal(verdict_of(&o, part_of(1, -1, 100, 109)), JOURNAL_NOT_OWNER);
    (void)verdict_of(&o, claim_of(1, 0, 0, 100));
    assert_true(journal_order_owns(&o, &w1, 0));
    assert_int_equal(verdict_of(&o, part_of(1, 1, 100, 109)), JOURNAL_COUNTS);
    (void)verdict_of(&o, claim_of(2, 1, 0, 100)); /* had not seen that batch: begins after it */
    assert_int_equal(o.turns[0].next, 110);
    assert_true(journal_order_owns(&o, &w2, 0) && !journal_order_owns(&o, &w1, 0));
    assert_int_equal(verdict_of(&o, part_of(1, 2, 110, 119)), JOURNAL_NOT_OWNER);
    assert_int_equal(verdict_of(&o, part_of(2, 3, 100, 109)), JOURNAL_NOT_NEXT);
    assert_int_equal(verdict_of(&o, part_of(2, 3, 110, 111)), JOURNAL_COUNTS);
    (void)verdict_of(&o, claim_of(1, 6, 0, 500)); /* skips nothing */
    assert_int_equal(o.turns[0].next, 112);
}

static void test_positions_never_go_back(void **state)
{
    (void)state;
    static struct journal_order o;
    struct short_entry s = part_of(1, -1, 0, 0); /* counts for nothing, but it is in the order */
    journal_order_init(&o, 0);
    s.labels_next = 7;
    (void)verdict_of(&o, s);
    assert_int_equal(o.labels_next, 7);
    s.labels_next = 3;
    (void)verdict_of(&o, s);
    assert_int_equal(o.labels_next, 7);
}

static void test_what_is_no_entry_is_passed(void **state)
{
    (void)state;
    static struct journal_order o, before;
    journal_order_init(&o, 0);
    (void)verdict_of(&o, claim_of(1, -1, 0, 5));
    before = o;
    journal_order_pass(&o, 9); /* offsets may jump */
    assert_int_equal(o.position, 10);
    before.position = 10;
    assert_memory_equal(&o, &before, sizeof o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_writers_are_judged_as_the_rule_says),
        cmocka_unit_test(test_every_reader_comes_to_the_same_order),
        cmocka_unit_test(test_a_late_reader_soon_knows_what_is_alive),
        cmocka_unit_test(test_a_woken_owner_changes_nothing),
        cmocka_unit_test(test_positions_never_go_back),
        cmocka_unit_test(test_what_is_no_entry_is_passed),
    };
    return cmocka_run_group_tests(tests, make_room, free_room);
}
