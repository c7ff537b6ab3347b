/* The scoring loop over a log in memory: nothing is committed before it is acknowledged, nothing is
 * decided before what it depends on is read, and whatever happens the decisions are those of an
 * undisturbed run. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/timefmt.h"
#include "daemon/notice.h"
#include "daemon/rates.h"
#include "daemon/score.h"
#include "tests/support/bus_mem.h"
#include "tests/support/messages.h"
#include "tests/support/random_model.h"

#define N 600
#define CARDS 40
#define PARTITIONS 2
#define BATCH 16
#define LOG_NAME "test-log"
#define WALL_US (MESSAGES_START_US + 40 * TIME_DAY)

static struct rates *rates;
static struct model *model;

/* A process. */
struct process {
    struct score *score;
    struct bus bus;
    int waits_left; /* go_on says no after so many; negative: never */
};

static int64_t wall_us(void)
{
    return WALL_US;
}

static bool go_on(void *ctx)
{
    struct process *p = ctx;
    return p->waits_left < 0 || p->waits_left-- > 0;
}

static void start_warm(struct process *p, struct bus_mem *m, int64_t warm_us)
{
    struct errmsg e = {""};
    struct score_conf c = {
        .batch_max = BATCH, .warm_us = warm_us, .wall_us = wall_us, .go_on = go_on, .ctx = p};
    c.pipeline = (struct pipeline_conf){
        .model = model,
        .rates = rates,
        .params = random_model_params(),
        .threshold = {.budget = 20, .burst = 1.5, .floor = .995, .decline = .99},
        .log = {LOG_NAME, strlen(LOG_NAME)},
        .max_future_us = 300 * TIME_S,
        .message_max = WIRE_MESSAGE_MAX};
    feat_limits_default(&c.pipeline.limits);
    feat_world_limits_default(&c.world);
    c.pipeline.limits.card_max = 1000;
    c.world.place_max = 2000;
    c.world.label_queue_max = 1000;
    c.pipeline.limits.bytes_max = (size_t)64 << 20;
    p->waits_left = -1;
    if (score_create(&c, NULL, &p->score, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    const struct bus_plan plan = {
        .group_topic = {[TOPIC_TRANSACTIONS] = true},
        .whole_topic = {[TOPIC_LABELS] = true, [TOPIC_NOTICES] = true, [TOPIC_JOURNAL] = true},
        .produces = true};
    const struct bus_events events = score_events(p->score);
    p->bus = bus_mem_open(m, &plan, &events);
    score_attach(p->score, p->bus);
}

static void start(struct process *p, struct bus_mem *m)
{
    start_warm(p, m, 0);
}

static void assign(const struct process *p, int32_t partition)
{
    bus_mem_assign(&p->bus, TOPIC_TRANSACTIONS, partition);
}

static void assign_all(const struct process *p)
{
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assign(p, i);
    }
}

/* Turns until nothing comes. */
static void run_dry(struct process *p)
{
    for (int idle = 0; idle < 3;) {
        idle = score_turn(p->score) == 0 ? idle + 1 : 0;
    }
}

static void end(struct process *p)
{
    p->bus.close(p->bus.self);
    score_free(p->score);
}

static void die(struct process *p)
{
    bus_mem_kill(&p->bus);
    score_free(p->score);
}

/* ---- the log ---- */

static void append_transactions(struct bus_mem *m, uint64_t seed, size_t n)
{
    struct messages all = messages_make(seed, n, CARDS, true, true);
    for (size_t i = 0; i < n; i++) {
        const char *key = all.m[i].key;
        int32_t partition = (int32_t)(key[strlen(key) - 1] % PARTITIONS); /* by card */
        const struct bus_message message = messages_get(&all, i, partition, 0);
        (void)bus_mem_append(m, TOPIC_TRANSACTIONS, partition, &message);
    }
    messages_done(&all);
}

static void append_label(struct bus_mem *m, int32_t partition, uint64_t number, const char *tail)
{
    char json[512];
    int n = snprintf(json, sizeof json,
                     "{\"source\":\"s\",\"number\":%" PRIu64 ",\"tx\":\"t%" PRIu64
                     "\",\"verdict\":\"fraud\",\"ts\":\"2026-01-01T00:00:00Z\",\"known\":"
                     "\"2026-01-01T06:00:00Z\",\"card\":\"c%" PRIu64 "\",\"terminal\":\"p%" PRIu64
                     "\",\"merchant\":\"m%" PRIu64
                     "\",\"amount\":5000,\"currency\":\"EUR\",\"amount_ratio\":9%s",
                     number, number, number % CARDS, number % 60, number % 30, tail);
    const struct bus_message message = {
        .timestamp_us = WALL_US, .value = json, .value_len = (size_t)n};
    (void)bus_mem_append(m, TOPIC_LABELS, partition, &message);
}

static struct bus_mem *filled(size_t labels)
{
    struct bus_mem *m = bus_mem_create();
    append_transactions(m, 11, N);
    for (size_t i = 0; i < labels; i++) {
        append_label(m, 0, i + 1, "}");
    }
    return m;
}

/* Sends a model as `fraudd model` does. */
static void append_model(struct bus_mem *m, uint64_t seed, const char *version,
                         uint64_t schema_hash)
{
    struct errmsg e;
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(seed, version, schema_hash, &len);
    const struct bus_plan plan = {.produces = true};
    const struct bus_events events = {NULL, NULL, NULL, NULL};
    struct bus bus = bus_mem_open(m, &plan, &events);
    assert_int_equal(notice_send(&bus, bytes, len, &e), ERR_OK);
    bus.close(bus.self);
    free(bytes);
}

/* ---- what came out ---- */

/* The first record about a message; all others about it must be the same, byte for byte. */
static const struct mem_record *decision(const struct bus_mem *m, int32_t partition, int64_t offset,
                                         size_t *out_count)
{
    const struct mem_record *first = NULL;
    char id[64];
    *out_count = 0;
    snprintf(id, sizeof id, "{\"id\":\"" LOG_NAME "/%" PRId32 "/%" PRId64 "\",", partition, offset);
    for (size_t i = 0; i < bus_mem_size(m, TOPIC_DECISIONS, partition); i++) {
        const struct mem_record *r = bus_mem_record(m, TOPIC_DECISIONS, partition, i);
        if (strncmp(r->value, id, strlen(id)) == 0) {
            assert_true(first == NULL || strcmp(first->value, r->value) == 0);
            first = first == NULL ? r : first;
            ++*out_count;
        }
    }
    return first;
}

static size_t dead_letters(const struct bus_mem *m)
{
    size_t n = 0;
    for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
        n += bus_mem_size(m, TOPIC_DEAD_LETTERS, p);
    }
    return n;
}

