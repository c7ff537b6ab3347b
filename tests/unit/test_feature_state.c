/* What the feature state promises besides its columns: bounds, order, labels, the same bytes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "base/timefmt.h"
#include "tests/support/feature_fixture.h"

static struct fixture create(const struct fixture_limits *l)
{
    struct feature_params p;
    feature_params_default(&p);
    return fixture_create(&p, l);
}

/* One event; returns the row's hash, mixed into h. */
static uint64_t feed(struct feat_state *s, const struct tx *t, uint64_t h)
{
    float x[FEAT_DIM];
    struct feat_facts facts;
    feat_extract(s, t, x, &facts);
    fixture_check_row(x);
    return hash_bytes(x, sizeof x, h);
}

/* ---- bounds ---- */

static void test_feat_state_create_refuses_limits(void **state)
{
    (void)state;
    struct feature_params p;
    feature_params_default(&p);
    struct feature_params bad_params[] = {p, p, p, p, p};
    bad_params[0].maturity_us = -1;
    bad_params[1].maturity_us = 95 * TIME_DAY + 1;
    bad_params[2].blame_ratio = 0;
    bad_params[3].blame_tail = NAN;
    bad_params[4].blame_ratio = -1;
    struct fixture_limits l = fixture_limits();
    struct feat_world_limits bad_world[] = {l.world, l.world, l.world, l.world,
                                            l.world, l.world, l.world, l.world};
    bad_world[0].place_max = 63;
    bad_world[1].place_max = (size_t)1 << 32;
    bad_world[2].history_max = 15;
    bad_world[3].label_queue_max = 0;
    bad_world[4].verdict_max = 0;
    bad_world[5].verdict_max = (size_t)1 << 32;
    bad_world[6].bytes_max = 1;
    bad_world[7].bytes_max = (size_t)1 << 60;
    struct feat_limits bad_cards[] = {l.cards, l.cards, l.cards, l.cards, l.cards, l.cards};
    bad_cards[0].card_max = 63;
    bad_cards[1].card_max = (size_t)1 << 32;
    bad_cards[2].history_max = 15;
    bad_cards[3].history_max = ((size_t)1 << 20) + 1;
    bad_cards[4].bytes_max = 1;
    bad_cards[5].bytes_max = (size_t)1 << 60;
    struct feat_world *w = NULL;
    struct feat_state *s = NULL;
    struct errmsg e;
    for (size_t i = 0; i < 5; i++) {
        e.text[0] = '\0';
        assert_int_equal(feat_world_create(&bad_params[i], &l.world, &w, &e), ERR_INVALID);
        assert_true(strlen(e.text) > 20);
    }
    for (size_t i = 0; i < sizeof bad_world / sizeof *bad_world; i++) {
        e.text[0] = '\0';
        assert_int_equal(feat_world_create(&p, &bad_world[i], &w, &e), ERR_INVALID);
        assert_true(strlen(e.text) > 20);
    }
    assert_null(w);
    assert_int_equal(feat_world_create(&p, &l.world, &w, &e), ERR_OK);
    for (size_t i = 0; i < sizeof bad_cards / sizeof *bad_cards; i++) {
        e.text[0] = '\0';
        assert_int_equal(feat_state_create(w, &bad_cards[i], &s, &e), ERR_INVALID);
        assert_true(strlen(e.text) > 20);
    }
    assert_null(s);
    feat_world_free(w);
}

