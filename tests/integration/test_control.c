/* Controls on a real Kafka and a real PostgreSQL, with the daemons as processes: what is put on a
 * list decides the next payment that is read after it in each of two processes that share the
 * partitions; settings that one of them reloads are in force in both, also after a restart with the
 * old file; a third one that decides everything again by the journal, with other settings in its
 * file, writes the same bytes; the audit has who did it, the tables which control decided. */
#include <inttypes.h>
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
#include <sys/stat.h>
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

#define PARTITIONS 2
#define PATIENCE_US (180 * TIME_S)
#define DECISIONS_MAX 400

static struct cluster cluster;
static struct database server;
static char folder[] = "/tmp/fraudd-control-XXXXXX";
static char settings[2][64], model[64], entries[64], state_dir[64];
static char topic[TOPIC_COUNT][96], again[TOPIC_COUNT][96];
static struct child score[2], third;
static int sent; /* payments */
static int base; /* notice after those of the start */

static void show_all(void)
{
    child_show(&score[0]);
    child_show(&score[1]);
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

/* Of a group's process, in a file of that name; state: in a folder. */
static void write_settings(char out[64], const char *name, const char *group, const char *floor,
                           bool state, char topics[TOPIC_COUNT][96])
{
    snprintf(out, 64, "%s/%s.conf", folder, name);
    FILE *f = fopen(out, "we");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\npartitions = %d;\n"
            "group = \"%s-%s\";\n"
            "state = { dir = \"%s%s\"; every = \"1s\"; };\n"
            "alert = { budget = 0; floor = %s; };\ndecline = { probability = 1.0; };\nhttp = { "
            "listen = \"\"; sink-listen = \"\"; };\ntopics = {\n",
            cluster.brokers, server.server.conninfo, model, PARTITIONS, topic[0], group,
            state ? folder : "", state ? "/state" : "", floor);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        fprintf(f, "  %s = \"%s\";\n", strchr(settings_topic_option((enum bus_topic)t), '.') + 1,
                topics[t]);
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
    for (int t = 0; t < TOPIC_COUNT; t++) {
        const bool many = t == TOPIC_TRANSACTIONS || t == TOPIC_DECISIONS;
        const bool written = t == TOPIC_DECISIONS || t == TOPIC_ALERTS || t == TOPIC_DEAD_LETTERS;
        char name[32];
        snprintf(name, sizeof name, "control-%d", t);
        cluster_topic(&cluster, cluster_name(topic[t], name), many ? PARTITIONS : 1, NULL);
        memcpy(again[t], topic[t], sizeof again[t]);
        if (written) {
            snprintf(name, sizeof name, "control-again-%d", t);
            cluster_topic(&cluster, cluster_name(again[t], name), many ? PARTITIONS : 1, NULL);
        }
    }
    size_t len = 0;
    snprintf(model, sizeof model, "%s/model.fraudd", folder);
    uint8_t *bytes = random_model_bytes(1, "random", 0, &len);
    database_must(file_write(model, bytes, len, &e), &e);
    free(bytes);
    write_settings(settings[0], "score", "score", "1.0", true, topic);
    write_settings(settings[1], "again", "again", "0.7", false, again);
    snprintf(state_dir, sizeof state_dir, "%s/state", folder);
    return mkdir(state_dir, 0700);
}

