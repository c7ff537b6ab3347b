/* The gate's opinion of labels: those drawn from the model's own probabilities are believed,
 * whatever the draw; wrong ones of every kind are not, whether they are in the new weeks or in the
 * sealed one. The stream is made up to be like the handbook's: in a week some 60,000 payments, 250
 * of them surely fraud, and as many that nobody would suspect. */
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
#include "base/timefmt.h"
#include "daemon/gate.h"
#include "daemon/settings.h"
#include "tests/support/spoil.h"

#define OLD 6000
#define WEEK 60000
#define ROWS (OLD + 2 * WEEK)
#define TERMINALS 2000
#define DRAWS 50
#define FEW 45 /* a tenth of the merchants may have fewer of the 500 frauds than a tenth */

static struct past_row row[ROWS];
static struct past past = {.rows = row, .n = ROWS, .sorted = true};
static uint32_t from[ROWS];
static uint8_t use[ROWS], label[ROWS];
static float weight[ROWS], served[ROWS];
static struct update_rows rows = {
    .past = &past, .n = ROWS, .from = from, .use = use, .label = label, .weight = weight};
static struct gate_conf conf;

static double uniform(uint64_t seed, uint64_t i)
{
    return (double)(hash_pair(seed, i) >> 11) * 0x1p-53;
}

/* Sure of fraud, in doubt, sure of none. */
static double probability(size_t i)
{
    double kind = uniform(1, i);
    double u = uniform(2, i);
    return kind < .0065 ? .93 + .07 * u : kind < .0085 ? .02 + .6 * u : .003 * u;
}

static int64_t week(int n)
{
    return n * 7 * TIME_DAY;
}

/* Old payments before the first week, then news, then the sealed week; labels by the seed. */
static void draw(uint64_t seed)
{
    for (size_t i = 0; i < ROWS; i++) {
        double p = probability(i);
        size_t in_week = i < OLD ? 0 : (i - OLD) % WEEK;
        int number = i < OLD ? 0 : i < OLD + WEEK ? 1 : 2;
        row[i] =
            (struct past_row){.tx = {.id = i + 1,
                                     .card = 1 + hash_pair(3, i) % 5000,
                                     .terminal = 1 + hash_pair(4, i) % TERMINALS,
                                     .event_us = week(number) + (int64_t)in_week * (week(1) / WEEK),
                                     .amount_ref = (uint32_t)(100 + hash_pair(5, i) % 20000)},
                              .fraud = uniform(seed, i) < p};
        from[i] = (uint32_t)i;
        use[i] = number == 0   ? USE_REPLAY
                 : number == 1 ? USE_NEWS
                               : (uint8_t)(USE_CALIBRATE + i % 2);
        weight[i] = number == 0 ? 1 : 0;
        served[i] = (float)p;
    }
}

static struct gate_report judge(void)
{
    struct gate_report g;
    struct errmsg e = {""};
    for (size_t i = 0; i < ROWS; i++) {
        label[i] = row[i].fraud;
    }
    if (gate_judge_labels(&conf, &rows, served, &g, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return g;
}

static int begin(void **state)
{
    (void)state;
    struct conf *c = NULL;
    struct errmsg e = {""};
    char name[] = "train";
    char *argv[] = {name, NULL};
    static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};
    if (settings_load(TABLES, 1, argv, &c, NULL, &e) != ERR_OK) {
        return -1;
    }
    gate_conf_read(c, &conf);
    conf_free(c);
    return 0;
}

static void test_labels_by_chance_are_believed(void **state)
{
    (void)state;
    int passed = 0;
    for (uint64_t seed = 100; seed < 100 + DRAWS; seed++) {
        draw(seed);
        struct gate_report g = judge();
        passed += g.passed;
        assert_false(g.measured); /* no model yet */
        assert_true(g.row[GATE_LABEL_SURE].measured && !g.row[GATE_AP].measured);
        assert_true(g.row[GATE_LABEL_SURE].served > 300);
    }
    assert_true(passed >= DRAWS - 1);
}

static void test_wrong_labels_are_stopped_in_either_stretch(void **state)
{
    (void)state;
    static const char *const STRETCH[2] = {"new payments", "sealed payments"};
    for (int kind = 0; kind < SPOIL_KINDS; kind++) {
        for (int stretch = 0; stretch < 2; stretch++) {
            int stopped = 0;
            int few = 0;
            for (uint64_t seed = 100; seed < 100 + DRAWS; seed++) {
                draw(seed);
                size_t n = spoil_labels(&past, (enum spoil)kind, week(1 + stretch),
                                        week(2 + stretch), seed);
                assert_true(n > 20);
                struct gate_report g = judge();
                few += n < FEW;
                stopped += n >= FEW && !g.passed;
                for (int i = GATE_LABELS; i < GATE_COUNT; i++) {
                    assert_true(g.row[i].passed || strncmp(g.row[i].where, STRETCH[stretch],
                                                           strlen(STRETCH[stretch])) == 0);
                }
            }
            print_message("%s, %s: %d of %d stopped\n", SPOIL_NAME[kind], STRETCH[stretch], stopped,
                          DRAWS - few);
            assert_true(few < DRAWS / 2 && stopped >= DRAWS - few - 2);
        }
    }
}

static void test_a_group_is_named(void **state)
{
    (void)state;
    char text[GATE_TEXT_MAX];
    draw(7);
    for (size_t i = OLD; i < ROWS; i++) {
        bool meant = row[i].tx.event_us >= week(2) && row[i].tx.terminal % 50 == 0;
        row[i].tx.country = meant ? 'F' * 256 + 'R' : 'D' * 256 + 'E';
        row[i].fraud = row[i].fraud && !meant;
        if (meant && i % 4 == 0) {
            served[i] = .95F; /* else too little is expected of so few */
        }
    }
    struct gate_report g = judge();
    assert_false(g.passed);
    assert_string_equal(g.row[GATE_LABEL_GROUP].where, "sealed payments, country FR");
    gate_misses(&g, text);
    assert_non_null(strstr(text, "of the worst group (sealed payments, country FR) is 0."));
    assert_non_null(strstr(text, "is asked by gate.label-group"));
    assert_null(strstr(text, "average precision"));
}

/* Two hundred payments and hardly a fraud expected: no bound can say anything. */
static void test_too_little_says_nothing(void **state)
{
    (void)state;
    draw(7);
    rows.n = OLD + 200;
    struct gate_report g = judge();
    rows.n = ROWS;
    assert_true(g.passed);
    assert_true(isnan(g.row[GATE_LABEL_SURE].value) && isnan(g.row[GATE_LABEL_GROUP].value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_by_chance_are_believed),
        cmocka_unit_test(test_wrong_labels_are_stopped_in_either_stretch),
        cmocka_unit_test(test_a_group_is_named),
        cmocka_unit_test(test_too_little_says_nothing),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