/* Every decision of `wanted` is in `got` with the same bytes; returns how often some were repeated.
 */
static size_t expect_same_decisions(const struct bus_mem *wanted, const struct bus_mem *got)
{
    size_t again = 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(wanted, TOPIC_TRANSACTIONS, p); i++) {
            size_t n = 0;
            const struct mem_record *a = decision(wanted, p, (int64_t)i, &n);
            const struct mem_record *b = decision(got, p, (int64_t)i, &n);
            assert_int_equal(a != NULL, b != NULL);
            if (a != NULL && strcmp(a->value, b->value) != 0) {
                fail_msg("wanted %s\ngot %s", a->value, b->value);
            }
            again += n > 1 ? n - 1 : 0;
        }
    }
    return again;
}

/* An undisturbed run over the same log. */
static struct bus_mem *undisturbed(size_t labels)
{
    struct bus_mem *m = filled(labels);
    struct process p;
    start(&p, m);
    assign_all(&p);
    run_dry(&p);
    end(&p);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, i),
                         (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, i));
    }
    return m;
}

static void copy_log(const struct bus_mem *from, struct bus_mem *to, enum bus_topic topic)
{
    for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(from, topic, p); i++) {
            const struct mem_record *r = bus_mem_record(from, topic, p, i);
            struct bus_message message = {.key = r->key,
                                          .key_len = r->key_len,
                                          .timestamp_us = r->timestamp_us,
                                          .value = r->value,
                                          .value_len = r->value_len,
                                          .header_count = r->header_count};
            memcpy(message.headers, r->headers, sizeof message.headers);
            (void)bus_mem_append(to, topic, p, &message);
        }
    }
}

