/* The weekly update from a history: what it keeps, that it scores as the daemon does, that it
 * repeats, and that its gate lets nothing through that was made of wrong labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/gate.h"
#include "daemon/learn.h"
#include "daemon/replay.h"
#include "daemon/settings.h"
#include "daemon/simulate.h"
#include "daemon/update.h"
#include "daemon/update_rows.h"
#include "model/model_format.h"
#include "tests/support/edges.h"
#include "tests/support/capture.h"
#include "tests/support/spoil.h"

#define DAYS 84
#define BASE_DAY 63 /* the served model has learnt what lies before */
#define UNTIL_DAY 84
#define SEALED_US (7 * TIME_DAY)

static char dir[] = "/tmp/test_update_XXXXXX";
static char csv[64], base_path[64], new_path[64], settings_path[64];
static struct sim_conf world;
static struct rates *rates;
static struct past past; /* before UNTIL_DAY */
static struct learnt served;
static struct capture said;

static int64_t day(int n)
{
    return world.start_us + n * TIME_DAY;
}

static void must(enum err err, const struct errmsg *e)
{
    if (err != ERR_OK) {
        fail_msg("%s", e->text);
    }
}

static void write_csv(void)
{
    struct sim *sim = NULL;
    struct sim_tx row;
    struct errmsg e = {""};
    char text[SIM_ROW_MAX];
    FILE *f = fopen(csv, "we");
    assert_non_null(f);
    sim_conf_default(&world);
    world.cards = 250;
    world.merchants = 100;
    world.days = DAYS;
    world.start_us = INT64_C(20400) * TIME_DAY;
    world.fraud_share = .04;
    world.label_max_days = 7;
    must(sim_create(&world, &sim, &e), &e);
    fputs(sim_csv_header(), f);
    while (sim_next(sim, &row, &e) == ERR_OK) {
        fwrite(text, 1, sim_csv_row(&row, text), f);
    }
    sim_free(sim);
    assert_int_equal(fclose(f), 0);
}

static void small_conf(struct learn_conf *c, int until_day)
{
    learn_conf_default(c);
    c->params.rates_version = rates_version(rates);
    c->until_us = day(until_day);
    c->train.shape.width = 16;
    c->train.shape.experts = 4;
    c->train.shape.window = 6;
    c->train.shape.expert_hidden = 8;
    c->train.shape.shared_hidden = 8;
    c->train.epochs = 3;
    c->train.threads = 1;
}

static void read_past(struct past *out, int until_day)
{
    struct errmsg e = {""};
    memset(out, 0, sizeof *out);
    must(past_read_csv(out, csv, rates, day(until_day), SEALED_US, true, &e), &e);
}

static int begin(void **state)
{
    (void)state;
    struct past early;
    struct learn_conf c;
    struct errmsg e = {""};
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(csv, sizeof csv, "%s/history.csv", dir);
    snprintf(base_path, sizeof base_path, "%s/base.fraudd", dir);
    snprintf(settings_path, sizeof settings_path, "%s/fraudd.conf", dir);
    snprintf(new_path, sizeof new_path, "%s/new.fraudd", dir);
    must(rates_create_default(&rates, &e), &e);
    write_csv();
    read_past(&past, UNTIL_DAY);
    read_past(&early, BASE_DAY);
    small_conf(&c, BASE_DAY);
    must(learn(&early, &c, NULL, NULL, &served, &e), &e);
    must(learnt_write(&served, base_path, &e), &e);
    past_done(&early);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char name[96];
    snprintf(name, sizeof name, "%s.state", base_path);
    past_done(&past);
    learnt_done(&served);
    rates_free(rates);
    capture_done(&said);
    return unlink(csv) | unlink(base_path) | unlink(name) | rmdir(dir);
}

static struct update_rows_conf rows_conf(void)
{
    return (struct update_rows_conf){.warm_until_us = day(10),
                                     .learnt_until_us = day(BASE_DAY),
                                     .sealed_from_us = day(UNTIL_DAY) - SEALED_US,
                                     .fresh = 100000,
                                     .replay = 500,
                                     .context = 6,
                                     .sealed_context = 10,
                                     .seed = 1};
}

