/* Champion, challenger in shadow, promotion and rollback on a real Kafka and a real PostgreSQL,
 * with payments all the while and `score` killed twice: nothing lost, no other bytes, and every
 * decision names the model that served at its place.  Then a challenger that is run over the cards'
 * kept inputs, and a promotion by rule. */
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
#include "daemon/cmd.h"
#include "daemon/scrape.h"
#include "daemon/settings.h"
#include "tests/support/child.h"
#include "tests/support/cluster.h"
#include "tests/support/database.h"
#include "tests/support/decision_copies.h"
#include "tests/support/messages.h"
#include "tests/support/random_model.h"
#include "tests/support/until.h"

#define PATIENCE_US (180 * TIME_S)
#define LOG "loop"
#define N 700
#define MORE 300 /* payments after these, for the second test */
#define CARDS 8
#define SHADOW_AT 80
#define KILLED_AT 200
#define PROMOTED_AT 400
#define KILLED_AGAIN_AT 480
#define ROLLED_BACK_AT 560

static struct cluster cluster;
static struct database server;
static struct db *db;
static char folder[] = "/tmp/fraudd-challenger-XXXXXX";
static char settings[64], models[3][64], page[32];
static char topic[TOPIC_COUNT][96];
static struct child score;
static struct messages all;

static void show_all(void)
{
    child_show(&score);
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

/* inputs: payments kept of a card. */
static void write_settings(int inputs)
{
    snprintf(settings, sizeof settings, "%s/fraudd.conf", folder);
    FILE *f = fopen(settings, "we");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\n"
            "group = \"%s-score\";\nsink-group = \"%s-sink\";\n"
            "log = \"" LOG "\";\npartitions = 1;\nhttp = { listen = \"%s\"; };\n"
            "state = { dir = \"%s\"; every = \"1s\"; inputs = %d; };\ntopics = {\n",
            cluster.brokers, server.server.conninfo, models[0], topic[0], topic[0], page, folder,
            inputs);
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
        snprintf(name, sizeof name, "challenger-%d", t);
        cluster_topic(&cluster, cluster_name(topic[t], name), 1, NULL);
    }
    for (int i = 0; i < 3; i++) {
        char version[16];
        size_t len = 0;
        snprintf(version, sizeof version, "random-%d", i);
        snprintf(models[i], sizeof models[i], "%s/%d.fraudd", folder, i);
        uint8_t *bytes = random_model_bytes((uint64_t)i + 1, version, 0, &len);
        database_must(file_write(models[i], bytes, len, &e), &e);
        free(bytes);
    }
    snprintf(page, sizeof page, "127.0.0.1:%d", cluster_free_port());
    write_settings(0);
    all = messages_make(77, N + MORE, CARDS, false, false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    char line[64];
    child_end(&score);
    messages_done(&all);
    cluster_stop(&cluster);
    database_stop(&server);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

/* Starts `score`, after it was killed; each life has a log of its own. */
static void start_score(void)
{
    static int lives;
    char path[96];
    if (score.pid > 0) {
        child_signal(&score, SIGKILL);
        child_end(&score);
    }
    snprintf(path, sizeof path, "%s/score%d.log", folder, lives++);
    child_start(&score, path, (const char *const[]){"score", "--config", settings, NULL});
    UNTIL(child_said(&score, "event=started"));
}

/* Exit code of fraudd model. */
static int run(const char *action, const char *argument, const char *option)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s.log", folder, action);
    return child_run(path, 120000,
                     (const char *const[]){"model", action, argument, "--config", settings, "--as",
                                           "ada", option, NULL});
}

static void send_until(int64_t end)
{
    for (int64_t i = cluster_end(&cluster, topic[TOPIC_TRANSACTIONS], 0); i < end; i++) {
        const struct made_message *m = &all.m[i];
        cluster_send(&cluster, topic[TOPIC_TRANSACTIONS], 0, m->key, m->value, m->value_len);
    }
}

static void until_decided(int64_t end)
{
    char group[112];
    snprintf(group, sizeof group, "%s-score", topic[0]);
    UNTIL(cluster_committed(&cluster, group, topic[TOPIC_TRANSACTIONS], 0) >= end);
}

/* The model that each decision names. */
static void on_decision(void *ctx, const rd_kafka_message_t *m)
{
    char *by = ctx;
    char *text = strndup(m->payload, m->len);
    assert_non_null(text);
    const char *id = strstr(text, LOG "/0/");
    const char *model = strstr(text, "random-"); /* nothing else has that word */
    assert_true(id != NULL && model != NULL);
    const long at = strtol(id + strlen(LOG "/0/"), NULL, 10);
    assert_true(at >= 0 && at < N);
    by[at] = model[strlen("random-")];
    free(text);
}

