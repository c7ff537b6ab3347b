/* From messages to decisions: each message ends once, repeats change nothing, and the bytes are the
 * same however messages are cut into batches and whatever the CPU can do.
 *
 * With --digest the program prints a hash of everything it emitted, for itself under other CPU
 * features. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/pipeline.h"
#include "daemon/rates.h"
#include "tests/support/allocations.h"
#include "tests/support/messages.h"
#include "tests/support/random_model.h"

#define N 4000
#define CARDS 60
#define SHORT_BYTES ((size_t)1 << 20) /* for their histories, which take more */
#define EVICTING 64                   /* cards held: no more than wait in one wave */
#define LOG_NAME "test-log"

static struct rates *rates;
static struct model *model;

/* ---- what came out ---- */

struct record {
    enum bus_topic topic;
    int32_t partition;
    int64_t offset; /* of the message it is about */
    char *key, *value;
    size_t value_len;
    char reason[256], length[256];
};

struct records {
    size_t n, room;
    struct record *r;
};

static int64_t offset_in(const char *text)
{
    const char *start = strstr(text, LOG_NAME "/7/");
    assert_non_null(start);
    return strtoll(start + strlen(LOG_NAME "/7/"), NULL, 10);
}

static void take_headers(const struct bus_record *from, struct record *to)
{
    for (size_t i = 0; i < from->header_count; i++) {
        const struct bus_header *h = &from->headers[i];
        char text[256];
        assert_true(h->len < sizeof text);
        memcpy(text, h->value, h->len);
        text[h->len] = '\0';
        if (strcmp(h->name, "reason") == 0) {
            snprintf(to->reason, sizeof to->reason, "%s", text);
        } else if (strcmp(h->name, "length") == 0) {
            snprintf(to->length, sizeof to->length, "%s", text);
        } else if (strcmp(h->name, "source") == 0) {
            to->offset = offset_in(text);
        }
    }
}

static void on_record(void *ctx, const struct bus_record *from)
{
    struct records *all = ctx;
    if (all->n == all->room) {
        all->room = all->room * 2 + 64;
        all->r = realloc(all->r, all->room * sizeof *all->r);
        assert_non_null(all->r);
    }
    struct record *to = &all->r[all->n++];
    *to = (struct record){.topic = from->topic,
                          .partition = from->partition,
                          .key = from->key != NULL ? strndup(from->key, from->key_len) : NULL,
                          .value = malloc(from->value_len + 1),
                          .value_len = from->value_len};
    assert_non_null(to->value);
    if (from->value_len > 0) {
        memcpy(to->value, from->value, from->value_len);
    }
    to->value[from->value_len] = '\0';
    if (from->topic == TOPIC_DEAD_LETTERS) {
        take_headers(from, to);
    } else {
        to->offset = offset_in(to->value);
    }
}

static void records_done(struct records *all)
{
    for (size_t i = 0; i < all->n; i++) {
        free(all->r[i].key);
        free(all->r[i].value);
    }
    free(all->r);
}

/* The record about a message on a topic; NULL: none.  More than one fails. */
static const struct record *find(const struct records *all, enum bus_topic topic, int64_t offset)
{
    const struct record *found = NULL;
    for (size_t i = 0; i < all->n; i++) {
        if (all->r[i].topic == topic && all->r[i].offset == offset) {
            assert_null(found);
            found = &all->r[i];
        }
    }
    return found;
}

/* The text of a member of a flat JSON object, up to the next comma or brace. */
static const char *member(const struct record *r, const char *name, char *out, size_t size)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(r->value, wanted);
    out[0] = '\0';
    if (at != NULL) {
        at += strlen(wanted);
        snprintf(out, size, "%.*s", (int)strcspn(at, ",}"), at);
    }
    return out;
}

static uint64_t digest(const struct records *all)
{
    uint64_t topic[TOPIC_COUNT] = {0}; /* order counts within a topic */
    for (size_t i = 0; i < all->n; i++) {
        const struct record *r = &all->r[i];
        uint64_t *h = &topic[r->topic];
        *h = hash_bytes(r->value, r->value_len, *h + (uint64_t)r->partition);
        *h = hash_bytes(r->key != NULL ? r->key : "", r->key != NULL ? strlen(r->key) : 0, *h);
        *h = hash_bytes(r->reason, strlen(r->reason), *h);
    }
    return hash_bytes(topic, sizeof topic, 0);
}

