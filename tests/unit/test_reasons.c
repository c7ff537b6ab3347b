/* Reasons: which groups, in which order, and what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "daemon/reasons.h"

/* A first payment about which nothing is known: every column at its missing value. */
static void blank(float *x, struct feat_facts *facts)
{
    for (size_t i = 0; i < FEAT_DIM; i++) {
        x[i] = feature_info(i)->missing;
    }
    memset(facts, 0, sizeof *facts);
}

static void test_reasons_make_order_and_bounds(void **state)
{
    float x[FEAT_DIM];
    float group[GROUP_COUNT] = {0};
    struct feat_facts facts;
    struct reason r[DECISION_REASONS_MAX];
    (void)state;
    blank(x, &facts);
    assert_int_equal(reasons_make(x, group, &facts, r), 0);
    group[GROUP_PAIR] = -1;
    group[GROUP_DEVICE] = NAN;
    group[GROUP_CATEGORY] = INFINITY;
    assert_int_equal(reasons_make(x, group, &facts, r), 0);
    group[GROUP_MISSING] = 0.5F;
    group[GROUP_AMOUNT] = 0.25F;
    group[GROUP_USUAL] = 2;
    assert_int_equal(reasons_make(x, group, &facts, r), 3);
    assert_int_equal(r[0].group, GROUP_USUAL);
    assert_int_equal(r[1].group, GROUP_MISSING);
    assert_int_equal(r[2].group, GROUP_AMOUNT);
    assert_true(r[0].weight > 1.9F && r[2].weight < 0.3F);
    for (int g = 0; g < GROUP_COUNT; g++) {
        group[g] = 1;
    }
    assert_int_equal(reasons_make(x, group, &facts, r), DECISION_REASONS_MAX);
    for (int i = 0; i < DECISION_REASONS_MAX; i++) {
        assert_int_equal(r[i].group, i); /* ties by number */
    }
}

/* The text of one group's reason. */
static const char *text_of(const float *x, const struct feat_facts *facts, enum feature_group g)
{
    static struct reason r[DECISION_REASONS_MAX];
    float group[GROUP_COUNT] = {0};
    group[g] = 1;
    assert_int_equal(reasons_make(x, group, facts, r), 1);
    assert_int_equal(r[0].group, g);
    return r[0].text;
}

static void test_reasons_make_sentences(void **state)
{
    float x[FEAT_DIM];
    struct feat_facts facts;
    (void)state;
    blank(x, &facts);
    assert_string_equal(text_of(x, &facts, GROUP_USUAL), "unusual: the card's usual amount");
    assert_string_equal(text_of(x, &facts, GROUP_INTERVAL), "first event of this card");
    assert_string_equal(text_of(x, &facts, GROUP_PAIR),
                        "first payment of this card here in 90 days");
    x[FEAT_amount] = 5.25F;
    assert_string_equal(text_of(x, &facts, GROUP_AMOUNT), "amount 5.3");
    x[FEAT_amount] = 1234.4F;
    x[FEAT_amount_tail] = 2;
    assert_string_equal(text_of(x, &facts, GROUP_AMOUNT),
                        "amount among the largest 10 in 1000 payments");
    x[FEAT_amount_tail] = 5;
    x[FEAT_is_cash] = 1;
    assert_string_equal(text_of(x, &facts, GROUP_AMOUNT),
                        "cash of 1234; amount among the largest in 1000 payments");
    facts.card_events = 7;
    x[FEAT_card_gap] = 3.7135721F; /* ln 41 */
    assert_string_equal(text_of(x, &facts, GROUP_INTERVAL),
                        "40 s after this card's previous event");
    x[FEAT_card_gap] = 13.3704F; /* 7.4 days */
    assert_string_equal(text_of(x, &facts, GROUP_INTERVAL),
                        "7.4 days after this card's previous event");
    facts.usual_ratio = 5.2F;
    x[FEAT_usual_z] = 3;
    assert_string_equal(text_of(x, &facts, GROUP_USUAL),
                        "amount 5.2 times this card's usual; 3 standard deviations above it");
    x[FEAT_device_new] = 1;
    assert_string_equal(text_of(x, &facts, GROUP_DEVICE), "first use of this device");
    x[FEAT_device_cards_30d] = 4;
    assert_string_equal(text_of(x, &facts, GROUP_DEVICE),
                        "first use of this device; 4 cards with this device in 30 days");
    x[FEAT_terminal_fraud_30d] = 1.0986123F; /* ln 3 */
    x[FEAT_terminal_fraud_days] = 0.5F;
    assert_string_equal(text_of(x, &facts, GROUP_TERMINAL_LABEL),
                        "2 frauds at this terminal became known in 30 days; fraud at this terminal "
                        "less than a day ago");
    x[FEAT_card_count_1h] = 1.7917595F;  /* ln 6 */
    x[FEAT_card_count_90d] = 4.5108595F; /* ln 91 */
    assert_string_equal(text_of(x, &facts, GROUP_CARD_WINDOW),
                        "5 payments of this card in 1 hour, against 1 a day in 90 days");
    x[FEAT_no_device] = 1;
    x[FEAT_no_ip] = 1;
    assert_string_equal(text_of(x, &facts, GROUP_MISSING), "comes without device, IP address");
    x[FEAT_channel] = 3;
    x[FEAT_entry_mode] = 4;
    assert_string_equal(text_of(x, &facts, GROUP_CATEGORY),
                        "made in electronic commerce, typed in");
    x[FEAT_country_new] = 1;
    x[FEAT_geo_distance] = 6.9087548F; /* 1000 km */
    x[FEAT_geo_speed] = 6.9087548F;
    assert_string_equal(text_of(x, &facts, GROUP_GEOGRAPHY),
                        "first payment of this card in this country; 1000 km from the previous "
                        "payment, 1000 km/h");
}

/* Any columns inside their ranges give texts that end, are plain and say something. */
static void test_reasons_make_any_columns(void **state)
{
    struct rng rng;
    (void)state;
    rng_init(&rng, 11);
    for (int i = 0; i < 20000; i++) {
        float x[FEAT_DIM];
        float group[GROUP_COUNT];
        struct feat_facts facts = {0};
        struct reason r[DECISION_REASONS_MAX];
        struct reason again[DECISION_REASONS_MAX];
        facts.card_events = (uint32_t)rng_below(&rng, 3);
        facts.usual_ratio = (float)(rng_uniform(&rng) * 1e8) * (float)rng_below(&rng, 2);
        for (size_t c = 0; c < FEAT_DIM; c++) {
            const struct feature_info *info = feature_info(c);
            double u = rng_below(&rng, 3) == 0 ? (double)rng_below(&rng, 2) : rng_uniform(&rng);
            x[c] = info->low + (info->high - info->low) * (float)u;
        }
        for (int g = 0; g < GROUP_COUNT; g++) {
            group[g] = (float)rng_uniform(&rng) - 0.3F;
        }
        size_t n = reasons_make(x, group, &facts, r);
        assert_int_equal(reasons_make(x, group, &facts, again), n);
        for (size_t k = 0; k < n; k++) {
            size_t len = strnlen(r[k].text, sizeof r[k].text);
            assert_in_range(len, 5, sizeof r[k].text - 1);
            assert_string_equal(r[k].text, again[k].text);
            assert_true(k == 0 || r[k - 1].weight >= r[k].weight);
            for (size_t j = 0; j < len; j++) {
                assert_in_range(r[k].text[j], ' ', '~');
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons_make_order_and_bounds),
        cmocka_unit_test(test_reasons_make_sentences),
        cmocka_unit_test(test_reasons_make_any_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