/* What a row must be used for, of those that are not sampled. */
static enum update_use use_of(const struct past_row *r, const struct update_rows_conf *c,
                              int64_t young_from_us)
{
    if (!learn_counts(r) || r->tx.event_us < c->warm_until_us) {
        return USE_CONTEXT;
    }
    if (r->tx.event_us >= c->sealed_from_us) {
        return update_is_gate(r->tx.card) ? USE_GATE : USE_CALIBRATE;
    }
    if (r->tx.event_us >= c->learnt_until_us) {
        return USE_NEWS;
    }
    return r->tx.event_us >= young_from_us ? USE_YOUNG : USE_REPLAY;
}

static void test_rows_keep_news_frauds_and_a_weighted_sample(void **state)
{
    (void)state;
    struct update_rows_conf c = rows_conf();
    struct update_rows r;
    struct errmsg e = {""};
    double older = 0; /* legitimate */
    double weight = 0;
    size_t sampled = 0;
    must(update_rows_create(&past, &c, &r, &e), &e);
    for (size_t i = 0; i < past.n; i++) {
        const struct past_row *row = &past.rows[i];
        enum update_use want = use_of(row, &c, r.young_from_us);
        uint32_t at = r.position[i];
        bool may_miss = want == USE_CONTEXT || (want == USE_REPLAY && !row->fraud);
        assert_true(at != UINT32_MAX || may_miss);
        older += want == USE_REPLAY && !row->fraud;
        if (at == UINT32_MAX) {
            continue;
        }
        assert_true(r.from[at] == i && r.label[at] == row->fraud);
        assert_true(r.use[at] == want || (may_miss && r.use[at] == USE_CONTEXT));
        if (r.use[at] == USE_REPLAY && !row->fraud) {
            assert_true(r.weight[at] >= 1);
            weight += (double)r.weight[at];
            sampled++;
        } else if (r.use[at] >= USE_REPLAY && r.use[at] <= USE_NEWS) {
            assert_true(fabsf(r.weight[at] - 1) < 1e-9F);
        } else {
            assert_true(fabsf(r.weight[at]) < 1e-9F);
        }
        assert_true((r.judge[at] > 0) == (r.use[at] == USE_CALIBRATE));
    }
    assert_true(sampled > 400 && sampled <= 500);
    assert_true(fabs(weight / older - 1) < 1e-5); /* 1 / p adds up to what was sampled from */
    assert_true(r.frauds[USE_REPLAY] > 20 && r.count[USE_GATE] > 100 &&
                r.count[USE_CALIBRATE] > 100);
    assert_true(r.count[USE_YOUNG] > 100);
    update_rows_done(&r);
}

static void rows_of(const struct update_rows_conf *c, struct update_rows *out)
{
    struct errmsg e = {""};
    must(update_rows_create(&past, c, out, &e), &e);
}

/* The young fill up what the news leave, and leave the older half alone. */
static void test_rows_are_young_as_far_as_fresh_allows(void **state)
{
    (void)state;
    struct update_rows_conf c = rows_conf();
    struct update_rows none;
    struct update_rows some;
    struct update_rows all;
    int64_t half = c.warm_until_us + (c.learnt_until_us - c.warm_until_us) / 2;
    c.fresh = 0;
    rows_of(&c, &none);
    assert_true(none.count[USE_YOUNG] == 0 && none.young_from_us == c.learnt_until_us);
    c.fresh = none.count[USE_NEWS] + 300;
    rows_of(&c, &some);
    assert_true(some.count[USE_YOUNG] <= 300 && some.count[USE_YOUNG] > 290);
    assert_int_equal(some.count[USE_NEWS], none.count[USE_NEWS]);
    c.fresh = SIZE_MAX;
    rows_of(&c, &all);
    assert_true(all.young_from_us >= half && all.young_from_us < half + day(1) - day(0));
    assert_true(all.count[USE_YOUNG] > some.count[USE_YOUNG]);
    assert_int_equal(all.frauds[USE_YOUNG] + all.frauds[USE_REPLAY], none.frauds[USE_REPLAY]);
    update_rows_done(&none);
    update_rows_done(&some);
    update_rows_done(&all);
}

static void test_few_payments_are_passed_over_more_often(void **state)
{
    (void)state;
    assert_int_equal(update_epochs(0), 4);
    assert_int_equal(update_epochs(40000), 4);
    assert_int_equal(update_epochs(56000), 3);
    assert_int_equal(update_epochs(80000), 2);
    assert_int_equal(update_epochs(100000000), 2);
}

