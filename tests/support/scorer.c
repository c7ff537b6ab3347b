#include "tests/support/scorer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "daemon/models.h"
#include "daemon/notice.h"
#include "daemon/rates.h"
#include "tests/support/random_model.h"

static struct rates *rates;
static struct model *model;

int scorer_setup(void **state)
{
    (void)state;
    assert_int_equal(rates_create_default(&rates, NULL), ERR_OK);
    model = random_model(3);
    log_set_level(FD_LOG_ERROR + 1); /* what is expected need not be read */
    return 0;
}

int scorer_teardown(void **state)
{
    (void)state;
    model_free(model);
    rates_free(rates);
    return 0;
}

static int64_t wall_us(void)
{
    return SCORER_WALL_US;
}

static bool go_on(void *ctx)
{
    struct process *p = ctx;
    return p->waits_left < 0 || p->waits_left-- > 0;
}

struct score_conf scorer_conf(void)
{
    struct score_conf c = {.batch_max = SCORER_BATCH, .wall_us = wall_us};
    c.pipeline = (struct pipeline_conf){
        .model = model,
        .rates = rates,
        .params = random_model_params(),
        .threshold = {.budget = 20, .burst = 1.5, .floor = .995, .decline = .99},
        .log = {SCORER_LOG, strlen(SCORER_LOG)},
        .max_future_us = 300 * TIME_S,
        .message_max = WIRE_MESSAGE_MAX,
        .evidence_share = .3};
    feat_limits_default(&c.pipeline.limits);
    feat_world_limits_default(&c.world);
    c.pipeline.limits.card_max = 1000;
    c.world.place_max = 2000;
    c.world.label_queue_max = 1000;
    c.pipeline.limits.bytes_max = (size_t)64 << 20;
    return c;
}

void scorer_open(struct process *p, struct bus_mem *m, const struct score_conf *c)
{
    struct errmsg e = {""};
    if (score_create(c, NULL, &p->score, &e) != ERR_OK) {
        fprintf(stderr, "score_create: %s\n", e.text);
        abort();
    }
    const struct bus_plan plan = {
        .group_topic = {[TOPIC_TRANSACTIONS] = true},
        .whole_topic = {[TOPIC_LABELS] = true, [TOPIC_NOTICES] = true, [TOPIC_JOURNAL] = true},
        .produces = true};
    const struct bus_events events = score_events(p->score);
    p->bus = bus_mem_open(m, &plan, &events);
    score_attach(p->score, p->bus);
}

void scorer_start_warm(struct process *p, struct bus_mem *m, int64_t warm_us)
{
    struct score_conf c = scorer_conf();
    c.warm_us = warm_us;
    c.go_on = go_on;
    c.ctx = p;
    p->waits_left = -1;
    scorer_open(p, m, &c);
}

void scorer_start(struct process *p, struct bus_mem *m)
{
    scorer_start_warm(p, m, 0);
}

void scorer_assign(const struct process *p, int32_t partition)
{
    bus_mem_assign(&p->bus, TOPIC_TRANSACTIONS, partition);
}

void scorer_assign_all(const struct process *p)
{
    for (int32_t i = 0; i < SCORER_PARTITIONS; i++) {
        scorer_assign(p, i);
    }
}

void scorer_run_dry(struct process *p)
{
    for (int idle = 0; idle < 3;) {
        idle = score_turn(p->score) == 0 ? idle + 1 : 0;
    }
}

void scorer_until_decided(const struct process *p, const struct bus_mem *m, int32_t partition,
                          size_t n)
{
    for (int i = 0; i < 100 && bus_mem_size(m, TOPIC_DECISIONS, partition) <= n; i++) {
        (void)score_turn(p->score);
    }
    assert_true(bus_mem_size(m, TOPIC_DECISIONS, partition) > n);
}

void scorer_end(struct process *p)
{
    p->bus.close(p->bus.self);
    score_free(p->score);
}

void scorer_die(struct process *p)
{
    bus_mem_kill(&p->bus);
    score_free(p->score);
}

/* ---- the logs ---- */

static void append_transactions(struct bus_mem *m, uint64_t seed, size_t n)
{
    struct messages all = messages_make(seed, n, SCORER_CARDS, true, true);
    for (size_t i = 0; i < n; i++) {
        const char *key = all.m[i].key;
        int32_t partition = (int32_t)(key[strlen(key) - 1] % SCORER_PARTITIONS); /* by card */
        const struct bus_message message = messages_get(&all, i, partition, 0);
        (void)bus_mem_append(m, TOPIC_TRANSACTIONS, partition, &message);
    }
    messages_done(&all);
}

void scorer_append_label(struct bus_mem *m, int32_t partition, uint64_t number, const char *tail)
{
    char json[512];
    int n = snprintf(json, sizeof json,
                     "{\"source\":\"s\",\"number\":%" PRIu64 ",\"tx\":\"t%" PRIu64
                     "\",\"verdict\":\"fraud\",\"ts\":\"2026-01-01T00:00:00Z\",\"known\":"
                     "\"2026-01-01T06:00:00Z\",\"card\":\"c%" PRIu64 "\",\"terminal\":\"p%" PRIu64
                     "\",\"merchant\":\"m%" PRIu64
                     "\",\"amount\":5000,\"currency\":\"EUR\",\"amount_ratio\":9%s",
                     number, number, number % SCORER_CARDS, number % 60, number % 30, tail);
    const struct bus_message message = {
        .timestamp_us = SCORER_WALL_US, .value = json, .value_len = (size_t)n};
    (void)bus_mem_append(m, TOPIC_LABELS, partition, &message);
}

