/* A backtest as one HTML page that needs nothing else: figures with intervals, curves as inline
 * SVG, segments, where the models come from.  Light and dark, by the reader's system.  Everything
 * that comes from outside (file names, versions, segments) is escaped, and the page's own policy
 * forbids scripts and loading. */
#ifndef FD_DAEMON_REPORT_H
#define FD_DAEMON_REPORT_H

#include <stdio.h>

#include "base/err.h"
#include "daemon/backtest.h"

/* b: measured.  ERR_NOMEM. */
FD_MUSTCHECK enum err report_render(const struct backtest *b, FILE *f, struct errmsg *e);

/* The same to a file: the old or the new one is seen, never a half.  ERR_NOMEM, ERR_IO,
 * ERR_REFUSED, ERR_NOTFOUND. */
FD_MUSTCHECK enum err report_write(const struct backtest *b, const char *path, struct errmsg *e);

/* Inside of report*.c: the charts, each a <figure>. */
FD_MUSTCHECK enum err report_charts(const struct backtest *b, FILE *f, struct errmsg *e);

#endif
