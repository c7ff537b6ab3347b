/* `fraudd score` processes that join a group, leave it and die while it decides a backlog at full
 * speed, on a real Kafka: two, three, one, three.  In the end a new process makes every decision
 * and alert again from the logs and their recorded order alone: the same bytes of each, none
 * missing, none more.
 *
 * INSTANCES_PAYMENTS (20000): about how many; INSTANCES_KEEP leaves the logs.  `make instances` has
 * a million. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "tests/support/child.h"
#include "tests/support/site.h"
#include "tests/support/site_again.h"
#include "tests/support/until.h"

#define SCORES 3
#define PAYMENTS 20000
#define BATCH_FEW 16 /* so that a short run has as many entries as there are moments to join */
#define BATCH_MANY 512
#define MANY 200000

struct run {
    struct site site;
    struct child score[SCORES], produce;
    int payments, starts;
    int64_t patience_us, began_us;
};

static struct run r;

static int setup(void **state)
{
    const char *payments = getenv("INSTANCES_PAYMENTS");
    (void)state;
    unsetenv("JOURNAL_STREAM"); /* the logs are read */
    r.payments = payments != NULL ? (int)strtol(payments, NULL, 10) : PAYMENTS;
    assert_in_range(r.payments, 1000, 100000000);
    r.patience_us = 180 * TIME_S + (int64_t)r.payments * 2000; /* 500 a second */
    site_make(&r.site, r.payments, r.payments < MANY ? BATCH_FEW : BATCH_MANY);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SCORES; i++) {
        child_end(&r.score[i]);
    }
    child_end(&r.produce);
    site_free(&r.site, getenv("INSTANCES_KEEP") != NULL);
    return 0;
}

static void show_all(void)
{
    for (int i = 0; i < SCORES; i++) {
        if (r.score[i].log[0] != '\0') {
            child_show(&r.score[i]);
        }
    }
    child_show(&r.produce);
}

static void look_after(void)
{
    for (int i = 0; i < SCORES; i++) {
        if (r.score[i].pid > 0 && child_wait(&r.score[i], 0)) {
            show_all();
            fail_msg("process %d ended by itself: %s", i, r.score[i].log);
        }
    }
}

#define UNTIL(condition) UNTIL_OR_SHOW((look_after(), condition), r.patience_us, show_all())

static void start(int i)
{
    char log[128];
    snprintf(log, sizeof log, "%s/score%d-%d.log", r.site.folder, i, ++r.starts);
    child_start(&r.score[i], log, (const char *const[]){"score", "--config", r.site.conf, NULL});
}

static void kill_one(int i)
{
    child_signal(&r.score[i], SIGKILL);
    assert_true(child_wait(&r.score[i], CHILD_END_MS));
    assert_true(WIFSIGNALED(r.score[i].status));
}

static void stop_one(int i)
{
    child_signal(&r.score[i], SIGTERM);
    site_ended_well(&r.score[i]);
}

static int64_t decided(void)
{
    return site_size(&r.site, &r.site.topics, TOPIC_DECISIONS);
}

static void print_decided(const char *what)
{
    print_message("%8.1f s  %" PRId64 " decided: %s\n",
                  (double)(progress_now_us() - r.began_us) / 1e6, decided(), what);
}

/* Those that joined have partitions and decide. */
static void joined(const char *what)
{
    for (int i = 0; i < SCORES; i++) {
        UNTIL(r.score[i].pid == 0 || child_said(&r.score[i], "event=recovered"));
    }
    print_decided(what);
}

static void begin(void)
{
    char log[128];
    snprintf(log, sizeof log, "%s/produce.log", r.site.folder);
    r.began_us = progress_now_us();
    child_start(&r.produce, log,
                (const char *const[]){"produce", "--config", r.site.conf, "--labels",
                                      r.site.payments, NULL});
    start(0);
    start(1);
    joined("two decide");
}

static void end(int64_t *out_payments)
{
    assert_true(child_wait(&r.produce, (int)(r.patience_us / 1000)));
    assert_int_equal(child_code(&r.produce), 0);
    *out_payments = site_size(&r.site, &r.site.topics, TOPIC_TRANSACTIONS);
    UNTIL(decided() >= *out_payments && site_score_lag(&r.site) == 0);
    print_decided("all");
    for (int i = 0; i < SCORES; i++) {
        stop_one(i);
    }
}

static void test_two_three_one_three_decide_as_one_would_again(void **state)
{
    int64_t payments = 0;
    uint64_t repeats = 0;
    uint64_t repeated_alerts = 0;
    (void)state;
    begin();
    UNTIL(decided() >= r.payments / 5);
    start(2);
    joined("three");
    UNTIL(decided() >= r.payments * 2LL / 5);
    kill_one(0);
    stop_one(1);
    print_decided("one was killed, one told to end");
    UNTIL(decided() >= r.payments * 3LL / 5);
    start(0);
    start(1);
    joined("three again");
    end(&payments);
    site_decide_again(&r.site, payments, r.patience_us);
    print_decided("all of them again, by a new one");
    assert_true(payments > r.payments / 10 * 9);
    assert_int_equal(site_size(&r.site, &r.site.topics, TOPIC_DEAD_LETTERS), 0);
    assert_int_equal(site_size(&r.site, &r.site.topics_again, TOPIC_DEAD_LETTERS), 0);
    assert_int_equal(site_check_again(&r.site, TOPIC_DECISIONS, &repeats), payments);
    const uint64_t alerts = site_check_again(&r.site, TOPIC_ALERTS, &repeated_alerts);
    assert_true(alerts > 0);
    print_message(
        "%" PRId64 " payments, %" PRIu64 " decisions repeated with the same bytes, %" PRIu64
        " alerts (%" PRIu64 " repeated), %" PRId64 " labels; state made anew %" PRId64
        " times, from checkpoints %" PRId64 " times; decided again from the record: the "
        "same bytes\n",
        payments, repeats, alerts, repeated_alerts,
        site_size(&r.site, &r.site.topics, TOPIC_LABELS), site_score_lines(&r.site, "rebuild"),
        site_score_lines(&r.site, "checkpoint_read"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_three_one_three_decide_as_one_would_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
