/* `fraudd explain` on a real Kafka and a real PostgreSQL: decisions that two `score` made, one of
 * them killed meanwhile, with labels and a model that came on the way, are derived again from the
 * logs and equal what was sent and what is stored; where the logs are gone, the stored ones are
 * shown. */
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
#include <sys/stat.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/evidence.h"
#include "tests/support/child.h"
#include "tests/support/site.h"
#include "tests/support/site_again.h"
#include "tests/support/until.h"

#define PAYMENTS 4000
#define SHARE .2
#define SHARE_TEXT ".2"
#define SCORES 2
#define SINK SCORES
#define EACH 3 /* decisions of a kind that are explained, at most */
#define PATIENCE_US (180 * TIME_S)

static struct site site;
static char state_dir[96];
static struct child child[SCORES + 1];
static int starts, explained;

static void show_all(void)
{
    for (int i = 0; i <= SCORES; i++) {
        child_show(&child[i]);
    }
}

#define UNTIL(condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show_all())

static void start(int i)
{
    char log[128];
    snprintf(log, sizeof log, "%s/process%d-%d.log", site.folder, i, ++starts);
    child_start(&child[i], log,
                (const char *const[]){i == SINK ? "sink" : "score", "--config", site.conf,
                                      "--explain.sample", SHARE_TEXT,
                                      i == SINK ? NULL : "--state.dir", state_dir, "--state.every",
                                      "1s", NULL});
}

static void end(int i)
{
    child_signal(&child[i], SIGTERM);
    site_ended_well(&child[i]);
}

/* The history is decided and stored; then all processes have ended. */
static void decide_all(void)
{
    struct child produce;
    char log[128];
    for (int i = 0; i <= SCORES; i++) {
        start(i);
    }
    cluster_send(&site.cluster, site.topics.name[TOPIC_TRANSACTIONS], 0, "c", "no payment", 10);
    snprintf(log, sizeof log, "%s/produce.log", site.folder);
    child_start(&produce, log,
                (const char *const[]){"produce", "--config", site.conf, "--labels", "--rate", "400",
                                      site.payments, NULL});
    UNTIL(site_size(&site, &site.topics, TOPIC_DECISIONS) > PAYMENTS / 4);
    site_send_model(&site, 2);
    child_end(&child[0]);
    start(0);
    UNTIL(child_wait(&produce, 0));
    assert_int_equal(child_code(&produce), 0);
    UNTIL(site_score_lag(&site) == 0);
    UNTIL(site_sink_lag(&site) == 0);
    for (int i = 0; i <= SCORES; i++) {
        end(i);
    }
}

static int setup(void **state)
{
    (void)state;
    site_make(&site, PAYMENTS, SITE_BATCH);
    snprintf(state_dir, sizeof state_dir, "%s/kept", site.folder);
    assert_int_equal(mkdir(state_dir, 0700), 0);
    decide_all();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i <= SCORES; i++) {
        child_end(&child[i]);
    }
    site_free(&site, getenv("EXPLAIN_KEEP") != NULL);
    return 0;
}

/* Explains a decision; a further option and its value, or NULL.  What it prints is in the log. */
static int explain(const char *id, const char *option, const char *value, struct child *out)
{
    char log[128];
    snprintf(log, sizeof log, "%s/explain%d.log", site.folder, ++explained);
    child_start(out, log,
                (const char *const[]){"explain", "--config", site.conf, "--decision", id, option,
                                      value, NULL});
    assert_true(child_wait(out, 60000));
    return child_code(out);
}

static void expect_said(const struct child *c, const char *text)
{
    if (!child_said(c, text)) {
        child_show(c);
        fail_msg("%s: it does not say: %s", c->log, text);
    }
}

