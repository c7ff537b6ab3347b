/* Settings that change decisions, by the recorded order: told by notices, in force alike in every
 * process, when it is started again and for whoever decides again. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "daemon/notice.h"
#include "tests/support/random_model.h"
#include "tests/support/scorer.h"

static uint8_t *file_bytes, *other_bytes;
static size_t file_len, other_len;
static struct model *file;

/* ---- the notice ---- */

static const struct bounds SOME = {
    {.budget = 100.0 / 3, .burst = 1.5, .floor = .995, .decline = 2, .decline_cost = .1},
    INT64_C(300000000)};
static const struct control_about ABOUT = {"score@here", "reload"};

static void test_a_notice_comes_back_bit_for_bit(void **state)
{
    (void)state;
    char text[BOUNDS_TEXT_MAX];
    struct errmsg e;
    struct bounds b = {.alert.day_offset_us = 7};
    struct control_about about;
    const size_t len = bounds_write(&SOME, &ABOUT, text);
    assert_int_equal(bounds_read(text, len, &b, &about, &e), ERR_OK);
    assert_int_equal(b.alert.day_offset_us, 7);
    b.alert.day_offset_us = 0;
    assert_memory_equal(&b, &SOME, sizeof b);
    assert_string_equal(about.by, ABOUT.by);
    assert_string_equal(about.why, ABOUT.why);
    assert_true(bounds_hash(&b) == bounds_hash(&SOME));
    b.alert.floor += 1e-16;
    assert_true(bounds_hash(&b) != bounds_hash(&SOME));
}

static void test_a_notice_that_is_none_changes_nothing(void **state)
{
    (void)state;
    char text[BOUNDS_TEXT_MAX + 1];
    struct errmsg e = {""};
    struct bounds b = SOME;
    struct control_about about;
    size_t len = bounds_write(&SOME, &ABOUT, text);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(bounds_read(text, i, &b, &about, &e), ERR_CORRUPT);
    }
    memcpy(text + len, "more", 4);
    assert_int_equal(bounds_read(text, len + 4, &b, &about, &e), ERR_CORRUPT);
    memset(text + len, 'x', sizeof text - len);
    assert_int_equal(bounds_read(text, sizeof text, &b, &about, &e), ERR_CORRUPT);
    text[40] = '\0';
    assert_int_equal(bounds_read(text, len, &b, &about, &e), ERR_CORRUPT);
    struct bounds bad = SOME;
    bad.alert.burst = .5;
    len = bounds_write(&bad, &ABOUT, text);
    assert_int_equal(bounds_read(text, len, &b, &about, &e), ERR_INVALID);
    bad = SOME;
    bad.max_future_us = -1;
    len = bounds_write(&bad, &ABOUT, text);
    assert_int_equal(bounds_read(text, len, &b, &about, &e), ERR_INVALID);
    bad = SOME;
    bad.alert.floor = (double)NAN;
    len = bounds_write(&bad, &ABOUT, text);
    assert_int_equal(bounds_read(text, len, &b, &about, &e), ERR_INVALID);
    assert_memory_equal(&b, &SOME, sizeof b);
}

/* Takes part `number` of `parts` of the text repeated. */
static enum err take_part(struct notice_reader *r, const char *whole, int number, int parts)
{
    char hash[20];
    char part[16];
    struct errmsg e;
    const uint8_t *out = NULL;
    size_t len = 0;
    const size_t all = strlen(whole);
    const size_t from = (size_t)(number - 1) * all / (size_t)parts;
    const size_t to = (size_t)number * all / (size_t)parts;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)hash_bytes(whole, all, 0));
    snprintf(part, sizeof part, "%d/%d", number, parts);
    const struct bus_message m = {.topic = TOPIC_NOTICES,
                                  .value = whole + from,
                                  .value_len = to - from,
                                  .headers = {{"kind", "model", 5},
                                              {"hash", hash, strlen(hash)},
                                              {"part", part, strlen(part)}},
                                  .header_count = 3};
    enum err err = notice_take(r, "model", &m, &out, &len, &e);
    if (err == ERR_END) {
        assert_int_equal(len, all);
        assert_memory_equal(out, whole, all);
    }
    return err;
}

