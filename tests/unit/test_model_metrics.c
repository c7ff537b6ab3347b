/* Measures against slow twins that follow the definitions, with ties and weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "model/metrics.h"

#define ROWS 300

struct sample {
    float score[ROWS];
    uint8_t label[ROWS];
    float weight[ROWS];
    uint32_t day[ROWS];
    uint32_t card[ROWS];
};

static void draw(struct sample *s, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    for (size_t i = 0; i < ROWS; i++) {
        s->label[i] = rng_below(&rng, 5) == 0;
        s->score[i] = (float)rng_below(&rng, 40) / 8 + s->label[i]; /* many ties */
        s->weight[i] = rng_below(&rng, 4) == 0 ? 0 : 0.5F + (float)rng_uniform(&rng);
        s->day[i] = 100 - (uint32_t)rng_below(&rng, 6);
        s->card[i] = (uint32_t)rng_below(&rng, 25);
    }
}

/* Chance that a fraud's score is above another's, ties half. */
static double plain_auc(const struct sample *s, const float *w)
{
    double above = 0;
    double pairs = 0;
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < ROWS; j++) {
            if (s->label[i] && !s->label[j]) {
                double both = (double)w[i] * (double)w[j];
                pairs += both;
                above += s->score[i] > s->score[j]   ? both
                         : s->score[i] < s->score[j] ? 0
                                                     : both / 2;
            }
        }
    }
    return above / pairs;
}

/* Mean over the frauds of the precision at their own score's threshold. */
static double plain_ap(const struct sample *s, const float *w)
{
    double sum = 0;
    double frauds = 0;
    for (size_t i = 0; i < ROWS; i++) {
        double hit = 0;
        double all = 0;
        for (size_t j = 0; j < ROWS; j++) {
            if (s->score[j] >= s->score[i]) {
                hit += s->label[j] ? (double)w[j] : 0;
                all += (double)w[j];
            }
        }
        if (s->label[i] && w[i] > 0) {
            sum += (double)w[i] * hit / all;
            frauds += (double)w[i];
        }
    }
    return sum / frauds;
}

static void test_rank_agrees_with_its_definition(void **state)
{
    (void)state;
    float one[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        one[i] = 1;
    }
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sample s;
        struct errmsg e;
        double auc;
        double ap;
        draw(&s, seed);
        assert_int_equal(metrics_rank(s.score, s.label, NULL, ROWS, &auc, &ap, &e), ERR_OK);
        /* sums of at most 90,000 terms in double */
        assert_true(fabs(auc - plain_auc(&s, one)) < 1e-12);
        assert_true(fabs(ap - plain_ap(&s, one)) < 1e-12);
        assert_int_equal(metrics_rank(s.score, s.label, s.weight, ROWS, &auc, &ap, &e), ERR_OK);
        assert_true(fabs(auc - plain_auc(&s, s.weight)) < 1e-12);
        assert_true(fabs(ap - plain_ap(&s, s.weight)) < 1e-12);
    }
}

static void assert_rank(const float *score, const uint8_t *label, size_t n, double auc, double ap)
{
    double got_auc;
    double got_ap;
    struct errmsg e;
    assert_int_equal(metrics_rank(score, label, NULL, n, &got_auc, &got_ap, &e), ERR_OK);
    assert_true(fabs(got_auc - auc) < 1e-12);
    assert_true(fabs(got_ap - ap) < 1e-12);
}

static void test_rank_of_known_cases(void **state)
{
    (void)state;
    const uint8_t label[] = {1, 0, 1, 0};
    const float perfect[] = {9, 1, 8, 2};
    const float inverse[] = {1, 9, 2, 8};
    const float same[] = {5, 5, 5, 5};
    const float mixed[] = {4, 3, 2, 1};
    assert_rank(perfect, label, 4, 1, 1);
    assert_rank(inverse, label, 4, 0, (1.0 / 3 + 2.0 / 4) / 2);
    assert_rank(same, label, 4, 0.5, 0.5);
    assert_rank(mixed, label, 4, 0.75, (1.0 + 2.0 / 3) / 2);
    const float endless[] = {INFINITY, -INFINITY, 1, 0};
    assert_rank(endless, label, 4, 1, 1);
}