/* ---- runs ---- */

struct run {
    struct pipeline *p;
    struct feat_world *world;
    struct lane *lane;
    struct records out;
};

static struct pipeline_conf conf_of(const struct model *m)
{
    struct pipeline_conf c = {
        .model = m,
        .rates = rates,
        .params = random_model_params(),
        .threshold = {.budget = 20, .burst = 1.5, .floor = .995, .decline = .99},
        .log = {LOG_NAME, strlen(LOG_NAME)},
        .max_future_us = 300 * TIME_S,
        .message_max = WIRE_MESSAGE_MAX};
    feat_limits_default(&c.limits);
    c.limits.card_max = 2000;
    c.limits.bytes_max = (size_t)256 << 20;
    return c;
}

static struct feat_world *make_world(const struct pipeline_conf *c)
{
    struct feat_world *w = NULL;
    struct feat_world_limits l;
    struct errmsg e = {""};
    feat_world_limits_default(&l);
    l.place_max = 4000;
    l.bytes_max = (size_t)256 << 20;
    if (feat_world_create(&c->params, &l, &w, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return w;
}

static void run_begin_with(struct run *r, const struct pipeline_conf *c)
{
    struct errmsg e = {""};
    const struct pipeline_out out = {.ctx = &r->out, .record = on_record};
    memset(&r->out, 0, sizeof r->out);
    r->world = make_world(c);
    if (pipeline_create(c, &out, NULL, &r->p, &e) != ERR_OK ||
        lane_create(r->p, r->world, 7, &r->lane, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static void run_begin(struct run *r)
{
    const struct pipeline_conf c = conf_of(model);
    run_begin_with(r, &c);
}

static void run_end(struct run *r)
{
    lane_free(r->lane);
    feat_world_free(r->world);
    pipeline_free(r->p);
    records_done(&r->out);
}

/* Messages [from, to) in batches; without those that repeat another if `skip`. */
static void feed(struct run *r, const struct messages *all, size_t from, size_t to, size_t batch,
                 bool skip, int64_t emit_from)
{
    struct bus_message m[256];
    size_t n = 0;
    for (size_t i = from; i < to; i++) {
        if (!skip || all->m[i].of < 0) {
            m[n++] = messages_get(all, i, 7, (int64_t)i);
        }
        if (n == batch || (n > 0 && i + 1 == to)) {
            pipeline_messages(r->p, r->lane, m, NULL, n, emit_from);
            n = 0;
        }
    }
}

/* card_max, bytes_max: 0 more than enough. */
static uint64_t digest_of(const struct model *m, size_t batch, size_t card_max, size_t bytes_max)
{
    struct messages all = messages_make(5, N, card_max + bytes_max != 0 ? 400 : CARDS, true, true);
    struct pipeline_conf c = conf_of(m);
    struct run r;
    c.limits.card_max = card_max != 0 ? card_max : c.limits.card_max;
    c.limits.bytes_max = bytes_max != 0 ? bytes_max : c.limits.bytes_max;
    run_begin_with(&r, &c);
    feed(&r, &all, 0, N, batch, false, 0);
    uint64_t d = digest(&r.out);
    run_end(&r);
    messages_done(&all);
    return d;
}

/* Fresh decisions since the model came. */
static uint64_t scored(const struct pipeline_counters *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < SCORE_BANDS; i++) {
        n += c->by_score[i];
    }
    return n;
}

static void test_every_message_ends_as_one_decision_or_dead_letter(void **state)
{
    (void)state;
    struct messages all = messages_make(1, N, CARDS, true, true);
    struct run r;
    run_begin(&r);
    feed(&r, &all, 0, N, 64, false, 0);
    size_t dead = 0;
    for (size_t i = 0; i < N; i++) {
        const struct record *decision = find(&r.out, TOPIC_DECISIONS, (int64_t)i);
        const struct record *letter = find(&r.out, TOPIC_DEAD_LETTERS, (int64_t)i);
        assert_true((decision == NULL) != (letter == NULL));
        assert_int_equal(letter != NULL, all.m[i].reason != DEAD_NONE);
        if (decision != NULL) {
            assert_int_equal(decision->partition, 7);
            assert_string_equal(decision->key, all.m[i].key);
        } else {
            dead++;
            assert_string_equal(letter->reason, dead_reason_name(all.m[i].reason));
        }
    }
    const struct pipeline_counters *c = pipeline_counters(r.p);
    assert_int_equal(c->received, N);
    assert_int_equal(c->decided + c->dead_letters, N);
    assert_int_equal(c->dead_letters, dead);
    assert_true(dead > N / 50 && c->repeats > N / 50 && c->alerts > 50 && c->declined > 10);
    assert_int_equal(scored(c), c->decided - c->repeats);
    run_end(&r);
    messages_done(&all);
}

static void test_dead_letters_hold_the_bytes_and_say_why(void **state)
{
    (void)state;
    struct messages bad = messages_bad();
    struct run r;
    run_begin(&r);
    feed(&r, &bad, 0, bad.n, 3, false, 0);
    assert_int_equal(r.out.n, DEAD_ANSWER_LOST - 1); /* all that decode finds */
    for (size_t i = 0; i < bad.n; i++) {
        const struct record *letter = find(&r.out, TOPIC_DEAD_LETTERS, (int64_t)i);
        char length[24];
        snprintf(length, sizeof length, "%zu", bad.m[i].value_len);
        assert_non_null(letter);
        assert_string_equal(letter->reason, dead_reason_name(bad.m[i].reason));
        assert_string_equal(letter->length, length);
        assert_int_equal(letter->value_len, bad.m[i].value_len);
        assert_memory_equal(letter->value, bad.m[i].value, bad.m[i].value_len);
        assert_int_equal(pipeline_counters(r.p)->dead_by_reason[bad.m[i].reason], 1);
    }
    run_end(&r);
    messages_done(&bad);
}

static void test_repeats_get_the_first_answer_and_change_nothing(void **state)
{
    (void)state;
    struct messages all = messages_make(2, N, CARDS, true, false);
    struct run with, without;
    char a[64];
    char b[64];
    size_t repeats = 0;
    run_begin(&with);
    run_begin(&without);
    feed(&with, &all, 0, N, 64, false, 0);
    feed(&without, &all, 0, N, 64, true, 0);
    for (size_t i = 0; i < N; i++) {
        const struct record *got = find(&with.out, TOPIC_DECISIONS, (int64_t)i);
        const struct record *alone = find(&without.out, TOPIC_DECISIONS, (int64_t)i);
        const struct record *alert = find(&with.out, TOPIC_ALERTS, (int64_t)i);
        assert_non_null(got);
        if (all.m[i].of < 0) { /* the same bytes as if nothing had been repeated */
            const struct record *alert_alone = find(&without.out, TOPIC_ALERTS, (int64_t)i);
            assert_string_equal(got->value, alone->value);
            assert_int_equal(alert != NULL, alert_alone != NULL);
            assert_true(alert == NULL || strcmp(alert->value, alert_alone->value) == 0);
            continue;
        }
        repeats++;
        const struct record *first = find(&with.out, TOPIC_DECISIONS, all.m[i].of);
        static const char *const SAME[] = {"tx", "score", "threshold", "outcome", "amount_ratio"};
        for (size_t k = 0; k < sizeof SAME / sizeof *SAME; k++) {
            assert_string_equal(member(got, SAME[k], a, sizeof a),
                                member(first, SAME[k], b, sizeof b));
        }
        assert_string_equal(member(got, "repeat", a, sizeof a), "true");
        assert_string_equal(member(first, "repeat", a, sizeof a), "");
        assert_null(alert);
    }
    assert_true(repeats > N / 20);
    assert_int_equal(pipeline_counters(with.p)->alerts, pipeline_counters(without.p)->alerts);
    assert_memory_equal(lane_threshold(with.lane), lane_threshold(without.lane),
                        sizeof(struct threshold));
    run_end(&with);
    run_end(&without);
    messages_done(&all);
}

static void test_refunds_and_reversals_are_never_alerted(void **state)
{
    (void)state;
    struct messages all = messages_make(3, N, CARDS, false, false);
    struct run r;
    char outcome[32];
    size_t unjudged = 0;
    run_begin(&r);
    feed(&r, &all, 0, N, 64, false, 0);
    for (size_t i = 0; i < N; i++) {
        if (all.m[i].unjudged) {
            const struct record *d = find(&r.out, TOPIC_DECISIONS, (int64_t)i);
            unjudged++;
            assert_string_equal(member(d, "outcome", outcome, sizeof outcome), "\"approve\"");
            assert_null(find(&r.out, TOPIC_ALERTS, (int64_t)i));
        }
    }
    assert_true(unjudged > N / 10);
    /* nor do they use up the budget or move the threshold */
    assert_int_equal(lane_threshold(r.lane)->events, N - unjudged);
    run_end(&r);
    messages_done(&all);
}

static void test_alerts_are_the_decisions_that_are_not_approved(void **state)
{
    (void)state;
    struct messages all = messages_make(4, N, CARDS, false, false);
    struct run r;
    char outcome[32];
    run_begin(&r);
    feed(&r, &all, 0, N, 256, false, 0);
    for (size_t i = 0; i < N; i++) {
        const struct record *d = find(&r.out, TOPIC_DECISIONS, (int64_t)i);
        const struct record *a = find(&r.out, TOPIC_ALERTS, (int64_t)i);
        bool approved = strcmp(member(d, "outcome", outcome, sizeof outcome), "\"approve\"") == 0;
        assert_int_equal(a == NULL, approved);
        assert_true(a == NULL || strstr(a->value, "\"reasons\":[{") != NULL);
        assert_true(a == NULL || strstr(a->value, all.m[i].key) != NULL);
    }
    run_end(&r);
    messages_done(&all);
}

static void test_batches_do_not_change_a_byte(void **state)
{
    (void)state;
    static const size_t SIZES[] = {3, 64, 256};
    /* cards give way to others within a wave: their records are all taken, or their memory */
    uint64_t one = digest_of(model, 1, 0, 0);
    uint64_t one_full = digest_of(model, 1, EVICTING, 0);
    uint64_t one_short = digest_of(model, 1, 0, SHORT_BYTES);
    assert_true(one != one_full && one != one_short);
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        assert_true(digest_of(model, SIZES[i], 0, 0) == one);
        assert_true(digest_of(model, SIZES[i], EVICTING, 0) == one_full);
        assert_true(digest_of(model, SIZES[i], 0, SHORT_BYTES) == one_short);
    }
}

static void test_what_is_learnt_from_only_is_not_emitted(void **state)
{
    (void)state;
    struct messages all = messages_make(6, N, CARDS, true, true);
    struct run whole, part;
    const int64_t from = N / 3;
    run_begin(&whole);
    run_begin(&part);
    feed(&whole, &all, 0, N, 64, false, 0);
    feed(&part, &all, 0, N, 64, false, from);
    size_t k = 0;
    for (size_t i = 0; i < whole.out.n; i++) {
        const struct record *w = &whole.out.r[i];
        if (w->offset < from) {
            continue;
        }
        assert_true(k < part.out.n);
        const struct record *p = &part.out.r[k++];
        assert_int_equal(p->topic, w->topic);
        assert_int_equal(p->offset, w->offset);
        assert_int_equal(p->value_len, w->value_len);
        assert_memory_equal(p->value, w->value, w->value_len);
    }
    assert_int_equal(k, part.out.n);
    assert_int_equal(pipeline_counters(part.p)->received, N - from);
    run_end(&whole);
    run_end(&part);
    messages_done(&all);
}

static void count_only(void *ctx, const struct bus_record *r)
{
    size_t *n = ctx;
    (void)r;
    ++*n;
}

static void test_no_malloc_in_steady_state(void **state)
{
    (void)state;
    struct messages all = messages_make(7, N, CARDS, true, true);
    const struct pipeline_conf c = conf_of(model);
    size_t records = 0;
    const struct pipeline_out out = {.ctx = &records, .record = count_only};
    struct run r = {0};
    struct errmsg e;
    assert_int_equal(pipeline_create(&c, &out, NULL, &r.p, &e), ERR_OK);
    r.world = make_world(&c);
    assert_int_equal(lane_create(r.p, r.world, 7, &r.lane, &e), ERR_OK);
    feed(&r, &all, 0, N / 4, 64, false, 0);
    const size_t before = allocations();
    assert_true(before > 0);
    feed(&r, &all, N / 4, N, 64, false, 0);
    assert_int_equal(allocations(), before);
    assert_true(records > N); /* decisions, alerts and dead letters were made meanwhile */
    run_end(&r);
    messages_done(&all);
}

static void test_kernels_do_not_change_a_byte(void **state)
{
    (void)state;
    static const char *const KERNELS[] = {"scalar", "avx2", "avx512vnni"};
    const char *was = model_kernel_name();
    uint64_t wanted = digest_of(model, 64, 0, 0);
    for (size_t i = 0; i < sizeof KERNELS / sizeof *KERNELS; i++) {
        if (model_use_kernel(KERNELS[i]) == ERR_OK) {
            assert_true(digest_of(model, 64, 0, 0) == wanted);
        } else {
            print_message("skipped: this CPU lacks %s\n", KERNELS[i]);
        }
    }
    assert_int_equal(model_use_kernel(was), ERR_OK);
}

/* glibc picks other variants of its functions when FMA is hidden: a call of one would show. */
static void test_hidden_cpu_features_do_not_change_a_byte(void **state)
{
    (void)state;
    char command[512];
    char self[256];
    char line[64] = "";
    char wanted[64];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(len > 0);
    self[len] = '\0';
    snprintf(wanted, sizeof wanted, "%016" PRIx64 "\n", digest_of(model, 64, 0, 0));
    snprintf(command, sizeof command,
             "GLIBC_TUNABLES=glibc.cpu.hwcaps=-FMA,-AVX2,-AVX512F,-FMA4 '%s' --digest", self);
    FILE *f = popen(command, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 0);
    assert_string_equal(line, wanted);
}

static void test_another_model_from_the_next_message_on(void **state)
{
    (void)state;
    struct messages all = messages_make(8, 200, CARDS, false, false);
    struct run r;
    struct errmsg e = {""};
    struct model *other = NULL;
    struct model *alien = NULL;
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(9, "other", 0, &len);
    assert_int_equal(model_load(bytes, len, &other, &e), ERR_OK);
    free(bytes);
    bytes = random_model_bytes(9, "alien", 12345, &len);
    assert_int_equal(model_load(bytes, len, &alien, &e), ERR_OK);
    free(bytes);
    run_begin(&r);
    feed(&r, &all, 0, 100, 64, false, 0);
    assert_int_equal(
        pipeline_set_models(r.p, &r.lane, 1, &(struct pipeline_models){alien, NULL}, &e),
        ERR_MISMATCH);
    assert_non_null(strstr(e.text, "0000000000003039")); /* both hashes are named */
    assert_non_null(strstr(e.text, "train again"));
    feed(&r, &all, 100, 120, 64, false, 0);
    assert_true(scored(pipeline_counters(r.p)) > 60);
    assert_int_equal(
        pipeline_set_models(r.p, &r.lane, 1, &(struct pipeline_models){other, NULL}, &e), ERR_OK);
    assert_int_equal(scored(pipeline_counters(r.p)), 0);
    feed(&r, &all, 120, 200, 64, false, 0);
    for (size_t i = 0; i < 200; i++) {
        char version[64];
        const struct record *d = find(&r.out, TOPIC_DECISIONS, (int64_t)i);
        assert_string_equal(member(d, "model", version, sizeof version),
                            i < 120 ? "\"random\"" : "\"other\"");
    }
    run_end(&r);
    model_free(other);
    model_free(alien);
    messages_done(&all);
}

static void test_pipeline_create_refuses_a_model_of_other_columns(void **state)
{
    (void)state;
    struct model *alien = NULL;
    struct pipeline *p = NULL;
    struct errmsg e = {""};
    size_t len = 0;
    uint8_t *bytes = random_model_bytes(9, "alien", 12345, &len);
    assert_int_equal(model_load(bytes, len, &alien, &e), ERR_OK);
    free(bytes);
    const struct pipeline_conf c = conf_of(alien);
    const struct pipeline_out out = {.record = NULL};
    assert_int_equal(pipeline_create(&c, &out, NULL, &p, &e), ERR_MISMATCH);
    assert_null(p);
    model_free(alien);
}

static void test_pipeline_set_rules_takes_all_or_nothing(void **state)
{
    (void)state;
    struct messages all = messages_make(10, N, CARDS, false, false);
    struct run r;
    struct errmsg e = {""};
    run_begin(&r);
    feed(&r, &all, 0, N / 2, 64, false, 0);
    uint64_t before = pipeline_counters(r.p)->alerts;
    struct threshold_conf rules = conf_of(model).threshold;
    rules.decline = 2;
    rules.floor = -1;
    assert_int_equal(pipeline_set_rules(r.p, &r.lane, 1, &rules, 0, &e), ERR_INVALID);
    assert_true(lane_threshold(r.lane)->conf.decline < 1);
    rules.floor = 1;
    rules.budget = 0;
    assert_int_equal(pipeline_set_rules(r.p, &r.lane, 1, &rules, -1, &e), ERR_OK);
    feed(&r, &all, N / 2, N, 64, false, 0);
    assert_true(before > 50);
    assert_int_equal(pipeline_counters(r.p)->alerts, before); /* no budget, no floor, no decline */
    run_end(&r);
    messages_done(&all);
}

static void test_labels_reach_the_world_and_bad_ones_the_dead_letters(void **state)
{
    struct label label;
    (void)state;
    struct run r;
    run_begin(&r);
    static const char GOOD[] =
        "{\"source\":\"s\",\"number\":7,\"tx\":\"t1\",\"verdict\":\"fraud\",\"ts\":"
        "\"2026-01-01T00:00:00Z\",\"known\":\"2026-01-02T00:00:00Z\",\"card\":\"c1\"}";
    struct bus_message m = {.topic = TOPIC_LABELS,
                            .partition = 7,
                            .offset = 1,
                            .timestamp_us = MESSAGES_START_US + 30 * TIME_DAY,
                            .value = GOOD,
                            .value_len = sizeof GOOD - 1};
    struct feat_world_counters c;
    assert_true(pipeline_label_message(r.p, &m, true, &label));
    pipeline_label(r.p, r.world, &label);
    feat_world_counters(r.world, &c);
    assert_int_equal(c.labels_queued, 1);
    assert_int_equal(pipeline_counters(r.p)->labels, 1);
    assert_int_equal(r.out.n, 0);
    m.value_len -= 5;
    /* somebody else writes the dead letter */
    assert_false(pipeline_label_message(r.p, &m, false, &label));
    assert_int_equal(r.out.n, 0);
    assert_false(pipeline_label_message(r.p, &m, true, &label));
    assert_int_equal(r.out.n, 1);
    assert_string_equal(r.out.r[0].reason, "not_json");
    assert_int_equal(pipeline_counters(r.p)->bad_labels, 2);
    run_end(&r);
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(rates_create_default(&rates, NULL), ERR_OK);
    model = random_model(3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_free(model);
    rates_free(rates);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--digest") == 0) {
        (void)setup(NULL);
        printf("%016" PRIx64 "\n", digest_of(model, 64, 0, 0));
        return teardown(NULL);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_ends_as_one_decision_or_dead_letter),
        cmocka_unit_test(test_dead_letters_hold_the_bytes_and_say_why),
        cmocka_unit_test(test_repeats_get_the_first_answer_and_change_nothing),
        cmocka_unit_test(test_refunds_and_reversals_are_never_alerted),
        cmocka_unit_test(test_alerts_are_the_decisions_that_are_not_approved),
        cmocka_unit_test(test_batches_do_not_change_a_byte),
        cmocka_unit_test(test_what_is_learnt_from_only_is_not_emitted),
        cmocka_unit_test(test_no_malloc_in_steady_state),
        cmocka_unit_test(test_kernels_do_not_change_a_byte),
        cmocka_unit_test(test_hidden_cpu_features_do_not_change_a_byte),
        cmocka_unit_test(test_another_model_from_the_next_message_on),
        cmocka_unit_test(test_pipeline_create_refuses_a_model_of_other_columns),
        cmocka_unit_test(test_pipeline_set_rules_takes_all_or_nothing),
        cmocka_unit_test(test_labels_reach_the_world_and_bad_ones_the_dead_letters),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