/* 64 cards, as many as eviction looks at: exactly the longest unseen one gives way. */
static void test_cards_give_way_by_their_latest_event(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.cards.card_max = 64;
    l.cards.card_extra_bytes = 24;
    struct fixture f = create(&l);
    struct feat_counters c;
    struct tx t;
    for (uint64_t i = 1; i <= 64; i++) {
        t = fixture_payment(i, i, 1, (int64_t)i * TIME_MIN, 100);
        (void)feed(f.s, &t, 0);
        memset(feat_card_extra(f.s, t.card), 0xaa, 24);
    }
    t = fixture_payment(65, 1, 1, 65 * TIME_MIN, 100); /* the first is seen again */
    (void)feed(f.s, &t, 0);
    t = fixture_payment(66, 65, 1, 66 * TIME_MIN, 100);
    (void)feed(f.s, &t, 0);
    feat_counters(f.s, &c);
    assert_int_equal(c.cards, 64);
    assert_int_equal(c.cards_evicted, 1);
    for (uint64_t i = 1; i <= 65; i++) {
        t = fixture_payment(0, i, 0, 0, 0);
        assert_int_equal(feat_card_extra(f.s, t.card) == NULL, i == 2);
        assert_int_equal(feat_card_bytes(f.s, t.card) == 0, i == 2);
    }
    t = fixture_payment(0, 65, 0, 0, 0);
    static const char ZERO[24];
    assert_memory_equal(feat_card_extra(f.s, t.card), ZERO, 24); /* not the old card's */
    fixture_free(&f);
}

/* Four new places of a late event, all older than everything: none pushes another out. */
static void test_places_of_one_event_stay(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.world.place_max = 64;
    struct fixture f = create(&l);
    struct tx t;
    for (uint64_t i = 1; i <= 64; i++) {
        t = fixture_payment(i, 1, i, 90 * TIME_DAY + (int64_t)i, 100);
        (void)feed(f.s, &t, 0);
    }
    for (uint64_t i = 100; i < 300; i++) {
        t = fixture_payment(i, 1, i, 89 * TIME_DAY, 100);
        t.merchant = t.terminal + 2;
        t.device = t.terminal + 4;
        t.ip = t.terminal + 6;
        (void)feed(f.s, &t, 0);
        const uint64_t ids[] = {t.terminal, t.merchant, t.device, t.ip};
        for (size_t k = 0; k < 4; k++) {
            assert_true(feat_place_bytes(f.w, ids[k]) > 0);
        }
    }
    struct feat_world_counters c;
    feat_world_counters(f.w, &c);
    assert_int_equal(c.places, 64);
    fixture_free(&f);
}

struct counted {
    struct feat_counters cards;
    struct feat_world_counters world;
};

static uint64_t run_crowded(uint64_t seed, size_t events, const struct fixture_limits *l,
                            struct counted *out)
{
    struct stream_conf conf = fixture_stream(seed);
    conf.events = events;
    conf.cards = 1500;
    conf.terminals = conf.merchants = conf.devices = conf.ips = 900;
    conf.mean_step_us = 2 * TIME_MIN;
    conf.edge_share = 0;
    conf.label_share = 0.1;
    struct stream stream;
    stream_create(&stream, &conf);
    struct fixture f = create(l);
    uint64_t h = 0;
    for (size_t i = 0; i < conf.events; i++) {
        struct label label;
        h = feed(f.s, &stream.tx[i], h);
        if (stream_label(&stream, i, &label)) {
            (void)!feat_label(f.w, &label);
        }
        feat_counters(f.s, &out->cards);
        feat_world_counters(f.w, &out->world);
        assert_true(out->cards.cards <= l->cards.card_max &&
                    out->world.places <= l->world.place_max);
    }
    fixture_free(&f);
    stream_done(&stream);
    return h;
}

static void test_eviction_is_bounded_and_repeatable(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.cards.card_max = 100;
    l.world.place_max = 150;
    struct counted a;
    struct counted b;
    uint64_t first = run_crowded(1, 20000, &l, &a);
    assert_true(run_crowded(1, 20000, &l, &b) == first);
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(a.cards.cards_evicted > 1000 && a.world.places_evicted > 1000);
    assert_true(run_crowded(2, 20000, &l, &b) != first);
}

/* Before each event, which of the latest 64 cards may give way to it; behind it, which have.
 * Returns how many did; *foretold: how many might have. */
