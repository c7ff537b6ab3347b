/* Lists and modes: what is in force at which position, what decides, and that a process which
 * decides again by the record comes to the same bytes. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "daemon/control.h"
#include "tests/support/scorer.h"

#define NEVER LISTS_FOREVER

static struct slice text_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static enum err take(struct controls *c, int64_t offset, const char *lines)
{
    char text[4096];
    struct errmsg e = {""};
    const int n = snprintf(text, sizeof text,
                           "fraudd-control 1\nby\tada\nwhy\tstolen, says the bank\n%s", lines);
    return controls_take(c, offset, text, (size_t)n, &e);
}

static struct controls *make(void)
{
    struct controls *c = NULL;
    struct errmsg e;
    assert_int_equal(controls_create(true, &c, &e), ERR_OK);
    return c;
}

static struct tx payment(const char *card, const char *merchant)
{
    return (struct tx){.id = 1,
                       .card = hash_id(card, strlen(card)),
                       .merchant = hash_id(merchant, strlen(merchant)),
                       .country = 'D' * 256 + 'E'};
}

static struct control_answer judge(struct controls *c, const struct tx *t, int64_t position,
                                   int64_t clock_us, enum outcome model)
{
    const struct control_ask ask = {.tx = t, .clock_us = clock_us, .model = model};
    struct control_answer a;
    assert_int_equal(controls_at(c, position, NULL), ERR_OK);
    controls_judge(c, &ask, &a);
    return a;
}

#define JUDGE(outcome_, by_, position, clock_us, model)                                            \
    do {                                                                                           \
        const struct control_answer a_ = judge(c, &t, position, clock_us, model);                  \
        assert_int_equal(a_.outcome, outcome_);                                                    \
        assert_int_equal(a_.by, by_);                                                              \
    } while (0)

/* ---- lists ---- */

static void test_an_entry_is_in_force_from_its_notice_until_the_one_that_removes_it(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take(c, 10, "add\tblock\tcard\tc1\n"), ERR_OK);
    assert_int_equal(take(c, 20, "remove\tblock\tcard\tc1\n"), ERR_OK);
    assert_int_equal(take(c, 30, "add\tallow\tmerchant\tm1\n"), ERR_OK);
    JUDGE(OUTCOME_REVIEW, CONTROL_NONE, 10, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 11, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 20, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_REVIEW, CONTROL_NONE, 21, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_REVIEW, CONTROL_NONE, 30, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_APPROVE, CONTROL_LIST, 31, 0, OUTCOME_REVIEW);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 11, 0, OUTCOME_REVIEW); /* and back again */
    controls_free(c);
}

static void test_an_entry_expires_by_the_streams_clock(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    const int64_t end_us = INT64_C(1775001600) * 1000000; /* 2026-04-01 */
    assert_int_equal(take(c, 1,
                          "until\t2026-04-01\nadd\tblock\tcard\tc1\n"
                          "until\t-\nadd\twatch\tcard\tc1\n"),
                     ERR_OK);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 2, end_us - 1, OUTCOME_APPROVE);
    JUDGE(OUTCOME_REVIEW, CONTROL_LIST, 2, end_us, OUTCOME_APPROVE);
    controls_free(c);
}

static void test_a_block_goes_before_an_allow_and_that_before_a_watch(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take(c, 1, "add\twatch\tcountry\tDE\n"), ERR_OK);
    assert_int_equal(take(c, 2, "add\tallow\tmerchant\tm1\n"), ERR_OK);
    assert_int_equal(take(c, 3, "add\tblock\tcard\tc1\n"), ERR_OK);
    JUDGE(OUTCOME_REVIEW, CONTROL_LIST, 2, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_DECLINE, CONTROL_NONE, 2, 0, OUTCOME_DECLINE); /* a watch takes nothing away */
    JUDGE(OUTCOME_APPROVE, CONTROL_LIST, 3, 0, OUTCOME_DECLINE);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 4, 0, OUTCOME_APPROVE);
    controls_free(c);
}