static void test_challenger_champion_and_back_under_load(void **state)
{
    (void)state;
    static char by[N];
    struct decision_copies d;
    start_score();
    assert_int_equal(run("import", models[0], NULL), 0);
    assert_int_equal(run("import", models[1], NULL), 0);
    assert_int_equal(run("promote", "random-0", NULL), 0);
    send_until(SHADOW_AT);
    until_decided(SHADOW_AT);
    assert_int_equal(run("promote", "random-1", NULL), EXIT_REFUSED); /* not in shadow */
    assert_int_equal(run("shadow", "random-1", NULL), 0);
    UNTIL(child_said(&score, "event=shadow_switched version=random-0 shadow=random-1"));
    assert_int_equal(run("promote", "random-1", NULL), EXIT_REFUSED); /* it has seen nothing */
    send_until(KILLED_AT);
    start_score();
    send_until(PROMOTED_AT);
    until_decided(PROMOTED_AT);
    UNTIL(run("promote", "random-1", "--promote.complete=10") == 0);
    UNTIL(child_said(&score, "event=model_switched version=random-1 shadow=random-0"));
    send_until(KILLED_AGAIN_AT);
    start_score();
    send_until(ROLLED_BACK_AT);
    until_decided(ROLLED_BACK_AT);
    assert_int_equal(run("rollback", "--timeout=60s", NULL), 0);
    UNTIL(child_said(&score, "event=model_switched version=random-0 shadow=random-1"));
    send_until(N);
    until_decided(N);
    decision_copies_read(&d, &cluster, LOG, topic[TOPIC_TRANSACTIONS], 1, topic[TOPIC_DECISIONS]);
    assert_int_equal(d.ids, N);
    assert_int_equal(d.differing, 0);
    assert_int_equal(d.strangers, 0);
    decision_copies_done(&d);
    cluster_read(&cluster, topic[TOPIC_DECISIONS], on_decision, by);
    for (int i = 0; i < N; i++) {
        assert_int_equal(by[i], i >= PROMOTED_AT && i < ROLLED_BACK_AT ? '1' : '0');
    }
    child_signal(&score, SIGTERM);
    assert_true(child_wait(&score, CHILD_END_MS));
    assert_int_equal(child_code(&score), 0);
}

/* What promotes the one in shadow by rule; bounds that random models keep. */
static int promote_by_rule(const char *payments)
{
    char path[96];
    snprintf(path, sizeof path, "%s/rule.log", folder);
    return child_run(path, 60000,
                     (const char *const[]){"model", "promote", "--by-rule", "--config", settings,
                                           "--promote.rule=agree", "--promote.shadow-time=0",
                                           payments, "--promote.alike=0", "--promote.shift=1",
                                           "--promote.alerts=1000", "--promote.complete=10", NULL});
}

static bool is_audited(const char *who, const char *what)
{
    struct errmsg e = {""};
    struct db_rows *rows = NULL;
    const char *const params[] = {who, what};
    database_must(db_exec(db,
                          "SELECT FROM audit WHERE who = $1 AND what = $2 AND object = 'random-2'",
                          2, params, &rows, &e),
                  &e);
    const bool found = db_rows_count(rows) > 0;
    db_rows_free(rows);
    return found;
}

/* Payments of before a model's time that it was run over. */
static double caught_up(void)
{
    struct errmsg e = {""};
    char *text = NULL;
    size_t len = 0;
    database_must(scrape_fetch(page, 2000, &text, &len, &e), &e);
    const double n = scrape_sum(text, "fraudd_caught_up_total", NULL, NULL);
    free(text);
    return n;
}

/* The setting is new, so the state of before is not used: cards are learnt again from the log, and
 * what is kept of them with it. */
static void test_a_rule_promotes_a_challenger_that_was_run_over_kept_inputs(void **state)
{
    (void)state;
    write_settings(32);
    start_score();
    assert_int_equal(run("import", models[2], NULL), 0);
    assert_int_equal(promote_by_rule("--promote.payments=0"), 0); /* nothing is in shadow */
    assert_int_equal(run("shadow", "random-2", NULL), 0);
    UNTIL(child_said(&score, "shadow=random-2"));
    assert_int_equal(run("promote", "--by-rule", NULL), EXIT_FAILED); /* the rule is never */
    send_until(N + MORE);
    until_decided(N + MORE);
    UNTIL(caught_up() > CARDS);
    assert_int_equal(promote_by_rule("--promote.payments=100000"), EXIT_FAILED);
    assert_false(is_audited("rule", "model promote"));
    UNTIL(promote_by_rule("--promote.payments=100") == 0);
    UNTIL(child_said(&score, "event=model_switched version=random-2"));
    assert_true(is_audited("rule", "model promote"));
    assert_true(is_audited("rule", "model promote by rule"));
    child_signal(&score, SIGTERM);
    assert_true(child_wait(&score, CHILD_END_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_challenger_champion_and_back_under_load),
        cmocka_unit_test(test_a_rule_promotes_a_challenger_that_was_run_over_kept_inputs),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
