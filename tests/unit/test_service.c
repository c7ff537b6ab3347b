/* A daemon's frame: SIGHUP takes over all that it may or nothing, SIGTERM asks to stop, and the
 * log says which. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/cmd.h"
#include "daemon/service.h"
#include "daemon/settings.h"

static const struct conf_option *const TABLES[] = {SETTINGS_FILE, SETTINGS, NULL};

struct world {
    char path[64], config[80];
    char log_path[64];
    int log_fd, stderr_fd;
    struct conf *conf;
    struct service *service;
    int applied;
    bool refuse;
    int64_t budget;
};

static void fill(void *ctx, struct metrics_page *page)
{
    (void)ctx;
    page->ready = true;
}

static void status(void *ctx, char *out, size_t size)
{
    (void)ctx;
    snprintf(out, size, "turns=many");
}

static enum err apply(void *ctx, const struct conf *c, struct errmsg *e)
{
    struct world *w = ctx;
    if (w->refuse) {
        return err_set(e, ERR_CORRUPT, "the model is spoilt");
    }
    w->applied++;
    w->budget = conf_int(c, "alert.budget");
    return ERR_OK;
}

static void write_settings(const struct world *w, const char *text)
{
    struct errmsg e = {""};
    if (file_write(w->path, text, strlen(text), &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

/* What was logged since the last call. */
static char *logged(struct world *w)
{
    static char text[16384];
    ssize_t n = pread(w->log_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(ftruncate(w->log_fd, 0), 0);
    assert_int_equal(lseek(w->log_fd, 0, SEEK_SET), 0);
    return text;
}

static void setup(struct world *w)
{
    static char name[] = "score";
    static char *argv[3];
    struct errmsg e = {""};
    memset(w, 0, sizeof *w);
    snprintf(w->path, sizeof w->path, "/tmp/fraudd-test-service-XXXXXX");
    snprintf(w->log_path, sizeof w->log_path, "/tmp/fraudd-test-service-XXXXXX");
    assert_int_equal(close(mkstemp(w->path)), 0);
    w->log_fd = mkstemp(w->log_path);
    unlink(w->log_path);
    w->stderr_fd = dup(STDERR_FILENO);
    write_settings(w, "alert = { budget = 100; };\ngroup = \"g\";\nhttp = { listen = \"\"; };\n");
    snprintf(w->config, sizeof w->config, "--config=%s", w->path);
    argv[0] = name;
    argv[1] = w->config;
    assert_int_equal(settings_load(TABLES, 2, argv, &w->conf, NULL, &e), ERR_OK);
    const struct service_hooks hooks = {w, fill, status, apply};
    assert_int_equal(
        service_create(w->conf, TABLES, 2, argv, "http.listen", &hooks, &w->service, &e), ERR_OK);
    assert_true(dup2(w->log_fd, STDERR_FILENO) >= 0);
    service_ready(w->service);
}

static void teardown(struct world *w)
{
    dup2(w->stderr_fd, STDERR_FILENO);
    close(w->stderr_fd);
    close(w->log_fd);
    service_free(w->service);
    conf_free(w->conf);
    unlink(w->path);
}

/* Stderr is back before cmocka says anything. */
#define EXPECT(w, condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            dup2((w)->stderr_fd, STDERR_FILENO);                                                   \
            fail_msg("%s", #condition);                                                            \
        }                                                                                          \
    } while (0)

static void test_reload_takes_over_what_it_may(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    const char *group = conf_text(w.conf, "group");
    service_turn(w.service);
    EXPECT(&w, w.applied == 0);
    write_settings(&w, "alert = { budget = 7; floor = .9; };\ngroup = \"h\";\n"
                       "http = { listen = \"\"; };\nkafka = { sasl_password = \"geheim\"; };\n"
                       "database = \"password=geheim\";\n");
    raise(SIGHUP);
    EXPECT(&w, service_wait(w.service)); /* not inside a turn */
    EXPECT(&w, w.applied == 0);
    service_turn(w.service);
    const char *log = logged(&w);
    EXPECT(&w, w.applied == 1 && w.budget == 7);
    EXPECT(&w, conf_int(w.conf, "alert.budget") == 7 && conf_real(w.conf, "alert.floor") < .91);
    EXPECT(&w, conf_text(w.conf, "group") == group && strcmp(group, "g") == 0);
    EXPECT(&w, strstr(log, "event=setting_changed name=alert.budget was=\"100\" is=\"7\"") != NULL);
    EXPECT(&w, strstr(log, "event=setting_changed name=alert.floor") != NULL);
    EXPECT(&w, strstr(log, "event=setting_waits name=group was=\"g\" is=\"h\"") != NULL);
    EXPECT(&w, strstr(log, "event=setting_waits name=kafka.sasl.password") != NULL);
    EXPECT(&w, strstr(log, "event=reloaded need_restart=3") != NULL);
    EXPECT(&w, strstr(log, "geheim") == NULL);
    service_turn(w.service); /* once for each signal */
    EXPECT(&w, w.applied == 1);
    teardown(&w);
}

