/* What a daemon tells of itself: /metrics, /healthz and /readyz.
 *
 * Invariants
 *  1. The daemon's loop is never held up: it fills a page of its own and exchanges it against a
 *     third one with one atomic operation (triple buffer); the server's thread does the same.
 *  2. The server's thread reads nothing but the page it holds and the atomics of this file.
 * One thread fills; the server's thread is the one reader. */
#ifndef FD_DAEMON_MONITOR_H
#define FD_DAEMON_MONITOR_H

#include "base/err.h"
#include "daemon/metrics.h"

struct monitor;

/* address: as http_start wants it; "" : no server, filling still works.  /healthz fails when the
 * loop has not called monitor_alive for stall_us.  now_us: monotonic microseconds.
 * ERR_INVALID, ERR_REFUSED, ERR_IO as http_start; ERR_NOMEM. */
FD_MUSTCHECK enum err monitor_create(const char *address, int64_t stall_us, int64_t (*now_us)(void),
                                     struct monitor **out, struct errmsg *e);
void monitor_free(struct monitor *m);

/* The loop turned. */
void monitor_alive(struct monitor *m);
/* An empty page to fill; it counts from monitor_publish on. */
struct metrics_page *monitor_page(struct monitor *m);
void monitor_publish(struct monitor *m);

/* Port of the server; 0: none. */
unsigned monitor_port(const struct monitor *m);

#endif
