#include "tests/support/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <inttypes.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/deliver.h"
#include "daemon/settings.h"
#include "storage/migrate.h"
#include "tests/support/child.h"
#include "tests/support/random_model.h"

#define ALERT_PARTITIONS 4

static int topic_partitions(int topic)
{
    return topic == TOPIC_ALERTS                                     ? ALERT_PARTITIONS
           : topic == TOPIC_TRANSACTIONS || topic == TOPIC_DECISIONS ? SITE_PARTITIONS
                                                                     : 1;
}

/* A dead member is missed after 2 s, not 6: more kills find a group that is whole again. */
static void write_conf(const struct site *s, const char *path, const char *group,
                       const struct site_topics *topics, const char *state)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "brokers = \"%s\";\ndatabase = \"%s\";\nmodel = \"%s\";\nlog = \"" SITE_LOG "\";\n"
            "group = \"%s\";\nsink-group = \"%s-sink\";\npartitions = %d;\n"
            "http = { listen = \"\"; sink-listen = \"\"; };\nalert = { budget = 400; };\n"
            "sink = { linger = \"100ms\"; };\nscore = { batch = %d; };\n"
            "kafka = { session_timeout_ms = \"2000\"; heartbeat_interval_ms = \"500\"; };\n"
            "state = { dir = \"%s\"; every = \"1s\"; };\n"
            "topics = {\n",
            s->cluster.brokers, s->postgres.conninfo, s->model, group, group, SITE_PARTITIONS,
            s->batch, state);
    for (int i = 0; i < TOPIC_COUNT; i++) {
        fprintf(f, "  %s = \"%s\";\n", strchr(settings_topic_option((enum bus_topic)i), '.') + 1,
                topics->name[i]);
    }
    fputs("};\n", f);
    assert_int_equal(fclose(f), 0);
}

static void make_topics(struct site *s)
{
    char text[32];
    for (int i = 0; i < TOPIC_COUNT; i++) {
        const bool written = i == TOPIC_DECISIONS || i == TOPIC_ALERTS || i == TOPIC_DEAD_LETTERS;
        snprintf(text, sizeof text, "torture-%d", i);
        cluster_topic(&s->cluster, cluster_name(s->topics.name[i], text), topic_partitions(i),
                      NULL);
        memcpy(s->topics_again.name[i], s->topics.name[i], sizeof s->topics_again.name[i]);
        if (written) {
            snprintf(text, sizeof text, "torture-again-%d", i);
            cluster_topic(&s->cluster, cluster_name(s->topics_again.name[i], text),
                          topic_partitions(i), NULL);
        }
    }
    cluster_name(s->group, "torture-score");
    char state[sizeof s->folder + 8];
    snprintf(state, sizeof state, "%s/state", s->folder);
    assert_int_equal(mkdir(state, 0700), 0);
    write_conf(s, s->conf, s->group, &s->topics, state);
    char group[96];
    write_conf(s, s->conf_again, cluster_name(group, "torture-again"), &s->topics_again, "");
}

/* Returns owned bytes of the model of a seed. */
static uint8_t *make_model(uint64_t seed, size_t *out_len)
{
    char version[32];
    snprintf(version, sizeof version, "random-%" PRIu64, seed);
    return random_model_bytes(seed, version, 0, out_len);
}