static size_t run_watched(const struct fixture_limits *l, size_t cards, size_t *foretold)
{
    enum { WATCHED = 64 };
    struct stream_conf conf = fixture_stream(4);
    conf.events = 80000;
    conf.cards = cards;
    conf.mean_step_us = 2 * TIME_MIN;
    conf.edge_share = 0;
    conf.late_share = .3;
    conf.late_max_us = 60 * TIME_DAY; /* a card may be new here and the longest unseen */
    struct stream stream;
    stream_create(&stream, &conf);
    struct fixture f = create(l);
    uint64_t latest[WATCHED] = {0};
    size_t gone = 0;
    *foretold = 0;
    for (size_t i = 0; i < conf.events; i++) {
        const struct tx *t = &stream.tx[i];
        bool known[WATCHED];
        bool may_go[WATCHED];
        const uint32_t reach = feat_reach(f.s, t->card);
        for (size_t k = 0; k < WATCHED; k++) {
            known[k] = latest[k] != 0 && feat_card_bytes(f.s, latest[k]) > 0;
            may_go[k] = known[k] && reach > 0 && feat_within_reach(f.s, latest[k], reach);
            *foretold += may_go[k];
        }
        (void)feed(f.s, t, 0);
        for (size_t k = 0; k < WATCHED; k++) {
            if (known[k] && feat_card_bytes(f.s, latest[k]) == 0) {
                assert_true(may_go[k]);
                gone++;
            }
        }
        latest[i % WATCHED] = t->card;
    }
    fixture_free(&f);
    stream_done(&stream);
    return gone;
}

static void test_who_may_give_way_is_known_before(void **state)
{
    (void)state;
    struct fixture_limits full = fixture_limits();
    struct fixture_limits shorter = fixture_limits();
    size_t foretold = 0;
    full.cards.card_max = 128;
    assert_true(run_watched(&full, 400, &foretold) > 100);
    shorter.cards.bytes_max = (size_t)1 << 20;
    assert_true(run_watched(&shorter, 200, &foretold) > 0);
    const struct fixture_limits ample = fixture_limits();
    assert_true(run_watched(&ample, 400, &foretold) == 0);
    assert_int_equal(foretold, 0); /* there is room */
}

/* One megabyte each for 1,500 cards and 3,600 places: records give way for it, and what is left is
 * of use. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.cards.bytes_max = l.world.bytes_max = (size_t)1 << 20;
    struct counted a;
    struct counted b;
    uint64_t first = run_crowded(3, 80000, &l, &a);
    assert_true(run_crowded(3, 80000, &l, &b) == first);
    assert_true(a.cards.cards_evicted > 0 && a.world.places_evicted > 0);
    assert_true(a.cards.cards + a.world.places > 1000);
}

/* ---- labels ---- */

static float fraud_days_after(struct feat_state *s, uint64_t number, int64_t event_us)
{
    float x[FEAT_DIM];
    struct feat_facts facts;
    struct tx t = fixture_payment(number, 1, 1, event_us, 100);
    feat_extract(s, &t, x, &facts);
    return x[FEAT_card_fraud_days];
}

static void test_label_waits_until_it_is_known(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    struct fixture f = create(&l);
    struct feat_world_counters c;
    struct tx t = fixture_payment(1, 1, 1, TIME_DAY, 1000);
    (void)feed(f.s, &t, 0);
    (void)fraud_days_after(f.s, 2, 2 * TIME_DAY);
    struct label label = fixture_label(&t, 1, 5 * TIME_DAY, LABEL_FRAUD);
    assert_int_equal(feat_label(f.w, &label), ERR_OK);
    assert_true(fraud_days_after(f.s, 3, 5 * TIME_DAY - 1) > 399);
    feat_world_counters(f.w, &c);
    assert_int_equal(c.labels_queued, 1);
    assert_int_equal(c.labels_applied, 0);
    /* a late event: the clock has not moved */
    assert_true(fraud_days_after(f.s, 4, 3 * TIME_DAY) > 399);
    assert_true(fabsf(fraud_days_after(f.s, 5, 5 * TIME_DAY) - 4) < 1e-6F);
    /* known by the clock, so a late event sees it as well */
    assert_true(fabsf(fraud_days_after(f.s, 6, 4 * TIME_DAY) - 3) < 1e-6F);
    feat_world_counters(f.w, &c);
    assert_int_equal(c.labels_queued, 0);
    assert_int_equal(c.labels_applied, 1);
    fixture_free(&f);
}