static void test_rank_without_both_classes_is_nan(void **state)
{
    (void)state;
    const float score[] = {1, 2};
    const uint8_t none[] = {0, 0};
    const uint8_t all[] = {1, 1};
    const uint8_t both[] = {1, 0};
    const float weight[] = {1, 0};
    double auc = 0;
    double ap = 0;
    struct errmsg e;
    assert_int_equal(metrics_rank(score, none, NULL, 2, &auc, &ap, &e), ERR_OK);
    assert_true(isnan(auc) && isnan(ap));
    assert_int_equal(metrics_rank(score, all, NULL, 2, &auc, &ap, &e), ERR_OK);
    assert_true(isnan(auc) && isnan(ap));
    assert_int_equal(metrics_rank(score, both, weight, 2, &auc, &ap, &e), ERR_OK);
    assert_true(isnan(auc) && isnan(ap));
    assert_int_equal(metrics_rank(score, both, NULL, 0, &auc, &ap, &e), ERR_OK);
    assert_true(isnan(auc) && isnan(ap));
}

static void test_rank_refuses_nan(void **state)
{
    (void)state;
    const float score[] = {1, NAN, 3};
    const uint8_t label[] = {1, 0, 0};
    const float weight[] = {1, 0, 1};
    double auc = 7;
    double ap = 7;
    struct errmsg e;
    assert_int_equal(metrics_rank(score, label, NULL, 3, &auc, &ap, &e), ERR_NUMERIC);
    assert_non_null(strstr(e.text, "score 1 of 3"));
    assert_true(auc > 6 && ap > 6);
    assert_int_equal(metrics_rank(score, label, weight, 3, &auc, &ap, &e), ERR_OK);
}

static void test_brier_is_the_weighted_mean_square(void **state)
{
    (void)state;
    const double p[] = {0.5, 1, 0, 0.25};
    const uint8_t label[] = {1, 1, 1, 0};
    const float weight[] = {2, 1, 1, 0};
    const float zero[] = {0, 0, 0, 0};
    assert_true(fabs(metrics_brier(p, label, NULL, 4) - (0.25 + 0 + 1 + 0.0625) / 4) < 1e-15);
    assert_true(fabs(metrics_brier(p, label, weight, 4) - (0.5 + 0 + 1) / 4) < 1e-15);
    assert_true(isnan(metrics_brier(p, label, zero, 4)));
    assert_true(isnan(metrics_brier(p, label, NULL, 0)));
}

/* The handbook's measure as its evaluation script has it: day by day, the best k cards not found.
 */
static double plain_card_precision(const struct sample *s, size_t k)
{
    bool found[25] = {false};
    double sum = 0;
    int days = 0;
    for (uint32_t day = 95; day <= 100; day++) {
        bool present[25] = {false};
        bool hit[25] = {false};
        float best[25];
        size_t first[25];
        for (size_t i = 0; i < ROWS; i++) {
            uint32_t c = s->card[i];
            if (s->day[i] != day || found[c]) {
                continue;
            }
            if (!present[c]) {
                best[c] = s->score[i];
                first[c] = i;
            }
            present[c] = true;
            best[c] = fmaxf(best[c], s->score[i]);
            hit[c] = hit[c] || s->label[i];
        }
        double hits = 0;
        bool newly[25] = {false};
        for (size_t rank = 0; rank < k; rank++) {
            int top = -1;
            for (int c = 0; c < 25; c++) {
                bool first_wins = top >= 0 && !(best[c] < best[top]) && !(best[c] > best[top]) &&
                                  first[c] < first[top];
                if (present[c] && (top < 0 || best[c] > best[top] || first_wins)) {
                    top = c;
                }
            }
            if (top >= 0) {
                hits += hit[top];
                newly[top] = hit[top];
                present[top] = false;
            }
        }
        for (int c = 0; c < 25; c++) {
            found[c] = found[c] || newly[c];
        }
        sum += hits / (double)k;
        days++;
    }
    return sum / days;
}

static void test_card_precision_agrees_with_its_definition(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sample s;
        struct errmsg e;
        draw(&s, seed + 100);
        for (size_t k = 1; k <= 30; k += 4) {
            double got;
            assert_int_equal(
                metrics_card_precision(s.score, s.label, s.day, s.card, ROWS, k, &got, &e), ERR_OK);
            assert_true(fabs(got - plain_card_precision(&s, k)) < 1e-12);
        }
    }
}

static void test_card_precision_leaves_found_cards_out(void **state)
{
    (void)state;
    const float score[] = {9, 1, 9, 1};
    const uint8_t label[] = {1, 0, 1, 1};
    const uint32_t day[] = {1, 1, 2, 2};
    const uint32_t card[] = {7, 8, 7, 8}; /* day 2: card 7 is known, card 8 is the best left */
    double got;
    struct errmsg e;
    assert_int_equal(metrics_card_precision(score, label, day, card, 4, 1, &got, &e), ERR_OK);
    assert_true(fabs(got - 1) < 1e-15);
    assert_int_equal(metrics_card_precision(score, label, day, card, 4, 2, &got, &e), ERR_OK);
    assert_true(fabs(got - 0.5) < 1e-15);
    assert_int_equal(metrics_card_precision(score, label, day, card, 0, 2, &got, &e), ERR_OK);
    assert_true(isnan(got));
}

