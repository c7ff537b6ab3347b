/* Notes of what is in hand: what a death leaves, and what the lives after it make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/crash_notice.h"
#include "daemon/hand.h"

static char folder[64];

static int setup(void **state)
{
    (void)state;
    log_set_level(FD_LOG_ERROR + 1);
    snprintf(folder, sizeof folder, "/tmp/fraudd-hand-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void must_open(struct hand *h)
{
    struct errmsg e = {""};
    if (hand_open(h, folder, "hand", &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

/* What a life does with messages 10 to 19 of partition 3, of which 14 is fatal; all at once, or one
 * by one where they are suspected. */
static void live(int number)
{
    struct hand h;
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    must_open(&h);
    hand_watch(&h);
    const int64_t few = hand_suspects(h.page, TOPIC_TRANSACTIONS, 3, 10, 19) ? 1 : 10;
    for (int64_t i = 10; i < 20; i += few) {
        hand_take(h.page, HAND_LOOK, TOPIC_TRANSACTIONS, 3, i, i + few - 1);
        if (i <= 14 && i + few > 14 && number != 0) {
            (void)raise(number);
        }
        hand_done(h.page);
    }
    hand_close(&h);
    _exit(0);
}

/* Returns the status of a life that ends by this signal; 0: it goes well. */
static int live_once(int number)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        live(number);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static struct hand_page page_now(void)
{
    struct hand h;
    must_open(&h);
    struct hand_page p = *h.page;
    hand_close(&h);
    return p;
}

static void forget(void)
{
    struct hand h;
    must_open(&h);
    hand_clear(h.page);
    hand_close(&h);
}

static void test_two_deaths_condemn_the_one_message(void **state)
{
    (void)state;
    static const int FAULTS[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++) {
        assert_int_equal(live_once(FAULTS[i]), FAULTS[i]);
        struct hand_page p = page_now();
        assert_int_equal(p.condemned, 0);
        assert_int_equal(p.suspect.first, 10);
        assert_int_equal(p.suspect.last, 19);
        assert_int_equal(live_once(FAULTS[i]), FAULTS[i]);
        p = page_now();
        assert_int_equal(p.condemned, 1);
        assert_int_equal(p.suspect.step, HAND_LOOK);
        assert_int_equal(p.suspect.topic, TOPIC_TRANSACTIONS);
        assert_int_equal(p.suspect.partition, 3);
        assert_int_equal(p.suspect.first, 14);
        assert_int_equal(p.suspect.last, 14);
        forget();
    }
}

static void test_a_death_from_outside_suspects_nobody(void **state)
{
    (void)state;
    assert_int_equal(live_once(SIGKILL), SIGKILL);
    assert_int_equal(page_now().suspect.step, HAND_NOTHING);
    assert_int_equal(live_once(SIGTERM), SIGTERM);
    assert_int_equal(page_now().suspect.step, HAND_NOTHING);
    /* nor does it take a suspicion away, or make it sure */
    assert_int_equal(live_once(SIGABRT), SIGABRT);
    assert_int_equal(live_once(SIGKILL), SIGKILL);
    assert_int_equal(page_now().suspect.first, 10);
    assert_int_equal(page_now().condemned, 0);
    forget();
}

static void test_a_suspect_that_does_no_harm_is_free(void **state)
{
    (void)state;
    assert_int_equal(live_once(SIGSEGV), SIGSEGV);
    assert_int_equal(page_now().suspect.step, HAND_LOOK);
    assert_int_equal(live_once(0), 0);
    assert_int_equal(page_now().suspect.step, HAND_NOTHING);
}