static void test_an_identity_is_of_its_field_only(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("same", "other");
    const struct tx missing = {.id = 1, .card = 5};
    assert_int_equal(take(c, 1, "add\tblock\tmerchant\tsame\nadd\tblock\tterminal\tsame\n"),
                     ERR_OK);
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 2, 0, OUTCOME_APPROVE);
    assert_int_equal(judge(c, &missing, 2, 0, OUTCOME_APPROVE).by, CONTROL_NONE);
    controls_free(c);
}

static void test_a_control_is_named_with_its_notice_author_and_reason(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    char name[CONTROL_NAME_MAX + 1];
    char text[CONTROL_TEXT_MAX];
    assert_int_equal(take(c, 17, "add\tblock\tmerchant\tm1\n"), ERR_OK);
    struct control_answer a = judge(c, &t, 18, 0, OUTCOME_APPROVE);
    controls_tell(c, &a, name, text);
    assert_string_equal(name, "block/merchant@17");
    assert_string_equal(text, "the merchant is on the block list: stolen, says the bank (ada)");
    assert_int_equal(take(c, 18, "mode\tkill\n"), ERR_OK);
    a = judge(c, &t, 19, 0, OUTCOME_APPROVE);
    controls_tell(c, &a, name, text);
    assert_string_equal(name, "kill@18");
    assert_string_equal(text, "everything is approved: stolen, says the bank (ada)");
    controls_free(c);
}

/* ---- many entries, beside a plain list of all that was said ---- */

#define OPS 4000
#define IDS 60

struct said {
    bool add;
    unsigned list, id;
    int64_t offset, expires_us;
};

/* Whether the list has it at a position: the latest that was said below it. */
static bool naive(const struct said *s, size_t n, unsigned list, unsigned id, int64_t position,
                  int64_t clock_us)
{
    bool on = false;
    for (size_t i = 0; i < n && s[i].offset < position; i++) {
        if (s[i].list == list && s[i].id == id) {
            on = s[i].add && clock_us < s[i].expires_us;
        }
    }
    return on;
}

static void test_any_position_gives_what_was_said_below_it(void **state)
{
    (void)state;
    static struct said said[OPS];
    static const char *const LIST[] = {"block", "allow", "watch"};
    struct control_lists *l = NULL;
    struct errmsg e;
    struct rng r;
    rng_init(&r, 7);
    assert_int_equal(control_lists_create(false, &l, &e), ERR_OK);
    for (size_t i = 0; i < OPS; i++) {
        char value[16];
        bool was = false;
        struct said *s = &said[i];
        *s = (struct said){rng_below(&r, 3) > 0, (unsigned)rng_below(&r, 3),
                           (unsigned)rng_below(&r, IDS), (int64_t)i / 3,
                           rng_below(&r, 2) > 0 ? NEVER : (int64_t)rng_below(&r, 100)};
        snprintf(value, sizeof value, "c%u", s->id);
        const struct list_change change = {(enum list_kind)list_kind_find(text_of(LIST[s->list])),
                                           LIST_CARD,
                                           text_of(value),
                                           s->offset,
                                           s->expires_us,
                                           0};
        assert_int_equal(s->add ? control_lists_add(l, &change, &e)
                                : control_lists_remove(l, &change, &was, &e),
                         ERR_OK);
    }
    size_t on = 0;
    for (int i = 0; i < 20000; i++) {
        char value[16];
        const unsigned id = (unsigned)rng_below(&r, IDS);
        const int64_t position = (int64_t)rng_below(&r, OPS / 3 + 2);
        const int64_t clock_us = (int64_t)rng_below(&r, 110);
        const struct list_entry *found[LIST_KINDS];
        snprintf(value, sizeof value, "c%u", id);
        const struct tx t = payment(value, "m");
        control_lists_find(l, &t, position, clock_us, found);
        for (unsigned k = 0; k < LIST_KINDS; k++) {
            const bool wanted = naive(said, OPS, k, id, position, clock_us);
            const int list = list_kind_find(text_of(LIST[k]));
            assert_int_equal(found[list] != NULL, wanted);
            on += wanted;
        }
    }
    assert_true(on > 5000);
    control_lists_free(l);
}

