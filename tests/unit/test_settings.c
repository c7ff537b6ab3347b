/* The daemons' settings: the sample file is the table's, and contradictions are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/settings.h"

static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};

static char *sample(size_t *out_len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, out_len);
    assert_non_null(f);
    settings_print_sample(f);
    fclose(f);
    return text;
}

static void test_sample_file_equals_the_table(void **state)
{
    (void)state;
    size_t len = 0;
    char *text = sample(&len);
    uint8_t *file = NULL;
    size_t file_len = 0;
    if (getenv("WRITE_SAMPLES") != NULL) { /* renews the file after a change of the table */
        assert_int_equal(file_write("etc/fraudd.conf", text, len, NULL), ERR_OK);
    }
    assert_int_equal(file_read("etc/fraudd.conf", 1 << 20, &file, &file_len, NULL), ERR_OK);
    assert_string_equal((char *)file, text);
    free(file);
    free(text);
}

static enum err load(const char *arg, struct conf **out, struct errmsg *e)
{
    char name[] = "score";
    char *copy = strdup(arg);
    char *argv[] = {name, copy, NULL};
    enum err err = settings_load(TABLES, arg[0] != '\0' ? 2 : 1, argv, out, NULL, e);
    free(copy);
    return err;
}

static void test_settings_load_reads_its_own_sample(void **state)
{
    (void)state;
    struct conf *c = NULL;
    struct errmsg e = {""};
    if (load("--config=etc/fraudd.conf", &c, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    assert_string_equal(settings_topic(c, TOPIC_DEAD_LETTERS), "dead-letters");
    assert_int_equal(conf_int(c, "alert.budget"), 100);
    conf_free(c);
}

static void expect_refused(const char *arg, const char *words)
{
    struct conf *c = NULL;
    struct errmsg e = {""};
    assert_int_equal(load(arg, &c, &e), ERR_INVALID);
    assert_null(c);
    if (strstr(e.text, words) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", e.text, words);
    }
}

static void test_settings_load_refuses_contradictions(void **state)
{
    (void)state;
    expect_refused("--topics.labels=alerts", "topics.labels and topics.alerts");
    expect_refused("--topics.labels=a b", "letters, digits");
    expect_refused("--topics.labels=", "letters, digits");
    expect_refused("--log-level=loud", "debug, info");
    expect_refused("--log=", "1 to 64 bytes");
    expect_refused("--log=12345678901234567890123456789012345678901234567890123456789012345",
                   "1 to 64 bytes");
    expect_refused("--sink-group=fraudd-score", "its own");
    expect_refused("--group=", "empty");
    expect_refused("--alert.floor=1.01", "from 0.01 to 1");
    expect_refused("--brokers=", "host:port");
    expect_refused("--brokers=a:9092,,b", "host:port");
    expect_refused("--brokers=a:0", "\"a:0\" is no address");
    expect_refused("--brokers=a:65536", "host:port");
    expect_refused("--brokers=http://", "host:port");
    expect_refused("--http.listen=9464", "127.0.0.1:9464");
    expect_refused("--http.sink-listen=::1:9464", "[::1]:9464");
    expect_refused("--http.listen=127.0.0.1:9465", "its own");
}

static void test_settings_load_accepts_addresses(void **state)
{
    (void)state;
    static const char *const GOOD[] = {
        "--brokers=a",    "--brokers=a:1, b:65535",   "--brokers=SSL://k1.example:9093,[::1]:9092",
        "--http.listen=", "--http.listen=[::1]:9464", "--http.listen=localhost:0"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        struct conf *c = NULL;
        struct errmsg e = {""};
        if (load(GOOD[i], &c, &e) != ERR_OK) {
            fail_msg("%s: %s", GOOD[i], e.text);
        }
        conf_free(c);
    }
}

static void test_settings_load_says_whose_fault(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-test-settings-XXXXXX";
    assert_true(close(mkstemp(path)) == 0);
    char name[] = "score";
    char config[64];
    char level[] = "--log-level=loud";
    char *argv[] = {name, config, level, NULL};
    struct conf *c = NULL;
    struct errmsg e = {""};
    bool usage = true;
    static const char BAD[] = "\nlog-level = \"loud\";\n";
    snprintf(config, sizeof config, "--config=%s", path);
    assert_int_equal(file_write(path, BAD, sizeof BAD - 1, &e), ERR_OK);
    assert_int_equal(settings_load(TABLES, 2, argv, &c, &usage, &e), ERR_INVALID);
    assert_false(usage);
    char where[64];
    snprintf(where, sizeof where, "%s line 2: log-level", path);
    assert_non_null(strstr(e.text, where));
    assert_int_equal(settings_load(TABLES, 3, argv, &c, &usage, &e), ERR_INVALID);
    assert_true(usage);
    assert_non_null(strstr(e.text, "command line: log-level"));
    assert_null(c);
    unlink(path);
}

static void test_settings_load_keeps_help_apart(void **state)
{
    (void)state;
    struct conf *c = NULL;
    struct errmsg e = {""};
    assert_int_equal(load("--help", &c, &e), ERR_END);
    assert_int_equal(load("--config=etc/no-such.conf", &c, &e), ERR_NOTFOUND);
    assert_null(c);
    assert_int_equal(
        load("--log=1234567890123456789012345678901234567890123456789012345678901234", &c, &e),
        ERR_OK);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_file_equals_the_table),
        cmocka_unit_test(test_settings_load_reads_its_own_sample),
        cmocka_unit_test(test_settings_load_refuses_contradictions),
        cmocka_unit_test(test_settings_load_accepts_addresses),
        cmocka_unit_test(test_settings_load_says_whose_fault),
        cmocka_unit_test(test_settings_load_keeps_help_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
