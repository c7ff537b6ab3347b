/* No allocation once a state is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/allocations.h"
#include "tests/support/feature_fixture.h"

static void test_features_allocate_nothing_after_creation(void **state)
{
    (void)state;
    struct stream_conf c = fixture_stream(3);
    c.events = 20000;
    c.cards = 300; /* some pass history_max and get panes; the tables overflow */
    c.ips = 200;
    c.edge_share = 0;
    struct fixture_limits l = fixture_limits();
    l.cards.history_max = l.world.history_max = 32;
    l.cards.card_max = 200;
    l.world.place_max = 100;
    struct feature_params p;
    feature_params_default(&p);
    struct stream stream;
    size_t before = allocations();
    stream_create(&stream, &c);
    struct fixture f = fixture_create(&p, &l);
    assert_true(allocations() > before);
    before = allocations();
    for (size_t i = 0; i < c.events; i++) {
        float x[FEAT_DIM];
        struct feat_facts facts;
        struct label label;
        feat_extract(f.s, &stream.tx[i], x, &facts);
        while (stream_label(&stream, i, &label)) {
            (void)!feat_label(f.w, &label);
        }
    }
    assert_int_equal(allocations(), before);
    struct feat_counters cards;
    struct feat_world_counters world;
    feat_counters(f.s, &cards);
    feat_world_counters(f.w, &world);
    assert_true(cards.cards_evicted > 0 && world.places_evicted > 0);
    assert_true(world.labels_applied > 1000 && world.labels_revised > 10);
    fixture_free(&f);
    stream_done(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features_allocate_nothing_after_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
