/* The main job on a real Kafka and a real PostgreSQL: two `fraudd score` and one `fraudd sink` as
 * processes.  Every transaction is decided once after dropping repeated ids, every row is stored,
 * nothing lags; bad messages become dead letters; a process killed or stopped loses nothing.
 *
 * Payments are simulated here; E2E_DATA=history.csv.xz (with E2E_LIMIT=500000) takes others for
 * the first test (`make e2e`). */
#include <errno.h>
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
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/settings.h"
#include "storage/db.h"
#include "storage/migrate.h"
#include "storage/throwaway.h"
#include "tests/support/child.h"
#include "tests/support/cluster.h"
#include "tests/support/until.h"

#define PARTITIONS 8
#define ALERT_PARTITIONS 4
#define PATIENCE_US (180 * TIME_S)
#define BIG_BYTES 12000000

static struct cluster cluster;
static struct throwaway postgres;
static struct db *db;
static char folder[] = "/tmp/fraudd-e2e-XXXXXX";
static char payments[64], model[64];

/* ---- a site: topics, settings and processes of one test ---- */

struct site {
    const char *name;
    char topic[TOPIC_COUNT][96];
    char group[96];
    char conf[128];
    struct child score[2], sink;
};

static const char *path_of(char out[128], const char *name, const char *suffix)
{
    snprintf(out, 128, "%s/%s%s", folder, name, suffix);
    return out;
}

static void write_conf(struct site *s)
{
    path_of(s->conf, s->name, ".conf");
    FILE *f = fopen(s->conf, "w");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\nlog = \"%s\";\n"
            "group = \"%s\";\nsink-group = \"%s-sink\";\npartitions = %d;\n"
            "http = { listen = \"\"; sink-listen = \"\"; };\nalert = { budget = 400; };\n"
            "sink = { linger = \"100ms\"; };\ntopics = {\n",
            cluster.brokers, postgres.conninfo, model, s->name, s->group, s->group, PARTITIONS);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        fprintf(f, "  %s = \"%s\";\n", strchr(settings_topic_option((enum bus_topic)t), '.') + 1,
                s->topic[t]);
    }
    fputs("};\n", f);
    assert_int_equal(fclose(f), 0);
}

static struct site *make_site(const char *name)
{
    static const int COUNT[TOPIC_COUNT] = {PARTITIONS, 1, 1, PARTITIONS, ALERT_PARTITIONS, 1, 1};
    char big[16];
    char text[32];
    struct site *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->name = name;
    snprintf(big, sizeof big, "%d", BIG_BYTES);
    const char *const settings[] = {"max.message.bytes", big, NULL};
    snprintf(text, sizeof text, "%s-score", name);
    cluster_name(s->group, text);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        snprintf(text, sizeof text, "%s-%d", name, t);
        cluster_topic(&cluster, cluster_name(s->topic[t], text), COUNT[t],
                      t == TOPIC_TRANSACTIONS ? settings : NULL);
    }
    write_conf(s);
    return s;
}

static void start_verb(struct site *s, struct child *c, const char *verb, const char *log)
{
    char path[128];
    char suffix[32];
    snprintf(suffix, sizeof suffix, "-%s.log", log);
    child_start(c, path_of(path, s->name, suffix),
                (const char *const[]){verb, "--config", s->conf, NULL});
}

static void start_score(struct site *s, int i)
{
    char log[128];
    char state[128];
    char suffix[32];
    snprintf(suffix, sizeof suffix, "-state%d", i);
    path_of(state, s->name, suffix);
    assert_true(mkdir(state, 0700) == 0 || errno == EEXIST);
    snprintf(suffix, sizeof suffix, "-score%d.log", i);
    child_start(&s->score[i], path_of(log, s->name, suffix),
                (const char *const[]){"score", "--config", s->conf, "--state.dir", state,
                                      "--state.every", "1s", NULL});
}

static void free_site(struct site *s)
{
    child_end(&s->score[0]);
    child_end(&s->score[1]);
    child_end(&s->sink);
    free(s);
}

/* Shows what the processes said before the test fails. */
static void show(const struct site *s)
{
    for (int i = 0; i < 2; i++) {
        if (s->score[i].log[0] != '\0') {
            child_show(&s->score[i]);
        }
    }
    if (s->sink.log[0] != '\0') {
        child_show(&s->sink);
    }
}