static void test_parts_of_several_processes_at_the_same_time(void **state)
{
    (void)state;
    static const char A[] = "the model of one process";
    static const char B[] = "the model of another one, which is longer";
    struct notice_reader r = {0};
    /* the same bytes: once */
    assert_int_equal(take_part(&r, A, 1, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 1, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 2, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 2, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 3, 3), ERR_END);
    assert_int_equal(take_part(&r, A, 3, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 1, 3), ERR_OK); /* and once more, later */
    assert_int_equal(take_part(&r, A, 2, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 3, 3), ERR_END);
    /* others: the one begun last */
    assert_int_equal(take_part(&r, A, 1, 2), ERR_OK);
    assert_int_equal(take_part(&r, B, 1, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 2, 2), ERR_CORRUPT);
    assert_int_equal(take_part(&r, B, 2, 3), ERR_OK);
    assert_int_equal(take_part(&r, B, 3, 3), ERR_END);
    /* a part is missing */
    assert_int_equal(take_part(&r, A, 1, 3), ERR_OK);
    assert_int_equal(take_part(&r, A, 3, 3), ERR_CORRUPT);
    assert_int_equal(take_part(&r, A, 2, 3), ERR_CORRUPT);
    notice_done(&r);
}

/* ---- processes ---- */

static struct bounds bounds_of(double budget, double floor, int64_t max_future_us)
{
    return (struct bounds){{.budget = budget, .burst = 1.5, .floor = floor, .decline = .99},
                           max_future_us};
}

/* A process whose file says this. */
static void open_with(struct process *p, struct bus_mem *m, const struct bounds *b)
{
    struct score_conf c = scorer_conf();
    c.pipeline.model = file;
    c.model_bytes = file_bytes;
    c.model_len = file_len;
    c.pipeline.threshold = b->alert;
    c.pipeline.max_future_us = b->max_future_us;
    scorer_open(p, m, &c);
}

static struct score_stats stats_of(const struct process *p)
{
    struct score_stats t;
    score_stats(p->score, &t);
    return t;
}

static void test_a_start_tells_what_was_never_told(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    const struct bounds first = bounds_of(20, .9, TIME_S);
    const struct bounds second = bounds_of(5, .9, TIME_S);
    struct process p;
    open_with(&p, m, &first);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_size(m, TOPIC_NOTICES, 0), 0); /* it decides nothing yet */
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    const size_t told = bus_mem_size(m, TOPIC_NOTICES, 0);
    assert_true(told >= 2);
    assert_int_equal(stats_of(&p).settings_notice, told - 1);
    assert_true(stats_of(&p).settings_hash == bounds_hash(&first));
    assert_string_equal(model_lineage(score_model(p.score))->version, "file");
    scorer_end(&p);

    open_with(&p, m, &first); /* once more */
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_size(m, TOPIC_NOTICES, 0), told);
    scorer_end(&p);

    open_with(&p, m, &second); /* the file was changed */
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_size(m, TOPIC_NOTICES, 0), told + 1); /* the model is there */
    assert_true(stats_of(&p).settings_hash == bounds_hash(&second));
    assert_false(stats_of(&p).settings_differ);
    scorer_end(&p);

    open_with(&p, m, &first); /* somebody has the old file still */
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    assert_int_equal(bus_mem_size(m, TOPIC_NOTICES, 0), told + 1);
    assert_true(stats_of(&p).settings_hash == bounds_hash(&second));
    assert_true(stats_of(&p).settings_differ);
    scorer_end(&p);
    (void)scorer_expect_as_recorded(m);
    bus_mem_free(m);
}

