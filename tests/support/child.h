/* Other programs of this build in tests: `fraudd` with its arguments, its output in a file, always
 * ended by its process id.  Failures end the test by cmocka's fail(). */
#ifndef FD_TESTS_SUPPORT_CHILD_H
#define FD_TESTS_SUPPORT_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#define CHILD_ARGS_MAX 48

/* How long one may take to end after a signal.  Generous, since the machine may be busy. */
#define CHILD_END_MS 30000

struct child {
    pid_t pid;     /* 0: not running */
    int status;    /* of waitpid, once ended */
    char log[256]; /* both outputs */
};

/* Starts fraudd (beside this test's build) with `args` (NULL at the end; "fraudd" is added).  It
 * ends with us.  log: file for its output. */
void child_start(struct child *c, const char *log, const char *const *args);
/* The same with another program of this build, named from the build's folder. */
void child_start_program(struct child *c, const char *program, const char *log,
                         const char *const *args);
/* Waits at most so long.  Returns whether it ended. */
bool child_wait(struct child *c, int timeout_ms);
void child_signal(const struct child *c, int number);
/* Exit code of an ended one; -1: ended by a signal. */
int child_code(const struct child *c);
/* Kills what still runs. */
void child_end(struct child *c);
/* Runs one to its end and returns its exit code. */
int child_run(const char *log, int timeout_ms, const char *const *args);
/* Prints a log's last lines into the test's output. */
void child_show(const struct child *c);
/* Whether the log holds this text. */
bool child_said(const struct child *c, const char *text);

#endif
