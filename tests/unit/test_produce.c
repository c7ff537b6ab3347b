/* The open loop over a simulated clock and bus: what is sent when, what a stall does, labels in
 * order of their time known, and every acknowledgement waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/decode.h"
#include "daemon/produce.h"
#include "daemon/verdicts.h"

#define SENT_MAX 512
#define WALL0 (INT64_C(20650) * TIME_DAY) /* July 2026 */

static char path[] = "/tmp/fraudd-test-produce-XXXXXX";
static struct rates *rates;
static struct decoder *decoder;

/* What reached the bus. */
struct record {
    enum bus_topic topic;
    int64_t at_us;
    int64_t timestamp_us;
    char key[16];
    char value[400];
};

static struct fake {
    int64_t now_us;
    struct record sent[SENT_MAX];
    size_t n, acked;
    size_t stall_at; /* before this record the bus takes nothing for stall_us */
    int64_t stall_us;
    int64_t stall_until;
    bool acks_never;
    volatile sig_atomic_t stop;
    size_t stop_at; /* as many records, then the first interrupt */
} fake;

static int64_t fake_now(void *ctx)
{
    (void)ctx;
    return fake.now_us;
}

static int64_t fake_wall(void *ctx)
{
    (void)ctx;
    return WALL0 + fake.now_us;
}

static void fake_sleep(void *ctx, int64_t us)
{
    (void)ctx;
    fake.now_us += us;
}

static enum err fake_send(void *self, const struct bus_record *r, struct errmsg *e)
{
    (void)self;
    if (fake.stall_us > 0 && fake.n == fake.stall_at) {
        fake.stall_until = fake.now_us + fake.stall_us;
        fake.stall_us = 0;
    }
    if (fake.now_us < fake.stall_until) {
        return err_set(e, ERR_FULL, "stalled");
    }
    assert_true(fake.n < SENT_MAX);
    assert_true(r->key_len < sizeof fake.sent[0].key && r->value_len < sizeof fake.sent[0].value);
    struct record *to = &fake.sent[fake.n++];
    *to = (struct record){.topic = r->topic, .at_us = fake.now_us, .timestamp_us = r->timestamp_us};
    memcpy(to->key, r->key, r->key_len);
    memcpy(to->value, r->value, r->value_len);
    fake.now_us += 1;
    if (fake.n == fake.stop_at) {
        fake.stop = 1;
    }
    return ERR_OK;
}

static uint64_t fake_wait(void *self, int timeout_ms)
{
    (void)self;
    fake.now_us += (int64_t)timeout_ms * 1000;
    if (fake.acks_never) {
        fake.stop = fake.n > 0 && timeout_ms >= 100 ? 2 : fake.stop;
        return fake.n > fake.acked ? 0 : UINT64_MAX;
    }
    if (fake.acked < fake.n) { /* one at a time, so that the end has to be waited for */
        fake.acked++;
    }
    return fake.acked < fake.n ? 0 : UINT64_MAX;
}

static void fake_counters(void *self, struct bus_counters *out)
{
    (void)self;
    *out = (struct bus_counters){.acked = fake.acked};
}

static const struct bus BUS = {.send = fake_send, .wait = fake_wait, .counters = fake_counters};

static struct produce_conf conf_of(double rate)
{
    return (struct produce_conf){.rate = rate,
                                 .stamp_due = true,
                                 .from_us = INT64_MIN,
                                 .to_us = INT64_MAX,
                                 .future_us = 5 * TIME_MIN,
                                 .job = "test",
                                 .clock = {NULL, fake_now, fake_wall, fake_sleep}};
}

static struct feed *start(const char *text)
{
    struct errmsg e;
    struct feed *f = NULL;
    const struct feed_conf c = {.path = path,
                                .format = FEED_CSV,
                                .rates = rates,
                                .need_label = true,
                                .label_delay_us = 7 * TIME_DAY};
    memset(&fake, 0, sizeof fake);
    assert_int_equal(file_write(path, text, strlen(text), &e), ERR_OK);
    assert_int_equal(feed_open(&c, &f, &e), ERR_OK);
    return f;
}

/* n payments, one a minute, of ten cards. */
static char *minutes(size_t n)
{
    static char text[SENT_MAX * 64];
    size_t at = (size_t)snprintf(text, sizeof text, "tx_id,ts,card_id,amount,fraud\n");
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "t%zu,2026-03-01T%02zu:%02zu:00Z,c%zu,%zu,0\n", i, i / 60, i % 60,
                               i % 10, 1 + i);
    }
    return text;
}