#define UNTIL(s, condition) UNTIL_OR_SHOW(condition, PATIENCE_US, show(s))

/* SIGTERM: done within 5 s, exit code 0. */
static void stop_gently(struct site *s, struct child *c)
{
    const int within_ms = (int)(5000 * busy_times());
    child_signal(c, SIGTERM);
    if (!child_wait(c, within_ms)) {
        show(s);
        fail_msg("still running %d ms after SIGTERM", within_ms);
    }
    if (child_code(c) != 0) {
        show(s);
    }
    assert_int_equal(child_code(c), 0);
}

/* ---- what is in the topics ---- */

/* The copies of one decision. */
struct copies {
    uint32_t count;
    uint64_t hash;
};

struct decisions {
    const struct site *site;
    struct copies *of[PARTITIONS];
    int64_t end[PARTITIONS];
    uint64_t total, repeats, differing, strangers;
};

static void on_decision(void *ctx, const struct rd_kafka_message_s *m)
{
    struct decisions *d = ctx;
    char text[256];
    int partition = -1;
    long long offset = -1;
    int end = 0;
    snprintf(text, sizeof text, "%.*s", (int)(m->len < 200 ? m->len : 200), (char *)m->payload);
    char *at = strstr(text, d->site->name);
    if (strncmp(text, "{\"id\":\"", 7) != 0 || at != text + 7 ||
        sscanf(at + strlen(d->site->name), "/%d/%lld\"%n", &partition, &offset, &end) != 2 ||
        partition != m->partition || offset < 0 || offset >= d->end[partition] || m->key_len == 0) {
        d->strangers++;
        return;
    }
    struct copies *c = &d->of[partition][offset];
    uint64_t hash = hash_bytes(m->payload, m->len, 0);
    d->repeats += c->count > 0;
    d->differing += c->count > 0 && c->hash != hash;
    c->hash = hash;
    c->count++;
    d->total++;
}

/* Every transaction is decided, repeats are the same bytes.  Returns the number of repeats.
 * dead: how many are dead letters instead. */
static uint64_t check_decisions(const struct site *s, uint64_t dead)
{
    struct decisions d = {.site = s};
    uint64_t missing = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        d.end[p] = cluster_end(&cluster, s->topic[TOPIC_TRANSACTIONS], p);
        d.of[p] = calloc((size_t)d.end[p] + 1, sizeof *d.of[p]);
        assert_non_null(d.of[p]);
    }
    cluster_read(&cluster, s->topic[TOPIC_DECISIONS], on_decision, &d);
    for (int p = 0; p < PARTITIONS; p++) {
        for (int64_t i = 0; i < d.end[p]; i++) {
            missing += d.of[p][i].count == 0;
        }
        free(d.of[p]);
    }
    if (missing != dead || d.differing > 0 || d.strangers > 0) {
        show(s);
    }
    assert_int_equal(missing, dead);
    assert_int_equal(d.differing, 0);
    assert_int_equal(d.strangers, 0);
    return d.repeats;
}

static int64_t ends(const struct site *s, enum bus_topic t)
{
    int n = t == TOPIC_ALERTS                                 ? ALERT_PARTITIONS
            : t == TOPIC_TRANSACTIONS || t == TOPIC_DECISIONS ? PARTITIONS
                                                              : 1;
    return cluster_size(&cluster, s->topic[t], n);
}

/* Transactions whose offset the scoring group has not committed. */
static int64_t score_lag(const struct site *s)
{
    int64_t lag = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        int64_t next = cluster_committed(&cluster, s->group, s->topic[TOPIC_TRANSACTIONS], p);
        lag += cluster_end(&cluster, s->topic[TOPIC_TRANSACTIONS], p) - (next > 0 ? next : 0);
    }
    return lag;
}

/* ---- what is in the database ---- */

static int64_t count(const char *sql, const char *parameter)
{
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    if (db_exec(db, sql, parameter != NULL ? 1 : 0, &parameter, &rows, &e) != ERR_OK) {
        fail_msg("%s: %s", sql, e.text);
    }
    const char *text = db_rows_text(rows, 0, 0);
    int64_t n = text != NULL ? strtoll(text, NULL, 10) : 0;
    db_rows_free(rows);
    return n;
}

