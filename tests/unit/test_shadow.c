/* A challenger in shadow: it changes no decision, and once promoted it scores as if it had always
 * served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/models.h"
#include "daemon/pipeline.h"
#include "daemon/rates.h"
#include "tests/support/messages.h"
#include "tests/support/random_model.h"

#define N 4000
#define CARDS 24
#define MANY_CARDS 160 /* few of them have more payments than are kept */
#define LAYERS 2
#define PARTITION 7
#define KEPT 32 /* inputs of a card: as many as make these models' caches complete */
#define SHADOW_AT 300
#define PROMOTED_AT 2400
#define ROLLED_BACK_AT 3200

static struct rates *rates;
static struct model *old, *fresh, *third; /* champion at first; its challenger; a later one */

/* What came out: of each message its score and by which model; a hash of every record's bytes. */
struct run {
    struct feat_world *world;
    struct pipeline *p;
    struct lane *lane;
    uint64_t hash[N];
    char score[N][32]; /* as it was sent; "": no decision */
    char model[N][16];
};

static void on_record(void *ctx, const struct bus_record *r)
{
    struct run *run = ctx;
    char text[4096];
    if (r->topic != TOPIC_DECISIONS) {
        return;
    }
    assert_true(r->value_len < sizeof text);
    memcpy(text, r->value, r->value_len);
    text[r->value_len] = '\0';
    const char *at = strstr(text, "log/7/");
    assert_non_null(at);
    const size_t i = strtoul(at + 6, NULL, 10);
    assert_true(i < N);
    run->hash[i] = hash_bytes(r->value, r->value_len, 0);
    at = strstr(text, "\"score\":");
    assert_non_null(at);
    snprintf(run->score[i], sizeof run->score[i], "%.*s", (int)strcspn(at + 8, ","), at + 8);
    at = strstr(text, "\"model\":\"");
    assert_non_null(at);
    snprintf(run->model[i], sizeof run->model[i], "%.*s", (int)strcspn(at + 9, "\""), at + 9);
}

