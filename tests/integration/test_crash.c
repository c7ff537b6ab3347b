/* Messages in which a fault of the program is planted, on a real Kafka and a real PostgreSQL: two
 * `score` and a `sink` that are started again whenever they die, as systemd does.  Each such
 * message costs itself only: a dead letter with reason `crash`, whoever meets it, and again when
 * all is decided anew from the record by a process that never died. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "tests/support/child.h"
#include "tests/support/decision_copies.h"
#include "tests/support/site.h"
#include "tests/support/site_again.h"
#include "tests/support/until.h"

#define PROGRAM "tests/plant/fraudd" /* with faults planted */
#define SCORES 2
#define SINK SCORES
#define PAYMENTS 1500
#define PLANTED 6
#define PLANTED_FOR_SINK 2
#define DEAD_MAX 64
#define PATIENCE_US (180 * TIME_S)
/* once unaware of it, once sure, and where what is left of it ends them, too, that much again; a
 * process may meet a message that another one is about to tell of */
#define DEATHS_MAX (PLANTED * 4 * SCORES)

static struct site site;
static struct child child[SCORES + 1];
static char state_dir[96];
static int starts, deaths[SCORES + 1];

static void show_all(void)
{
    for (int i = 0; i <= SCORES; i++) {
        if (child[i].log[0] != '\0') {
            child_show(&child[i]);
        }
    }
}

static void start(int i)
{
    char log[128];
    snprintf(log, sizeof log, "%s/%s%d-%d.log", site.folder, i == SINK ? "sink" : "score", i,
             ++starts);
    /* one has a folder of its own, the others that of the settings */
    child_start_program(&child[i], PROGRAM, log,
                        (const char *const[]){i == SINK ? "sink" : "score", "--config", site.conf,
                                              i == 0 ? "--state.dir" : NULL, state_dir, NULL});
}

/* Starts again what died by a fault; anything else ends the test. */
static void tend(void)
{
    for (int i = 0; i <= SCORES; i++) {
        if (child[i].pid == 0 || !child_wait(&child[i], 0)) {
            continue;
        }
        if (!WIFSIGNALED(child[i].status) || ++deaths[i] > DEATHS_MAX) {
            show_all();
            fail_msg("process %d ended: status %d, %d deaths", i, child[i].status, deaths[i]);
        }
        start(i);
    }
}

#define UNTIL(condition) UNTIL_OR_SHOW((tend(), condition), PATIENCE_US, show_all())

static int setup(void **state)
{
    (void)state;
    site_make(&site, 100, SITE_BATCH);
    snprintf(state_dir, sizeof state_dir, "%s/own", site.folder);
    return mkdir(state_dir, 0700);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i <= SCORES; i++) {
        child_end(&child[i]);
    }
    site_free(&site, getenv("CRASH_KEEP") != NULL);
    return 0;
}

/* plant: members with a comma behind, or "". */
static void send_payment(int number, const char *plant)
{
    char key[16];
    char json[512];
    char now[TIME_TEXT_MAX];
    snprintf(key, sizeof key, "c%d", number % 40);
    time_format(now, (int64_t)time(NULL) * TIME_S);
    int n =
        snprintf(json, sizeof json,
                 "{%s\"id\":\"t%d\",\"ts\":\"%s\",\"card\":\"%s\",\"type\":\"purchase\","
                 "\"amount\":%d,\"currency\":\"EUR\",\"merchant\":\"m%d\",\"terminal\":\"p%d\"}",
                 plant, number, now, key, 100 + number * 37 % 90000, number % 11, number % 23);
    cluster_send(&site.cluster, site.topics.name[TOPIC_TRANSACTIONS], number % 40 % SITE_PARTITIONS,
                 key, json, (size_t)n);
}

static void send_label(const char *plant)
{
    static int number;
    char json[512];
    int n = snprintf(json, sizeof json,
                     "{%s\"source\":\"s\",\"number\":%d,\"tx\":\"t1\",\"verdict\":\"fraud\",\"ts\":"
                     "\"2026-01-01T00:00:00Z\",\"known\":\"2026-01-01T06:00:00Z\",\"card\":\"c1\","
                     "\"merchant\":\"m1\",\"amount\":5000,\"currency\":\"EUR\",\"amount_ratio\":9}",
                     plant, ++number);
    cluster_send(&site.cluster, site.topics.name[TOPIC_LABELS], 0, "s", json, (size_t)n);
}

/* ---- dead letters ---- */

struct dead {
    char source[64];
    uint64_t hash;
};

struct dead_all {
    struct dead one[DEAD_MAX];
    int count, labels;
};

static void header(const rd_kafka_message_t *m, const char *name, char out[64])
{
    rd_kafka_headers_t *h = NULL;
    const void *value = NULL;
    size_t len = 0;
    assert_int_equal(rd_kafka_message_headers(m, &h), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_header_get_last(h, name, &value, &len), RD_KAFKA_RESP_ERR_NO_ERROR);
    snprintf(out, 64, "%.*s", (int)len, (const char *)value);
}