/* Messages that the sink has not stored. */
static int64_t sink_lag(const struct site *s)
{
    static const enum bus_topic READ[] = {TOPIC_TRANSACTIONS, TOPIC_DECISIONS, TOPIC_ALERTS,
                                          TOPIC_LABELS};
    int64_t lag = 0;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++) {
        lag += ends(s, READ[i]) -
               count("SELECT coalesce(sum(next_offset), 0) FROM sink_offsets WHERE topic = $1",
                     s->topic[READ[i]]);
    }
    return lag;
}

static void check_rows(const struct site *s, int64_t transactions, int64_t decisions)
{
    assert_int_equal(count("SELECT count(*) FROM transactions WHERE log = $1", s->name),
                     transactions);
    assert_int_equal(count("SELECT count(*) FROM decisions WHERE log = $1", s->name), decisions);
    assert_int_equal(count("SELECT count(*) FROM alerts WHERE log = $1", s->name),
                     count("SELECT count(*) FROM decisions WHERE outcome <> 'approve' AND "
                           "NOT repeated AND log = $1",
                           s->name));
}

/* ---- setup ---- */

static int setup(void **state)
{
    struct errmsg e = {""};
    char log[128];
    int applied = 0;
    (void)state;
    assert_non_null(mkdtemp(folder));
    /* first: it is forked from a process without threads */
    enum err err = throwaway_start(&postgres, "/tmp", &e);
    if (err == ERR_OK) {
        err = db_open(postgres.conninfo, &db, &e);
    }
    if (err == ERR_OK) {
        err = migrate(db, &applied, &e);
    }
    if (err != ERR_OK) {
        fail_msg("%s", e.text);
    }
    cluster_start(&cluster);
    path_of(log, "prepare", ".log");
    snprintf(payments, sizeof payments, "%s/payments.csv", folder);
    snprintf(model, sizeof model, "%s/model.fraudd", folder);
    assert_int_equal(
        child_run(log, 60000,
                  (const char *const[]){"simulate", "--seed", "5", "--transactions", "50000",
                                        "--days", "60", "--out", payments, NULL}),
        0);
    assert_int_equal(
        child_run(log, 240000,
                  (const char *const[]){"train", "--input", payments, "--until", "2026-02-20",
                                        "--epochs", "1", "--out", model, NULL}),
        0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cluster_stop(&cluster);
    db_close(db);
    throwaway_stop(&postgres);
    if (getenv("E2E_KEEP") != NULL) { /* to look at the logs of a failure */
        print_message("kept: %s\n", folder);
    } else if (fork() == 0) {
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
        _exit(127);
    }
    return 0;
}

/* Number of payments that `produce` said it sent; fails where it did not. */
static int64_t produced(const struct child *c)
{
    char line[512];
    int64_t n = -1;
    FILE *f = fopen(c->log, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        long long sent = -1;
        if (sscanf(line, "produced %lld payments", &sent) == 1) {
            n = sent;
            print_message("%s", line);
        }
    }
    fclose(f);
    return n;
}

static void start_produce(struct site *s, struct child *c, const char *const *more)
{
    char log[128];
    const char *args[CHILD_ARGS_MAX] = {"produce", "--config", s->conf};
    size_t n = 3;
    for (; *more != NULL; more++) {
        args[n++] = *more;
    }
    path_of(log, s->name, "-produce.log");
    unlink(log);
    child_start(c, log, args);
}

static int64_t produce(struct site *s, const char *const *more)
{
    struct child c;
    start_produce(s, &c, more);
    if (!child_wait(&c, 600000) || child_code(&c) != 0) {
        child_show(&c);
        show(s);
        child_end(&c);
        fail_msg("produce failed");
    }
    return produced(&c);
}

/* Payments decided, as the log's last status line says. */
static int64_t decided_last(const struct child *c)
{
    static const char NAME[] = " decided=";
    uint8_t *bytes = NULL;
    size_t len = 0;
    int64_t last = -1;
    struct errmsg e = {""};
    if (file_read(c->log, (size_t)64 << 20, &bytes, &len, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    for (const char *at = (const char *)bytes; (at = strstr(at, NAME)) != NULL;) {
        at += strlen(NAME);
        last = strtoll(at, NULL, 10);
    }
    free(bytes);
    return last;
}

/* ---- tests ---- */

static void test_two_scores_one_sink_every_payment_once(void **state)
{
    const char *data = getenv("E2E_DATA");
    const char *limit = getenv("E2E_LIMIT");
    (void)state;
    struct site *s = make_site("whole");
    start_verb(s, &s->sink, "sink", "sink");
    start_score(s, 0);
    start_score(s, 1);
    UNTIL(s, child_said(&s->score[0], "partition_assigned") &&
                 child_said(&s->score[1], "partition_assigned"));
    int64_t began_us = progress_now_us();
    int64_t n = produce(s, (const char *const[]){"--labels", "--limit", limit != NULL ? limit : "0",
                                                 data != NULL ? data : payments, NULL});
    assert_true(n > 40000);
    assert_int_equal(ends(s, TOPIC_TRANSACTIONS), n);
    UNTIL(s, ends(s, TOPIC_DECISIONS) >= n && score_lag(s) == 0);
    double decided_s = (double)(progress_now_us() - began_us) / 1e6;
    UNTIL(s, sink_lag(s) == 0);
    double stored_s = (double)(progress_now_us() - began_us) / 1e6;
    uint64_t repeats = check_decisions(s, 0);
    check_rows(s, n, n);
    assert_int_equal(ends(s, TOPIC_DEAD_LETTERS), 0);
    assert_int_equal(count("SELECT count(*) FROM rejects", NULL), 0);
    assert_int_equal(count("SELECT count(*) FROM labels", NULL), ends(s, TOPIC_LABELS));
    print_message(
        "%" PRId64 " payments, decided %" PRId64 " (%" PRIu64
        " repeats) in %.1f s, stored in %.1f s, %" PRId64 " alerts, %" PRId64 " labels, lag 0\n",
        n, ends(s, TOPIC_DECISIONS), repeats, decided_s, stored_s,
        count("SELECT count(*) FROM alerts WHERE log = $1", s->name), ends(s, TOPIC_LABELS));
    stop_gently(s, &s->score[0]);
    stop_gently(s, &s->score[1]);
    stop_gently(s, &s->sink);
    for (int i = 0; i < 2; i++) { /* both had a share */
        assert_true(child_said(&s->score[i], "partitions=4 lag=0"));
        assert_true(decided_last(&s->score[i]) > 0);
    }
    free_site(s);
}

static void decided_ends(const struct site *s, int64_t out[PARTITIONS])
{
    for (int p = 0; p < PARTITIONS; p++) {
        out[p] = cluster_end(&cluster, s->topic[TOPIC_DECISIONS], p);
    }
}

/* Whether every partition has new decisions. */
static bool all_went_on(const struct site *s, const int64_t since[PARTITIONS])
{
    int64_t now[PARTITIONS];
    bool all = true;
    decided_ends(s, now);
    for (int p = 0; p < PARTITIONS; p++) {
        all = all && now[p] > since[p];
    }
    return all;
}

static void test_killed_and_stopped_under_load_lose_nothing(void **state)
{
    struct child c;
    (void)state;
    struct site *s = make_site("kill");
    start_score(s, 0);
    start_score(s, 1);
    UNTIL(s, child_said(&s->score[0], "partition_assigned") &&
                 child_said(&s->score[1], "partition_assigned"));
    start_produce(s, &c, (const char *const[]){"--rate", "2000", payments, NULL});
    nap_ms(3000);
    child_signal(&s->score[0], SIGKILL);
    assert_true(child_wait(&s->score[0], CHILD_END_MS));
    int64_t killed_us = progress_now_us();
    int64_t at[PARTITIONS];
    decided_ends(s, at);
    UNTIL(s, all_went_on(s, at)); /* its partitions decide again at the other one */
    double away_s = (double)(progress_now_us() - killed_us) / 1e6;
    assert_true(away_s < 15 * busy_times());
    start_score(s, 0);
    UNTIL(s, child_said(&s->score[0], "partition_assigned"));
    decided_ends(s, at);
    UNTIL(s, all_went_on(s, at));
    stop_gently(s, &s->score[1]); /* while payments come */
    if (!child_wait(&c, 60000) || child_code(&c) != 0) {
        child_show(&c);
        child_end(&c);
        fail_msg("produce failed");
    }
    int64_t n = produced(&c);
    UNTIL(s, ends(s, TOPIC_DECISIONS) >= n && score_lag(s) == 0);
    uint64_t repeats = check_decisions(s, 0);
    print_message("%" PRId64 " payments, one process killed, its partitions at the other one after "
                  "%.1f s, one stopped: %" PRIu64 " decisions repeated, all the same bytes\n",
                  n, away_s, repeats);
    assert_true(repeats > 0); /* the kill fell between a decision and its commit */
    stop_gently(s, &s->score[0]);
    free_site(s);
}

/* ---- dead letters ---- */

#define GOOD_TAIL "\"card\":\"k\",\"type\":\"purchase\",\"currency\":\"EUR\""
#define GOOD "{\"id\":\"g\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":\"5.00\"," GOOD_TAIL "}"

static const struct bad {
    const char *key, *json, *reason;
    size_t len; /* 0: of json */
} BAD[] = {
    {"k", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":\"5.00\",\"card\":\"k",
     "not_json", 0},
    {"k", "{\"id\":\"\xff\xfe\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":\"5.00\"," GOOD_TAIL "}",
     "not_utf8", 0},
    {"k", "{\"id\":7,\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":\"5.00\"," GOOD_TAIL "}",
     "wrong_type", 0},
    {"k", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":NaN," GOOD_TAIL "}", "not_json",
     0},
    {"k", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":\"NaN\"," GOOD_TAIL "}",
     "wrong_type", 0},
    {"k", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":-5," GOOD_TAIL "}",
     "out_of_range", 0},
    {"k", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":1e300," GOOD_TAIL "}",
     "out_of_range", 0},
    {"k",
     "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":"
     "\"1000000000000000000000000000000\"," GOOD_TAIL "}",
     "out_of_range", 0},
    {"k", "{\"id\":\"x\",\"ts\":\"1900-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}", "bad_time",
     0},
    {"k", "{\"id\":\"x\",\"ts\":\"2100-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}", "bad_time",
     0},
    {"k", "{\"id\":\"x\",\"ts\":\"2099-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}", "future", 0},
    {"k", "", "empty", 0},
    {"k",
     "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":5,\"type\":\"purchase\","
     "\"currency\":\"EUR\"}",
     "missing_field", 0},
    {"other", "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}",
     "key_mismatch", 0},
    {NULL, "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}",
     "key_mismatch", 0},
    {"k", "{\"id\":\"x\",\"id\":\"y\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":5," GOOD_TAIL "}",
     "duplicate_field", 0},
    {"k",
     "{\"id\":\"x\",\"ts\":\"2026-03-01T10:00:00Z\",\"amount\":5,\"card\":\"k\",\"type\":"
     "\"purchase\","
     "\"currency\":\"XQZ\"}",
     "unknown_currency", 0},
    {"k", NULL, "too_large", 8000000},
};

#define BAD_COUNT (sizeof BAD / sizeof BAD[0])

struct letters {
    const struct site *site;
    const char *big;
    uint32_t seen[BAD_COUNT];
    size_t n;
};

/* A header's value as text. */
static void header(const struct rd_kafka_message_s *m, const char *name, char out[200])
{
    rd_kafka_headers_t *h = NULL;
    const void *value = NULL;
    size_t len = 0;
    assert_int_equal(rd_kafka_message_headers(m, &h), RD_KAFKA_RESP_ERR_NO_ERROR);
    if (rd_kafka_header_get_last(h, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail_msg("no header %s", name);
    }
    snprintf(out, 200, "%.*s", (int)len, (const char *)value);
}

/* All bad ones are in partition 3, a good one after each. */
static void on_letter(void *ctx, const struct rd_kafka_message_s *m)
{
    struct letters *l = ctx;
    char source[200];
    char reason[200];
    char length[200];
    char start[64];
    header(m, "source", source);
    header(m, "reason", reason);
    header(m, "length", length);
    snprintf(start, sizeof start, "%s/3/", l->site->name);
    assert_memory_equal(source, start, strlen(start));
    size_t i = strtoul(source + strlen(start), NULL, 10) / 2;
    assert_true(i < BAD_COUNT);
    size_t full = BAD[i].len > 0 ? BAD[i].len : strlen(BAD[i].json);
    const char *bytes = BAD[i].len > 0 ? l->big : BAD[i].json;
    if (strcmp(reason, BAD[i].reason) != 0) {
        fail_msg("message %zu is %s, not %s", i, reason, BAD[i].reason);
    }
    assert_int_equal(strtoul(length, NULL, 10), full);
    if (full < 1000000) {
        assert_int_equal(m->len, full);
    } else { /* as many as the topic takes */
        assert_in_range(m->len, 1040000, 1048588);
    }
    assert_memory_equal(m->len > 0 ? m->payload : "", bytes, m->len);
    assert_int_equal(m->key_len, BAD[i].key != NULL ? strlen(BAD[i].key) : 0);
    l->seen[i]++;
    l->n++;
}

static void test_bad_messages_become_dead_letters(void **state)
{
    (void)state;
    struct site *s = make_site("dead");
    char *big = malloc(8000000);
    assert_non_null(big);
    memset(big, ' ', 8000000);
    memcpy(big, GOOD, sizeof GOOD - 1);
    struct letters l = {.site = s, .big = big};
    start_verb(s, &s->sink, "sink", "sink");
    start_score(s, 0);
    for (size_t i = 0; i < BAD_COUNT; i++) {
        const struct bad *b = &BAD[i];
        cluster_send(&cluster, s->topic[TOPIC_TRANSACTIONS], 3, b->key,
                     b->json != NULL ? b->json : big, b->json != NULL ? strlen(b->json) : b->len);
        cluster_send(&cluster, s->topic[TOPIC_TRANSACTIONS], 3, "k", GOOD, sizeof GOOD - 1);
    }
    UNTIL(s, ends(s, TOPIC_DECISIONS) == (int64_t)BAD_COUNT);
    UNTIL(s, score_lag(s) == 0 && sink_lag(s) == 0);
    assert_int_equal(check_decisions(s, BAD_COUNT), 0);
    cluster_read(&cluster, s->topic[TOPIC_DEAD_LETTERS], on_letter, &l);
    assert_int_equal(l.n, BAD_COUNT);
    for (size_t i = 0; i < BAD_COUNT; i++) {
        assert_int_equal(l.seen[i], 1);
    }
    /* the good ones are one payment sent again and again: one decision, the rest its repeats */
    check_rows(s, BAD_COUNT, BAD_COUNT);
    assert_int_equal(
        count("SELECT count(*) FROM decisions WHERE NOT repeated AND log = $1", s->name), 1);
    stop_gently(s, &s->score[0]);
    stop_gently(s, &s->sink);
    assert_true(child_said(&s->score[0], "dead_letters=18"));
    free_site(s);
    free(big);
}

static void test_a_refused_row_costs_that_row_only(void **state)
{
    struct errmsg e = {""};
    (void)state;
    struct site *s = make_site("refuse");
    if (db_script(
            db,
            "ALTER TABLE transactions ADD CONSTRAINT planted CHECK (log <> 'refuse' OR card <> "
            "'c0000007' OR amount_minor % 7 <> 0)",
            &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    start_verb(s, &s->sink, "sink", "sink");
    start_score(s, 0);
    int64_t n = produce(s, (const char *const[]){"--limit", "10000", payments, NULL});
    UNTIL(s, ends(s, TOPIC_DECISIONS) >= n && score_lag(s) == 0 && sink_lag(s) == 0);
    int64_t refused =
        count("SELECT count(*) FROM rejects WHERE topic = $1", s->topic[TOPIC_TRANSACTIONS]);
    assert_in_range(refused, 1, 50);
    check_rows(s, n - refused, n);
    assert_int_equal(count("SELECT count(*) FROM rejects WHERE sqlstate = '23514' AND "
                           "position('\"card\":\"c0000007\"' IN convert_from(raw, 'UTF8')) > 0 AND "
                           "position('planted' IN message) > 0 AND topic = $1",
                           s->topic[TOPIC_TRANSACTIONS]),
                     refused);
    assert_int_equal(check_decisions(s, 0), 0);
    print_message("%" PRId64 " rows refused of %" PRId64 ", the others stored\n", refused, n);
    if (db_script(db, "ALTER TABLE transactions DROP CONSTRAINT planted", &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    stop_gently(s, &s->score[0]);
    stop_gently(s, &s->sink);
    free_site(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_scores_one_sink_every_payment_once),
        cmocka_unit_test(test_killed_and_stopped_under_load_lose_nothing),
        cmocka_unit_test(test_bad_messages_become_dead_letters),
        cmocka_unit_test(test_a_refused_row_costs_that_row_only),
    };
    if (argc > 1) { /* a pattern of test names, such as "*two*" */
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