static void test_a_table_that_grows_keeps_everything(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct control_lists *l = controls_lists(c);
    char lines[4096];
    for (int64_t i = 0; i < 20000; i += 100) {
        size_t n = 0;
        for (int64_t k = i; k < i + 100; k++) {
            n += (size_t)snprintf(lines + n, sizeof lines - n, "add\tblock\tcard\tc%" PRId64 "\n",
                                  k);
        }
        assert_int_equal(take(c, i, lines), ERR_OK);
    }
    assert_int_equal(control_lists_live(l), 20000);
    for (int64_t i = 0; i < 21000; i++) {
        char value[24];
        snprintf(value, sizeof value, "c%" PRId64, i);
        const struct tx t = payment(value, "m");
        assert_int_equal(judge(c, &t, 20001, 0, OUTCOME_APPROVE).by,
                         i < 20000 ? CONTROL_LIST : CONTROL_NONE);
    }
    const struct slice v = control_lists_value(l, control_lists_at(l, 19999));
    assert_int_equal(v.len, 6);
    assert_memory_equal(v.at, "c19999", 6);
    controls_free(c);
}

/* ---- notices ---- */

static void test_a_notice_is_taken_whole_or_not_at_all(void **state)
{
    (void)state;
    static const char *const BAD[] = {"add\tblock\tcard\n",
                                      "add\tblock\tcard\t\n",
                                      "add\tblack\tcard\tc1\n",
                                      "add\tblock\tbin\tc1\n",
                                      "add\tblock\tcountry\tde\n",
                                      "add\tblock\tcard\tc1\tc2\n",
                                      "until\ttomorrow\n",
                                      "mode\toff\n",
                                      "delete\tblock\tcard\tc1\n",
                                      "why\t\n",
                                      "by\ta\x01\n",
                                      "\n"};
    struct controls *c = make();
    const struct tx t = payment("c9", "m1");
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char lines[200];
        snprintf(lines, sizeof lines, "add\tblock\tcard\tc9\n%s", BAD[i]);
        assert_int_not_equal(take(c, (int64_t)i, lines), ERR_OK);
    }
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 100, 0, OUTCOME_APPROVE);
    controls_free(c);
}

static void test_a_change_without_author_or_reason_is_refused(void **state)
{
    (void)state;
    static const char *const BAD[] = {"", "fraudd-control 2\n",
                                      "fraudd-control 1\nadd\tblock\tcard\tc1\n",
                                      "fraudd-control 1\nby\tada\nadd\tblock\tcard\tc1\n",
                                      "fraudd-control 1\nwhy\tx\nadd\tblock\tcard\tc1\n"};
    struct controls *c = make();
    struct errmsg e = {""};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        assert_int_equal(controls_take(c, (int64_t)i, BAD[i], strlen(BAD[i]), &e), ERR_CORRUPT);
    }
    controls_free(c);
}

/* ---- modes ---- */

static void test_observing_approves_and_says_what_would_have_been(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take(c, 1, "mode\tobserve\nadd\tblock\tcard\tc1\n"), ERR_OK);
    assert_int_equal(take(c, 2, "mode\tlive\n"), ERR_OK);
    struct control_answer a = judge(c, &t, 2, 0, OUTCOME_REVIEW);
    assert_true(a.observed);
    assert_int_equal(a.outcome, OUTCOME_APPROVE);
    assert_int_equal(a.would, OUTCOME_DECLINE);
    assert_int_equal(a.by, CONTROL_LIST);
    a = judge(c, &t, 3, 0, OUTCOME_REVIEW);
    assert_false(a.observed);
    assert_int_equal(a.outcome, OUTCOME_DECLINE);
    assert_int_equal(controls_mode(c, NULL), CONTROL_LIVE);
    controls_free(c);
}

