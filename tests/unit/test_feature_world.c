/* The world and its card sets: what one makes of an event whose card lives elsewhere, what is saved
 * and read back, several card sets on one world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "tests/support/feature_fixture.h"

#define EXTRA 40

static struct fixture create(const struct fixture_limits *l)
{
    struct feature_params p;
    feature_params_default(&p);
    p.blame_tail = 2;
    return fixture_create(&p, l);
}

static struct feat_world *create_world(const struct fixture_limits *l)
{
    struct fixture f = create(l);
    feat_state_free(f.s);
    return f.w;
}

/* One event; returns the hash of its row and facts, and writes into the caller's bytes. */
static uint64_t feed(struct feat_state *s, const struct tx *t, float *out_ratio)
{
    float x[FEAT_DIM];
    struct feat_facts facts;
    feat_extract(s, t, x, &facts);
    *out_ratio = facts.usual_ratio;
    uint64_t h = hash_bytes(x, sizeof x, facts.card_events);
    if (facts.card_extra != NULL) {
        h = hash_bytes(facts.card_extra, EXTRA, h);
        memcpy(facts.card_extra, x, EXTRA);
    }
    return h * 4 + facts.dropped_late;
}

static void expect_same_areas(const struct area *a, size_t na, const struct area *b, size_t nb)
{
    assert_int_equal(na, nb);
    for (size_t i = 0; i < na; i++) {
        assert_string_equal(a[i].name, b[i].name);
        assert_int_equal(a[i].bytes_max, b[i].bytes_max);
        if (a[i].bytes != b[i].bytes || memcmp(a[i].at, b[i].at, a[i].bytes) != 0) {
            fail_msg("area %s differs", a[i].name);
        }
    }
}

static void expect_same_worlds(const struct feat_world *a, const struct feat_world *b)
{
    struct area of_a[FEAT_AREAS_MAX];
    struct area of_b[FEAT_AREAS_MAX];
    size_t n = feat_world_areas(a, of_a);
    expect_same_areas(of_a, n, of_b, feat_world_areas(b, of_b));
}

static void expect_same_cards(const struct feat_state *a, const struct feat_state *b)
{
    struct area of_a[FEAT_AREAS_MAX];
    struct area of_b[FEAT_AREAS_MAX];
    size_t n = feat_state_areas(a, of_a);
    expect_same_areas(of_a, n, of_b, feat_state_areas(b, of_b));
}

static struct stream_conf crowded_stream(uint64_t seed)
{
    struct stream_conf c = fixture_stream(seed);
    c.events = 4000;
    c.cards = 150;
    c.terminals = c.merchants = c.devices = c.ips = 60;
    c.mean_step_us = 20 * TIME_MIN;
    c.edge_share = 0;
    return c;
}

/* What may bound a world, by number: nothing, histories with panes, places and cards that give
 * way, verdicts that are forgotten, all of them. */
#define BOUNDS 5

static struct fixture_limits bounds(size_t which)
{
    struct fixture_limits l = fixture_limits();
    l.world.label_queue_max = 20000;
    l.cards.card_extra_bytes = EXTRA;
    if (which == 1 || which == 4) {
        l.world.history_max = l.cards.history_max = 20;
    }
    if (which == 2 || which == 4) {
        l.world.place_max = 70;
        l.cards.card_max = 64;
    }
    if (which == 3 || which == 4) {
        l.world.verdict_max = 50;
    }
    return l;
}

/* ---- events of others ---- */

/* What features/world.h says is read of an event; all else is another card's business. */
static struct tx shared_part(const struct tx *t)
{
    struct tx part;
    memset(&part, 0xa5, sizeof part);
    part.id = t->id;
    part.card = t->card;
    part.merchant = t->merchant;
    part.terminal = t->terminal;
    part.device = t->device;
    part.ip = t->ip;
    part.event_us = t->event_us;
    part.amount_ref = t->amount_ref;
    part.mcc = t->mcc;
    part.country = t->country;
    part.type = t->type;
    return part;
}