/* Each once; copies have the same bytes. */
static void on_dead(void *ctx, const rd_kafka_message_t *m)
{
    struct dead_all *all = ctx;
    struct dead d;
    char reason[64];
    header(m, "reason", reason);
    header(m, "source", d.source);
    assert_string_equal(reason, "crash");
    assert_non_null(memmem(m->payload, m->len, "\"plant\"", 7));
    if (memmem(m->payload, m->len, "\"verdict\"", 9) != NULL) {
        all->labels++;
        return;
    }
    d.hash = hash_bytes(m->payload, m->len, 0);
    for (int i = 0; i < all->count; i++) {
        if (strcmp(all->one[i].source, d.source) == 0) {
            assert_true(all->one[i].hash == d.hash);
            return;
        }
    }
    assert_true(all->count < DEAD_MAX);
    all->one[all->count++] = d;
}

static int dead_letters(const struct site_topics *topics, struct dead_all *out)
{
    *out = (struct dead_all){.count = 0};
    cluster_read(&site.cluster, topics->name[TOPIC_DEAD_LETTERS], on_dead, out);
    return out->count;
}

/* ---- the test ---- */

static void send_all(void)
{
    static const char *const PLANTS[PLANTED] = {"\"plant\":\"decode\",",
                                                "\"plant\":\"execute\",",
                                                "\"plant\":\"follow\",\"mcc\":\"9998\",",
                                                "\"plant\":\"execute\",",
                                                "\"plant\":\"decode\",",
                                                "\"plant\":\"execute\","};
    int planted = 0;
    for (int i = 0; i < PAYMENTS; i++) {
        const bool plant = i % (PAYMENTS / PLANTED) == PAYMENTS / PLANTED / 2;
        send_payment(i, plant ? PLANTS[planted++] : "");
        if (i == PAYMENTS / 2) {
            send_label("");
            send_label("\"plant\":\"decode\",");
            send_label("");
        }
        tend();
    }
    assert_int_equal(planted, PLANTED);
}

static void end(int i)
{
    child_signal(&child[i], SIGTERM);
    site_ended_well(&child[i]);
}

static void check_topic(enum bus_topic which, uint64_t wanted)
{
    struct decision_copies first;
    struct decision_copies again;
    const char *transactions = site.topics.name[TOPIC_TRANSACTIONS];
    decision_copies_read(&first, &site.cluster, SITE_LOG, transactions, SITE_PARTITIONS,
                         site.topics.name[which]);
    decision_copies_read(&again, &site.cluster, SITE_LOG, transactions, SITE_PARTITIONS,
                         site.topics_again.name[which]);
    assert_int_equal(first.differing + first.strangers + again.strangers, 0);
    assert_true(wanted == 0 || first.ids == wanted);
    assert_int_equal(decision_copies_unlike(&first, &again), 0);
    decision_copies_done(&first);
    decision_copies_done(&again);
}

/* A process that meets all of it for the first time, though told by the notices. */
static void decide_again(void)
{
    struct child c;
    char log[128];
    snprintf(log, sizeof log, "%s/again.log", site.folder);
    child_start_program(&c, PROGRAM, log,
                        (const char *const[]){"score", "--config", site.conf_again, NULL});
    UNTIL(site_size(&site, &site.topics_again, TOPIC_DECISIONS) >= PAYMENTS - PLANTED);
    child_signal(&c, SIGTERM);
    site_ended_well(&c);
}

static void test_a_message_that_ends_processes_costs_itself_only(void **state)
{
    struct dead_all first;
    struct dead_all again;
    (void)state;
    for (int i = 0; i <= SCORES; i++) {
        start(i);
    }
    send_all();
    UNTIL(site_score_lag(&site) == 0);
    UNTIL(site_sink_lag(&site) == 0);
    UNTIL(site_size(&site, &site.topics, TOPIC_DEAD_LETTERS) > PLANTED); /* the label's, too */
    for (int i = 0; i <= SCORES; i++) {
        end(i);
    }
    assert_true(deaths[0] + deaths[1] >= 2 * PLANTED);
    assert_true(deaths[0] > 0 && deaths[1] > 0);
    assert_true(deaths[SINK] >= 2 * (PLANTED_FOR_SINK + 1));
    assert_int_equal(dead_letters(&site.topics, &first), PLANTED);
    assert_true(first.labels >= 1);
    decide_again();
    assert_int_equal(dead_letters(&site.topics_again, &again), PLANTED);
    for (int i = 0; i < PLANTED; i++) {
        int k = 0;
        while (k < PLANTED && strcmp(first.one[i].source, again.one[k].source) != 0) {
            k++;
        }
        assert_true(k < PLANTED && first.one[i].hash == again.one[k].hash);
    }
    check_topic(TOPIC_DECISIONS, PAYMENTS - PLANTED);
    check_topic(TOPIC_ALERTS, 0);
    assert_int_equal(site_count(&site, "SELECT count(*) FROM decisions", NULL), PAYMENTS - PLANTED);
    assert_int_equal(site_count(&site, "SELECT count(*) FROM transactions", NULL),
                     PAYMENTS - PLANTED_FOR_SINK);
    assert_int_equal(site_count(&site, "SELECT count(*) FROM labels", NULL), 2);
    print_message(
        "%d planted payments and a label ended the two `score` %d and %d times, the sink "
        "%d times; all other %d payments are decided, and the same again from the record\n",
        PLANTED, deaths[0], deaths[1], deaths[SINK], PAYMENTS - PLANTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_that_ends_processes_costs_itself_only),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