/* Ids of decisions, in an order that has nothing to do with them. */
static struct db_rows *choose(const char *where)
{
    char sql[400];
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    snprintf(sql, sizeof sql,
             "SELECT log || '/' || part || '/' || log_offset FROM decisions WHERE %s "
             "ORDER BY md5(part || '/' || log_offset) LIMIT %d",
             where, EACH);
    if (db_exec(site.db, sql, 0, NULL, &rows, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_in_range(db_rows_count(rows), 1, EACH);
    return rows;
}

static void expect_derived(const char *where, const char *stored)
{
    struct db_rows *rows = choose(where);
    for (int i = 0; i < db_rows_count(rows); i++) {
        struct child c;
        const char *id = db_rows_text(rows, i, 0);
        if (explain(id, NULL, NULL, &c) != 0) {
            child_show(&c);
            fail_msg("%s: exit code %d", id, child_code(&c));
        }
        expect_said(&c, "source       derived again");
        expect_said(&c, "sent         the same bytes");
        expect_said(&c, stored);
        expect_said(&c, "\nreasons\n"); /* whether it was an alert or not */
        expect_said(&c, "\nfeatures\n");
    }
    db_rows_free(rows);
}

static void test_decisions_are_derived_again(void **state)
{
    (void)state;
    expect_derived("outcome <> 'approve' AND model = 'random-1'",
                   "stored       the same columns and places");
    expect_derived("outcome <> 'approve' AND model = 'random-2'",
                   "stored       the same columns and places");
    expect_derived("outcome = 'approve' AND features IS NOT NULL",
                   "stored       the same columns and places");
    expect_derived("features IS NULL", "stored       without columns");
}

/* Id of each partition's decision at an end. */
static struct db_rows *at_ends(const char *order)
{
    char sql[200];
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    snprintf(sql, sizeof sql,
             "SELECT DISTINCT ON (part) log || '/' || part || '/' || log_offset FROM decisions "
             "ORDER BY part, log_offset %s",
             order);
    if (db_exec(site.db, sql, 0, NULL, &rows, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_in_range(db_rows_count(rows), 2, 64);
    return rows;
}

/* The state that the scores kept while they worked and left at their end: the first decision is
 * older than all of it, some partition's last one is not. */
static void test_derivation_begins_with_the_state_that_is_kept(void **state)
{
    struct child c;
    (void)state;
    bool from_state = false;
    struct db_rows *last = at_ends("DESC");
    for (int i = 0; i < db_rows_count(last) && !from_state; i++) {
        assert_int_equal(explain(db_rows_text(last, i, 0), "--state.dir", state_dir, &c), 0);
        expect_said(&c, "sent         the same bytes");
        from_state = child_said(&c, "order, from the state before journal entry ");
    }
    assert_true(from_state);
    db_rows_free(last);
    struct db_rows *first = at_ends("ASC");
    assert_int_equal(explain(db_rows_text(first, 0, 0), "--state.dir", state_dir, &c), 0);
    expect_said(&c, "recorded order\n");
    expect_said(&c, "sent         the same bytes");
    db_rows_free(first);
    assert_int_equal(explain(SITE_LOG "/0/0", "--state.dir", "/nowhere", &c), 0);
}

static void test_what_differs_is_said(void **state)
{
    struct child c;
    (void)state;
    struct errmsg e = {""};
    struct db_rows *rows = choose("outcome <> 'approve' AND score < .9");
    const char *id = db_rows_text(rows, 0, 0);
    for (int by = 1; by >= -1; by -= 2) { /* what is stored, and back */
        char sql[300];
        snprintf(sql, sizeof sql,
                 "UPDATE decisions SET journal_offset = journal_offset %+d WHERE log || '/' || "
                 "part || '/' || log_offset = '%.100s'",
                 by, id);
        if (db_exec(site.db, sql, 0, NULL, NULL, &e) != ERR_OK) {
            fail_msg("%s", e.text);
        }
        assert_int_equal(explain(id, NULL, NULL, &c), by > 0);
        expect_said(&c, by > 0 ? "stored       DIFFERS" : "stored       the same columns");
    }
    db_rows_free(rows);
}

/* A decision as it was sent, with another outcome. */
struct altered {
    const char *id;
    char json[8192];
    size_t len;
    int32_t partition;
};

static void alter(void *ctx, const struct rd_kafka_message_s *m)
{
    static const char WAS[] = "\"outcome\":\"";
    struct altered *a = ctx;
    char id[128];
    snprintf(id, sizeof id, "\"id\":\"%.100s\"", a->id);
    if (a->len > 0 || memmem(m->payload, m->len, id, strlen(id)) == NULL) {
        return;
    }
    const char *json = m->payload;
    const char *at = memmem(json, m->len, WAS, strlen(WAS));
    assert_non_null(at);
    const size_t before = (size_t)(at - json) + strlen(WAS);
    const char *after = memchr(json + before, '"', m->len - before);
    assert_non_null(after);
    const int n = snprintf(a->json, sizeof a->json, "%.*snone%.*s", (int)before, json,
                           (int)(json + m->len - after), after);
    assert_in_range(n, 1, sizeof a->json - 1);
    a->len = (size_t)n;
    a->partition = m->partition;
}

static void test_what_was_sent_and_differs_is_shown_beside_what_is_derived(void **state)
{
    struct child c;
    char other[96];
    (void)state;
    struct db_rows *rows = choose("outcome <> 'approve' AND score < .9");
    struct altered a = {.id = db_rows_text(rows, 0, 0)};
    (void)cluster_read(&site.cluster, site.topics.name[TOPIC_DECISIONS], alter, &a);
    assert_true(a.len > 0);
    cluster_topic(&site.cluster, cluster_name(other, "altered"), SITE_PARTITIONS, NULL);
    cluster_send(&site.cluster, other, a.partition, "c", a.json, a.len);
    assert_int_equal(explain(a.id, "--topics.decisions", other, &c), 1);
    expect_said(&c, "sent         DIFFERS: {");
    expect_said(&c, "\"outcome\":\"none\"");
    expect_said(&c, "derived      {");
    db_rows_free(rows);
}

static void test_settings_are_those_of_the_notices(void **state)
{
    struct child c;
    (void)state;
    struct db_rows *rows = choose("outcome <> 'approve' AND score < .9");
    assert_int_equal(explain(db_rows_text(rows, 0, 0), "--alert.budget", "1", &c), 0);
    expect_said(&c, "sent         the same bytes");
    expect_said(&c, ", told by notice ");
    db_rows_free(rows);
}

static void test_a_dead_letter_is_told_as_such(void **state)
{
    struct child c;
    (void)state;
    assert_int_equal(explain(SITE_LOG "/0/0", NULL, NULL, &c), 0);
    expect_said(&c, "dead letter  not_json");
}

/* Another journal, with nothing in it, stands for one that is gone. */
static void test_where_the_logs_are_gone_the_stored_is_shown(void **state)
{
    struct child c;
    char topic[96];
    (void)state;
    cluster_topic(&site.cluster, cluster_name(topic, "explain-journal"), 1, NULL);
    struct db_rows *alerts = choose("outcome <> 'approve'");
    struct db_rows *others = choose("features IS NULL");
    assert_int_equal(explain(db_rows_text(alerts, 0, 0), "--topics.journal", topic, &c), 0);
    expect_said(&c,
                "source       stored in PostgreSQL; not derived again: the journal has no entry");
    expect_said(&c, "\nreasons\n");
    expect_said(&c, "\nfeatures\n");
    assert_int_equal(explain(db_rows_text(alerts, 0, 0), "--stored", NULL, &c), 0);
    expect_said(&c, "source       stored in PostgreSQL\n");
    assert_int_equal(explain(db_rows_text(others, 0, 0), "--topics.journal", topic, &c), 0);
    expect_said(&c, "features     none stored");
    assert_int_equal(explain(SITE_LOG "/0/99999999", NULL, NULL, &c), 66);
    assert_int_equal(explain("nonsense", NULL, NULL, &c), 64);
    db_rows_free(alerts);
    db_rows_free(others);
}

/* Of each decision the id alone says whether it is of the sample. */
static void test_columns_are_stored_of_alerts_and_the_sample(void **state)
{
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    int stored = 0;
    int alerts = 0;
    (void)state;
    assert_int_equal(db_exec(site.db,
                             "SELECT part, log_offset, outcome, features IS NOT NULL AND "
                             "journal_offset >= 0 FROM decisions WHERE NOT repeated",
                             0, NULL, &rows, &e),
                     ERR_OK);
    assert_true(db_rows_count(rows) > PAYMENTS / 2);
    for (int i = 0; i < db_rows_count(rows); i++) {
        const int32_t part = (int32_t)strtol(db_rows_text(rows, i, 0), NULL, 10);
        const int64_t at = strtoll(db_rows_text(rows, i, 1), NULL, 10);
        const bool alert = strcmp(db_rows_text(rows, i, 2), "approve") != 0;
        const bool has = db_rows_text(rows, i, 3)[0] == 't';
        const struct slice log = {SITE_LOG, sizeof SITE_LOG - 1};
        assert_int_equal(has, alert || evidence_sampled(log, part, at, SHARE));
        stored += has && !alert;
        alerts += alert;
    }
    const double share = (double)stored / (db_rows_count(rows) - alerts);
    assert_true(alerts > 10 && share > SHARE * .8 && share < SHARE * 1.2);
    db_rows_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions_are_derived_again),
        cmocka_unit_test(test_derivation_begins_with_the_state_that_is_kept),
        cmocka_unit_test(test_what_differs_is_said),
        cmocka_unit_test(test_what_was_sent_and_differs_is_shown_beside_what_is_derived),
        cmocka_unit_test(test_settings_are_those_of_the_notices),
        cmocka_unit_test(test_a_dead_letter_is_told_as_such),
        cmocka_unit_test(test_where_the_logs_are_gone_the_stored_is_shown),
        cmocka_unit_test(test_columns_are_stored_of_alerts_and_the_sample),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