static void test_order_is_descending_and_stable(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sample s;
        uint32_t order[ROWS];
        bool seen[ROWS] = {false};
        struct errmsg e;
        draw(&s, seed + 200);
        assert_int_equal(metrics_order(s.score, ROWS, order, &e), ERR_OK);
        for (size_t i = 0; i < ROWS; i++) {
            assert_true(order[i] < ROWS && !seen[order[i]]);
            seen[order[i]] = true;
            if (i > 0) {
                float before = s.score[order[i - 1]];
                float now = s.score[order[i]];
                assert_true(before > now || (!(before < now) && order[i - 1] < order[i]));
            }
        }
        s.score[ROWS - 1] = NAN;
        assert_int_equal(metrics_order(s.score, ROWS, order, &e), ERR_NUMERIC);
    }
}

/* A card that counts twice is two cards with the same payments. */
static void test_cards_precision_of_copies_is_that_of_more_cards(void **state)
{
    (void)state;
    static struct sample s;
    static float score[4 * ROWS];
    static uint8_t label[4 * ROWS];
    static uint32_t day[4 * ROWS];
    static uint32_t card[4 * ROWS];
    struct errmsg e;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rng rng;
        uint32_t copies[25];
        struct metrics_cards *c = NULL;
        size_t n = 0;
        rng_init(&rng, seed);
        draw(&s, seed + 300);
        for (size_t k = 0; k < 25; k++) {
            /* the first day keeps a card, so that every day is one of the longer list too */
            copies[k] = k < 4 ? 1 : (uint32_t)rng_below(&rng, 4);
        }
        for (size_t i = 0; i < ROWS; i++) {
            for (uint32_t copy = 0; copy < copies[s.card[i]]; copy++, n++) {
                score[n] = s.score[i];
                label[n] = s.label[i];
                day[n] = s.day[i];
                card[n] = s.card[i] + 25 * copy;
            }
        }
        assert_int_equal(metrics_cards_create(s.score, s.label, s.day, s.card, ROWS, 25, &c, &e),
                         ERR_OK);
        for (size_t k = 1; k <= 40; k += 3) {
            double longer;
            assert_int_equal(metrics_card_precision(score, label, day, card, n, k, &longer, &e),
                             ERR_OK);
            /* twice: the first measuring must leave nothing behind */
            (void)metrics_cards_precision(c, copies, k);
            assert_true(fabs(metrics_cards_precision(c, copies, k) - longer) < 1e-12);
            assert_true(fabs(metrics_cards_precision(c, NULL, k) - plain_card_precision(&s, k)) <
                        1e-12);
        }
        metrics_cards_free(c);
    }
}

static void test_cards_precision_of_no_card_left(void **state)
{
    (void)state;
    const float score[] = {9, 1};
    const uint8_t label[] = {1, 1};
    const uint32_t day[] = {1, 2};
    const uint32_t card[] = {0, 1};
    const uint32_t copies[] = {0, 3};
    struct metrics_cards *c = NULL;
    struct errmsg e;
    assert_int_equal(metrics_cards_create(score, label, day, card, 2, 2, &c, &e), ERR_OK);
    /* day 1 has nobody, day 2 two of the three copies */
    assert_true(fabs(metrics_cards_precision(c, copies, 2) - (0.0 + 1.0) / 2) < 1e-15);
    metrics_cards_free(c);
    const float bad[] = {1, NAN};
    assert_int_equal(metrics_cards_create(bad, label, day, card, 2, 2, &c, &e), ERR_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rank_agrees_with_its_definition),
        cmocka_unit_test(test_rank_of_known_cases),
        cmocka_unit_test(test_rank_without_both_classes_is_nan),
        cmocka_unit_test(test_rank_refuses_nan),
        cmocka_unit_test(test_brier_is_the_weighted_mean_square),
        cmocka_unit_test(test_card_precision_agrees_with_its_definition),
        cmocka_unit_test(test_card_precision_leaves_found_cards_out),
        cmocka_unit_test(test_order_is_descending_and_stable),
        cmocka_unit_test(test_cards_precision_of_copies_is_that_of_more_cards),
        cmocka_unit_test(test_cards_precision_of_no_card_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