struct bus_mem *scorer_filled(size_t labels)
{
    struct bus_mem *m = bus_mem_create();
    append_transactions(m, 11, SCORER_N);
    for (size_t i = 0; i < labels; i++) {
        scorer_append_label(m, 0, i + 1, "}");
    }
    return m;
}

static void append_model(struct bus_mem *m, const char *kind, uint8_t *bytes, size_t len)
{
    struct errmsg e;
    const struct bus_plan plan = {.produces = true};
    const struct bus_events events = {.ctx = NULL};
    struct bus bus = bus_mem_open(m, &plan, &events);
    assert_int_equal(notice_send(&bus, kind, bytes, len, &e), ERR_OK);
    bus.close(bus.self);
    free(bytes);
}

void scorer_append_model(struct bus_mem *m, uint64_t seed, const char *version,
                         uint64_t schema_hash)
{
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(seed, version, schema_hash, &len);
    append_model(m, "model", bytes, len);
}

void scorer_append_shadow(struct bus_mem *m, uint64_t seed, const char *version)
{
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(seed, version, 0, &len);
    append_model(m, "shadow", bytes, len);
}

static void append_text(struct bus_mem *m, const char *kind, const char *text, size_t len)
{
    struct errmsg e;
    const struct bus_plan plan = {.produces = true};
    const struct bus_events events = {.ctx = NULL};
    struct bus bus = bus_mem_open(m, &plan, &events);
    assert_int_equal(notice_send_text(&bus, kind, text, len, 0, &e), ERR_OK);
    bus.close(bus.self);
}

void scorer_append_end(struct bus_mem *m, uint64_t seed, const char *version)
{
    struct model *ended = NULL;
    char text[MODELS_END_MAX];
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(seed, version, 0, &len);
    assert_int_equal(model_load(bytes, len, &ended, NULL), ERR_OK);
    len = models_write_end(model_hash(ended), -1, text);
    append_text(m, "shadow-end", text, len);
    model_free(ended);
    free(bytes);
}

void scorer_append_control(struct bus_mem *m, const char *lines)
{
    char text[4096];
    const int n = snprintf(text, sizeof text, "fraudd-control 1\nby\tada\nwhy\ta test\n%s", lines);
    append_text(m, "control", text, (size_t)n);
}

static void copy_log(const struct bus_mem *from, struct bus_mem *to, enum bus_topic topic)
{
    for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(from, topic, p); i++) {
            bus_mem_append_copy(to, topic, p, bus_mem_record(from, topic, p, i));
        }
        bus_mem_trim(to, topic, p, bus_mem_low(from, topic, p));
    }
}

struct bus_mem *scorer_copy(const struct bus_mem *m)
{
    struct bus_mem *again = bus_mem_create();
    copy_log(m, again, TOPIC_TRANSACTIONS);
    copy_log(m, again, TOPIC_LABELS);
    copy_log(m, again, TOPIC_NOTICES);
    copy_log(m, again, TOPIC_JOURNAL);
    return again;
}

/* ---- what came out ---- */

const struct mem_record *scorer_decision(const struct bus_mem *m, int32_t partition, int64_t offset,
                                         size_t *out_count)
{
    const struct mem_record *first = NULL;
    char id[64];
    *out_count = 0;
    snprintf(id, sizeof id, "{\"id\":\"" SCORER_LOG "/%" PRId32 "/%" PRId64 "\",", partition,
             offset);
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

size_t scorer_dead_letters(const struct bus_mem *m)
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
    for (int32_t p = 0; p < SCORER_PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(wanted, TOPIC_TRANSACTIONS, p); i++) {
            size_t n = 0;
            const struct mem_record *a = scorer_decision(wanted, p, (int64_t)i, &n);
            const struct mem_record *b = scorer_decision(got, p, (int64_t)i, &n);
            assert_int_equal(a != NULL, b != NULL);
            if (a != NULL && strcmp(a->value, b->value) != 0) {
                fail_msg("wanted %s\ngot %s", a->value, b->value);
            }
            again += n > 1 ? n - 1 : 0;
        }
    }
    return again;
}

struct bus_mem *scorer_undisturbed(size_t labels)
{
    struct bus_mem *m = scorer_filled(labels);
    struct process p;
    scorer_start(&p, m);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    scorer_end(&p);
    for (int32_t i = 0; i < SCORER_PARTITIONS; i++) {
        assert_int_equal(bus_mem_committed(m, TOPIC_TRANSACTIONS, i),
                         (int64_t)bus_mem_size(m, TOPIC_TRANSACTIONS, i));
    }
    return m;
}

/* What one undisturbed process decides from the logs and the order that was recorded in m. */
static struct bus_mem *replayed(const struct bus_mem *m)
{
    struct bus_mem *again = scorer_copy(m);
    struct process p;
    scorer_start(&p, again);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    scorer_end(&p);
    return again;
}

size_t scorer_expect_as_recorded(const struct bus_mem *m)
{
    struct bus_mem *wanted = replayed(m);
    size_t again = expect_same_decisions(wanted, m);
    bus_mem_free(wanted);
    return again;
}