static void follow_and_compare(const struct stream_conf *c, const struct fixture_limits *l)
{
    struct stream stream;
    stream_create(&stream, c);
    struct fixture a = create(l);
    struct feat_world *b = create_world(l);
    for (size_t i = 0; i < c->events; i++) {
        struct tx part = shared_part(&stream.tx[i]);
        struct label label;
        (void)feed(a.s, &stream.tx[i], &stream.usual_ratio[i]);
        feat_world_follow(b, &part);
        while (stream_label(&stream, i, &label)) {
            assert_int_equal(feat_label(a.w, &label), ERR_OK);
            memset(label.spare, 0xa5, sizeof label.spare);
            assert_int_equal(feat_label(b, &label), ERR_OK);
        }
        if (i % 97 == 0) {
            expect_same_worlds(a.w, b);
        }
    }
    expect_same_worlds(a.w, b);
    struct feat_world_counters counters;
    feat_world_counters(b, &counters);
    assert_int_equal(counters.events, c->events);
    assert_true(counters.labels_revised > 0);
    assert_int_equal(counters.places_evicted > 0, l->world.place_max < 100 && c->terminals > 20);
    feat_world_free(b);
    fixture_free(&a);
    stream_done(&stream);
}

static void test_follow_leaves_the_bytes_of_extract(void **state)
{
    (void)state;
    for (size_t which = 0; which < BOUNDS; which++) {
        struct fixture_limits l = bounds(which);
        struct stream_conf c = fixture_stream(100 + which);
        follow_and_compare(&c, &l);
        c = crowded_stream(200 + which);
        follow_and_compare(&c, &l);
    }
}

/* Times at which differences could overflow. */
static void test_follow_bounds_times_as_extract_does(void **state)
{
    (void)state;
    static const int64_t TIMES[] = {INT64_MIN, 0, INT64_MIN / 4, INT64_MAX, 5, INT64_MAX / 4};
    struct fixture_limits l = fixture_limits();
    struct fixture a = create(&l);
    struct feat_world *b = create_world(&l);
    float ratio;
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        struct tx t = fixture_payment(i + 1, 1, 1, TIMES[i], 100);
        (void)feed(a.s, &t, &ratio);
        feat_world_follow(b, &t);
        expect_same_worlds(a.w, b);
    }
    feat_world_free(b);
    fixture_free(&a);
}

/* ---- saved and read back ---- */

static void copy_areas(const struct area *from, const struct area *to, size_t n, size_t without)
{
    for (size_t i = 0; i < n; i++) {
        if (i != without) {
            memcpy(to[i].at, from[i].at, from[i].bytes);
        }
    }
}

/* A copy of a world and its card set, without one area of each; expects what comes of it. */
static struct fixture restore(const struct fixture *f, const struct fixture_limits *l,
                              const char *without, enum err wanted)
{
    struct fixture copy = create(l);
    struct area from[FEAT_AREAS_MAX];
    struct area to[FEAT_AREAS_MAX];
    struct errmsg e = {""};
    size_t n = feat_world_areas(f->w, from);
    size_t left_out = 0;
    (void)feat_world_areas(copy.w, to);
    while (left_out < n && strcmp(from[left_out].name, without) != 0) {
        left_out++;
    }
    copy_areas(from, to, n, left_out);
    enum err err = feat_world_restored(copy.w, &e);
    if (err == ERR_OK) {
        n = feat_state_areas(f->s, from);
        (void)feat_state_areas(copy.s, to);
        left_out = 0;
        while (left_out < n && strcmp(from[left_out].name, without) != 0) {
            left_out++;
        }
        copy_areas(from, to, n, left_out);
        err = feat_state_restored(copy.s, &e);
    }
    if (err != wanted) {
        fail_msg("without \"%s\": %s %s", without, err_name(err), e.text);
    }
    assert_int_equal(strlen(e.text) > 20, wanted != ERR_OK);
    return copy;
}