static int setup(void **state)
{
    struct errmsg e;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    decoder_free(decoder);
    rates_free(rates);
    return 0;
}

static void test_produce_due_keeps_the_clock(void **state)
{
    (void)state;
    assert_int_equal(produce_due(1000, 0, 77), 1000);
    assert_int_equal(produce_due(1000, 1000, 0), 1000);
    assert_int_equal(produce_due(1000, 1000, 5), 6000);
    assert_int_equal(produce_due(0, 3, 3000000), TIME_S * 1000000); /* no drift */
    assert_int_equal(produce_due(0, .5, 1), 2 * TIME_S);
}

static void test_produce_run_sends_each_when_due(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start(minutes(100));
    struct produce_conf c = conf_of(1000);
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(s.sent, 100);
    assert_int_equal(s.acked, 100);
    for (size_t i = 0; i < 100; i++) {
        char key[8];
        const struct record *r = &fake.sent[i];
        assert_in_range(r->at_us - (int64_t)i * 1000, 0, 500);
        assert_int_equal(r->timestamp_us, WALL0 + (int64_t)i * 1000);
        snprintf(key, sizeof key, "c%zu", i % 10);
        assert_string_equal(r->key, key);
    }
    feed_close(f);
}

static void test_produce_run_a_stall_does_not_slow_the_clock(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start(minutes(100));
    fake.stall_at = 20;
    fake.stall_us = 50000;
    struct produce_conf c = conf_of(1000);
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(s.sent, 100);
    /* the stalled one and those that became due meanwhile go out at once, with their own times */
    assert_true(fake.sent[20].at_us >= 70000);
    assert_true(fake.sent[60].at_us < 72000);
    assert_in_range(fake.sent[99].at_us, 99000, 99500);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(fake.sent[i].timestamp_us, WALL0 + (int64_t)i * 1000);
    }
    assert_true(latency_quantile(&s.lateness, 1) >= 48 * UINT64_C(1000000));
    assert_true(latency_quantile(&s.lateness, .3) < UINT64_C(1000000));
    feed_close(f);
}

static void test_produce_run_stamps_sent_where_asked(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start(minutes(5));
    struct produce_conf c = conf_of(1000);
    c.stamp_due = false;
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(fake.sent[4].timestamp_us, 0);
    feed_close(f);
}

static void test_produce_run_limit_and_stretch(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start(minutes(100));
    struct produce_conf c = conf_of(0);
    c.limit = 7;
    assert_int_equal(time_parse("2026-03-01T00:10:00", 19, &c.from_us), ERR_OK);
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(s.sent, 7);
    assert_non_null(strstr(fake.sent[0].value, "\"t10\""));
    feed_close(f);

    f = start(minutes(100));
    c.limit = 0;
    assert_int_equal(time_parse("2026-03-01T00:30:00", 19, &c.to_us), ERR_OK);
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(s.sent, 20);
    assert_non_null(strstr(fake.sent[19].value, "\"t29\""));
    feed_close(f);
}

static void test_produce_run_refuses_the_future(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start("tx_id,ts,card_id,amount,fraud\n"
                           "t1,2026-03-01T10:00:00Z,c1,5,0\n"
                           "t2,2026-12-01T10:00:00Z,c1,5,0\n");
    struct produce_conf c = conf_of(0);
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "line 3"));
    assert_non_null(strstr(e.text, "--shift"));
    assert_int_equal(s.sent, 1);
    assert_int_equal(s.acked, 1); /* what was sent is waited for all the same */
    feed_close(f);
}

static void test_produce_run_interrupted(void **state)
{
    struct errmsg e;
    struct produce_stats s;
    (void)state;
    struct feed *f = start(minutes(100));
    struct produce_conf c = conf_of(1000);
    fake.stop_at = 30;
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_OK);
    assert_int_equal(s.sent, 30);
    assert_int_equal(s.acked, 30);
    feed_close(f);

    /* the second interrupt does not wait, and says what is open */
    f = start(minutes(100));
    fake.acks_never = true;
    assert_int_equal(produce_run(&c, &BUS, f, NULL, &fake.stop, &s, &e), ERR_UNAVAILABLE);
    assert_int_equal(s.acked, 0);
    assert_non_null(strstr(e.text, "100 messages were not acknowledged"));
    feed_close(f);
}

