/* The option table of the daemons (score, sink, train and the verbs around them), and reading it.
 *
 * One table makes the parser, `--help`, etc/fraudd.conf and its check (tests/unit/test_settings.c:
 * the file equals what the table prints). */
#ifndef FD_DAEMON_SETTINGS_H
#define FD_DAEMON_SETTINGS_H

#include "base/conf.h"
#include "base/err.h"
#include "daemon/bus.h"
#include "daemon/options.h"

/* Every setting of the daemons; static, ends with a null name. */
extern const struct conf_option SETTINGS[];

/* What every verb with settings has besides: --config. */
extern const struct conf_option SETTINGS_FILE[];

/* Table lists for settings_load: {SETTINGS_FILE, SETTINGS, the verb's own.., NULL}.  The file named
 * by --config or FRAUDD_CONFIG, then the environment, then the command line; then what must agree
 * between settings is checked.  Where --help is asked it returns ERR_END and *out stays untouched.
 * A value that fails names where it came from and what is allowed (ERR_INVALID; out_usage, which
 * may be NULL, says whether that was the command line); ERR_NOTFOUND, ERR_REFUSED, ERR_IO: the
 * file.  Returns owned; the tables are borrowed for its life. */
FD_MUSTCHECK enum err settings_load(const struct conf_option *const *tables, int argc, char **argv,
                                    struct conf **out, bool *out_usage, struct errmsg *e);

/* Prints the one line of a failed settings_load.  Returns EXIT_USAGE for the command line,
 * EXIT_CONFIG for file and environment, otherwise cmd_exit_code. */
int settings_fail(const char *verb, enum err err, bool usage, const struct errmsg *e);

/* Both for a verb: shows the help (of the tables `shown`) or prints one clear line.  Returns -1 and
 * an owned conf, or the exit code to end with. */
int settings_begin(const struct verb *v, const struct conf_option *const *tables,
                   const struct conf_option *const *shown, int argc, char **argv,
                   struct conf **out);

/* What must agree between settings.  out_bad (may be NULL): the option that is refused, static. */
FD_MUSTCHECK enum err settings_check(const struct conf *c, const char **out_bad, struct errmsg *e);

/* Name of a topic in the settings ("topics.transactions") and its configured name. */
const char *settings_topic_option(enum bus_topic topic);
const char *settings_topic(const struct conf *c, enum bus_topic topic);

/* The text of etc/fraudd.conf. */
void settings_print_sample(FILE *f);

#endif
