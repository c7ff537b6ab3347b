/* Settings: order of strength, bounds, and messages that say what to write instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/conf.h"
#include "base/file.h"
#include "base/timefmt.h"

static const struct conf_option TABLE[] = {
    {"brokers", CONF_TEXT, 0, "localhost:9092", 0, 0, "where Kafka listens"},
    {"alert.budget", CONF_INT, CONF_RELOAD, "100", 0, 1e6, "alerts a day"},
    {"alert.floor", CONF_REAL, 0, "0.9", 0, 1, "never suppressed"},
    {"label-delay", CONF_DURATION, 0, "7d", 0, 1e9, "how late labels come"},
    {"until", CONF_DATE, CONF_REQUIRED, NULL, 0, 0, "first day not read"},
    {"verbose", CONF_BOOL, 0, "false", 0, 0, "more lines"},
    {"input", CONF_TEXT, CONF_OPERAND, NULL, 0, 0, "file to read"},
    {NULL, CONF_TEXT, 0, NULL, 0, 0, NULL},
};
static const struct conf_option *const TABLES[] = {TABLE, NULL};

static struct conf *make(void)
{
    struct conf *c = NULL;
    assert_int_equal(conf_create(TABLES, "kafka.", &c, NULL), ERR_OK);
    return c;
}

/* Reads a command line given as one text, words apart by blanks. */
static enum err args(struct conf *c, struct errmsg *e, const char *line)
{
    char copy[256];
    char *argv[16];
    int n = 0;
    snprintf(copy, sizeof copy, "x %s", line);
    char *rest = copy;
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        argv[n++] = word;
    }
    return conf_read_args(c, n, argv, e);
}

static enum err collect(void *ctx, const char *name, const char *value, struct errmsg *e)
{
    (void)e;
    char *out = ctx;
    strcat(out, name);
    strcat(out, "=");
    strcat(out, value);
    strcat(out, ";");
    return ERR_OK;
}

static void test_conf_strength_and_types(void **state)
{
    (void)state;
    static const char FILE_TEXT[] =
        "brokers = \"file:1\";\nalert = { budget = 7; floor = 0.25; };\n"
        "kafka = { linger_ms = 3; ssl = { ca_location = \"x\"; }; };\n";
    char path[] = "/tmp/fraudd-test-conf-XXXXXX";
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(file_write(path, FILE_TEXT, sizeof FILE_TEXT - 1, NULL), ERR_OK);
    struct conf *c = make();
    struct errmsg e = {""};
    assert_int_equal(conf_read_file(c, path, &e), ERR_OK);
    unlink(path);
    char brokers[] = "FRAUDD_BROKERS=env:2";
    char delay[] = "FRAUDD_LABEL_DELAY=36h";
    char home[] = "HOME=/";
    char *env[] = {brokers, delay, home, NULL};
    assert_int_equal(conf_read_env(c, env, &e), ERR_OK);
    assert_int_equal(args(c, &e, "--alert.budget=9 --until 2018-04-02 --verbose in.csv"), ERR_OK);
    assert_string_equal(conf_text(c, "brokers"), "env:2");
    assert_int_equal(conf_int(c, "alert.budget"), 9);
    assert_true(conf_real(c, "alert.floor") < 0.2500001 && conf_real(c, "alert.floor") > 0.24999);
    assert_int_equal(conf_duration_us(c, "label-delay"), 36 * TIME_HOUR);
    assert_int_equal(conf_date_us(c, "until"), INT64_C(1522627200) * TIME_S);
    assert_true(conf_bool(c, "verbose"));
    assert_string_equal(conf_text(c, "input"), "in.csv");
    char passed[256] = "";
    assert_int_equal(conf_visit_passed(c, collect, passed, &e), ERR_OK);
    assert_string_equal(passed, "linger.ms=3;ssl.ca.location=x;");
    assert_int_equal(conf_check_required(c, &e), ERR_OK);
    conf_free(c);
}

static void expect_refused(const char *arg, const char *words)
{
    struct conf *c = make();
    struct errmsg e = {""};
    assert_int_equal(args(c, &e, arg), ERR_INVALID);
    if (strstr(e.text, words) == NULL) {
        print_message("%s\n", e.text);
    }
    assert_non_null(strstr(e.text, words));
    conf_free(c);
}

static void test_conf_refuses_with_advice(void **state)
{
    (void)state;
    expect_refused("--alert.budget=-1", "from 0 to 1e+06");
    expect_refused("--alert.budget=1.5", "whole number");
    expect_refused("--alert.floor=nan", "number");
    expect_refused("--alert.bugdet=5", "do you mean \"alert.budget\"");
    expect_refused("--label-delay=7", "duration");
    expect_refused("--until=yesterday", "date");
    expect_refused("--brokers", "needs a value");
    struct conf *c = make();
    struct errmsg e;
    assert_int_equal(conf_check_required(c, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "--until"));
    conf_free(c);
}

