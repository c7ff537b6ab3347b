#include "tests/support/child.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/progress.h"

#define LOG_MAX_BYTES ((size_t)64 << 20)

/* build/<variant>/<name>, from build/<variant>/tests/integration/test_x */
static void find_program(const char *name, char out[512])
{
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(out, 512, "%s/../../%s", dirname(self), name);
}

void child_start(struct child *c, const char *log, const char *const *args)
{
    child_start_program(c, "fraudd", log, args);
}

void child_start_program(struct child *c, const char *name, const char *log,
                         const char *const *args)
{
    char program[512];
    char *argv[CHILD_ARGS_MAX + 2];
    size_t n = 0;
    find_program(name, program);
    argv[n++] = program;
    for (; *args != NULL; args++) {
        assert_true(n <= CHILD_ARGS_MAX);
        argv[n] = strdup(*args);
        assert_non_null(argv[n++]);
    }
    argv[n] = NULL;
    *c = (struct child){0};
    snprintf(c->log, sizeof c->log, "%s", log);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0) {
            _exit(126);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, argv);
        _exit(127);
    }
    for (size_t i = 1; i < n; i++) {
        free(argv[i]);
    }
}

bool child_wait(struct child *c, int timeout_ms)
{
    const struct timespec nap = {0, 5000000};
    int64_t until_us = progress_now_us() + (int64_t)timeout_ms * 1000;
    while (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == 0) {
        if (progress_now_us() > until_us) {
            return false;
        }
        nanosleep(&nap, NULL);
    }
    c->pid = 0;
    return true;
}

void child_signal(const struct child *c, int number)
{
    assert_true(c->pid > 0);
    assert_int_equal(kill(c->pid, number), 0);
}

int child_code(const struct child *c)
{
    return WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1;
}

void child_end(struct child *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, &c->status, 0);
        c->pid = 0;
    }
}

int child_run(const char *log, int timeout_ms, const char *const *args)
{
    struct child c;
    child_start(&c, log, args);
    if (!child_wait(&c, timeout_ms)) {
        child_end(&c);
        child_show(&c);
        fail_msg("fraudd %s did not end within %d ms", args[0], timeout_ms);
    }
    if (child_code(&c) != 0) {
        child_show(&c);
    }
    return child_code(&c);
}

static char *read_log(const struct child *c)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct errmsg e;
    return file_read(c->log, LOG_MAX_BYTES, &bytes, &len, &e) == ERR_OK ? (char *)bytes : NULL;
}

void child_show(const struct child *c)
{
    char *text = read_log(c);
    size_t len = text != NULL ? strlen(text) : 0;
    print_message("... %s\n", text == NULL ? "(no output)" : len > 4000 ? text + len - 4000 : text);
    free(text);
}

bool child_said(const struct child *c, const char *text)
{
    char *log = read_log(c);
    bool said = log != NULL && strstr(log, text) != NULL;
    free(log);
    return said;
}
