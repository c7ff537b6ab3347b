/* A weekly update as one HTML page that needs nothing else: what the gate says and which bounds
 * were missed, what the new model is worth beside the served one, how far the payments have moved,
 * where the time went.  As the page of a backtest (report.h): escaped, scripts and loading
 * forbidden. */
#ifndef FD_DAEMON_UPDATE_REPORT_H
#define FD_DAEMON_UPDATE_REPORT_H

#include <stdio.h>

#include "base/err.h"
#include "daemon/update.h"

/* drift_bound: the setting update.drift. */
FD_MUSTCHECK enum err update_report_render(const struct update_outcome *u, double drift_bound,
                                           FILE *f, struct errmsg *e);
/* The same to a file: the old or the new one is seen, never a half.  ERR_NOMEM, ERR_IO,
 * ERR_REFUSED, ERR_NOTFOUND. */
FD_MUSTCHECK enum err update_report_write(const struct update_outcome *u, double drift_bound,
                                          const char *path, struct errmsg *e);

#endif