/* What one undisturbed process decides from the logs and the order that was recorded in m. */
static struct bus_mem *replayed(const struct bus_mem *m)
{
    struct bus_mem *again = bus_mem_create();
    struct process p;
    copy_log(m, again, TOPIC_TRANSACTIONS);
    copy_log(m, again, TOPIC_LABELS);
    copy_log(m, again, TOPIC_NOTICES);
    copy_log(m, again, TOPIC_JOURNAL);
    start(&p, again);
    assign_all(&p);
    run_dry(&p);
    end(&p);
    return again;
}

/* Every decision has the bytes that follow from the recorded order; returns how often some were
 * repeated. */
static size_t expect_as_recorded(const struct bus_mem *m)
{
    struct bus_mem *wanted = replayed(m);
    size_t again = expect_same_decisions(wanted, m);
    bus_mem_free(wanted);
    return again;
}

/* Turns until more than n decisions of the partition are there. */
static void until_decided(const struct process *p, const struct bus_mem *m, int32_t partition,
                          size_t n)
{
    for (int i = 0; i < 100 && bus_mem_size(m, TOPIC_DECISIONS, partition) <= n; i++) {
        (void)score_turn(p->score);
    }
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, partition) > n);
}

/* ---- tests ---- */

static void test_each_message_is_decided_once(void **state)
{
    (void)state;
    struct bus_mem *m = undisturbed(0);
    size_t decided = 0;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        decided += bus_mem_size(m, TOPIC_DECISIONS, p);
    }
    assert_int_equal(decided + dead_letters(m), N);
    assert_true(dead_letters(m) > 5);
    bus_mem_free(m);
}

static void test_offsets_are_committed_after_acknowledgement_only(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    until_decided(&p, m, 0, 0);
    size_t first = bus_mem_size(m, TOPIC_DECISIONS, 0);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    until_decided(&p, m, 0, first);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack_topic(&p.bus, TOPIC_ALERTS);
    bus_mem_ack_topic(&p.bus, TOPIC_DEAD_LETTERS); /* the decisions are still on their way */
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack(&p.bus, first - 1);
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1); /* all of a batch or none */
    bus_mem_ack(&p.bus, 1);
    (void)score_turn(p.score);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), BATCH);
    run_dry(&p);
    bus_mem_ack(&p.bus, SIZE_MAX);
    run_dry(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0),
                     (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0));
    end(&p);
    bus_mem_free(m);
}

static void test_what_was_decided_before_is_learnt_without_a_word(void **state)
{
    (void)state;
    struct bus_mem *wanted = undisturbed(20);
    struct bus_mem *m = filled(20);
    struct process p;
    struct score_stats t;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 150);
    start(&p, m);
    assign_all(&p);
    (void)score_turn(p.score);
    score_stats(p.score, &t);
    assert_false(t.ready);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.ready);
    assert_string_equal(t.why, "");
    assert_int_equal(t.warmed, 150);
    for (int64_t i = 0; i < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0); i++) {
        size_t n = 0;
        size_t before = 0;
        const struct mem_record *now = decision(m, 0, i, &n);
        const struct mem_record *then = decision(wanted, 0, i, &before);
        assert_int_equal(n, i < 150 ? 0 : before);
        assert_true(now == NULL || strcmp(now->value, then->value) == 0);
    }
    end(&p);
    bus_mem_free(m);
    bus_mem_free(wanted);
}