static void test_label_is_refused_when_the_queue_is_full(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.world.label_queue_max = 3;
    struct fixture f = create(&l);
    struct tx t = fixture_payment(1, 1, 1, TIME_DAY, 1000);
    (void)feed(f.s, &t, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        struct label label = fixture_label(&t, i, (int64_t)(i + 1) * TIME_DAY, LABEL_FRAUD);
        label.tx_id += i;
        assert_int_equal(feat_label(f.w, &label), ERR_OK);
    }
    struct label label = fixture_label(&t, 4, 2 * TIME_DAY, LABEL_FRAUD);
    assert_int_equal(feat_label(f.w, &label), ERR_FULL);
    (void)fraud_days_after(f.s, 2, 2 * TIME_DAY); /* one takes effect: there is room again */
    assert_int_equal(feat_label(f.w, &label), ERR_OK);
    assert_int_equal(feat_label(f.w, &label), ERR_FULL);
    (void)fraud_days_after(f.s, 3, 20 * TIME_DAY);
    struct feat_world_counters c;
    feat_world_counters(f.w, &c);
    assert_int_equal(c.labels_applied, 4);
    assert_int_equal(c.labels_queued, 0);
    assert_int_equal(feat_label(f.w, &label), ERR_OK); /* a repeat, now that there is room */
    feat_world_counters(f.w, &c);
    assert_int_equal(c.labels_repeated, 1);
    fixture_free(&f);
}

static void test_labels_of_many_sources(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    struct fixture f = create(&l);
    struct tx t = fixture_payment(1, 1, 1, TIME_DAY, 1000);
    (void)feed(f.s, &t, 0);
    for (uint64_t i = 0; i < 3000; i++) { /* more than are told apart */
        struct label label = fixture_label(&t, 1, 2 * TIME_DAY, LABEL_FRAUD);
        label.source = i + 1;
        assert_int_equal(feat_label(f.w, &label), ERR_OK);
    }
    assert_true(fraud_days_after(f.s, 2, 2 * TIME_DAY) < 2);
    float x[FEAT_DIM];
    struct feat_facts facts;
    t = fixture_payment(3, 1, 1, 3 * TIME_DAY, 100);
    feat_extract(f.s, &t, x, &facts);
    assert_true(fabsf(x[FEAT_card_fraud_7d] - logf(2)) < 1e-6F); /* one fraud, said 3,000 times */
    fixture_free(&f);
}

/* Rows of a stream whose labels are given from the start; `flip`: number of the one whose verdict
 * is the other way round, 0: none. */
static void run_labelled(const struct stream_conf *c, uint64_t flip, uint64_t *out_rows,
                         int64_t *out_clock, int64_t *out_known)
{
    struct stream stream;
    stream_create(&stream, c);
    struct fixture_limits l = fixture_limits();
    struct fixture f = create(&l);
    for (size_t i = 0; i < c->events; i += 3) {
        int64_t delay = (int64_t)rng_below(&stream.rng, (uint64_t)c->label_max_us);
        uint8_t verdict = i % 2 == 0 ? LABEL_FRAUD : LABEL_LEGITIMATE;
        stream.usual_ratio[i] = (float)(i % 7);
        struct label label = stream_label_of(&stream, i, stream.tx[i].event_us + delay, verdict);
        if (label.number == flip) {
            label.verdict = verdict == LABEL_FRAUD ? LABEL_LEGITIMATE : LABEL_FRAUD;
            *out_known = label.known_us;
        }
        assert_int_equal(feat_label(f.w, &label), ERR_OK);
    }
    for (size_t i = 0; i < c->events; i++) {
        out_rows[i] = feed(f.s, &stream.tx[i], 0);
        out_clock[i] = feat_clock_us(f.s);
    }
    fixture_free(&f);
    stream_done(&stream);
}

