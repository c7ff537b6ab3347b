/* `fraudd score` processes in one group and a `fraudd sink`, on a real Kafka and a real PostgreSQL,
 * under a steady load with labels and models; each is killed (SIGKILL) again and again at random
 * moments and at aimed ones, one is paused until its partitions have moved, and woken.  In the end:
 *
 *  1. Decisions and alerts that were made twice have the same bytes.
 *  2. A new process makes all of them again from the logs and their recorded order alone: the same
 *     bytes of each, none missing, none more.
 *  3. Each alert is in the queue once, each payment and decision is stored once.
 *  4. At least one kill fell into each phase of a process's life.
 *
 * TORTURE_KILLS (8): how many; TORTURE_SEED: of victims and moments (drawn and printed);
 * TORTURE_KEEP: leaves the logs.  `make torture` is the long one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/rng.h"
#include "base/timefmt.h"
#include "tests/support/child.h"
#include "tests/support/order_watch.h"
#include "tests/support/score_phase.h"
#include "tests/support/site.h"
#include "tests/support/site_again.h"
#include "tests/support/until.h"

#define SCORES 3
#define SINK SCORES             /* its place among the processes */
#define KINDS (PHASE_COUNT + 1) /* phases of a score, and the sink */
#define SINK_KIND PHASE_COUNT
#define RATE 150          /* payments a second */
#define SECONDS_A_KILL 20 /* the load lasts for, at most */
#define MODELS_MAX 60     /* `score` remembers 64 */
#define PATIENCE_US (180 * TIME_S)
#define AIM_US (8 * TIME_S)

struct torture {
    struct site site;
    struct child child[SCORES + 1], produce;
    int starts;
    int64_t began_us;
    struct order_watch *watch;
    struct rng rng;
    int kills_wanted, kills, kind[KINDS], several, pauses, models;
};

static struct torture t;