static void test_learning_begins_warm_us_ago(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    struct score_stats t;
    const int64_t end0 = (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0);
    const struct mem_record *from = bus_mem_record(m, TOPIC_TRANSACTIONS, 0, 100);
    int64_t first = 100; /* of those with the same or a later time, as the broker finds it */
    while (first > 0 && bus_mem_record(m, TOPIC_TRANSACTIONS, 0, (size_t)first - 1)->timestamp_us >=
                            from->timestamp_us) {
        first--;
    }
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, end0);
    start_warm(&p, m, WALL_US - from->timestamp_us);
    assign(&p, 0);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.warmed >= (uint64_t)(end0 - 100) && t.warmed < (uint64_t)end0);
    end(&p);
    /* never after what is to be decided */
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 30);
    start_warm(&p, m, 1);
    assign(&p, 0);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_int_equal(t.warmed, 0);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), end0);
    end(&p);
    bus_mem_free(m);
}

static void expect_held_by(enum bus_topic topic, const char *why)
{
    struct bus_mem *m = filled(20);
    struct process p;
    struct score_stats t;
    start(&p, m);
    bus_mem_hold_topic(&p.bus, topic, true);
    assign_all(&p);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_false(t.ready);
    assert_non_null(strstr(t.why, why));
    assert_int_equal(t.pipeline.received, 0);
    bus_mem_hold_topic(&p.bus, topic, false);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_true(t.ready);
    assert_int_equal(t.pipeline.received, N);
    assert_int_equal(expect_as_recorded(m), 0);
    end(&p);
    bus_mem_free(m);
}

static void test_nothing_is_decided_before_labels_and_notices_are_read(void **state)
{
    (void)state;
    expect_held_by(TOPIC_LABELS, "reading labels");
    expect_held_by(TOPIC_NOTICES, "reading notices");
    expect_held_by(TOPIC_JOURNAL, "reading the journal");
}

static void test_a_partition_that_comes_later_knows_the_labels(void **state)
{
    (void)state;
    struct bus_mem *plain = undisturbed(0);
    struct bus_mem *m = filled(40);
    struct process p;
    size_t differ = 0;
    start(&p, m);
    run_dry(&p); /* the labels are read while no partition is ours */
    assign(&p, 1);
    run_dry(&p);
    assign(&p, 0);
    run_dry(&p);
    (void)expect_as_recorded(m);
    for (int64_t i = 0; i < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0); i++) {
        size_t n = 0;
        const struct mem_record *a = decision(plain, 0, i, &n);
        const struct mem_record *b = decision(m, 0, i, &n);
        differ += a != NULL && strcmp(a->value, b->value) != 0;
    }
    assert_true(differ > 10); /* the labels mattered */
    end(&p);
    bus_mem_free(m);
    bus_mem_free(plain);
}

static void test_a_model_by_notice_is_in_force_from_the_start(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    struct score_stats t;
    append_model(m, 21, "noticed", 0);
    append_model(m, 22, "alien", 4711); /* of another schema: refused, the one before stays */
    start(&p, m);
    assign_all(&p);
    run_dry(&p);
    score_stats(p.score, &t);
    assert_int_equal(t.model_switches, 1);
    assert_int_equal(t.notices_refused, 1);
    assert_string_equal(model_lineage(score_model(p.score))->version, "noticed");
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, 0) > N / 3);
    for (size_t i = 0; i < bus_mem_size(m, TOPIC_DECISIONS, 0); i++) {
        assert_non_null(
            strstr(bus_mem_record(m, TOPIC_DECISIONS, 0, i)->value, "\"model\":\"noticed\""));
    }
    end(&p);
    bus_mem_free(m);
}

static void test_bad_labels_are_dead_letters_of_one_process(void **state)
{
    (void)state;
    struct bus_mem *m = bus_mem_create();
    struct process first, second;
    append_label(m, 0, 1, ""); /* before the start: somebody told already */
    start(&first, m);
    start(&second, m);
    assign(&first, 0);
    assign(&second, 1);
    run_dry(&first);
    run_dry(&second);
    assert_int_equal(dead_letters(m), 0);
    append_label(m, 0, 2, "");
    run_dry(&first);
    run_dry(&second);
    assert_int_equal(dead_letters(m), 1);
    end(&first);
    end(&second);
    bus_mem_free(m);
}

