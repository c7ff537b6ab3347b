/* What flows back, on a real Kafka and a real PostgreSQL with the daemons as processes: verdicts
 * become labels on the topic and come back as rows, whatever is killed meanwhile; a promoted model
 * reaches the scoring process, and a rollback brings the former one back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/settings.h"
#include "tests/support/child.h"
#include "tests/support/cluster.h"
#include "tests/support/database.h"
#include "tests/support/random_model.h"
#include "tests/support/until.h"

#define ALERTS 5000 /* several runs of the outbox */
#define PATIENCE_US (180 * TIME_S)

static struct cluster cluster;
static struct database server;
static struct db *db;
static char folder[] = "/tmp/fraudd-loop-XXXXXX";
static char settings[64], models[2][64];
static char topic[TOPIC_COUNT][96];
static struct child sinks[2], score;

static void show_all(void)
{
    const struct child *const all[] = {&sinks[0], &sinks[1], &score};
    for (int i = 0; i < 3; i++) {
        if (all[i]->log[0] != '\0') {
            child_show(all[i]);
        }
    }
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

static void write_settings(void)
{
    snprintf(settings, sizeof settings, "%s/fraudd.conf", folder);
    FILE *f = fopen(settings, "we");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\n"
            "group = \"%s-score\";\nsink-group = \"%s-sink\";\n"
            "http = { listen = \"\"; sink-listen = \"\"; };\n"
            "sink = { linger = \"50ms\"; };\ntopics = {\n",
            cluster.brokers, server.server.conninfo, models[0], topic[0], topic[0]);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        fprintf(f, "  %s = \"%s\";\n", strchr(settings_topic_option((enum bus_topic)t), '.') + 1,
                topic[t]);
    }
    fputs("};\n", f);
    assert_int_equal(fclose(f), 0);
}

static int start(void **state)
{
    (void)state;
    struct errmsg e = {""};
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    cluster_start(&cluster);
    database_start(&server);
    db = server.db;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        char name[16];
        snprintf(name, sizeof name, "loop-%d", t);
        cluster_topic(&cluster, cluster_name(topic[t], name), 1, NULL);
    }
    for (int i = 0; i < 2; i++) {
        char version[16];
        size_t len = 0;
        snprintf(version, sizeof version, "random-%d", i);
        snprintf(models[i], sizeof models[i], "%s/%d.fraudd", folder, i);
        uint8_t *bytes = random_model_bytes((uint64_t)i + 1, version, 0, &len);
        database_must(file_write(models[i], bytes, len, &e), &e);
        free(bytes);
    }
    write_settings();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    char line[64];
    child_end(&sinks[0]);
    child_end(&sinks[1]);
    child_end(&score);
    cluster_stop(&cluster);
    database_stop(&server);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static void start_verb(struct child *c, const char *verb, const char *log)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s.log", folder, log);
    child_start(c, path, (const char *const[]){verb, "--config", settings, NULL});
}

/* Exit code of a verb that runs to its end. */
static int run(const char *verb, const char *action, const char *argument)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s-%s.log", folder, verb, action);
    /* of a promotion only: nobody asks here what the model has seen */
    const char *why = strcmp(action, "promote") == 0 ? "--incomplete=tried" : NULL;
    return child_run(path, 60000,
                     (const char *const[]){verb, action, argument, "--config", settings, "--as",
                                           "ada", why, NULL});
}

/* The labels on the topic, by the order in which their numbers first appeared. */
struct labels {
    long long last;      /* number */
    char *value[ALERTS]; /* first copy of each */
    long long number[ALERTS];
    int n, repeats, differing;
};

static void on_label(void *ctx, const rd_kafka_message_t *m)
{
    struct labels *l = ctx;
    char *value = strndup(m->payload, m->len);
    assert_non_null(value);
    const char *at = strstr(value, "\"number\": ");
    assert_non_null(at);
    long long number = strtoll(at + 10, NULL, 10);
    if (number > l->last) {
        assert_true(l->n < ALERTS);
        l->value[l->n] = value;
        l->number[l->n++] = number;
        l->last = number;
        return;
    }
    for (int i = 0; i < l->n; i++) {
        if (l->number[i] == number) {
            l->repeats++;
            l->differing += strcmp(l->value[i], value) != 0;
            free(value);
            return;
        }
    }
    fail_msg("number %lld first appears after %lld: readers drop it", number, l->last);
}