static void test_a_flipped_label_changes_nothing_before_it_is_known(void **state)
{
    (void)state;
    enum { EVENTS = 600 };
    struct stream_conf c = fixture_stream(77);
    c.events = EVENTS;
    static uint64_t rows[2][EVENTS];
    static int64_t clock_us[2][EVENTS];
    int64_t known_us = 0;
    size_t changed = 0;
    run_labelled(&c, 0, rows[0], clock_us[0], &known_us);
    for (uint64_t flip = 1; flip <= EVENTS / 3; flip += 5) {
        run_labelled(&c, flip, rows[1], clock_us[1], &known_us);
        bool differs = false;
        for (size_t i = 0; i < EVENTS; i++) {
            differs |= rows[0][i] != rows[1][i];
            if (rows[0][i] != rows[1][i] && clock_us[0][i] < known_us) {
                fail_msg("label %llu changed row %zu", (unsigned long long)flip, i);
            }
        }
        changed += differs;
    }
    assert_true(changed > 20); /* and later ones it does change */
}

/* ---- the same bytes, whatever comes ---- */

static int64_t hostile_time(struct rng *g)
{
    static const int64_t EDGES[] = {INT64_MIN,     INT64_MAX,    0, -1, 1, -TIME_DAY,
                                    INT64_MAX / 4, INT64_MIN / 4};
    switch (rng_below(g, 4)) {
    case 0:
        return EDGES[rng_below(g, 8)];
    case 1:
        return (int64_t)rng_next(g);
    case 2:
        return (int64_t)rng_below(g, 1000) - 500;
    default:
        return (int64_t)rng_below(g, (uint64_t)(400 * TIME_DAY)) - 200 * TIME_DAY;
    }
}

static float hostile_float(struct rng *g)
{
    static const float EDGES[] = {NAN, INFINITY, -INFINITY, 0,     -0.0F,     90,     -90,
                                  180, -180,     1e-30F,    3e38F, 89.99999F, -3e38F, 1e-45F};
    return rng_below(g, 2) == 0 ? EDGES[rng_below(g, 14)] : (float)(rng_uniform(g) * 360 - 180);
}

static uint32_t hostile_amount(struct rng *g)
{
    static const uint32_t EDGES[] = {0, 1, UINT32_MAX, UINT32_MAX - 1, 1000, 31, 32, 33};
    return rng_below(g, 2) == 0 ? EDGES[rng_below(g, 8)] : (uint32_t)rng_next(g);
}

/* Any bits in any field, few identities so that they meet. */
static struct tx hostile_tx(struct rng *g, uint64_t number)
{
    return (struct tx){.id = rng_below(g, 8) == 0 ? rng_below(g, 50) : number,
                       .card = 1 + rng_below(g, 5) * UINT64_C(0x100000001),
                       .merchant = rng_below(g, 4),
                       .terminal = rng_below(g, 4) << 40,
                       .device = rng_below(g, 4) << 32,
                       .ip = rng_below(g, 10),
                       .event_us = hostile_time(g),
                       .amount_minor = (int64_t)rng_next(g),
                       .amount_ref = hostile_amount(g),
                       .mcc = (uint16_t)(rng_below(g, 3) * 0xffff),
                       .country = (uint16_t)(rng_below(g, 3) * 0x7fff),
                       .type = (uint8_t)(rng_below(g, 2) == 0 ? 0 : rng_below(g, 256)),
                       .channel = (uint8_t)rng_below(g, 256),
                       .entry = (uint8_t)rng_below(g, 256),
                       .has_location = rng_below(g, 2) == 0,
                       .foreign_currency = rng_below(g, 2) == 0,
                       .lat = hostile_float(g),
                       .lon = hostile_float(g)};
}

