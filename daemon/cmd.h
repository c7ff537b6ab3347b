/* The verbs of the program and its exit codes.
 *
 * Each verb lives in daemon/cmd_<verb>.c as `int cmd_<verb>(int argc, char **argv)`; argv[0] is the
 * verb.  It prints its own errors (one line, once) and returns an exit code. */
#ifndef FD_DAEMON_CMD_H
#define FD_DAEMON_CMD_H

#include "base/err.h"

/* Exit codes, after BSD's sysexits(3); documented in README.md. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,    /* ran to its end, and the answer is no (counts differ, gate not passed) */
    EXIT_USAGE = 64,    /* bad option or argument */
    EXIT_DATA = 65,     /* input that is not what it should be */
    EXIT_NO_INPUT = 66, /* a named file, model or topic does not exist */
    EXIT_UNAVAILABLE = 69, /* a broker or database is away */
    EXIT_BUG = 70,         /* an internal error */
    EXIT_IO = 74,          /* a file or device failed */
    EXIT_REFUSED = 77,     /* permission, password, lock held elsewhere */
    EXIT_CONFIG = 78       /* the configuration is wrong */
};

struct cmd {
    const char *name;
    const char *summary; /* one line for `fraudd --help` */
    int (*run)(int argc, char **argv);
};

int cmd_simulate(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_backtest(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_sink(int argc, char **argv);
int cmd_alerts(int argc, char **argv);
int cmd_audit(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_outcomes(int argc, char **argv);
int cmd_model(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_lists(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_labels(int argc, char **argv);
int cmd_produce(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* The exit code that belongs to an error. */
int cmd_exit_code(enum err code);

/* Prints "fraudd <verb>: <text>" to standard error and returns the exit code of `code`. */
int cmd_fail(const char *verb, enum err code, const struct errmsg *e);

#endif