static void test_the_kill_switch_approves_whatever_else_says(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take(c, 1, "add\tblock\tcard\tc1\n"), ERR_OK);
    assert_int_equal(take(c, 2, "mode\tkill\n"), ERR_OK);
    JUDGE(OUTCOME_DECLINE, CONTROL_LIST, 2, 0, OUTCOME_DECLINE);
    JUDGE(OUTCOME_APPROVE, CONTROL_MODE, 3, 0, OUTCOME_DECLINE);
    controls_free(c);
}

/* ---- rules ---- */

static enum err take_rules(struct controls *c, int64_t offset, const char *rules)
{
    char text[2000];
    struct errmsg e = {""};
    size_t len = controls_rules_head("bob", "a try", text);
    len += (size_t)snprintf(text + len, sizeof text - len, "%s", rules);
    return controls_take_rules(c, offset, text, len, &e);
}

static void test_rules_are_those_sent_last_below_the_position(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take_rules(c, 5, "a: review when card = 'c1' because 'known'\n"), ERR_OK);
    assert_int_equal(take_rules(c, 7, "a: revue when card = 'c1' because 'known'\n"), ERR_INVALID);
    assert_int_equal(take_rules(c, 9, "b: decline when merchant = 'm1' because 'worse'\n"), ERR_OK);
    assert_int_equal(take_rules(c, 11, "# none\n"), ERR_OK);
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 5, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_REVIEW, CONTROL_RULE, 6, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_REVIEW, CONTROL_RULE, 8, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_DECLINE, CONTROL_RULE, 10, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 12, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_REVIEW, CONTROL_RULE, 6, 0, OUTCOME_APPROVE);  /* and back again */
    JUDGE(OUTCOME_DECLINE, CONTROL_NONE, 6, 0, OUTCOME_DECLINE); /* takes nothing away */
    char name[CONTROL_NAME_MAX + 1];
    char text[CONTROL_TEXT_MAX];
    struct control_answer a = judge(c, &t, 10, 0, OUTCOME_APPROVE);
    controls_tell(c, &a, name, text);
    assert_string_equal(name, "rule/b@9");
    assert_string_equal(text, "rule b: worse (bob)");
    controls_free(c);
}

static void test_lists_go_before_rules_and_a_watch_behind(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    assert_int_equal(take_rules(c, 1, "a: approve when card = 'c1' because 'known'\n"), ERR_OK);
    assert_int_equal(take(c, 2, "add\twatch\tcard\tc1\n"), ERR_OK);
    assert_int_equal(take_rules(c, 3, "a: decline when card = 'c1' because 'known'\n"), ERR_OK);
    assert_int_equal(take(c, 4, "add\tallow\tmerchant\tm1\n"), ERR_OK);
    JUDGE(OUTCOME_APPROVE, CONTROL_RULE, 2, 0, OUTCOME_DECLINE);
    JUDGE(OUTCOME_REVIEW, CONTROL_LIST, 3, 0, OUTCOME_DECLINE);
    JUDGE(OUTCOME_DECLINE, CONTROL_RULE, 4, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_APPROVE, CONTROL_LIST, 5, 0, OUTCOME_APPROVE);
    controls_free(c);
}

static void test_more_sets_than_are_kept(void **state)
{
    (void)state;
    struct controls *c = make();
    const struct tx t = payment("c1", "m1");
    for (int64_t i = 0; i < 3 * CONTROL_RULE_SETS; i++) {
        assert_int_equal(
            take_rules(c, i, i % 2 == 0 ? "a: review when card = 'c1' because 'x'\n" : "# none\n"),
            ERR_OK);
    }
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 3 * CONTROL_RULE_SETS, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_REVIEW, CONTROL_RULE, 3 * CONTROL_RULE_SETS - 1, 0, OUTCOME_APPROVE);
    JUDGE(OUTCOME_APPROVE, CONTROL_NONE, 10, 0, OUTCOME_APPROVE); /* forgotten */
    controls_free(c);
}

/* ---- score ---- */

/* The transaction that a decision is about. */
static const struct mem_record *transaction_of(const struct bus_mem *m, int32_t partition,
                                               const struct mem_record *decision)
{
    int64_t offset = -1;
    assert_int_equal(sscanf(decision->value, "{\"id\":\"" SCORER_LOG "/%*d/%" SCNd64, &offset), 1);
    return bus_mem_record(m, TOPIC_TRANSACTIONS, partition, (size_t)offset);
}

