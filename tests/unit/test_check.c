/* Judging topics: what is wrong is named with the command that mends it, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/check.h"
#include "daemon/cmd.h"
#include "daemon/settings.h"

static const struct conf_option *const TABLES[] = {SETTINGS, NULL};

static struct conf *settings(const char *const *pairs)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    assert_int_equal(conf_create(TABLES, "kafka.", &c, &e), ERR_OK);
    assert_int_equal(conf_set(c, "partitions", "8", &e), ERR_OK);
    for (; pairs != NULL && *pairs != NULL; pairs += 2) {
        assert_int_equal(conf_set(c, pairs[0], pairs[1], &e), ERR_OK);
    }
    return c;
}

/* Topics as they should be. */
static void good_facts(struct bus_topic_facts *f)
{
    for (int i = 0; i < TOPIC_COUNT; i++) {
        f[i] = (struct bus_topic_facts){.exists = true,
                                        .partitions = 1,
                                        .replicas = 3,
                                        .cleanup = "delete",
                                        .retention_ms = -1,
                                        .retention_bytes = -1,
                                        .bytes_max = BUS_MESSAGE_BYTES,
                                        .in_sync_min = 2};
    }
    f[TOPIC_TRANSACTIONS].partitions = 8;
    f[TOPIC_DECISIONS].partitions = 8;
    f[TOPIC_ALERTS].partitions = 3;
}

/* The lines and the exit code for these facts. */
static char *judged(const struct bus_topic_facts *f, const char *const *pairs, int *code)
{
    char *text = NULL;
    size_t len = 0;
    struct check c = {.out = open_memstream(&text, &len)};
    struct conf *conf = settings(pairs);
    assert_non_null(c.out);
    check_topics(&c, conf, f);
    fclose(c.out);
    conf_free(conf);
    *code = c.code;
    return text;
}

static size_t count(const char *text, const char *words)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, words)) != NULL; p++) {
        n++;
    }
    return n;
}

/* One thing is wrong: that line, that remedy, and every other topic is fine. */
static void expect_one(const struct bus_topic_facts *f, int code, const char *wrong,
                       const char *remedy)
{
    int got = 0;
    char *text = judged(f, NULL, &got);
    if (got != code || strstr(text, wrong) == NULL || strstr(text, remedy) == NULL ||
        count(text, "wrong   ") != 1 || count(text, "ok      ") != TOPIC_COUNT - 1) {
        fail_msg("code %d, wanted %d, \"%s\" and \"%s\":\n%s", got, code, wrong, remedy, text);
    }
    free(text);
}

static void test_check_topics_finds_good_ones_good(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    int code = -1;
    good_facts(f);
    char *text = judged(f, NULL, &code);
    assert_int_equal(code, 0);
    assert_int_equal(count(text, "ok      topic "), TOPIC_COUNT);
    assert_int_equal(count(text, "\n"), TOPIC_COUNT);
    assert_non_null(strstr(text, "topic labels: 1 partition, kept for ever, 3 replicas\n"));
    free(text);
    /* the shortest that is enough, and a cluster that does not tell */
    f[TOPIC_TRANSACTIONS].retention_ms = 60 * INT64_C(86400000);
    f[TOPIC_LABELS].retention_ms = INT64_MIN;
    f[TOPIC_LABELS].cleanup[0] = '\0';
    f[TOPIC_LABELS].retention_bytes = INT64_MIN;
    f[TOPIC_DECISIONS].retention_ms = INT64_C(86400000);
    f[TOPIC_NOTICES].replicas = 1;
    f[TOPIC_NOTICES].in_sync_min = 1;
    text = judged(f, NULL, &code);
    assert_int_equal(code, 0);
    assert_non_null(strstr(text, "a broker that is lost loses it"));
    free(text);
}

static void test_check_topics_prints_how_to_make_a_missing_one(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    good_facts(f);
    f[TOPIC_NOTICES] = (struct bus_topic_facts){0};
    expect_one(f, EXIT_NO_INPUT, "topic notices: does not exist (setting topics.notices)",
               "remedy  kafka-topics.sh --bootstrap-server 'localhost:9092' --create --topic "
               "'notices' --partitions 1 --config cleanup.policy=delete --config retention.ms=-1 "
               "--config max.message.bytes=1048588\n");
    good_facts(f);
    f[TOPIC_DECISIONS] = (struct bus_topic_facts){0};
    expect_one(f, EXIT_NO_INPUT, "topic decisions: does not exist", "--partitions 8 --config");
    f[TOPIC_TRANSACTIONS] = (struct bus_topic_facts){0};
    int code = 0;
    static const char *const PAIRS[] = {"brokers", "k1:9093,k2:9093",     "kafka.security.protocol",
                                        "ssl",     "topics.transactions", "payments",
                                        NULL};
    char *text = judged(f, PAIRS, &code);
    assert_int_equal(code, EXIT_NO_INPUT);
    assert_non_null(strstr(text, "kafka-topics.sh --bootstrap-server 'k1:9093,k2:9093' "
                                 "--command-config client.properties --create --topic 'payments' "
                                 "--partitions 8 --config cleanup.policy=delete --config "
                                 "retention.ms=5184000000"));
    assert_int_equal(count(text, "--partitions 8"), 2); /* decisions, too, by the setting */
    free(text);
}