static void test_labels_of_two_partitions_are_refused(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    run_dry(&p);
    assert_false(score_failed(p.score));
    const struct bus_events events = score_events(p.score);
    (void)events.assigned(events.ctx, TOPIC_LABELS, 1, -1, 0, 0);
    assert_true(score_failed(p.score));
    end(&p);
    bus_mem_free(m);
}

static void test_a_commit_outside_the_log_is_refused(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 100000); /* the topic was made anew */
    start(&p, m);
    assign(&p, 0);
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    end(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 5); /* deleted before it was decided */
    bus_mem_trim(m, TOPIC_TRANSACTIONS, 0, 50);
    start(&p, m);
    assign(&p, 0);
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    end(&p);
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 50);
    start(&p, m);
    assign(&p, 0);
    run_dry(&p);
    assert_false(score_failed(p.score));
    end(&p);
    bus_mem_free(m);
}

static void test_a_revoked_partition_is_acknowledged_and_committed_first(void **state)
{
    (void)state;
    struct bus_mem *m = filled(20);
    struct process first, second;
    start(&first, m);
    assign_all(&first);
    bus_mem_hold_acks(&first.bus, true);
    until_decided(&first, m, 1, 2 * BATCH);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 1), -1);
    bus_mem_ack_on_wait(&first.bus, 50); /* the brokers answer while it waits */
    bus_mem_revoke(&first.bus, TOPIC_TRANSACTIONS, 1, false);
    (void)score_turn(first.score);
    bus_mem_hold_acks(&first.bus, false);
    bus_mem_ack(&first.bus, SIZE_MAX);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 1);
    size_t decided = bus_mem_size(m, TOPIC_DECISIONS, 1);
    assert_true(committed > 0 && committed < (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 1));
    run_dry(&first);
    assert_int_equal(bus_mem_size(m, TOPIC_DECISIONS, 1), decided);
    start(&second, m);
    assign(&second, 1);
    run_dry(&second);
    assert_int_equal(expect_as_recorded(m), 0); /* none twice, none missing */
    end(&second);
    end(&first);
    bus_mem_free(m);
}

static void test_a_lost_partition_is_not_committed(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    until_decided(&p, m, 0, 0);
    bus_mem_revoke(&p.bus, TOPIC_TRANSACTIONS, 0, true);
    (void)score_turn(p.score);
    bus_mem_hold_acks(&p.bus, false);
    bus_mem_ack(&p.bus, SIZE_MAX);
    run_dry(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    assign_all(&p); /* it comes back */
    run_dry(&p);
    assert_true(expect_as_recorded(m) > 0); /* some again, the same bytes */
    end(&p);
    bus_mem_free(m);
}

static void test_a_full_queue_is_waited_for(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    assign_all(&p);
    for (int i = 0; i < 120; i++) {
        bus_mem_full(&p.bus, (size_t)(i % 7));
        (void)score_turn(p.score);
    }
    run_dry(&p);
    assert_int_equal(expect_as_recorded(m), 0);
    end(&p);
    bus_mem_free(m);
}

static void test_stopping_while_the_queue_is_full_loses_nothing(void **state)
{
    (void)state;
    for (size_t sends = 0; sends < 40; sends += 3) {
        struct bus_mem *m = filled(0);
        struct process p;
        struct errmsg e = {""};
        start(&p, m);
        assign_all(&p);
        until_decided(&p, m, 0, 0);
        bus_mem_room(&p.bus, sends); /* then no more, and a stop is asked for */
        p.waits_left = 3;
        for (int i = 0; i < 6; i++) {
            (void)score_turn(p.score);
        }
        bus_mem_room(&p.bus, SIZE_MAX);
        assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
        assert_non_null(strstr(e.text, "decided again"));
        assert_false(score_failed(p.score));
        end(&p);
        start(&p, m);
        assign_all(&p);
        run_dry(&p);
        (void)expect_as_recorded(m);
        end(&p);
        bus_mem_free(m);
    }
}

static void test_a_record_that_is_refused_ends_it_without_a_commit(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    struct errmsg e;
    start(&p, m);
    assign(&p, 0);
    until_decided(&p, m, 0, 0);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 0);
    assert_int_equal(committed, BATCH);
    bus_mem_refuse(&p.bus, TOPIC_DECISIONS, ERR_INVALID);
    for (int i = 0; i < 4; i++) {
        (void)score_turn(p.score);
    }
    assert_true(score_failed(p.score));
    (void)score_turn(p.score);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), committed);
    end(&p);
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), committed);
    bus_mem_free(m);
}