static void give(struct stream *s, size_t at, struct feat_world *a, struct feat_world *b)
{
    struct label label;
    while (stream_label(s, at, &label)) {
        assert_int_equal(feat_label(a, &label), ERR_OK);
        if (b != NULL) {
            assert_int_equal(feat_label(b, &label), ERR_OK);
        }
    }
}

static void restore_and_go_on(const struct stream_conf *c, const struct fixture_limits *l)
{
    struct stream stream;
    stream_create(&stream, c);
    struct fixture a = create(l);
    size_t half = c->events / 2;
    for (size_t i = 0; i < half; i++) {
        (void)feed(a.s, &stream.tx[i], &stream.usual_ratio[i]);
        give(&stream, i, a.w, NULL);
    }
    struct fixture b = restore(&a, l, "", ERR_OK);
    for (size_t i = half; i < c->events; i++) {
        float ratio;
        feat_prefetch(b.s, &stream.tx[i], c->events - i);
        uint64_t row = feed(a.s, &stream.tx[i], &stream.usual_ratio[i]);
        assert_true(feed(b.s, &stream.tx[i], &ratio) == row);
        give(&stream, i, a.w, b.w);
    }
    expect_same_worlds(a.w, b.w);
    expect_same_cards(a.s, b.s);
    struct feat_counters of_a;
    struct feat_counters of_b;
    feat_counters(a.s, &of_a);
    feat_counters(b.s, &of_b);
    assert_memory_equal(&of_a, &of_b, sizeof of_a);
    assert_int_equal(of_a.cards_evicted > 0, c->cards > l->cards.card_max);
    fixture_free(&a);
    fixture_free(&b);
    stream_done(&stream);
}

static void test_what_is_restored_goes_on_as_if_never_stopped(void **state)
{
    (void)state;
    for (size_t which = 0; which < BOUNDS; which++) {
        struct fixture_limits l = bounds(which);
        struct stream_conf c = fixture_stream(300 + which);
        restore_and_go_on(&c, &l);
        c = crowded_stream(400 + which);
        restore_and_go_on(&c, &l);
    }
}

static void test_restored_refuses_what_does_not_fit_together(void **state)
{
    (void)state;
    static const char *const WITHOUT[] = {"world", "places",      "place_blocks", "verdicts",
                                          "cards", "card_blocks", "state"};
    struct fixture_limits l = fixture_limits();
    struct stream_conf c = fixture_stream(500);
    struct stream stream;
    stream_create(&stream, &c);
    struct fixture a = create(&l);
    for (size_t i = 0; i < c.events; i++) {
        (void)feed(a.s, &stream.tx[i], &stream.usual_ratio[i]);
        give(&stream, i, a.w, NULL);
    }
    for (size_t i = 0; i < sizeof WITHOUT / sizeof *WITHOUT; i++) {
        /* without the counts nothing is used, and what is there is nobody's */
        bool empty = strcmp(WITHOUT[i], "world") == 0 || strcmp(WITHOUT[i], "state") == 0;
        struct fixture b = restore(&a, &l, WITHOUT[i], empty ? ERR_OK : ERR_CORRUPT);
        fixture_free(&b);
    }
    fixture_free(&a);
    stream_done(&stream);
}

/* Bytes that are not saved are zero when they are read back: a reader need not write them. */
static void test_areas_of_a_new_object_are_zero_beyond_their_use(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    l.cards.card_extra_bytes = EXTRA;
    struct fixture f = create(&l);
    struct area a[2 * FEAT_AREAS_MAX];
    size_t n = feat_world_areas(f.w, a);
    assert_int_equal(n, 7);
    n += feat_state_areas(f.s, a + n);
    assert_int_equal(n, 11);
    for (size_t i = 0; i < n; i++) {
        size_t end = a[i].bytes + 65536 < a[i].bytes_max ? a[i].bytes + 65536 : a[i].bytes_max;
        for (size_t k = a[i].bytes; k < end; k++) {
            assert_int_equal(((const char *)a[i].at)[k], 0);
        }
    }
    fixture_free(&f);
}