/* inputs: payments of a card that are kept for a model that comes later. */
static struct run *run_begin_keeping(const struct model *m, size_t inputs)
{
    struct run *r = calloc(1, sizeof *r);
    struct feat_world_limits l;
    struct errmsg e = {""};
    struct pipeline_conf c = {
        .model = m,
        .rates = rates,
        .params = random_model_params(),
        .inputs = inputs,
        .threshold = {.budget = 20, .burst = 1.5, .floor = .995, .decline = .99},
        .log = {"log", 3},
        .max_future_us = 300 * TIME_S,
        .message_max = WIRE_MESSAGE_MAX};
    const struct pipeline_out out = {.ctx = r, .record = on_record};
    assert_non_null(r);
    feat_limits_default(&c.limits);
    c.limits.card_max = 2000;
    c.limits.bytes_max = (size_t)64 << 20;
    feat_world_limits_default(&l);
    l.place_max = 4000;
    l.bytes_max = (size_t)64 << 20;
    if (feat_world_create(&c.params, &l, &r->world, &e) != ERR_OK ||
        pipeline_create(&c, &out, NULL, &r->p, &e) != ERR_OK ||
        lane_create(r->p, r->world, PARTITION, &r->lane, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return r;
}

static struct run *run_begin(const struct model *m)
{
    return run_begin_keeping(m, 0);
}

static void run_end(struct run *r)
{
    lane_free(r->lane);
    feat_world_free(r->world);
    pipeline_free(r->p);
    free(r);
}

static void feed(struct run *r, const struct messages *all, size_t from, size_t to)
{
    struct bus_message m[64];
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        m[n++] = messages_get(all, i, PARTITION, (int64_t)i);
        if (n == 64 || i + 1 == to) {
            pipeline_messages(r->p, r->lane, m, NULL, n, 0);
            n = 0;
        }
    }
}

static bool decided(const struct run *r, size_t i)
{
    return r->score[i][0] != '\0';
}

static bool alike(const struct run *a, const struct run *b, size_t i)
{
    return strcmp(a->score[i], b->score[i]) == 0;
}

static void use(struct run *r, const struct model *champion, const struct model *shadow)
{
    struct errmsg e = {""};
    const struct pipeline_models m = {champion, shadow};
    if (pipeline_set_models(r->p, &r->lane, 1, &m, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static struct area area_of(const struct run *r, const char *name)
{
    struct area all[FEAT_AREAS_MAX];
    size_t n = lane_areas(r->lane, all);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return all[i];
        }
    }
    fail_msg("no area %s", name);
    return all[0];
}

static bool complete(const struct run *r, const struct messages *all, size_t i,
                     const struct model *m)
{
    struct feat_room room;
    const char *key = all->m[i].key;
    if (key == NULL || !feat_card_room(lane_features(r->lane), hash_id(key, strlen(key)), &room)) {
        return false;
    }
    for (size_t k = 0; k < FEAT_SIDES; k++) {
        if (room.side[k] != NULL && model_cache_complete(m, room.side[k])) {
            return true;
        }
    }
    return false;
}

static void test_a_shadow_changes_no_decision(void **state)
{
    (void)state;
    struct messages all = messages_make(31, N, CARDS, true, true);
    struct run *alone = run_begin(old);
    struct run *with = run_begin(old);
    feed(alone, &all, 0, N);
    feed(with, &all, 0, SHADOW_AT);
    use(with, old, fresh);
    feed(with, &all, SHADOW_AT, N);
    const struct shadow_counters *c = &pipeline_counters(with->p)->shadow;
    assert_memory_equal(alone->hash, with->hash, sizeof with->hash);
    assert_int_equal(pipeline_counters(alone->p)->alerts, pipeline_counters(with->p)->alerts);
    assert_memory_equal(lane_threshold(alone->lane), lane_threshold(with->lane),
                        sizeof(struct threshold));
    assert_true(c->both + c->champion_only + c->challenger_only + c->neither > N / 2);
    assert_true(c->challenger_only > 0 && c->champion_only > 0);
    assert_int_equal(pipeline_counters(alone->p)->shadow.neither, 0);
    run_end(alone);
    run_end(with);
    messages_done(&all);
}

static void test_once_promoted_it_scores_as_if_it_had_always_served(void **state)
{
    (void)state;
    size_t same = 0;
    size_t other = 0;
    for (uint64_t seed = 40; seed < 44; seed++) {
        struct messages all = messages_make(seed, N, CARDS * (uint32_t)(seed - 39), false, true);
        struct run *always = run_begin(fresh);
        struct run *r = run_begin(old);
        feed(always, &all, 0, N);
        feed(r, &all, 0, SHADOW_AT);
        use(r, old, fresh);
        feed(r, &all, SHADOW_AT, PROMOTED_AT);
        use(r, fresh, old);
        for (size_t i = PROMOTED_AT; i < N; i++) {
            const bool whole = complete(r, &all, i, fresh);
            feed(r, &all, i, i + 1);
            if (!decided(r, i)) {
                continue;
            }
            assert_true(decided(always, i));
            const bool equal = alike(r, always, i);
            assert_true(equal || !whole);
            assert_string_equal(r->model[i], "fresh");
            same += whole;
            other += !equal && !whole;
        }
        run_end(always);
        run_end(r);
        messages_done(&all);
    }
    assert_true(same > 200);
    assert_true(other > 100); /* incomplete caches do score otherwise */
}

static void test_rollback_is_warm(void **state)
{
    (void)state;
    struct messages all = messages_make(51, N, CARDS, false, true);
    struct run *always = run_begin(old);
    struct run *r = run_begin(old);
    feed(always, &all, 0, N);
    feed(r, &all, 0, SHADOW_AT);
    use(r, old, fresh);
    feed(r, &all, SHADOW_AT, PROMOTED_AT);
    use(r, fresh, old);
    feed(r, &all, PROMOTED_AT, ROLLED_BACK_AT);
    use(r, old, fresh);
    feed(r, &all, ROLLED_BACK_AT, N);
    size_t late = 0;
    for (size_t i = 0; i < N; i++) {
        if (!decided(r, i)) {
            continue;
        }
        const bool promoted = i >= PROMOTED_AT && i < ROLLED_BACK_AT;
        assert_string_equal(r->model[i], promoted ? "fresh" : "old");
        assert_true(promoted || alike(r, always, i));
        late += i >= ROLLED_BACK_AT;
    }
    assert_true(late > 200);
    run_end(always);
    run_end(r);
    messages_done(&all);
}

/* A former champion goes on even where its successor was never in shadow. */
static void test_rollback_of_a_cold_promotion_is_warm(void **state)
{
    (void)state;
    struct messages all = messages_make(52, N, CARDS, false, false);
    struct run *always = run_begin(old);
    struct run *r = run_begin(old);
    feed(always, &all, 0, N);
    feed(r, &all, 0, PROMOTED_AT);
    use(r, fresh, old);
    feed(r, &all, PROMOTED_AT, ROLLED_BACK_AT);
    use(r, old, NULL);
    feed(r, &all, ROLLED_BACK_AT, N);
    for (size_t i = ROLLED_BACK_AT; i < N; i++) {
        assert_true(alike(r, always, i));
    }
    run_end(always);
    run_end(r);
    messages_done(&all);
}

static void test_without_a_shadow_its_memory_is_given_back(void **state)
{
    (void)state;
    struct messages all = messages_make(53, 1000, CARDS, false, false);
    struct run *r = run_begin(old);
    struct feat_counters before;
    struct feat_counters with;
    struct feat_counters after;
    feed(r, &all, 0, 1000);
    feat_counters(lane_features(r->lane), &before);
    assert_int_equal(area_of(r, "shadow_latents").bytes, 0);
    use(r, old, fresh);
    feat_counters(lane_features(r->lane), &with);
    assert_int_equal(with.bytes - before.bytes, before.cards * model_cache_bytes(old));
    use(r, fresh, old);
    use(r, fresh, NULL);
    feat_counters(lane_features(r->lane), &after);
    assert_int_equal(after.bytes, before.bytes);
    assert_int_equal(area_of(r, "shadow_latents").bytes, 0);
    assert_int_equal(area_of(r, "shadow_threshold").bytes, 0);
    run_end(r);
    messages_done(&all);
}

/* ---- with kept inputs ---- */

/* From a message on another model serves that was never there before. */
static struct run *run_with_a_new_one(const struct messages *all, size_t inputs, size_t at,
                                      size_t batch)
{
    struct run *r = run_begin_keeping(old, inputs);
    feed(r, all, 0, at);
    use(r, fresh, old);
    for (size_t i = at; i < N; i += batch) {
        feed(r, all, i, i + batch < N ? i + batch : N);
    }
    return r;
}

static void test_a_model_that_comes_begins_with_what_is_kept(void **state)
{
    (void)state;
    struct messages all = messages_make(61, N, MANY_CARDS, false, true);
    struct run *always = run_begin(fresh);
    struct run *warm = run_with_a_new_one(&all, KEPT, PROMOTED_AT, 64);
    struct run *cold = run_with_a_new_one(&all, 0, PROMOTED_AT, 64);
    size_t n = 0;
    size_t apart = 0; /* of those that begin without */
    feed(always, &all, 0, N);
    for (size_t i = PROMOTED_AT; i < N; i++) {
        if (decided(always, i)) {
            assert_true(alike(warm, always, i));
            apart += !alike(cold, always, i);
            n++;
        }
    }
    assert_true(n > 1000);
    assert_true(apart * 3 > n);
    assert_true(pipeline_counters(warm->p)->caught_up > 100);
    assert_int_equal(pipeline_counters(cold->p)->caught_up, 0);
    run_end(always);
    run_end(warm);
    run_end(cold);
    messages_done(&all);
}

static void test_catching_up_does_not_depend_on_batches(void **state)
{
    (void)state;
    struct messages all = messages_make(62, N, MANY_CARDS, true, true);
    struct run *whole = run_with_a_new_one(&all, KEPT, PROMOTED_AT, 64);
    struct run *one_by_one = run_with_a_new_one(&all, KEPT, PROMOTED_AT, 1);
    assert_memory_equal(whole->hash, one_by_one->hash, sizeof whole->hash);
    run_end(whole);
    run_end(one_by_one);
    messages_done(&all);
}

static void test_keeping_inputs_changes_no_decision(void **state)
{
    (void)state;
    struct messages all = messages_make(63, N, CARDS, true, true);
    struct run *alone = run_begin(old);
    struct run *keeps = run_begin_keeping(old, KEPT);
    feed(alone, &all, 0, N);
    feed(keeps, &all, 0, SHADOW_AT);
    use(keeps, old, fresh);
    feed(keeps, &all, SHADOW_AT, N);
    assert_memory_equal(alone->hash, keeps->hash, sizeof alone->hash);
    run_end(alone);
    run_end(keeps);
    messages_done(&all);
}

static void test_a_challenger_is_complete_at_once(void **state)
{
    (void)state;
    struct messages all = messages_make(64, N, MANY_CARDS, false, false);
    struct run *r = run_begin_keeping(old, KEPT);
    feed(r, &all, 0, PROMOTED_AT);
    use(r, old, fresh);
    lane_look(r->lane, r->p, 1000);
    struct lane_complete c = lane_complete(r->lane);
    assert_true(c.known && c.active >= MANY_CARDS / 2);
    assert_int_equal(c.complete, c.active);
    feed(r, &all, PROMOTED_AT, N);
    lane_look(r->lane, r->p, 1000);
    c = lane_complete(r->lane);
    assert_int_equal(c.complete, c.active);
    size_t whole = 0;
    for (size_t i = PROMOTED_AT; i < N; i++) {
        whole += complete(r, &all, i, fresh);
    }
    assert_true(whole > 1000); /* as the caches themselves say */
    run_end(r);
    messages_done(&all);
}

static void copy_state(const struct run *from, struct run *to)
{
    struct area a[2 * FEAT_AREAS_MAX];
    struct area b[2 * FEAT_AREAS_MAX];
    size_t n = feat_world_areas(from->world, a);
    n += lane_areas(from->lane, a + n);
    size_t m = feat_world_areas(to->world, b);
    m += lane_areas(to->lane, b + m);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(a[i].name, b[i].name);
        memcpy(b[i].at, a[i].at, a[i].bytes);
    }
}

static void state_read_back_goes_on_alike(size_t inputs)
{
    struct messages all = messages_make(54, N, CARDS, true, true);
    struct errmsg e = {""};
    struct run *r = run_begin_keeping(old, inputs);
    feed(r, &all, 0, SHADOW_AT);
    use(r, old, fresh);
    feed(r, &all, SHADOW_AT, 1200);
    use(r, fresh, old); /* the roles have changed sides */
    feed(r, &all, 1200, 1500);
    struct run *back = run_begin_keeping(old, inputs);
    const struct pipeline_models m = {fresh, old};
    copy_state(r, back);
    assert_int_equal(pipeline_restore_models(back->p, &back->lane, 1, &m, &e), ERR_OK);
    assert_int_equal(feat_world_restored(back->world, &e), ERR_OK);
    assert_int_equal(lane_restored(back->lane, &e), ERR_OK);
    for (int twice = 0; twice < 2; twice++) {
        struct run *one = twice == 0 ? r : back;
        feed(one, &all, 1500, 2500);
        use(one, old, third);
        feed(one, &all, 2500, 3000);
        use(one, third, old);
        feed(one, &all, 3000, N);
    }
    assert_memory_equal(r->hash + 1500, back->hash + 1500, (N - 1500) * sizeof *r->hash);
    run_end(back);
    run_end(r);
    messages_done(&all);
}

static void test_state_read_back_goes_on_alike(void **state)
{
    (void)state;
    state_read_back_goes_on_alike(0);
    state_read_back_goes_on_alike(KEPT);
}

static void test_completeness_is_of_cards_active_lately(void **state)
{
    (void)state;
    struct messages all = messages_make(55, N, CARDS, false, false);
    struct run *r = run_begin(old);
    feed(r, &all, 0, SHADOW_AT);
    use(r, old, fresh);
    assert_false(lane_complete(r->lane).known);
    lane_look(r->lane, r->p, 5);
    assert_false(lane_complete(r->lane).known); /* not all of them yet */
    lane_look(r->lane, r->p, 1000);
    assert_true(lane_complete(r->lane).known);
    assert_int_equal(lane_complete(r->lane).complete, 0);
    assert_true(lane_complete(r->lane).active >= CARDS / 2);
    feed(r, &all, SHADOW_AT, N);
    lane_look(r->lane, r->p, 1000);
    const struct lane_complete c = lane_complete(r->lane);
    size_t whole = 0;
    for (size_t i = 0; i < N; i++) {
        size_t first = 0;
        while (strcmp(all.m[first].key, all.m[i].key) != 0) {
            first++;
        }
        whole += first == i && complete(r, &all, i, fresh);
    }
    assert_int_equal(c.complete, whole);
    assert_true(whole > 0);
    use(r, old, NULL);
    lane_look(r->lane, r->p, 1000);
    assert_false(lane_complete(r->lane).known);
    run_end(r);
    messages_done(&all);
}

/* ---- which models the notices put in force ---- */

static struct models_notice notice(enum models_kind kind, int64_t offset, struct model *m)
{
    return (struct models_notice){
        .kind = kind, .offset = offset, .timestamp_us = offset * 10, .model = m, .began = -1};
}

static void take(struct models *m, enum models_kind kind, int64_t offset, struct model *model)
{
    const struct models_notice n = notice(kind, offset, model);
    models_take(m, &n);
}

static void test_notices_say_which_models_are_in_force(void **state)
{
    (void)state;
    struct models m = {.at = {third, NULL}}; /* of a process's own file */
    take(&m, MODELS_SHADOW, 0, fresh);
    assert_null(m.at.shadow); /* the champion is not known to all yet */
    take(&m, MODELS_CHAMPION, 1, old);
    assert_ptr_equal(m.at.champion, old);
    assert_null(m.at.shadow); /* what a file named never goes into shadow */
    take(&m, MODELS_SHADOW, 2, old);
    assert_null(m.at.shadow);
    take(&m, MODELS_SHADOW, 3, third);
    take(&m, MODELS_SHADOW, 4, fresh);
    assert_ptr_equal(m.at.shadow, fresh);
    assert_false(m.former);
    take(&m, MODELS_CHAMPION, 5, fresh);
    assert_ptr_equal(m.at.champion, fresh);
    assert_ptr_equal(m.at.shadow, old);
    assert_true(m.former);
    assert_int_equal(m.notice, 5);
    assert_int_equal(m.notice_us, 50);
    take(&m, MODELS_CHAMPION, 6, fresh); /* sent again */
    assert_ptr_equal(m.at.shadow, old);
    assert_int_equal(m.notice, 5);
    take(&m, MODELS_CHAMPION, 7, third); /* never in shadow */
    assert_ptr_equal(m.at.champion, third);
    assert_ptr_equal(m.at.shadow, fresh);
    struct models_notice end = notice(MODELS_END, 8, NULL);
    end.hash = model_hash(fresh);
    end.began = 5; /* it has become something else since */
    models_take(&m, &end);
    assert_ptr_equal(m.at.shadow, fresh);
    end.began = 7;
    models_take(&m, &end);
    assert_null(m.at.shadow);
    assert_ptr_equal(m.at.champion, third);
}

static void test_an_end_is_read_as_it_was_written(void **state)
{
    (void)state;
    static const char *const BAD[] = {"",
                                      "fraudd-shadow\t1\nend\t00000000000000ab\t7",
                                      "fraudd-shadow\t1\nend\t00000000000000AB\t7\n",
                                      "fraudd-shadow\t1\nend\t00000000000000ab\t07\n",
                                      "fraudd-shadow\t2\nend\t00000000000000ab\t7\n",
                                      "fraudd-shadow\t1\nend\t00000000000000ab\t7\nx"};
    char text[MODELS_END_MAX];
    struct models_notice n = {.kind = MODELS_END};
    struct errmsg e = {""};
    size_t len = models_write_end(0xab, 7, text);
    assert_int_equal(models_read_end(text, len, &n, &e), ERR_OK);
    assert_int_equal(n.hash, 0xab);
    assert_int_equal(n.began, 7);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        assert_int_equal(models_read_end(BAD[i], strlen(BAD[i]), &n, &e), ERR_CORRUPT);
    }
    assert_int_equal(models_read_end(text, len - 1, &n, &e), ERR_CORRUPT);
    len = models_write_end(UINT64_MAX, INT64_MAX, text);
    assert_int_equal(models_read_end(text, len, &n, &e), ERR_OK);
    assert_int_equal(n.began, INT64_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shadow_changes_no_decision),
        cmocka_unit_test(test_once_promoted_it_scores_as_if_it_had_always_served),
        cmocka_unit_test(test_rollback_is_warm),
        cmocka_unit_test(test_rollback_of_a_cold_promotion_is_warm),
        cmocka_unit_test(test_without_a_shadow_its_memory_is_given_back),
        cmocka_unit_test(test_a_model_that_comes_begins_with_what_is_kept),
        cmocka_unit_test(test_catching_up_does_not_depend_on_batches),
        cmocka_unit_test(test_keeping_inputs_changes_no_decision),
        cmocka_unit_test(test_a_challenger_is_complete_at_once),
        cmocka_unit_test(test_state_read_back_goes_on_alike),
        cmocka_unit_test(test_completeness_is_of_cards_active_lately),
        cmocka_unit_test(test_notices_say_which_models_are_in_force),
        cmocka_unit_test(test_an_end_is_read_as_it_was_written),
    };
    struct errmsg e = {""};
    if (rates_create_default(&rates, &e) != ERR_OK) {
        return 1;
    }
    old = random_model_deep(1, "old", LAYERS);
    fresh = random_model_deep(2, "fresh", LAYERS);
    third = random_model_deep(3, "third", LAYERS);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    model_free(old);
    model_free(fresh);
    model_free(third);
    rates_free(rates);
    return failed;
}