/* A child that writes a checkpoint has the handlers and the page. */
static void test_a_child_is_not_the_process(void **state)
{
    struct hand h;
    int status = 0;
    (void)state;
    must_open(&h);
    hand_watch(&h);
    hand_take(h.page, HAND_LOOK, TOPIC_TRANSACTIONS, 0, 1, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        abort();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(h.page->marked, 0);
    hand_done(h.page);
    hand_close(&h);
}

static void test_each_process_has_a_file_and_leaves_none(void **state)
{
    struct hand h[3];
    struct errmsg e = {""};
    char path[160];
    (void)state;
    for (int i = 0; i < 3; i++) {
        must_open(&h[i]);
        snprintf(path, sizeof path, "%s/hand.%d", folder, i);
        assert_string_equal(h[i].path, path);
    }
    for (int i = 0; i < 3; i++) {
        hand_close(&h[i]);
        snprintf(path, sizeof path, "%s/hand.%d", folder, i);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(hand_open(&h[0], "/nowhere/at/all", "hand", &e), ERR_NOTFOUND);
    assert_null(h[0].page);
    hand_close(&h[0]);
}

/* In a folder that others write to, too. */
static void test_a_link_is_not_followed(void **state)
{
    struct hand h;
    char link[160];
    char target[160];
    (void)state;
    snprintf(link, sizeof link, "%s/hand.0", folder);
    snprintf(target, sizeof target, "%s/target", folder);
    assert_int_equal(symlink(target, link), 0);
    must_open(&h);
    assert_non_null(strstr(h.path, "hand.1"));
    assert_int_equal(access(target, F_OK), -1);
    hand_close(&h);
    assert_int_equal(unlink(link), 0);
}

static void test_a_file_of_other_bytes_is_made_anew(void **state)
{
    char path[160];
    (void)state;
    snprintf(path, sizeof path, "%s/hand.0", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++) {
        assert_int_not_equal(fputc(0xff, f), EOF);
    }
    assert_int_equal(fclose(f), 0);
    struct hand_page p = page_now();
    assert_int_equal(p.suspect.step, HAND_NOTHING);
    assert_int_equal(p.condemned, 0);
}

/* ---- the notice ---- */

static bool read_line(const char *kind, const char *line, struct crash *out)
{
    const struct bus_message m = {.topic = TOPIC_NOTICES,
                                  .value = line,
                                  .value_len = strlen(line),
                                  .header_count = 1,
                                  .headers = {{"kind", kind, strlen(kind)}}};
    return crash_notice_read(&m, (struct slice){"log 1/a", 7}, out);
}

static void test_a_notice_reads_as_it_was_written(void **state)
{
    static const enum bus_topic TOPICS[] = {TOPIC_TRANSACTIONS, TOPIC_LABELS};
    (void)state;
    for (int step = HAND_LOOK; step < HAND_STEP_COUNT; step++) {
        for (int t = 0; t < 2; t++) {
            const struct crash c = {TOPICS[t], 1023, INT64_C(123456789012345678),
                                    (enum hand_step)step};
            struct crash back;
            char line[CRASH_NOTICE_MAX + 1];
            line[crash_notice_write(&c, (struct slice){"log 1/a", 7}, line)] = '\0';
            assert_true(read_line("crash", line, &back));
            assert_int_equal(crash_compare(&c, &back), 0);
            assert_false(read_line("model", line, &back));
        }
    }
}

static void test_a_notice_that_is_none_is_not_taken(void **state)
{
    static const char *const LINES[] = {"",
                                        "look",
                                        "look transactions 3 4711",
                                        "look transactions 3 4711 another",
                                        "look transactions 3 4711 log 1/ab",
                                        "look decisions 3 4711 log 1/a",
                                        "nothing transactions 3 4711 log 1/a",
                                        "look transactions -3 4711 log 1/a",
                                        "look transactions 3 -4711 log 1/a",
                                        "look transactions three 4711 log 1/a"};
    struct crash c;
    (void)state;
    assert_true(read_line("crash", "look transactions 3 4711 log 1/a", &c));
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        assert_false(read_line("crash", LINES[i], &c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_deaths_condemn_the_one_message),
        cmocka_unit_test(test_a_death_from_outside_suspects_nobody),
        cmocka_unit_test(test_a_suspect_that_does_no_harm_is_free),
        cmocka_unit_test(test_a_child_is_not_the_process),
        cmocka_unit_test(test_each_process_has_a_file_and_leaves_none),
        cmocka_unit_test(test_a_link_is_not_followed),
        cmocka_unit_test(test_a_file_of_other_bytes_is_made_anew),
        cmocka_unit_test(test_a_notice_reads_as_it_was_written),
        cmocka_unit_test(test_a_notice_that_is_none_is_not_taken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