static long stored(void)
{
    return database_count(db, "SELECT count(*) FROM labels WHERE source = 'analysts'");
}

/* Sessions that wait for a lock. */
static long blocked(void)
{
    return database_count(db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = "
                              "'Lock'");
}

static void test_verdicts_come_back_as_labels_though_sinks_are_killed(void **state)
{
    (void)state;
    static struct labels l;
    char sql[1000];
    snprintf(sql, sizeof sql,
             "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
             "currency, exponent, amount_ref, score, outcome, model, body) SELECT 'log', 0, i, "
             "'2026-04-01', 'tx' || i, 'c' || i, 100, 'EUR', 2, 100, .5, 'review', 'm', "
             "jsonb_build_object('card', 'c' || i, 'merchant', 'm1', 'amount', 100, 'currency', "
             "'EUR', 'exponent', 2, 'amount_ratio', 1.5) FROM generate_series(1, %d) i",
             ALERTS);
    database_run(db, sql);
    database_run(db, "SELECT count(queue_resolve(id, 'ada', 'fraud', NULL)) FROM alerts");
    /* whoever publishes cannot remove what the brokers have: it waits for this lock */
    struct db *holder = database_connect(&server);
    database_run(holder, "BEGIN; LOCK TABLE label_outbox IN SHARE MODE");
    start_verb(&sinks[0], "sink", "sink0");
    start_verb(&sinks[1], "sink", "sink1");
    UNTIL(blocked() == 1);
    assert_true(cluster_end(&cluster, topic[TOPIC_LABELS], 0) > 0);
    for (int i = 0; i < 2; i++) {
        child_signal(&sinks[i], SIGKILL);
        child_end(&sinks[i]);
    }
    database_run(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                     "wait_event_type = 'Lock'");
    UNTIL(blocked() == 0);
    db_close(holder);
    assert_int_equal(database_count(db, "SELECT count(*) FROM label_outbox"), ALERTS);
    start_verb(&sinks[0], "sink", "sink2");
    start_verb(&sinks[1], "sink", "sink3");
    UNTIL(stored() == ALERTS);
    UNTIL(database_count(db, "SELECT count(*) FROM label_outbox") == 0);
    child_signal(&sinks[1], SIGTERM);
    assert_true(child_wait(&sinks[1], CHILD_END_MS));
    assert_int_equal(child_code(&sinks[1]), 0);
    cluster_read(&cluster, topic[TOPIC_LABELS], on_label, &l);
    print_message("%d labels, %d copies besides\n", l.n, l.repeats);
    assert_int_equal(l.n, ALERTS);
    assert_true(l.repeats > 0);
    assert_int_equal(l.differing, 0);
    assert_int_equal(database_count(db, "SELECT count(*) FROM labels b JOIN verdicts v "
                                        "ON v.source = b.source AND v.number = b.number "
                                        "AND v.tx_id = b.tx_id AND v.verdict = b.verdict"),
                     ALERTS);
    for (int i = 0; i < l.n; i++) {
        free(l.value[i]);
    }
}

static void test_a_promoted_model_serves_and_a_rollback_brings_the_former_back(void **state)
{
    (void)state;
    start_verb(&score, "score", "score");
    UNTIL(child_said(&score, "event=started"));
    assert_int_equal(run("model", "import", models[0]), 0);
    assert_int_equal(run("model", "import", models[1]), 0);
    assert_int_equal(run("model", "promote", "random-0"), 0);
    assert_int_equal(run("model", "promote", "random-1"), 0);
    UNTIL(child_said(&score, "event=model_switched version=random-1"));
    assert_int_equal(run("model", "rollback", "--timeout=60s"), 0);
    UNTIL(child_said(&score, "event=model_switched version=random-0"));
    child_signal(&score, SIGTERM);
    assert_true(child_wait(&score, CHILD_END_MS));
    assert_int_equal(child_code(&score), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts_come_back_as_labels_though_sinks_are_killed),
        cmocka_unit_test(test_a_promoted_model_serves_and_a_rollback_brings_the_former_back),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