static void test_conf_file_error_names_the_line(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-test-conf-XXXXXX";
    assert_true(close(mkstemp(path)) == 0);
    struct conf *c = make();
    struct errmsg e;
    assert_int_equal(file_write(path, "brokers = \"a\";\n\nalert = { budget = \"x\"; };\n", 43, &e),
                     ERR_OK);
    assert_int_equal(conf_read_file(c, path, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "line 3"));
    assert_int_equal(file_write(path, "brokers = \n;", 12, &e), ERR_OK);
    assert_int_equal(conf_read_file(c, path, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "line 2"));
    unlink(path);
    assert_int_equal(conf_read_file(c, path, &e), ERR_NOTFOUND);
    conf_free(c);
}

static void test_conf_sample_reads_back(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-test-conf-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    conf_print_sample(f, TABLE);
    fclose(f);
    struct conf *c = make();
    struct errmsg e = {""};
    assert_int_equal(conf_read_file(c, path, &e), ERR_OK);
    assert_int_equal(conf_int(c, "alert.budget"), 100);
    conf_free(c);
    unlink(path);
}

static void test_conf_where_names_the_source(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-test-conf-XXXXXX";
    assert_true(close(mkstemp(path)) == 0);
    struct conf *c = make();
    struct errmsg e = {""};
    static const char TEXT[] = "\nbrokers = \"a\";\nalert = {\n floor = .05; };\n";
    assert_int_equal(file_write(path, TEXT, sizeof TEXT - 1, &e), ERR_OK);
    assert_int_equal(conf_read_file(c, path, &e), ERR_OK);
    assert_string_equal(conf_where(c, "label-delay"), "default");
    assert_false(conf_given(c, "label-delay"));
    char where[64];
    snprintf(where, sizeof where, "%s line 4", path);
    assert_string_equal(conf_where(c, "alert.floor"), where);
    assert_string_equal(conf_text(c, "alert.floor"), "0.05"); /* the shortest text */
    char delay[] = "FRAUDD_LABEL_DELAY=36h";
    char *env[] = {delay, NULL};
    assert_int_equal(conf_read_env(c, env, &e), ERR_OK);
    assert_string_equal(conf_where(c, "label-delay"), "environment (FRAUDD_LABEL_DELAY)");
    assert_int_equal(args(c, &e, "--brokers=b"), ERR_OK);
    assert_string_equal(conf_where(c, "brokers"), "command line");
    assert_true(conf_given(c, "brokers"));
    unlink(path);
    conf_free(c);
}

static void note_change(void *ctx, const struct conf_change *change)
{
    char *out = ctx;
    bool secret = (change->flags & CONF_SECRET) != 0;
    char line[128];
    snprintf(line, sizeof line, "%s%s %s>%s;", change->name,
             (change->flags & CONF_RELOAD) != 0 ? "*" : "",
             secret                ? "?"
             : change->was != NULL ? change->was
                                   : "-",
             secret               ? "?"
             : change->is != NULL ? change->is
                                  : "-");
    strcat(out, line);
}

static void test_conf_compare_and_adopt(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct conf *old = make();
    struct conf *fresh = make();
    char out[512] = "";
    assert_int_equal(args(old, &e, "--brokers=a --kafka.linger.ms=1 --kafka.acks=1"), ERR_OK);
    assert_int_equal(
        args(fresh, &e, "--brokers=b --alert.budget=7 --kafka.linger.ms=2 --kafka.x=3 in.csv"),
        ERR_OK);
    conf_compare(old, old, note_change, out);
    assert_string_equal(out, "");
    conf_compare(old, fresh, note_change, out);
    assert_string_equal(out, "brokers a>b;alert.budget* 100>7;input ->in.csv;kafka.linger.ms ?>?;"
                             "kafka.x ?>?;kafka.acks ?>?;");
    const char *kept = conf_text(old, "brokers");
    conf_adopt(old, fresh, CONF_RELOAD);
    assert_ptr_equal(conf_text(old, "brokers"), kept);
    assert_string_equal(kept, "a");
    assert_int_equal(conf_int(old, "alert.budget"), 7);
    assert_int_equal(conf_int(fresh, "alert.budget"), 100);
    conf_free(old);
    conf_free(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_strength_and_types),
        cmocka_unit_test(test_conf_refuses_with_advice),
        cmocka_unit_test(test_conf_file_error_names_the_line),
        cmocka_unit_test(test_conf_sample_reads_back),
        cmocka_unit_test(test_conf_where_names_the_source),
        cmocka_unit_test(test_conf_compare_and_adopt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