static bool has(const struct mem_record *r, const char *text)
{
    return strstr(r->value, text) != NULL;
}

/* How many fresh decisions on a card's payments, from the partition's decision `first` on, the
 * block list made; out_others: and not. */
static size_t blocked(const struct bus_mem *m, int32_t partition, size_t first, const char *card,
                      size_t *out_others)
{
    size_t n = 0;
    *out_others = 0;
    for (size_t i = first; i < bus_mem_size(m, TOPIC_DECISIONS, partition); i++) {
        const struct mem_record *r = bus_mem_record(m, TOPIC_DECISIONS, partition, i);
        const struct mem_record *t = transaction_of(m, partition, r);
        if (strcmp(r->key, card) != 0 || has(r, "\"repeat\"") || has(t, "\"refund\"") ||
            has(t, "\"reversal\"")) {
            continue;
        }
        const bool named = has(r, "\"control\":\"block/card@0\"") &&
                           has(r, "\"outcome\":\"decline\"") &&
                           has(r, "{\"group\":\"control\",\"weight\":0,\"text\":\"the card is on "
                                  "the block list: a test (ada)\"}");
        n += named;
        *out_others += !named;
    }
    return n;
}

static void test_a_block_decides_what_is_read_after_it_in_every_instance(void **state)
{
    (void)state;
    struct bus_mem *m = scorer_filled(0);
    struct process p[2];
    size_t decided[SCORER_PARTITIONS];
    for (int32_t i = 0; i < 2; i++) {
        scorer_start(&p[i], m);
        scorer_assign(&p[i], i);
    }
    for (int i = 0; i < 8; i++) {
        (void)score_turn(p[0].score);
        (void)score_turn(p[1].score);
    }
    for (int32_t i = 0; i < 2; i++) {
        decided[i] = bus_mem_size(m, TOPIC_DECISIONS, i);
        assert_true(decided[i] > 0);
    }
    scorer_append_control(m, "add\tblock\tcard\tc0\nadd\tblock\tcard\tc1\n");
    for (int i = 0; i < 200; i++) {
        (void)score_turn(p[0].score);
        (void)score_turn(p[1].score);
    }
    size_t total = 0;
    for (int card = 0; card < 2; card++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", card);
        for (int32_t i = 0; i < SCORER_PARTITIONS; i++) {
            size_t others = 0;
            /* one batch was in the journal when the notice came, at most */
            total += blocked(m, i, decided[i] + SCORER_BATCH, name, &others);
            assert_int_equal(others, 0);
        }
    }
    assert_true(total > 8);
    (void)scorer_expect_as_recorded(m);
    scorer_end(&p[0]);
    scorer_end(&p[1]);
    bus_mem_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_is_in_force_from_its_notice_until_the_one_that_removes_it),
        cmocka_unit_test(test_an_entry_expires_by_the_streams_clock),
        cmocka_unit_test(test_a_block_goes_before_an_allow_and_that_before_a_watch),
        cmocka_unit_test(test_an_identity_is_of_its_field_only),
        cmocka_unit_test(test_a_control_is_named_with_its_notice_author_and_reason),
        cmocka_unit_test(test_any_position_gives_what_was_said_below_it),
        cmocka_unit_test(test_a_table_that_grows_keeps_everything),
        cmocka_unit_test(test_a_notice_is_taken_whole_or_not_at_all),
        cmocka_unit_test(test_a_change_without_author_or_reason_is_refused),
        cmocka_unit_test(test_observing_approves_and_says_what_would_have_been),
        cmocka_unit_test(test_the_kill_switch_approves_whatever_else_says),
        cmocka_unit_test(test_rules_are_those_sent_last_below_the_position),
        cmocka_unit_test(test_lists_go_before_rules_and_a_watch_behind),
        cmocka_unit_test(test_more_sets_than_are_kept),
        cmocka_unit_test(test_a_block_decides_what_is_read_after_it_in_every_instance),
    };
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
