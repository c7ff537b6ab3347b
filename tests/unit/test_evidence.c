/* What decisions carry of where they came from, and identities of decisions as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/evidence.h"
#include "daemon/explain.h"
#include "tests/support/scorer.h"

static const struct slice LOG = {"payments-1", 10};

static void test_evidence_reads_as_it_was_written(void **state)
{
    struct rng r;
    float x[FEAT_DIM];
    float back[FEAT_DIM];
    uint8_t bytes[EVIDENCE_BYTES];
    (void)state;
    rng_init(&r, 5);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        x[i] = (float)((double)rng_below(&r, 2000000) / 1000 - 1000);
    }
    x[0] = -0.0F;
    const struct positions at = {INT64_C(1) << 60, 0, 77};
    struct positions at_back;
    evidence_write(&at, x, bytes);
    struct bus_header h[] = {{"other", "x", 1}, {EVIDENCE_HEADER, bytes, sizeof bytes}};
    assert_true(evidence_read(h, 2, &at_back, back));
    assert_memory_equal(x, back, sizeof x);
    assert_int_equal(at_back.journal, at.journal);
    assert_int_equal(at_back.labels_next, at.labels_next);
    assert_int_equal(at_back.notices_next, at.notices_next);
    /* none, one of another length, one of a newer program */
    assert_false(evidence_read(h, 1, &at_back, back));
    h[1].len--;
    assert_false(evidence_read(h, 2, &at_back, back));
    h[1].len++;
    bytes[0]++;
    assert_false(evidence_read(h, 2, &at_back, back));
}

static void test_the_sample_has_its_share(void **state)
{
    static const double SHARES[] = {0, .01, .3, 1};
    (void)state;
    for (size_t s = 0; s < sizeof SHARES / sizeof *SHARES; s++) {
        int n = 0;
        for (int64_t i = 0; i < 20000; i++) {
            const bool in = evidence_sampled(LOG, (int32_t)(i % 7), i, SHARES[s]);
            n += in;
            /* a larger share has all of a smaller one's */
            assert_true(!in || s + 1 == sizeof SHARES / sizeof *SHARES ||
                        evidence_sampled(LOG, (int32_t)(i % 7), i, SHARES[s + 1]));
        }
        /* four standard deviations of a binomial share of .3 are 260 */
        assert_in_range(n + 260, (int)(SHARES[s] * 20000), (int)(SHARES[s] * 20000) + 520);
    }
}

static void test_an_identity_is_read(void **state)
{
    static const char *const BAD[] = {"",         "/",      "a/1",    "a//2",   "/1/2",
                                      "a/1/",     "a/-1/2", "a/1/-2", "a/1/2x", "a/x/2",
                                      "a/1024/2", "a/1/2/", "a/1.5/2"};
    struct decision_id id;
    char long_log[WIRE_LOG_MAX + 8];
    (void)state;
    assert_true(decision_id_parse("payments/eu-1/3/918273", &id));
    assert_string_equal(id.log, "payments/eu-1");
    assert_int_equal(id.partition, 3);
    assert_int_equal(id.offset, 918273);
    assert_true(decision_id_parse("a/0/0", &id));
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        if (decision_id_parse(BAD[i], &id)) {
            fail_msg("taken: %s", BAD[i]);
        }
    }
    snprintf(long_log, sizeof long_log, "%0*d/1/2", WIRE_LOG_MAX, 7);
    assert_true(decision_id_parse(long_log, &id));
    snprintf(long_log, sizeof long_log, "%0*d/1/2", WIRE_LOG_MAX + 1, 7);
    assert_false(decision_id_parse(long_log, &id));
}

/* A process that only watches what another one has recorded. */
struct watched {
    int decisions, columns, reasons, elsewhere;
    const struct bus_mem *m;
};

static void on_record(void *ctx, const struct bus_record *r)
{
    struct watched *w = ctx;
    w->decisions += r->topic == TOPIC_DECISIONS;
}

static void on_explained(void *ctx, const struct explained *e)
{
    struct watched *w = ctx;
    size_t copies = 0;
    char score[64];
    const struct decision *d = e->decision;
    w->columns += e->x != NULL;
    w->reasons += d->reason_count > 0;
    w->elsewhere += e->at.journal < 0;
    const struct mem_record *sent = scorer_decision(w->m, d->partition, d->offset, &copies);
    assert_non_null(sent);
    snprintf(score, sizeof score, "\"score\":%.9g,", d->probability);
    assert_true(d->repeat || strstr(sent->value, score) != NULL);
}

static void test_a_watcher_decides_the_same_and_writes_nothing(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_undisturbed(20);
    struct watched w = {.m = m};
    const struct pipeline_out to = {.ctx = &w, .record = on_record, .explained = on_explained};
    struct score_conf c = scorer_conf();
    struct process p;
    size_t before[TOPIC_COUNT];
    for (int t = 0; t < TOPIC_COUNT; t++) {
        before[t] = bus_mem_size(m, (enum bus_topic)t, 0);
    }
    const size_t decided = before[TOPIC_DECISIONS] + bus_mem_size(m, TOPIC_DECISIONS, 1);
    for (int32_t i = 0; i < SCORER_PARTITIONS; i++) {
        bus_mem_set_committed(m, TOPIC_TRANSACTIONS, i, 0);
    }
    c.watch = &to;
    scorer_open(&p, m, &c);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    assert_int_equal(w.decisions, decided);
    assert_true(w.columns > (int)decided * 3 / 4 && w.reasons >= w.columns * 9 / 10);
    assert_int_equal(w.elsewhere, 0);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        assert_int_equal(bus_mem_size(m, (enum bus_topic)t, 0), before[t]);
    }
    scorer_end(&p);
    bus_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evidence_reads_as_it_was_written),
        cmocka_unit_test(test_the_sample_has_its_share),
        cmocka_unit_test(test_an_identity_is_read),
        cmocka_unit_test(test_a_watcher_decides_the_same_and_writes_nothing),
    };
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