/* ---- several card sets, another world ---- */

/* Cards divided among three sets get the rows that they get in one, and so does the world. */
static void test_card_sets_on_one_world_are_as_one(void **state)
{
    (void)state;
    enum { SETS = 3 };
    struct fixture_limits l = fixture_limits();
    struct stream_conf c = fixture_stream(600);
    struct stream stream;
    stream_create(&stream, &c);
    struct fixture one = create(&l);
    struct fixture many = create(&l);
    struct feat_state *sets[SETS] = {many.s, NULL, NULL};
    struct errmsg e;
    for (int k = 1; k < SETS; k++) {
        assert_int_equal(feat_state_create(many.w, &l.cards, &sets[k], &e), ERR_OK);
    }
    for (size_t i = 0; i < c.events; i++) {
        float ratio;
        const struct tx *t = &stream.tx[i];
        uint64_t row = feed(one.s, t, &stream.usual_ratio[i]);
        assert_true(feed(sets[t->card % SETS], t, &ratio) == row);
        give(&stream, i, one.w, many.w);
    }
    expect_same_worlds(one.w, many.w);
    int64_t latest_us = INT64_MIN;
    for (int k = 0; k < SETS; k++) {
        int64_t clock_us = feat_clock_us(sets[k]);
        latest_us = clock_us > latest_us ? clock_us : latest_us;
    }
    assert_true(feat_clock_us(sets[0]) < latest_us || feat_clock_us(sets[1]) < latest_us);
    assert_int_equal(feat_world_clock_us(many.w), latest_us);
    feat_state_free(sets[1]); /* in the middle of those attached */
    feat_state_free(sets[2]);
    fixture_free(&many);
    fixture_free(&one);
    stream_done(&stream);
}

/* A card set that goes from world to world, each of which has seen the same, notices nothing. */
static void test_a_moved_card_set_goes_on(void **state)
{
    (void)state;
    struct fixture_limits l = fixture_limits();
    struct stream_conf c = fixture_stream(700);
    struct stream stream;
    stream_create(&stream, &c);
    struct fixture stays = create(&l);
    struct fixture moves = create(&l);
    struct feat_world *other = create_world(&l);
    for (size_t i = 0; i < c.events; i++) {
        float ratio;
        struct label label;
        uint64_t row = feed(stays.s, &stream.tx[i], &stream.usual_ratio[i]);
        assert_true(feed(moves.s, &stream.tx[i], &ratio) == row);
        feat_world_follow(other, &stream.tx[i]);
        while (stream_label(&stream, i, &label)) {
            assert_int_equal(feat_label(stays.w, &label), ERR_OK);
            assert_int_equal(feat_label(moves.w, &label), ERR_OK);
            assert_int_equal(feat_label(other, &label), ERR_OK);
        }
        if (i % 50 == 49) {
            struct feat_world *left = moves.w;
            feat_state_move(moves.s, other);
            moves.w = other;
            other = left;
        }
    }
    expect_same_cards(stays.s, moves.s);
    expect_same_worlds(stays.w, moves.w);
    expect_same_worlds(stays.w, other);
    feat_world_free(other); /* nothing is attached to it any more */
    fixture_free(&moves);
    fixture_free(&stays);
    stream_done(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follow_leaves_the_bytes_of_extract),
        cmocka_unit_test(test_follow_bounds_times_as_extract_does),
        cmocka_unit_test(test_what_is_restored_goes_on_as_if_never_stopped),
        cmocka_unit_test(test_restored_refuses_what_does_not_fit_together),
        cmocka_unit_test(test_areas_of_a_new_object_are_zero_beyond_their_use),
        cmocka_unit_test(test_card_sets_on_one_world_are_as_one),
        cmocka_unit_test(test_a_moved_card_set_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