static int stop(void **state)
{
    (void)state;
    char line[64];
    child_end(&score[0]);
    child_end(&score[1]);
    child_end(&third);
    cluster_stop(&cluster);
    database_stop(&server);
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

static void start_score(struct child *c, const char *name, const char *conf)
{
    char path[96];
    snprintf(path, sizeof path, "%s/%s.log", folder, name);
    child_start(c, path, (const char *const[]){"score", "--config", conf, NULL});
}

/* ---- payments and decisions ---- */

static void pay(int32_t partition, const char *card)
{
    char json[300];
    const int n = snprintf(json, sizeof json,
                           "{\"id\":\"t%d\",\"ts\":\"2026-04-01T%02d:%02d:00Z\",\"card\":\"%s\","
                           "\"type\":\"purchase\",\"amount\":1000,\"currency\":\"EUR\","
                           "\"merchant\":\"m-%s\"}",
                           sent, sent / 60 % 24, sent % 60, card, card);
    cluster_send(&cluster, topic[TOPIC_TRANSACTIONS], partition, card, json, (size_t)n);
    sent++;
}

struct decisions {
    int n;
    char *value[DECISIONS_MAX];
};

static void on_decision(void *ctx, const rd_kafka_message_t *m)
{
    struct decisions *d = ctx;
    char *value = strndup(m->payload, m->len);
    for (int i = 0; i < d->n; i++) { /* repeated after a crash or move: the same bytes */
        if (strncmp(d->value[i], value, strcspn(value, ",")) == 0) {
            assert_string_equal(d->value[i], value);
            free(value);
            return;
        }
    }
    assert_true(d->n < DECISIONS_MAX);
    d->value[d->n++] = value;
}

static void read_decisions(const char *name, struct decisions *d)
{
    (void)cluster_read(&cluster, name, on_decision, d);
}

static void forget(struct decisions *d)
{
    for (int i = 0; i < d->n; i++) {
        free(d->value[i]);
    }
    d->n = 0;
}

static int decided(const char *name)
{
    struct decisions d = {0};
    read_decisions(name, &d);
    const int n = d.n;
    forget(&d);
    return n;
}

/* The decision on the latest payment holds this text; NULL: no control decided. */
static void expect_latest(const char *text)
{
    struct decisions d = {0};
    char tx[32];
    UNTIL(decided(topic[TOPIC_DECISIONS]) == sent);
    read_decisions(topic[TOPIC_DECISIONS], &d);
    snprintf(tx, sizeof tx, "\"tx\":\"t%d\"", sent - 1);
    for (int i = 0; i < d.n; i++) {
        if (strstr(d.value[i], tx) == NULL) {
            continue;
        }
        if (strstr(d.value[i], text != NULL ? text : "\"control\"") == NULL) {
            assert_null(text);
        } else if (text == NULL) {
            fail_msg("a control decided: %s", d.value[i]);
        }
    }
    forget(&d);
}

/* ---- verbs ---- */

static char said_path[96];

static int run(const char *const *args)
{
    snprintf(said_path, sizeof said_path, "%s/verb.log", folder);
    return child_run(said_path, 60000, args);
}

static int change(const char *action, const char *list, const char *field, const char *value)
{
    return run((const char *const[]){"lists", action, list, field, value, "--why",
                                     "reported stolen", "--as", "ada", "--config", settings[0],
                                     NULL});
}

static bool said(const char *text)
{
    struct child c = {.pid = 0};
    memcpy(c.log, said_path, sizeof said_path);
    return child_said(&c, text);
}

/* notice: counted from the start's on. */
static void read_by_both(int notice)
{
    char line[64];
    snprintf(line, sizeof line, "event=controls_read notice=%d ", base + notice);
    UNTIL(child_said(&score[0], line) && child_said(&score[1], line));
}

/* ---- tests ---- */

static void test_a_list_decides_the_next_payment_in_each_process(void **state)
{
    (void)state;
    char line[64];
    start_score(&score[0], "score0", settings[0]);
    start_score(&score[1], "score1", settings[0]);
    UNTIL(child_said(&score[0], "event=claim partition=") &&
          child_said(&score[1], "event=claim partition="));
    for (int32_t p = 0; p < PARTITIONS; p++) {
        pay(p, p == 0 ? "even" : "odd");
        expect_latest(NULL);
    }
    base = (int)cluster_end(&cluster, topic[TOPIC_NOTICES], 0);
    assert_true(base >= 2); /* model and settings */
    assert_int_equal(change("add", "block", "card", "even"), 0);
    assert_int_equal(change("add", "block", "merchant", "m-odd"), 0);
    read_by_both(1);
    pay(0, "even");
    expect_latest("\"outcome\":\"decline\",\"model\":\"random\"");
    pay(0, "even");
    snprintf(line, sizeof line, "\"control\":\"block/card@%d\"", base);
    expect_latest(line);
    pay(1, "odd");
    snprintf(line, sizeof line, "\"control\":\"block/merchant@%d\"", base + 1);
    expect_latest(line);
    pay(1, "odd");
    expect_latest("the merchant is on the block list: reported stolen (ada)");
    pay(0, "other");
    expect_latest(NULL);
}

static void test_what_is_removed_decides_no_more(void **state)
{
    (void)state;
    assert_int_equal(change("remove", "block", "card", "even"), 0);
    read_by_both(2);
    pay(0, "even");
    expect_latest(NULL);
}

static void test_a_file_of_entries(void **state)
{
    (void)state;
    static const char CSV[] = "list,field,value,until,why\n"
                              "allow,card,\"good, card\",,a friend\n"
                              "watch,merchant,m-w,2026-05-01,\n"
                              "watch,merchant,m-late,2026-03-01,\n";
    struct errmsg e = {""};
    snprintf(entries, sizeof entries, "%s/entries.csv", folder);
    database_must(file_write(entries, CSV, sizeof CSV - 1, &e), &e);
    assert_int_equal(run((const char *const[]){"lists", "import", entries, "--why", "weekly",
                                               "--as", "bob", "--config", settings[0], NULL}),
                     0);
    read_by_both(3);
    pay(1, "good, card");
    expect_latest("\"outcome\":\"approve\"");
    pay(1, "good, card");
    expect_latest("a friend (bob)");
    pay(1, "w");
    expect_latest(
        "\"group\":\"control\",\"weight\":0,\"text\":\"the merchant is on the watch list");
    pay(1, "late"); /* it had ended by the payments' time */
    expect_latest(NULL);
}

static void test_what_is_refused_changes_nothing(void **state)
{
    (void)state;
    const int64_t before = cluster_end(&cluster, topic[TOPIC_NOTICES], 0);
    assert_int_equal(change("add", "black", "card", "c"), 64);
    assert_int_equal(change("add", "block", "card", "4111111111111111"), 64);
    assert_true(said("a full card number"));
    assert_int_equal(change("add", "block", "country", "Germany"), 64);
    assert_int_equal(cluster_end(&cluster, topic[TOPIC_NOTICES], 0), before);
}

static int with_why(const char *verb, const char *action, const char *argument)
{
    return run((const char *const[]){verb, action, argument, "--why", "a try", "--as", "ada",
                                     "--config", settings[0], NULL});
}

static const char RULES[] = "small: decline when amount < 50 and card = 'ruled' because 'small'\n";

static void test_rules_decide_and_are_refused_with_their_cost(void **state)
{
    (void)state;
    struct errmsg e = {""};
    char path[96];
    char line[64];
    snprintf(path, sizeof path, "%s/rules", folder);
    database_must(file_write(path, RULES, sizeof RULES - 1, &e), &e);
    assert_int_equal(
        run((const char *const[]){"rules", "diff", path, "--config", settings[0], NULL}), 0);
    assert_true(said("+ small: decline when") && said("1 rules differ"));
    const int64_t notice = cluster_end(&cluster, topic[TOPIC_NOTICES], 0);
    assert_int_equal(with_why("rules", "apply", path), 0);
    snprintf(line, sizeof line, "event=rules_read notice=%d ", (int)notice);
    UNTIL(child_said(&score[0], line) && child_said(&score[1], line));
    pay(0, "ruled");
    snprintf(line, sizeof line, "\"control\":\"rule/small@%d\"", (int)notice);
    expect_latest(line);
    pay(1, "ruled");
    expect_latest("\"outcome\":\"decline\"");
    assert_int_equal(run((const char *const[]){"rules", "list", "--config", settings[0], NULL}), 0);
    assert_true(said("small\tdecline\tcard\t") && said("mode live"));
    char *many = malloc(100000);
    size_t len = 0;
    assert_non_null(many);
    for (int i = 0; i < 900; i++) {
        len += (size_t)snprintf(many + len, 100000 - len,
                                "r%d: review when amount > %d because 'x'\n", i, i);
    }
    database_must(file_write(path, many, len, &e), &e);
    free(many);
    assert_int_equal(with_why("rules", "apply", path), 65);
    assert_true(said("of cost 4, lets one payment cost"));
}

static void test_observing_and_the_kill_switch(void **state)
{
    (void)state;
    int notice = (int)cluster_end(&cluster, topic[TOPIC_NOTICES], 0) - base;
    assert_int_equal(with_why("rules", "mode", "observe"), 0);
    read_by_both(notice);
    const int64_t alerts = cluster_end(&cluster, topic[TOPIC_ALERTS], 0);
    pay(0, "ruled");
    expect_latest("\"would\":\"decline\"");
    pay(0, "ruled");
    expect_latest("\"outcome\":\"approve\"");
    assert_int_equal(cluster_end(&cluster, topic[TOPIC_ALERTS], 0), alerts);
    notice = (int)cluster_end(&cluster, topic[TOPIC_NOTICES], 0) - base;
    assert_int_equal(with_why("rules", "mode", "kill"), 0);
    read_by_both(notice);
    pay(1, "odd");
    expect_latest("everything is approved: a try (ada)");
    notice = (int)cluster_end(&cluster, topic[TOPIC_NOTICES], 0) - base;
    assert_int_equal(with_why("rules", "mode", "live"), 0);
    read_by_both(notice);
    pay(1, "odd");
    expect_latest("\"outcome\":\"decline\"");
}

static void test_lists_are_shown_and_the_audit_has_who_did_it(void **state)
{
    (void)state;
    assert_int_equal(run((const char *const[]){"lists", "list", "--config", settings[0], NULL}), 0);
    char line[96];
    snprintf(line, sizeof line, "block,merchant,m-odd,,reported stolen,ada,%d\n", base + 1);
    assert_true(said(line));
    snprintf(line, sizeof line, "allow,card,\"good, card\",,a friend,bob,%d\n", base + 3);
    assert_true(said(line));
    assert_false(said("even"));
    assert_int_equal(database_count(server.db, "SELECT count(*) FROM audit WHERE who = 'ada' AND "
                                               "what LIKE 'list %' AND detail ->> 'notice' LIKE "
                                               "'%reported stolen%'"),
                     3);
    assert_int_equal(database_count(server.db, "SELECT count(*) FROM audit WHERE who = 'bob' AND "
                                               "what = 'list import' AND detail ->> 'changes' = "
                                               "'3'"),
                     1);
    assert_int_equal(run((const char *const[]){"audit", "verify", "--config", settings[0], NULL}),
                     0);
}

/* What `sink` writes of them, and the rules tried on that day of the tables. */
static void test_tables_name_the_control_and_rules_are_tried_on_them(void **state)
{
    (void)state;
    struct errmsg e = {""};
    char path[96];
    char line[96];
    snprintf(path, sizeof path, "%s/rules", folder);
    database_must(file_write(path, RULES, sizeof RULES - 1, &e), &e);
    assert_int_equal(
        run((const char *const[]){"sink", "--config", settings[0], "--until-idle", "2s", NULL}), 0);
    assert_int_equal(database_count(server.db, "SELECT count(*) FROM decisions"), sent);
    assert_int_equal(database_count(server.db, "SELECT count(*) FROM decisions WHERE would = "
                                               "'decline' AND outcome = 'approve' AND control "
                                               "LIKE 'rule/small@%'"),
                     2);
    assert_true(database_count(server.db, "SELECT count(*) FROM decisions WHERE control IS NULL "
                                          "AND would IS NULL") > 0);
    const int64_t held =
        database_count(server.db, "SELECT count(*) FROM transactions WHERE card = 'ruled'");
    assert_int_equal(run((const char *const[]){"rules", "test", path, "--from", "2026-04-01",
                                               "--config", settings[0], NULL}),
                     0);
    snprintf(line, sizeof line, "small\tdecline\t%" PRId64 "\t%" PRId64 "\t0\n", held, held);
    assert_true(said(line));
    snprintf(line, sizeof line, "%d payments, 0 of them frauds", sent);
    assert_true(said(line));
}

static void settings_read_by_both(int64_t notice)
{
    char line[64];
    snprintf(line, sizeof line, "event=settings_read notice=%d ", (int)notice);
    UNTIL(child_said(&score[0], line) && child_said(&score[1], line));
}

static void pay_on_both(const char *text)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        pay(p, p == 0 ? "first" : "second");
        expect_latest(text);
    }
}