static void test_rows_have_their_context_and_runs_have_no_gaps(void **state)
{
    (void)state;
    struct update_rows_conf c = rows_conf();
    struct update_rows r;
    struct errmsg e = {""};
    uint32_t *order = malloc(past.n * sizeof *order);
    uint32_t *rank = malloc(past.n * sizeof *rank); /* place of a row in order of card and time */
    size_t runs = 0;
    assert_true(order != NULL && rank != NULL);
    must(update_rows_create(&past, &c, &r, &e), &e);
    past_order(&past, order);
    for (size_t k = 0; k < past.n; k++) {
        rank[order[k]] = (uint32_t)k;
    }
    for (size_t i = 0; i < r.n; i++) {
        const struct past_row *row = &past.rows[r.from[i]];
        uint32_t k = rank[r.from[i]];
        uint32_t most = r.use[i] >= USE_CALIBRATE ? c.sealed_context : c.context;
        bool same = i > 0 && r.run[i] == r.run[i - 1];
        runs += !same;
        assert_true(!same || rank[r.from[i - 1]] + 1 == k);
        for (uint32_t b = 1; r.use[i] != USE_CONTEXT && b <= most && b <= k; b++) {
            if (past.rows[order[k - b]].tx.card != row->tx.card) {
                break;
            }
            assert_true(r.position[order[k - b]] == i - b && r.run[i - b] == r.run[i]);
        }
    }
    assert_true(runs > 300 && r.n < past.n);
    free(order);
    free(rank);
    update_rows_done(&r);
}

static void update_conf_small(struct update_conf *u)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    char name[] = "train";
    char *argv[] = {name, NULL};
    static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};
    must(settings_load(TABLES, 1, argv, &c, NULL, &e), &e);
    update_conf_default(u);
    small_conf(&u->learn, UNTIL_DAY);
    update_conf_read(c, u);
    u->replay = 500;
    u->gate.budget = 10;
    conf_free(c);
}

static enum err update(const struct past *p, const struct update_conf *u,
                       struct update_outcome *out, struct errmsg *e)
{
    const struct update_base base = {served.model, served.state, served.model_len,
                                     served.state_len};
    return update_run(p, u, &base, NULL, NULL, out, e);
}

static void test_update_repeats_and_names_its_parent(void **state)
{
    (void)state;
    struct update_conf u;
    struct update_outcome a;
    struct update_outcome b;
    struct errmsg e = {""};
    update_conf_small(&u);
    must(update(&past, &u, &a, &e), &e);
    u.learn.train.threads = 3;
    must(update(&past, &u, &b, &e), &e);
    assert_int_equal(a.learnt.model_len, b.learnt.model_len);
    assert_memory_equal(a.learnt.model, b.learnt.model, a.learnt.model_len);
    assert_int_equal(a.learnt.state_len, b.learnt.state_len);
    assert_memory_equal(a.learnt.state, b.learnt.state, a.learnt.state_len);

    struct model *old = NULL;
    struct model *made = NULL;
    must(model_load(served.model, served.model_len, &old, &e), &e);
    must(model_load(a.learnt.model, a.learnt.model_len, &made, &e), &e);
    const struct model_lineage *l = model_lineage(made);
    assert_string_equal(l->parent, model_lineage(old)->version);
    assert_true(l->data_until_us == day(UNTIL_DAY) && fabs(l->holdout_ap - a.gate.ap) < 1e-12);
    assert_edges_kept(model_encoding(old), model_encoding(made));
    model_free(old);
    model_free(made);
    update_outcome_done(&a);
    update_outcome_done(&b);
}

/* Without a weight the replay moves nothing, but what was forgotten is still measured by it. */
static void test_replay_weight_0_learns_the_news_alone(void **state)
{
    (void)state;
    struct update_conf u;
    struct update_outcome with;
    struct update_outcome without;
    struct errmsg e = {""};
    update_conf_small(&u);
    must(update(&past, &u, &with, &e), &e);
    u.replay_weight = 0;
    must(update(&past, &u, &without, &e), &e);
    assert_true(without.replay == with.replay && without.gate.row[GATE_FORGETTING].measured);
    assert_true(with.learnt.rows == without.learnt.rows + with.replay);
    assert_true(without.learnt.rows == with.news + with.young && with.young > 0);
    update_outcome_done(&with);
    update_outcome_done(&without);
}

