/* Log lines of the daemon: one line an event, `level=info event=started key=value ...` (logfmt), to
 * standard error.  Under systemd the line begins with the journal's priority instead of the time.
 * Any thread may log; a line is written whole.  No secret, card number or key goes into a line. */
#ifndef FD_BASE_LOG_H
#define FD_BASE_LOG_H

#include <stddef.h>

#include "base/err.h"

enum log_level { FD_LOG_DEBUG, FD_LOG_INFO, FD_LOG_WARN, FD_LOG_ERROR };

/* Lines below the level are left out.  The first level is info. */
void log_set_level(enum log_level level);
/* Level of a name ("debug", "info", "warn", "error"), or -1. */
int log_level_find(const char *name);

/* event: a fixed snake_case word; fmt: the further `key=value` pairs. */
void log_line(enum log_level level, const char *event, const char *fmt, ...) FD_PRINTF(3, 4);

/* Writes `text` as a logfmt value into out: quoted and escaped where needed, cut to fit.  Returns
 * out. */
char *log_quote(char *out, size_t out_size, const char *text);

#endif