static void show_all(void)
{
    for (int i = 0; i <= SCORES; i++) {
        if (t.child[i].log[0] != '\0') {
            child_show(&t.child[i]);
        }
    }
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

static int setup(void **state)
{
    const char *kills = getenv("TORTURE_KILLS");
    const char *seed = getenv("TORTURE_SEED");
    (void)state;
    unsetenv("JOURNAL_STREAM"); /* the logs' times are read */
    t.kills_wanted = kills != NULL ? (int)strtol(kills, NULL, 10) : 8;
    assert_in_range(t.kills_wanted, 1, 100000);
    uint64_t number = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    rng_init(&t.rng, number);
    print_message("TORTURE_SEED=%" PRIu64 "\n", number);
    site_make(&t.site, RATE * (60 + t.kills_wanted * SECONDS_A_KILL), SITE_BATCH);
    t.watch = order_watch_open(&t.site.cluster, t.site.topics.name[TOPIC_JOURNAL],
                               t.site.topics.name[TOPIC_DECISIONS], SITE_PARTITIONS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i <= SCORES; i++) {
        child_end(&t.child[i]);
    }
    child_end(&t.produce);
    order_watch_close(t.watch);
    site_free(&t.site, getenv("TORTURE_KEEP") != NULL);
    return 0;
}

/* ---- processes ---- */

static bool runs(int i)
{
    return t.child[i].pid > 0;
}

/* One that ended by itself has failed. */
static void look_after(int i)
{
    if (runs(i) && child_wait(&t.child[i], 0)) {
        show_all();
        fail_msg("process %d ended by itself: %s", i, t.child[i].log);
    }
}

/* A log of its own for each start, so that it tells one life. */
static void start(int i)
{
    char log[128];
    if (runs(i)) {
        return;
    }
    snprintf(log, sizeof log, "%s/%s%d-%d.log", t.site.folder, i == SINK ? "sink" : "score", i,
             ++t.starts);
    child_start(&t.child[i], log,
                (const char *const[]){i == SINK ? "sink" : "score", "--config", t.site.conf, NULL});
}

static void start_all(void)
{
    for (int i = 0; i <= SCORES; i++) {
        start(i);
    }
}

static int running_scores(void)
{
    int n = 0;
    for (int i = 0; i < SCORES; i++) {
        n += runs(i);
    }
    return n;
}

static enum score_phase phase_of(int i, struct score_life *out)
{
    score_life_read(t.child[i].log, out);
    return score_phase_of(out, order_watch_turns(t.watch), SITE_PARTITIONS);
}

/* Kills these at once and books what each was doing. */
static void kill_these(const int *which, int n)
{
    struct score_life life;
    bool writes[SCORES + 1];
    for (int k = 0; k < n; k++) { /* the child dies with it */
        writes[k] = which[k] != SINK && score_writes_checkpoint(t.child[which[k]].pid);
        child_signal(&t.child[which[k]], SIGKILL);
    }
    for (int k = 0; k < n; k++) {
        assert_true(child_wait(&t.child[which[k]], CHILD_END_MS));
        assert_true(WIFSIGNALED(t.child[which[k]].status));
    }
    order_watch_settle(t.watch);
    for (int k = 0; k < n; k++) {
        t.kind[which[k] == SINK ? SINK_KIND
               : writes[k]      ? (int)PHASE_CHECKPOINT
                                : (int)phase_of(which[k], &life)]++;
    }
    t.kills += n;
    t.several += n > 1;
}

/* ---- kills ---- */

static void kill_at_random(void)
{
    int which[SCORES + 1];
    int n = 0;
    uint64_t dice = rng_below(&t.rng, 10);
    int most = dice < 6 ? 1 : dice < 9 ? 2 : SCORES + 1;
    int first = (int)rng_below(&t.rng, SCORES + 1);
    nap_ms((long)rng_below(&t.rng, 2500));
    for (int k = 0; k <= SCORES && n < most; k++) {
        int i = (first + k) % (SCORES + 1);
        look_after(i);
        if (runs(i)) {
            which[n++] = i;
        }
    }
    if (n > 0) {
        kill_these(which, n);
    }
}

/* Has a process come to life, so that it goes through every phase.  Returns which. */
static int bring_one(void)
{
    int i = (int)rng_below(&t.rng, SCORES);
    if (running_scores() == SCORES) {
        kill_these(&i, 1);
        nap_ms((long)rng_below(&t.rng, 300));
    }
    while (runs(i)) {
        i = (i + 1) % SCORES;
    }
    start(i);
    return i;
}

/* Waits for a process that is in this phase and kills it; gives up after a while. */
static void kill_in_phase(enum score_phase phase)
{
    struct score_life life;
    const int64_t until_us = progress_now_us() + AIM_US;
    if (phase == PHASE_START) {
        int i = bring_one();
        nap_ms((long)rng_below(&t.rng, 30));
        kill_these(&i, 1);
        return;
    }
    if (phase != PHASE_BETWEEN && phase != PHASE_DECIDING && phase != PHASE_CHECKPOINT) {
        (void)bring_one();
    }
    while (progress_now_us() < until_us) {
        order_watch_poll(t.watch);
        for (int i = 0; i < SCORES; i++) {
            look_after(i);
            if (runs(i) && (phase == PHASE_CHECKPOINT ? score_writes_checkpoint(t.child[i].pid)
                                                      : phase_of(i, &life) == phase)) {
                kill_these(&i, 1);
                return;
            }
        }
        nap_ms(1);
    }
}

static void kill_sink(void)
{
    const int i = SINK;
    start(i);
    nap_ms((long)rng_below(&t.rng, 1500));
    look_after(i);
    kill_these(&i, 1);
}

/* The kind that was hit least. */
static int least_hit(void)
{
    int least = 0;
    for (int k = 1; k < KINDS; k++) {
        least = t.kind[k] < t.kind[least] ? k : least;
    }
    return least;
}

static void kill_something(void)
{
    int least = least_hit();
    if (t.kind[least] > 0 && rng_below(&t.rng, 3) > 0) {
        kill_at_random();
    } else if (least == SINK_KIND) {
        kill_sink();
    } else {
        kill_in_phase((enum score_phase)least);
    }
    for (int i = 0; i <= SCORES; i++) { /* one that stays away leaves its partitions to others */
        if (rng_below(&t.rng, 10) < 7 || (i == 0 && running_scores() == 0)) {
            start(i);
        }
    }
}

static void send_model(void)
{
    if (t.models < MODELS_MAX) {
        t.models++;
        site_send_model(&t.site, (uint64_t)t.models + 1);
    }
}

/* ---- an owner that sleeps ---- */

/* A process that decides, with others beside it; -1: none now. */
static int find_owner(struct score_life *out)
{
    order_watch_poll(t.watch);
    for (int i = 0; i < SCORES && running_scores() > 1; i++) {
        look_after(i);
        if (runs(i) && phase_of(i, out) >= PHASE_BETWEEN) {
            return i;
        }
    }
    return -1;
}

/* Whether others have claimed and journalled everything that was in `partitions` since then. */
static bool moved(uint64_t partitions, const struct order_turn *then)
{
    order_watch_poll(t.watch);
    const struct order_turn *now = order_watch_turns(t.watch);
    for (int p = 0; p < SITE_PARTITIONS; p++) {
        if ((partitions >> p & 1) != 0 &&
            (now[p].claim <= then[p].claim || now[p].batch <= now[p].claim)) {
            return false;
        }
    }
    return true;
}

/* It is woken when its partitions are decided elsewhere, and goes on with what it had in hand: a
 * short sleep before leaves it with messages that wait and a batch under way. */
static void pause_an_owner(void)
{
    struct score_life life;
    struct order_turn then[SITE_PARTITIONS];
    int i = -1;
    start_all();
    UNTIL((i = find_owner(&life)) >= 0);
    child_signal(&t.child[i], SIGSTOP);
    nap_ms(1200);
    child_signal(&t.child[i], SIGCONT);
    nap_ms(1 + (long)rng_below(&t.rng, 40));
    child_signal(&t.child[i], SIGSTOP);
    order_watch_settle(t.watch);
    memcpy(then, order_watch_turns(t.watch), sizeof then);
    score_life_read(t.child[i].log, &life);
    UNTIL(moved(life.assigned, then));
    child_signal(&t.child[i], SIGCONT);
    t.pauses++;
}

/* ---- the end ---- */

/* Ends the load, has everything decided and stored, ends the processes. */
static void drain(void)
{
    if (child_wait(&t.produce, 0)) {
        child_show(&t.produce);
        fail_msg("the load ended before the kills did");
    }
    child_signal(&t.produce, SIGINT);
    assert_true(child_wait(&t.produce, 30000));
    assert_int_equal(child_code(&t.produce), 0);
    start_all();
    UNTIL(site_score_lag(&t.site) == 0);
    for (int i = 0; i < SCORES; i++) {
        child_signal(&t.child[i], SIGTERM);
    }
    for (int i = 0; i < SCORES; i++) {
        site_ended_well(&t.child[i]); /* what it sent is acknowledged then */
    }
    UNTIL(site_sink_lag(&t.site) == 0);
    child_signal(&t.child[SINK], SIGTERM);
    site_ended_well(&t.child[SINK]);
}

static void check_database(int64_t payments, int64_t alerts)
{
    assert_int_equal(site_count(&t.site, "SELECT count(*) FROM transactions", NULL), payments);
    assert_int_equal(site_count(&t.site, "SELECT count(*) FROM decisions", NULL), payments);
    assert_int_equal(site_count(&t.site, "SELECT count(*) FROM alerts", NULL), alerts);
    assert_int_equal(site_count(&t.site,
                                "SELECT count(*) FROM alerts a JOIN decisions d USING (log, part, "
                                "log_offset) WHERE d.outcome <> 'approve' AND NOT d.repeated",
                                NULL),
                     alerts);
    assert_int_equal(site_count(&t.site, "SELECT count(*) FROM rejects", NULL), 0);
    assert_int_equal(site_count(&t.site, "SELECT count(*) FROM labels", NULL),
                     site_size(&t.site, &t.site.topics, TOPIC_LABELS));
}

/* Since the load began. */
static double seconds(void)
{
    return (double)(progress_now_us() - t.began_us) / 1e6;
}

static void print_kills(void)
{
    print_message(
        "%d kills, %d times several at once; an owner paused and woken %d times; "
        "%d models; %d parts of the journal came too late to count; state made anew %" PRId64
        " times, from checkpoints %" PRId64 " times; %.0f s\n",
        t.kills, t.several, t.pauses, t.models, order_watch_uncounted(t.watch),
        site_score_lines(&t.site, "rebuild"), site_score_lines(&t.site, "checkpoint_read"),
        seconds());
    for (int k = 0; k < KINDS; k++) {
        print_message("  %5d  %s\n", t.kind[k],
                      k == SINK_KIND ? "sink" : score_phase_name((enum score_phase)k));
    }
}

static void start_load(void)
{
    char log[128];
    char rate[16];
    snprintf(log, sizeof log, "%s/produce.log", t.site.folder);
    snprintf(rate, sizeof rate, "%d", RATE);
    start_all();
    child_start(&t.produce, log,
                (const char *const[]){"produce", "--config", t.site.conf, "--labels", "--rate",
                                      rate, t.site.payments, NULL});
    UNTIL(site_size(&t.site, &t.site.topics, TOPIC_DECISIONS) > 0);
}

static void test_killed_at_any_moment_everything_is_decided_once(void **state)
{
    (void)state;
    const int pause_every = 10;
    t.began_us = progress_now_us();
    start_load();
    while (t.kills < t.kills_wanted || t.kind[least_hit()] == 0) {
        if (t.kills > 3 * t.kills_wanted + 20) {
            print_kills();
            fail_msg("no kill fell into one of the phases");
        }
        if (t.kills / 4 >= t.models) {
            send_model();
        }
        if (t.kills / pause_every >= t.pauses) {
            pause_an_owner();
        }
        kill_something();
    }
    print_kills();
    drain();
    const int64_t payments = site_size(&t.site, &t.site.topics, TOPIC_TRANSACTIONS);
    assert_int_equal(site_size(&t.site, &t.site.topics, TOPIC_DEAD_LETTERS), 0);
    site_decide_again(&t.site, payments, PATIENCE_US);
    uint64_t repeats = 0;
    uint64_t repeated_alerts = 0;
    assert_int_equal(site_check_again(&t.site, TOPIC_DECISIONS, &repeats), payments);
    uint64_t alerts = site_check_again(&t.site, TOPIC_ALERTS, &repeated_alerts);
    assert_int_equal(site_size(&t.site, &t.site.topics_again, TOPIC_DEAD_LETTERS), 0);
    check_database(payments, (int64_t)alerts);
    assert_true(repeats > 0); /* kills between a decision and its commit */
    assert_true(alerts > 0);
    print_message("%" PRId64 " payments, %" PRIu64 " decisions repeated with the same bytes, "
                  "%" PRIu64 " alerts (%" PRIu64 " repeated), %" PRId64 " labels; decided again "
                  "from the record: the same bytes; %.0f s\n",
                  payments, repeats, alerts, repeated_alerts,
                  site_size(&t.site, &t.site.topics, TOPIC_LABELS), seconds());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_any_moment_everything_is_decided_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