static void test_a_reload_is_in_force_where_the_journal_says(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(20);
    const struct bounds first = bounds_of(20, .9, TIME_S);
    const struct bounds second = bounds_of(0, 1, TIME_S);
    struct process a, b;
    struct errmsg e = {""};
    size_t reviews[2] = {0};
    open_with(&a, m, &first);
    open_with(&b, m, &first);
    scorer_assign(&a, 0);
    scorer_assign(&b, 1);
    for (int i = 0; i < 400 && (bus_mem_size(m, TOPIC_DECISIONS, 0) < 100 ||
                                bus_mem_size(m, TOPIC_DECISIONS, 1) < 100);
         i++) {
        (void)score_turn(a.score);
        (void)score_turn(b.score);
    }
    const size_t told = bus_mem_size(m, TOPIC_NOTICES, 0);
    assert_int_equal(score_tell(a.score, &second, other_bytes, other_len, &e), ERR_OK);
    assert_true(bus_mem_size(m, TOPIC_NOTICES, 0) >= told + 2);
    for (int i = 0; i < 400; i++) {
        (void)score_turn(a.score);
        (void)score_turn(b.score);
    }
    assert_true(stats_of(&a).settings_hash == bounds_hash(&second));
    assert_true(stats_of(&b).settings_hash == bounds_hash(&second));
    assert_true(stats_of(&b).settings_differ && !stats_of(&a).settings_differ);
    assert_string_equal(model_lineage(score_model(b.score))->version, "other");
    for (int32_t p = 0; p < SCORER_PARTITIONS; p++) {
        const size_t n = bus_mem_size(m, TOPIC_DECISIONS, p);
        for (size_t i = 0; i < n; i++) {
            const char *value = bus_mem_record(m, TOPIC_DECISIONS, p, i)->value;
            reviews[i > n / 2 + 50] += strstr(value, "\"outcome\":\"review\"") != NULL &&
                                       strstr(value, "\"repeat\":true") == NULL;
        }
    }
    assert_true(reviews[0] > 0); /* none by the new budget of 0 and floor of 1 */
    assert_int_equal(reviews[1], 0);
    scorer_end(&a);
    scorer_end(&b);
    (void)scorer_expect_as_recorded(m); /* a third one, with other settings and model in its file */
    bus_mem_free(m);
}

static void test_a_reload_tells_no_more_than_what_is_new(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    const struct bounds first = bounds_of(20, .9, TIME_S);
    struct bounds bad = first;
    struct process p;
    struct errmsg e = {""};
    open_with(&p, m, &first);
    scorer_assign_all(&p);
    scorer_run_dry(&p);
    const size_t told = bus_mem_size(m, TOPIC_NOTICES, 0);
    assert_int_equal(score_tell(p.score, &first, NULL, 0, &e), ERR_OK);
    assert_int_equal(score_tell(p.score, &first, file_bytes, file_len, &e), ERR_OK);
    bad.alert.burst = 0;
    assert_int_equal(score_tell(p.score, &bad, other_bytes, other_len, &e), ERR_INVALID);
    other_bytes[other_len / 2] ^= 1;
    bad = bounds_of(7, .9, TIME_S);
    assert_int_equal(score_tell(p.score, &bad, other_bytes, other_len, &e), ERR_CORRUPT);
    other_bytes[other_len / 2] ^= 1;
    assert_int_equal(bus_mem_size(m, TOPIC_NOTICES, 0), told);
    assert_true(stats_of(&p).settings_hash == bounds_hash(&first));
    scorer_end(&p);
    bus_mem_free(m);
}

static int setup(void **state)
{
    struct errmsg e;
    file_bytes = random_model_bytes(9, "file", 0, &file_len);
    other_bytes = random_model_bytes(10, "other", 0, &other_len);
    assert_int_equal(model_load(file_bytes, file_len, &file, &e), ERR_OK);
    return scorer_setup(state);
}

static int teardown(void **state)
{
    model_free(file);
    free(file_bytes);
    free(other_bytes);
    return scorer_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_notice_comes_back_bit_for_bit),
        cmocka_unit_test(test_a_notice_that_is_none_changes_nothing),
        cmocka_unit_test(test_parts_of_several_processes_at_the_same_time),
        cmocka_unit_test(test_a_start_tells_what_was_never_told),
        cmocka_unit_test(test_a_reload_is_in_force_where_the_journal_says),
        cmocka_unit_test(test_a_reload_tells_no_more_than_what_is_new),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