static void write_model(const char *path, uint64_t seed)
{
    size_t len = 0;
    struct errmsg e = {""};
    uint8_t *bytes = make_model(seed, &len);
    if (file_write(path, bytes, len, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    free(bytes);
}

static void start_database(struct site *s)
{
    struct errmsg e = {""};
    int applied = 0;
    enum err err = throwaway_start(&s->postgres, "/tmp", &e);
    if (err == ERR_OK) {
        err = db_open(s->postgres.conninfo, &s->db, &e);
    }
    if (err == ERR_OK) {
        err = migrate(s->db, &applied, &e);
    }
    if (err != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static void simulate(const struct site *s, int payments)
{
    char log[96];
    char rows[32];
    snprintf(log, sizeof log, "%s/simulate.log", s->folder);
    snprintf(rows, sizeof rows, "%d", payments);
    assert_int_equal(
        child_run(log, 60000 + payments / 2,
                  (const char *const[]){"simulate", "--seed", "11", "--transactions", rows,
                                        "--days", "60", "--fraud-share", ".02", "--label-delay-max",
                                        "2d", "--out", s->payments, NULL}),
        0);
}

void site_make(struct site *s, int payments, int batch)
{
    memset(s, 0, sizeof *s);
    s->batch = batch;
    snprintf(s->folder, sizeof s->folder, "/tmp/fraudd-site-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->payments, sizeof s->payments, "%s/payments.csv", s->folder);
    snprintf(s->model, sizeof s->model, "%s/model.fraudd", s->folder);
    snprintf(s->conf, sizeof s->conf, "%s/score.conf", s->folder);
    snprintf(s->conf_again, sizeof s->conf_again, "%s/again.conf", s->folder);
    start_database(s); /* first: it is forked from a process without threads */
    cluster_start(&s->cluster);
    write_model(s->model, 1);
    make_topics(s);
    simulate(s, payments);
}

void site_free(struct site *s, bool keep)
{
    cluster_stop(&s->cluster);
    db_close(s->db);
    throwaway_stop(&s->postgres);
    if (keep) {
        print_message("kept: %s\n", s->folder);
    } else if (fork() == 0) {
        execlp("rm", "rm", "-rf", s->folder, (char *)NULL);
        _exit(127);
    }
}

int64_t site_size(const struct site *s, const struct site_topics *topics, enum bus_topic which)
{
    return cluster_size(&s->cluster, topics->name[which], topic_partitions((int)which));
}

int64_t site_score_lag(const struct site *s)
{
    int64_t lag = 0;
    for (int p = 0; p < SITE_PARTITIONS; p++) {
        int64_t next =
            cluster_committed(&s->cluster, s->group, s->topics.name[TOPIC_TRANSACTIONS], p);
        lag +=
            cluster_end(&s->cluster, s->topics.name[TOPIC_TRANSACTIONS], p) - (next > 0 ? next : 0);
    }
    return lag;
}

int64_t site_count(const struct site *s, const char *sql, const char *parameter)
{
    struct db_rows *rows = NULL;
    struct errmsg e = {""};
    if (db_exec(s->db, sql, parameter != NULL ? 1 : 0, &parameter, &rows, &e) != ERR_OK) {
        fail_msg("%s: %s", sql, e.text);
    }
    const char *text = db_rows_text(rows, 0, 0);
    int64_t n = text != NULL ? strtoll(text, NULL, 10) : 0;
    db_rows_free(rows);
    return n;
}

int64_t site_sink_lag(const struct site *s)
{
    static const enum bus_topic READ[] = {TOPIC_TRANSACTIONS, TOPIC_DECISIONS, TOPIC_ALERTS,
                                          TOPIC_LABELS};
    int64_t lag = 0;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++) {
        lag +=
            site_size(s, &s->topics, READ[i]) -
            site_count(s, "SELECT coalesce(sum(next_offset), 0) FROM sink_offsets WHERE topic = $1",
                       s->topics.name[READ[i]]);
    }
    return lag;
}

int64_t site_score_lines(const struct site *s, const char *event)
{
    char command[256];
    char text[32] = "";
    snprintf(command, sizeof command, "cat %s/score*.log | grep -c 'event=%s '", s->folder, event);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    (void)pclose(f); /* grep's code says whether it found any */
    return strtoll(text, NULL, 10);
}

void site_send_model(const struct site *s, uint64_t seed)
{
    size_t len = 0;
    struct errmsg e = {""};
    uint8_t *bytes = make_model(seed, &len);
    struct conf *c =
        cluster_conf(&s->cluster, (const char *const[]){settings_topic_option(TOPIC_NOTICES),
                                                        s->topics.name[TOPIC_NOTICES], NULL});
    if (deliver_model(c, "model", bytes, len, 20 * TIME_S, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    conf_free(c);
    free(bytes);
}