/* The gate's scores are those that the daemon would have given. */
struct replayed {
    struct update_rows *rows;
    const float *score;
    size_t compared;
    bool keep;
};

static void on_scored(void *ctx, const struct scored *s)
{
    struct replayed *r = ctx;
    uint32_t at = r->rows->position[s->tag];
    if (at == UINT32_MAX) {
        return;
    }
    if (r->keep) {
        memcpy(update_rows_columns(r->rows, s->tag), s->x, FEAT_DIM * sizeof *s->x);
    } else if (r->rows->use[at] >= USE_CALIBRATE) {
        float want = (float)s->probability;
        assert_memory_equal(&r->score[at], &want, sizeof want);
        r->compared++;
    }
}

static void test_gate_scores_as_the_daemon_does(void **state)
{
    (void)state;
    struct update_rows_conf c = rows_conf();
    struct update_rows rows;
    struct model *m = NULL;
    struct errmsg e = {""};
    struct replay_conf rc = {.threshold = {.budget = 0, .burst = 1, .floor = 1, .decline = 2},
                             .job = "test"};
    feature_params_default(&rc.params);
    rc.params.rates_version = rates_version(rates);
    must(model_load(served.model, served.model_len, &m, &e), &e);
    c.sealed_context = model_shape(m)->layers * (model_shape(m)->window - 1);
    must(update_rows_create(&past, &c, &rows, &e), &e);
    float *score = malloc(rows.n * sizeof *score);
    assert_non_null(score);
    struct replayed r = {.rows = &rows, .score = score, .keep = true};
    must(replay_run(&past, &rc, on_scored, &r, &e), &e);
    must(gate_score(m, &rows, score, &e), &e);
    r.keep = false;
    rc.model = m;
    must(replay_run(&past, &rc, on_scored, &r, &e), &e);
    assert_true(r.compared > 300);
    free(score);
    update_rows_done(&rows);
    model_free(m);
}

/* In the weeks that are learnt or in the sealed one: nothing is learnt at all.  (Finer kinds of
 * wrong labels need a better model than this one: test_gate_labels.) */
static void test_gate_stops_flipped_labels(void **state)
{
    (void)state;
    static const int FROM[2] = {BASE_DAY, UNTIL_DAY - 7};
    static const int TO[2] = {UNTIL_DAY - 7, UNTIL_DAY};
    for (int stretch = 0; stretch < 2; stretch++) {
        struct past flipped;
        struct update_conf u;
        struct update_outcome o;
        struct errmsg e = {""};
        char text[GATE_TEXT_MAX];
        read_past(&flipped, UNTIL_DAY);
        assert_true(spoil_labels(&flipped, SPOIL_FLIP, day(FROM[stretch]), day(TO[stretch]), 1) >
                    100);
        update_conf_small(&u);
        must(update(&flipped, &u, &o, &e), &e);
        assert_false(o.gate.passed || o.gate.measured);
        assert_null(o.learnt.model);
        assert_false(o.gate.row[GATE_LABEL_RATE].passed);
        gate_misses(&o.gate, text);
        assert_non_null(strstr(text, stretch == 0 ? "new labels (new payments) is "
                                                  : "new labels (sealed payments) is "));
        assert_non_null(strstr(text, "too much"));
        update_outcome_done(&o);
        past_done(&flipped);
    }
}