static uint64_t run_hostile(uint64_t seed)
{
    struct rng g;
    rng_init(&g, seed);
    struct fixture_limits l = fixture_limits();
    l.cards.history_max = l.world.history_max = 16 + seed % 40;
    l.world.label_queue_max = 50;
    struct fixture f = create(&l);
    uint64_t h = 0;
    struct tx past[64];
    memset(past, 0, sizeof past);
    for (uint64_t i = 1; i <= 3000; i++) {
        struct tx t = hostile_tx(&g, i);
        past[i % 64] = t;
        h = feed(f.s, &t, h);
        if (rng_below(&g, 3) == 0) {
            struct label label = fixture_label(&past[rng_below(&g, 64)], rng_below(&g, 5000),
                                               hostile_time(&g), (uint8_t)rng_below(&g, 256));
            label.verdict = rng_below(&g, 2) == 0 ? LABEL_FRAUD : label.verdict;
            label.usual_ratio = hostile_float(&g);
            label.source = rng_next(&g);
            (void)!feat_label(f.w, &label);
        }
    }
    fixture_free(&f);
    return h;
}

static void test_hostile_values_stay_in_range(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t first = run_hostile(seed);
        assert_true(run_hostile(seed) == first);
    }
}

/* Same events, same bytes; feat_prefetch and questions in between change nothing. */
static void test_questions_change_nothing(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    struct stream_conf c = fixture_stream(5);
    struct stream stream;
    stream_create(&stream, &c);
    struct fixture a = create(&l);
    struct fixture b = create(&l);
    for (size_t i = 0; i < c.events; i++) {
        struct label label;
        struct feat_counters counters;
        uint64_t want = feed(a.s, &stream.tx[i], 0);
        feat_prefetch(b.s, &stream.tx[i], c.events - i); /* more than it takes at once */
        feat_counters(b.s, &counters);
        (void)feat_card_extra(b.s, stream.tx[(i + 9) % c.events].card);
        (void)feat_card_bytes(b.s, stream.tx[i].card);
        (void)feat_place_bytes(b.w, stream.tx[i].merchant);
        assert_true(feed(b.s, &stream.tx[i], 0) == want);
        while (stream_label(&stream, i, &label)) {
            assert_int_equal(feat_label(a.w, &label), ERR_OK);
            assert_int_equal(feat_label(b.w, &label), ERR_OK);
        }
    }
    struct feat_counters ca;
    struct feat_counters cb;
    feat_counters(a.s, &ca);
    feat_counters(b.s, &cb);
    assert_memory_equal(&ca, &cb, sizeof ca);
    fixture_free(&a);
    fixture_free(&b);
    stream_done(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feat_state_create_refuses_limits),
        cmocka_unit_test(test_cards_give_way_by_their_latest_event),
        cmocka_unit_test(test_places_of_one_event_stay),
        cmocka_unit_test(test_eviction_is_bounded_and_repeatable),
        cmocka_unit_test(test_who_may_give_way_is_known_before),
        cmocka_unit_test(test_memory_is_bounded),
        cmocka_unit_test(test_label_waits_until_it_is_known),
        cmocka_unit_test(test_label_is_refused_when_the_queue_is_full),
        cmocka_unit_test(test_labels_of_many_sources),
        cmocka_unit_test(test_a_flipped_label_changes_nothing_before_it_is_known),
        cmocka_unit_test(test_hostile_values_stay_in_range),
        cmocka_unit_test(test_questions_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
