/* The analysts' page over the queue: static files and a small JSON interface below /api/, for
 * browsers on this machine or behind an HTTPS proxy.
 *
 * Invariants
 *  1. Nothing but the page's own files, /healthz and /api/login answers without a session.
 *  2. Every change wants the session's CSRF token in a header, an analyst's role, and a request
 * that the page itself made (Origin, Sec-Fetch-Site, where the browser says).
 *  3. What comes from outside is a parameter of a constant statement, and text of a JSON string;
 *     the page puts it into text nodes only, and its policy (CSP) forbids any other script or
 * style.
 *  4. Who acts is the session's, never the request's.
 * The handlers run in the server's threads. */
#ifndef FD_DAEMON_CONSOLE_H
#define FD_DAEMON_CONSOLE_H

#include <stdint.h>

#include "base/err.h"

struct console;

/* Texts are borrowed for the console's life. */
struct console_conf {
    const char *listen;   /* address and port */
    const char *name;     /* "": none; the name under which an HTTPS proxy serves it */
    const char *conninfo; /* PostgreSQL */
    const char *tokens;   /* file */
    int64_t session_us;
    int64_t lease_us; /* of a claim */
    int64_t budget;   /* alerts a day */
    int64_t day_offset_us;
};

struct console_stats {
    uint64_t requests, refused; /* refused: 4xx, whatever for */
    uint64_t failed;            /* 5xx */
    uint64_t logins, logins_refused;
    uint64_t changes; /* claims, releases, verdicts that were done */
};

/* Errors as console_auth_create and http_start. */
FD_MUSTCHECK enum err console_start(const struct console_conf *c, struct console **out,
                                    struct errmsg *e);
void console_stop(struct console *k);
unsigned console_port(const struct console *k);
/* Call it every second or so: ends requests that are late. */
void console_tend(struct console *k);
void console_stats(const struct console *k, struct console_stats *out);

#endif