static const char LABELLED[] = "tx_id,ts,card_id,amount,fraud,label_ts\n"
                               "a,2026-03-01T10:00:00Z,c1,10,0,\n"
                               "b,2026-03-02T10:00:00Z,c1,40,1,2026-03-05T00:00:00Z\n"
                               "c,2026-03-03T10:00:00Z,c1,10,1,2026-03-04T00:00:00Z\n"
                               "d,2026-03-04T10:00:00Z,c1,10,0,2026-03-05T00:00:00Z\n"
                               "e,2026-03-05T00:00:00Z,c1,20,1,2026-07-01T00:00:00Z\n"
                               "f,2026-03-06T10:00:00Z,c1,10,1,2026-10-01T00:00:00Z\n";

/* Sends LABELLED and returns "a|b|.." of what went out, labels as their transaction's capital. */
static const char *order_of(struct produce_conf *c, struct produce_stats *s)
{
    static char order[64];
    struct errmsg e;
    struct verdicts *v = NULL;
    struct feature_params params;
    feature_params_default(&params);
    struct feed *f = start(LABELLED);
    assert_int_equal(verdicts_create(&params, "test", &v, &e), ERR_OK);
    assert_int_equal(produce_run(c, &BUS, f, v, &fake.stop, s, &e), ERR_OK);
    for (size_t i = 0; i < fake.n; i++) {
        bool label = fake.sent[i].topic == TOPIC_LABELS;
        const char *at = strstr(fake.sent[i].value, label ? "\"tx\":\"" : "\"id\":\"") + 6;
        order[i] = label ? (char)(*at - 'a' + 'A') : *at;
        order[i + 1] = '\0';
    }
    verdicts_free(v);
    feed_close(f);
    return order;
}

static void test_produce_run_labels_when_they_became_known(void **state)
{
    struct produce_stats s;
    (void)state;
    struct produce_conf c = conf_of(0);
    /* C is known before B; B and D at the very time of e; E by now; F is not known yet */
    assert_string_equal(order_of(&c, &s), "abcCdBDefE");
    assert_int_equal(s.sent, 6);
    assert_int_equal(s.labels, 4);
    assert_int_equal(s.acked, 10);

    /* stretches together make the whole, no label twice */
    assert_int_equal(time_parse("2026-03-04T00:00:00Z", 20, &c.to_us), ERR_OK);
    assert_string_equal(order_of(&c, &s), "abc");
    c.from_us = c.to_us;
    c.to_us = INT64_MAX;
    assert_string_equal(order_of(&c, &s), "CdBDefE");
    c.limit = 1;
    assert_string_equal(order_of(&c, &s), "Cd");
}

static void test_verdicts_next_complete_labels(void **state)
{
    struct produce_stats s;
    struct label l;
    struct label_strings n;
    uint64_t last = 0;
    size_t labels = 0;
    (void)state;
    struct produce_conf c = conf_of(0);
    order_of(&c, &s);
    for (size_t i = 0; i < fake.n; i++) {
        const struct record *r = &fake.sent[i];
        if (r->topic != TOPIC_LABELS) {
            continue;
        }
        assert_int_equal(
            decode_label(decoder, r->value, strlen(r->value), WALL0 + TIME_DAY, 0, &l, &n),
            DEAD_NONE);
        assert_true(l.number > last); /* rising, also where two become known at once */
        last = l.number;
        assert_int_equal(n.card.len, 2);
        assert_string_equal(r->key, "c1");
        if (n.tx.at[0] == 'b') {
            assert_int_equal(l.verdict, LABEL_FRAUD);
            assert_int_equal(n.amount_minor, 4000);
            assert_true(l.usual_ratio > 3.9F && l.usual_ratio < 4.1F); /* 40 after one of 10 */
        }
        if (n.tx.at[0] == 'd') {
            assert_int_equal(l.verdict, LABEL_LEGITIMATE);
        }
        labels++;
    }
    assert_int_equal(labels, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce_due_keeps_the_clock),
        cmocka_unit_test(test_produce_run_sends_each_when_due),
        cmocka_unit_test(test_produce_run_a_stall_does_not_slow_the_clock),
        cmocka_unit_test(test_produce_run_stamps_sent_where_asked),
        cmocka_unit_test(test_produce_run_limit_and_stretch),
        cmocka_unit_test(test_produce_run_refuses_the_future),
        cmocka_unit_test(test_produce_run_interrupted),
        cmocka_unit_test(test_produce_run_labels_when_they_became_known),
        cmocka_unit_test(test_verdicts_next_complete_labels),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