static void test_what_one_process_reloads_is_in_force_in_both(void **state)
{
    (void)state;
    char old[64];
    pay_on_both("\"threshold\":0.5,");
    const int64_t notice = cluster_end(&cluster, topic[TOPIC_NOTICES], 0);
    write_settings(settings[0], "score", "score", "0.25", true, topic);
    child_signal(&score[0], SIGHUP);
    settings_read_by_both(notice);
    pay_on_both("\"threshold\":0.25,");
    UNTIL(child_said(&score[1], "event=settings_differ"));
    assert_false(child_said(&score[0], "event=settings_differ"));
    for (int i = 0; i < 6; i++) { /* checkpoints with the new ones in them */
        nap_ms(500);
        pay_on_both("\"threshold\":0.25,");
    }

    /* the other one comes back, with the old file */
    child_signal(&score[1], SIGKILL);
    child_end(&score[1]);
    write_settings(old, "old", "score", "1.0", true, topic);
    start_score(&score[1], "score1-again", old);
    UNTIL(child_said(&score[1], "event=checkpoint_read") &&
          child_said(&score[1], "event=claim partition="));
    pay_on_both("\"threshold\":0.25,");
    assert_false(child_said(&score[1], "event=settings_told"));
    assert_int_equal(cluster_end(&cluster, topic[TOPIC_NOTICES], 0), notice + 1);

    /* it is told to put them in force */
    child_signal(&score[1], SIGHUP);
    settings_read_by_both(notice + 1);
    pay_on_both("\"threshold\":0.5,");
}

