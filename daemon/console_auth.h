/* Who may use the console: tokens from a file, sessions made with them, rates.
 *
 * The tokens file has a line a token: who, role, expiry, SHA-256 of the token, by blanks; '#'
 * begins a comment.  It holds no secret that opens anything, yet whoever writes to it gives access.
 * It is looked at again when it changes, and a session ends with its token's line.
 *
 * Invariants
 *  1. Neither a token nor a session's cookie is kept: only their SHA-256, and the tables are
 * searched by it, so the time of a search tells nothing of a secret.
 *  2. A session never outlives its token.
 * Any thread.  Times are microseconds since 1970, passed in. */
#ifndef FD_DAEMON_CONSOLE_AUTH_H
#define FD_DAEMON_CONSOLE_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CONSOLE_WHO_MAX 64
#define CONSOLE_TOKENS_MAX 256
#define CONSOLE_SESSIONS_MAX 256
#define CONSOLE_SECRET_TEXT 65 /* 32 random bytes in hexadecimal, and a zero */

enum console_role {
    CONSOLE_VIEWER, /* looks */
    CONSOLE_ANALYST /* claims and resolves too */
};

struct console_auth;

struct console_session {
    char who[CONSOLE_WHO_MAX + 1];
    enum console_role role;
    char csrf[CONSOLE_SECRET_TEXT]; /* every change has to name it */
    int64_t until_us;
};

/* Reads the file.  session_us: the longest life of a session.
 * ERR_NOTFOUND, ERR_REFUSED, ERR_IO the file (ERR_REFUSED too where others than owner and group may
 * read it or others than the owner write to it); ERR_INVALID a line of it. */
FD_MUSTCHECK enum err console_auth_create(const char *tokens_path, int64_t session_us,
                                          struct console_auth **out, struct errmsg *e);
void console_auth_free(struct console_auth *a);

/* Makes a session.  out_cookie: what the browser keeps.
 * ERR_REFUSED no such token, or it expired (it is not said which); ERR_FULL too many sessions. */
FD_MUSTCHECK enum err console_login(struct console_auth *a, const char *token, int64_t now_us,
                                    struct console_session *out,
                                    char out_cookie[CONSOLE_SECRET_TEXT], struct errmsg *e);
/* The cookie's session.  False: there is none (any more). */
bool console_session(struct console_auth *a, const char *cookie, int64_t now_us,
                     struct console_session *out);
void console_logout(struct console_auth *a, const char *cookie);

/* Whether two secrets of CONSOLE_SECRET_TEXT are the same, in a time that does not tell how much of
 * them is.  NULL is nobody's. */
bool console_same(const char *secret, const char *given);

/* What a request counts as; each has its own rate for each key. */
enum console_rate { CONSOLE_RATE_LOGIN, CONSOLE_RATE_REQUEST, CONSOLE_RATE_CHANGE };

/* Takes one from the bucket of this key (an address, an analyst).  False: it is empty. */
bool console_rate(struct console_auth *a, enum console_rate kind, const char *key, int64_t now_us);

/* Adds a token for `who` to the file (made where there is none, for its owner only).
 * ERR_INVALID who or role; ERR_IO, ERR_REFUSED the file. */
FD_MUSTCHECK enum err console_grant(const char *tokens_path, const char *who, const char *role,
                                    int64_t until_us, char out_token[CONSOLE_SECRET_TEXT],
                                    struct errmsg *e);

#endif