static void test_trouble_ends_it_only_when_fatal(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    bus_mem_trouble(&p.bus, false, "a broker is away");
    (void)score_turn(p.score);
    assert_false(score_failed(p.score));
    bus_mem_trouble(&p.bus, true, "the consumer gave up");
    (void)score_turn(p.score);
    assert_true(score_failed(p.score));
    end(&p);
    bus_mem_free(m);
}

static void test_finish_waits_for_acknowledgements_and_commits(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    struct errmsg e = {""};
    start(&p, m);
    assign(&p, 0);
    bus_mem_hold_acks(&p.bus, true);
    until_decided(&p, m, 0, BATCH);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "were not acknowledged"));
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_ack(&p.bus, SIZE_MAX);
    assert_int_equal(score_finish(p.score, 100, &e), ERR_OK);
    int64_t committed = bus_mem_committed(m, TOPIC_TRANSACTIONS, 0);
    assert_true(committed > BATCH);
    assert_int_equal(score_finish(p.score, 0, &e), ERR_OK); /* nothing left */
    end(&p);
    bus_mem_free(m);
}

static void test_commits_that_fail_are_made_up_for(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    start(&p, m);
    assign_all(&p);
    bus_mem_fail_commits(&p.bus, true);
    for (int i = 0; i < 10; i++) {
        (void)score_turn(p.score);
    }
    assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, 0), -1);
    bus_mem_fail_commits(&p.bus, false);
    run_dry(&p);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, i),
                         (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, i));
    }
    end(&p);
    bus_mem_free(m);
}

static void test_reload_between_turns(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    struct errmsg e = {""};
    struct score_lane lanes[SCORE_PARTITIONS_MAX];
    size_t len = 0;
    start(&p, m);
    assign_all(&p);
    until_decided(&p, m, 0, 0);
    until_decided(&p, m, 1, 0);
    uint8_t *bytes = random_model_bytes(5, "second", 0, &len);
    bytes[len / 2] ^= 1;
    assert_int_equal(score_use_model(p.score, bytes, len, &e), ERR_CORRUPT);
    assert_string_equal(model_lineage(score_model(p.score))->version, "random");
    bytes[len / 2] ^= 1;
    assert_int_equal(score_use_model(p.score, bytes, len, &e), ERR_OK);
    assert_string_equal(model_lineage(score_model(p.score))->version, "second");
    free(bytes);
    struct threshold_conf rules = {.budget = 7, .burst = 1, .floor = .5, .decline = 2};
    assert_int_equal(score_set_rules(p.score, &rules, -1, &e), ERR_OK);
    size_t n = score_lanes(p.score, lanes, SCORE_PARTITIONS_MAX);
    assert_int_equal(n, PARTITIONS);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(lanes[i].partition, i);
        assert_true(lanes[i].budget_left >= 0 && lanes[i].budget_left <= 7);
        assert_true(lanes[i].threshold <= .5);
        assert_int_equal(lanes[i].next, lanes[i].committed);
    }
    rules.burst = 0;
    assert_int_equal(score_set_rules(p.score, &rules, -1, &e), ERR_INVALID);
    run_dry(&p);
    end(&p);
    bus_mem_free(m);
}

