/* What the HTML pages of backtest and update have in common: style, policy, the way into a file. */
#ifndef FD_DAEMON_REPORT_PAGE_H
#define FD_DAEMON_REPORT_PAGE_H

#include <stdio.h>

#include "base/err.h"

/* Head and heading, up to inside <main><header>; the caller closes the header.  Escapes title. */
void report_page_begin(FILE *f, const char *title);
void report_page_end(FILE *f);

/* Renders in memory, then writes: the old or the new page is seen, never a half.  ERR_NOMEM,
 * ERR_IO, ERR_REFUSED, ERR_NOTFOUND, and what render returns. */
FD_MUSTCHECK enum err
report_page_write(const char *path, enum err (*render)(const void *ctx, FILE *f, struct errmsg *e),
                  const void *ctx, struct errmsg *e);

#endif