static void test_decided_again_by_the_journal_it_is_the_same_bytes(void **state)
{
    (void)state;
    struct decisions first = {0};
    struct decisions second = {0};
    size_t same = 0;
    for (int i = 0; i < 2; i++) {
        child_signal(&score[i], SIGKILL);
        child_end(&score[i]);
    }
    start_score(&third, "again", settings[1]);
    UNTIL(decided(again[TOPIC_DECISIONS]) == sent);
    child_signal(&third, SIGTERM);
    assert_true(child_wait(&third, CHILD_END_MS));
    read_decisions(topic[TOPIC_DECISIONS], &first);
    read_decisions(again[TOPIC_DECISIONS], &second);
    assert_int_equal(first.n, second.n);
    for (int i = 0; i < first.n; i++) {
        for (int k = 0; k < second.n; k++) {
            same += strcmp(first.value[i], second.value[k]) == 0;
        }
    }
    assert_int_equal(same, sent);
    forget(&first);
    forget(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_decides_the_next_payment_in_each_process),
        cmocka_unit_test(test_what_is_removed_decides_no_more),
        cmocka_unit_test(test_a_file_of_entries),
        cmocka_unit_test(test_what_is_refused_changes_nothing),
        cmocka_unit_test(test_rules_decide_and_are_refused_with_their_cost),
        cmocka_unit_test(test_observing_and_the_kill_switch),
        cmocka_unit_test(test_lists_are_shown_and_the_audit_has_who_did_it),
        cmocka_unit_test(test_tables_name_the_control_and_rules_are_tried_on_them),
        cmocka_unit_test(test_what_one_process_reloads_is_in_force_in_both),
        cmocka_unit_test(test_decided_again_by_the_journal_it_is_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