static void test_latencies_count_what_is_decided(void **state)
{
    (void)state;
    struct bus_mem *m = filled(0);
    struct process p;
    bus_mem_set_committed(m, TOPIC_TRANSACTIONS, 0, 100);
    start(&p, m);
    assign(&p, 0);
    run_dry(&p);
    uint64_t decided = (uint64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, 0) - 100;
    assert_int_equal(score_message_times(p.score)->count, decided);
    assert_true(latency_quantile(score_message_times(p.score), .5) > 0);
    end(&p);
    bus_mem_free(m);
}

/* Processes that come, go, die and find queues full, by seed: together they decide what follows
 * from the recorded order, and what they repeat has the same bytes. */
static void test_whatever_happens_the_decisions_are_the_same(void **state)
{
    (void)state;
    size_t again = 0;
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct bus_mem *m = filled(30);
        struct process p = {0};
        struct rng r;
        rng_init(&r, seed);
        for (int life = 0; life < 6; life++) {
            start(&p, m);
            assign_all(&p);
            bus_mem_hold_acks(&p.bus, rng_below(&r, 2) == 0);
            for (uint64_t turns = rng_below(&r, 60); turns > 0; turns--) {
                bus_mem_full(&p.bus, rng_below(&r, 5) == 0 ? rng_below(&r, 9) : 0);
                bus_mem_ack(&p.bus, rng_below(&r, 30));
                if (rng_below(&r, 12) == 0) {
                    int32_t which = (int32_t)rng_below(&r, PARTITIONS);
                    bus_mem_revoke(&p.bus, TOPIC_TRANSACTIONS, which, true);
                    assign(&p, which);
                }
                (void)score_turn(p.score);
            }
            die(&p);
        }
        start(&p, m);
        assign_all(&p);
        run_dry(&p);
        end(&p);
        again += expect_as_recorded(m);
        bus_mem_free(m);
    }
    assert_true(again > 100); /* there were crashes that mattered */
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(rates_create_default(&rates, NULL), ERR_OK);
    model = random_model(3);
    log_set_level(FD_LOG_ERROR + 1); /* what is expected need not be read */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_free(model);
    rates_free(rates);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_message_is_decided_once),
        cmocka_unit_test(test_offsets_are_committed_after_acknowledgement_only),
        cmocka_unit_test(test_what_was_decided_before_is_learnt_without_a_word),
        cmocka_unit_test(test_learning_begins_warm_us_ago),
        cmocka_unit_test(test_nothing_is_decided_before_labels_and_notices_are_read),
        cmocka_unit_test(test_a_partition_that_comes_later_knows_the_labels),
        cmocka_unit_test(test_a_model_by_notice_is_in_force_from_the_start),
        cmocka_unit_test(test_bad_labels_are_dead_letters_of_one_process),
        cmocka_unit_test(test_labels_of_two_partitions_are_refused),
        cmocka_unit_test(test_a_commit_outside_the_log_is_refused),
        cmocka_unit_test(test_a_revoked_partition_is_acknowledged_and_committed_first),
        cmocka_unit_test(test_a_lost_partition_is_not_committed),
        cmocka_unit_test(test_a_full_queue_is_waited_for),
        cmocka_unit_test(test_stopping_while_the_queue_is_full_loses_nothing),
        cmocka_unit_test(test_a_record_that_is_refused_ends_it_without_a_commit),
        cmocka_unit_test(test_trouble_ends_it_only_when_fatal),
        cmocka_unit_test(test_finish_waits_for_acknowledgements_and_commits),
        cmocka_unit_test(test_commits_that_fail_are_made_up_for),
        cmocka_unit_test(test_reload_between_turns),
        cmocka_unit_test(test_latencies_count_what_is_decided),
        cmocka_unit_test(test_whatever_happens_the_decisions_are_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