static void test_check_topics_judges_partitions(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    good_facts(f);
    f[TOPIC_DECISIONS].partitions = 4;
    expect_one(f, EXIT_FAILED, "topic decisions: 4 partitions, transactions has 8",
               "--alter --topic 'decisions' --partitions 8\n");
    good_facts(f);
    f[TOPIC_LABELS].partitions = 2;
    expect_one(f, EXIT_FAILED, "topic labels: 2 partitions, must be 1",
               "--delete --topic 'labels' # its messages are lost; then:\nremedy  kafka-topics.sh");
    good_facts(f);
    f[TOPIC_TRANSACTIONS].partitions = 12;
    f[TOPIC_DECISIONS].partitions = 12;
    expect_one(f, EXIT_FAILED, "topic transactions: 12 partitions, the setting partitions says 8",
               "set partitions = 12; (in force: setting)");
}

static void test_check_topics_judges_how_long_it_is_kept(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    good_facts(f);
    f[TOPIC_TRANSACTIONS].retention_ms = 60 * INT64_C(86400000) - 1;
    expect_one(f, EXIT_FAILED, "retention.ms=5183999999, must be at least 5184000000 ms",
               "kafka-configs.sh --bootstrap-server 'localhost:9092' --alter --entity-type topics "
               "--entity-name 'transactions' --add-config retention.ms=5184000000\n");
    good_facts(f);
    f[TOPIC_NOTICES].retention_ms = INT64_MAX;
    expect_one(f, EXIT_FAILED, "must be for ever (-1)", "--add-config retention.ms=-1\n");
    good_facts(f);
    f[TOPIC_LABELS].retention_bytes = 1000;
    expect_one(f, EXIT_FAILED, "retention.bytes=1000 cuts it short",
               "--add-config retention.bytes=-1\n");
    good_facts(f);
    f[TOPIC_DECISIONS].retention_bytes = 1000000; /* a bank's choice */
    int code = 1;
    free(judged(f, NULL, &code));
    assert_int_equal(code, 0);
    good_facts(f);
    snprintf(f[TOPIC_LABELS].cleanup, sizeof f[0].cleanup, "compact");
    expect_one(f, EXIT_FAILED, "cleanup.policy=compact", "--add-config cleanup.policy=delete\n");
}

static void test_check_topics_judges_sizes_and_replicas(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    good_facts(f);
    f[TOPIC_NOTICES].bytes_max = 512 * 1024;
    expect_one(f, EXIT_FAILED, "max.message.bytes=524288", "--add-config max.message.bytes=");
    good_facts(f);
    f[TOPIC_ALERTS].in_sync_min = 4;
    expect_one(f, EXIT_FAILED, "min.insync.replicas=4 with 3 replicas: nothing can be written",
               "--add-config min.insync.replicas=3\n");
}

static void test_check_keeps_the_first_code(void **state)
{
    (void)state;
    struct bus_topic_facts f[TOPIC_COUNT];
    int code = 0;
    good_facts(f);
    f[TOPIC_LABELS].partitions = 2;
    f[TOPIC_ALERTS].exists = false;
    free(judged(f, NULL, &code));
    assert_int_equal(code, EXIT_FAILED);
    good_facts(f);
    f[TOPIC_TRANSACTIONS].exists = false;
    f[TOPIC_LABELS].partitions = 2;
    free(judged(f, NULL, &code));
    assert_int_equal(code, EXIT_NO_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_topics_finds_good_ones_good),
        cmocka_unit_test(test_check_topics_prints_how_to_make_a_missing_one),
        cmocka_unit_test(test_check_topics_judges_partitions),
        cmocka_unit_test(test_check_topics_judges_how_long_it_is_kept),
        cmocka_unit_test(test_check_topics_judges_sizes_and_replicas),
        cmocka_unit_test(test_check_keeps_the_first_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
