/* What a bus tells of trouble, as lines of the log; the same again and again is held back. */
#ifndef FD_DAEMON_BUS_TROUBLE_H
#define FD_DAEMON_BUS_TROUBLE_H

#include <stdbool.h>

#include "base/log_limit.h"

/* Fatal trouble is always written; quiet NULL: all of it. */
void bus_trouble_log(struct log_limit *quiet, bool fatal, const char *text);

#endif