static void test_reload_of_a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    static const char *const BAD[] = {
        "alert = { budget = 7;\n floor = 2.5; };\n",         /* out of bounds */
        "alert = { budget = 7; };\nlog-level = \"loud\";\n", /* refused by the check */
        "alert = { budget = 7; };\nalert.floor = ;\n",       /* no syntax */
        "alert = { budget = 7; };\nalert-floor = .9;\n"};    /* no such setting */
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        write_settings(&w, BAD[i]);
        raise(SIGHUP);
        service_turn(w.service);
        const char *log = logged(&w);
        char where[96];
        snprintf(where, sizeof where, "%s line 2", w.path);
        EXPECT(&w, strstr(log, "event=reload_refused") != NULL && strstr(log, where) != NULL);
        EXPECT(&w, strstr(log, "setting_changed") == NULL);
        EXPECT(&w, conf_int(w.conf, "alert.budget") == 100 && w.applied == 0);
    }
    unlink(w.path);
    raise(SIGHUP);
    service_turn(w.service);
    EXPECT(&w, strstr(logged(&w), "event=reload_refused") != NULL && w.applied == 0);
    teardown(&w);
}

static void test_reload_that_the_daemon_refuses_changes_nothing(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    w.refuse = true;
    write_settings(&w, "alert = { budget = 7; };\nlog-level = \"debug\";\n");
    raise(SIGHUP);
    service_turn(w.service);
    const char *log = logged(&w);
    EXPECT(&w, strstr(log, "event=reload_refused detail=\"the model is spoilt\"") != NULL);
    EXPECT(&w, conf_int(w.conf, "alert.budget") == 100);
    EXPECT(&w, strcmp(conf_text(w.conf, "log-level"), "info") == 0);
    w.refuse = false;
    raise(SIGHUP);
    service_turn(w.service);
    EXPECT(&w, w.applied == 1 && w.budget == 7);
    EXPECT(&w, strcmp(conf_text(w.conf, "log-level"), "debug") == 0);
    teardown(&w);
}

static void test_stop_is_seen_in_turns_and_waits(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    EXPECT(&w, !service_stopping(w.service) && service_wait(w.service));
    raise(SIGTERM);
    EXPECT(&w, service_stopping(w.service) && !service_wait(w.service));
    service_stopped(w.service);
    EXPECT(&w, strstr(logged(&w), "event=status turns=many") != NULL);
    teardown(&w);
}

static void test_service_create_names_the_option_of_a_taken_port(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct errmsg e = {""};
    struct service *second = NULL;
    const struct service_hooks hooks = {&w, fill, status, apply};
    EXPECT(&w, conf_set(w.conf, "http.listen", "192.0.2.1:80", &e) == ERR_OK);
    EXPECT(&w, service_create(w.conf, TABLES, 0, NULL, "http.listen", &hooks, &second, &e) ==
                   ERR_REFUSED);
    EXPECT(&w, strncmp(e.text, "http.listen: cannot listen on 192.0.2.1:80", 42) == 0);
    EXPECT(&w, service_exit_code(ERR_REFUSED) == EXIT_REFUSED);
    EXPECT(&w, service_exit_code(ERR_INVALID) == EXIT_CONFIG);
    teardown(&w);
}

int main(void)
{
    unsetenv("JOURNAL_STREAM");
    unsetenv("NOTIFY_SOCKET");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reload_takes_over_what_it_may),
        cmocka_unit_test(test_reload_of_a_bad_file_changes_nothing),
        cmocka_unit_test(test_reload_that_the_daemon_refuses_changes_nothing),
        cmocka_unit_test(test_stop_is_seen_in_turns_and_waits),
        cmocka_unit_test(test_service_create_names_the_option_of_a_taken_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