static void test_update_needs_something_new_and_its_own_state(void **state)
{
    (void)state;
    struct update_conf u;
    struct update_outcome o;
    struct errmsg e = {""};
    update_conf_small(&u);
    u.learn.until_us = day(BASE_DAY) + SEALED_US;
    assert_int_equal(update(&past, &u, &o, &e), ERR_END);
    assert_non_null(strstr(e.text, "nothing new to learn"));

    struct past gap; /* no payment came in those days */
    update_conf_small(&u);
    read_past(&gap, UNTIL_DAY);
    size_t from = past_find(&gap, day(BASE_DAY));
    size_t to = past_find(&gap, day(UNTIL_DAY) - SEALED_US);
    memmove(gap.rows + from, gap.rows + to, (gap.n - to) * sizeof *gap.rows);
    gap.n -= to - from;
    assert_int_equal(update(&gap, &u, &o, &e), ERR_END);
    past_done(&gap);

    update_conf_small(&u);
    u.learn.params.rates_version++;
    assert_int_equal(update(&past, &u, &o, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "only a full training helps"));

    struct train_result r;
    uint64_t hash = 0;
    uint8_t *state_bytes = NULL;
    size_t len = 0;
    must(train_state_load(served.state, served.state_len, &r, &hash, &e), &e);
    must(train_state_pack(&r, hash + 1, &state_bytes, &len, &e), &e);
    train_result_done(&r);
    const struct update_base base = {served.model, state_bytes, served.model_len, len};
    update_conf_small(&u);
    assert_int_equal(update_run(&past, &u, &base, NULL, NULL, &o, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "belongs to another model"));
    free(state_bytes);
}

static int train_until(int until_day, const char *more)
{
    char line[600];
    char until[TIME_TEXT_MAX];
    time_format_date(until, day(until_day));
    snprintf(line, sizeof line,
             "train --input %s --until %s --from %s --out %s --threads 1 --alert.budget 10 "
             "--update.replay 500 %s",
             csv, until, base_path, new_path, more);
    return capture_run(&said, cmd_train, line);
}

static int train(const char *more)
{
    return train_until(UNTIL_DAY, more);
}

/* Bounds wide enough for a toy. */
static void write_bounds(void)
{
    static const char TEXT[] =
        "gate = { ap = .5; card-precision = .3; precision = .3; value = .2; expected-low = .2;\n"
        "expected-high = 5; forgetting = .5; label-sure = 0;\n"
        "label-unlikely = 9; label-group = 0; };\n";
    struct errmsg e = {""};
    must(file_write(settings_path, TEXT, sizeof TEXT - 1, &e), &e);
}

static void test_train_writes_what_passes_and_nothing_else(void **state)
{
    (void)state;
    char name[96];
    snprintf(name, sizeof name, "%s.state", new_path);
    assert_int_equal(train("--gate.ap 1.9"), EXIT_FAILED);
    assert_non_null(strstr(said.err, "the gate is not passed and nothing was changed: average "
                                     "precision is "));
    assert_non_null(strstr(said.err, ", at least 1.9 is asked by gate.ap: "));
    assert_int_equal(access(new_path, F_OK), -1);
    assert_int_equal(access(name, F_OK), -1);

    write_bounds();
    snprintf(name, sizeof name, "--config %s", settings_path);
    assert_int_equal(train(name), EXIT_OK);
    assert_non_null(strstr(said.out, "update of "));
    assert_non_null(strstr(said.out, "average precision"));
    snprintf(name, sizeof name, "%s.state", new_path);
    assert_int_equal(unlink(new_path) | unlink(name) | unlink(settings_path), 0);

    assert_int_equal(train("--full"), EXIT_USAGE);
    assert_non_null(strstr(said.err, "--full and --from exclude each other"));
}

/* No failure for a timer, and nothing is touched: the week after a full training. */
static void test_train_says_that_nothing_is_new(void **state)
{
    (void)state;
    assert_int_equal(train_until(BASE_DAY + 7, ""), EXIT_OK);
    assert_non_null(strstr(said.out, "nothing was changed: nothing new to learn: model "));
    assert_int_equal(access(new_path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_keep_news_frauds_and_a_weighted_sample),
        cmocka_unit_test(test_rows_are_young_as_far_as_fresh_allows),
        cmocka_unit_test(test_few_payments_are_passed_over_more_often),
        cmocka_unit_test(test_rows_have_their_context_and_runs_have_no_gaps),
        cmocka_unit_test(test_update_repeats_and_names_its_parent),
        cmocka_unit_test(test_replay_weight_0_learns_the_news_alone),
        cmocka_unit_test(test_gate_scores_as_the_daemon_does),
        cmocka_unit_test(test_gate_stops_flipped_labels),
        cmocka_unit_test(test_update_needs_something_new_and_its_own_state),
        cmocka_unit_test(test_train_writes_what_passes_and_nothing_else),
        cmocka_unit_test(test_train_says_that_nothing_is_new),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
