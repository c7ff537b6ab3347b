#include "daemon/console.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/console_db.h"
#include "daemon/console_files.h"
#include "daemon/console_private.h"
#include "daemon/table.h"
#include "storage/console.h"

#define CONNECTIONS 48U
#define STATEMENT_US (5 * TIME_S)

static const char JSON[] = "application/json; charset=utf-8";

/* No inline script or style, nothing from anywhere else, no frame. */
static const char POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

/* Of every reply. */
static const char *const HEADERS[] = {"Content-Security-Policy",
                                      POLICY,
                                      "X-Content-Type-Options",
                                      "nosniff",
                                      "X-Frame-Options",
                                      "DENY",
                                      "Referrer-Policy",
                                      "no-referrer",
                                      "Cross-Origin-Opener-Policy",
                                      "same-origin",
                                      "Cross-Origin-Resource-Policy",
                                      "same-origin",
                                      "Permissions-Policy",
                                      "camera=(), geolocation=(), microphone=(), payment=()",
                                      NULL};

struct console {
    struct console_conf conf;
    struct console_auth *auth;
    struct console_dbs *dbs;
    struct http *http;
    struct log_limit limit;
    _Atomic uint64_t requests, refused, failed, logins, logins_refused, changes;
};

static int64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

static void complain(struct console *k, const char *event, const char *text)
{
    char quoted[600];
    uint64_t held = 0;
    if (log_limit_pass(&k->limit, text, progress_now_us(), &held)) {
        log_line(FD_LOG_WARN, event, "detail=%s held=%" PRIu64,
                 log_quote(quoted, sizeof quoted, text), held);
    }
}

static void reply_error(struct http_reply *out, unsigned status, const char *text)
{
    FILE *f = open_memstream(&out->body, &out->len);
    out->status = status;
    out->type = JSON;
    if (f != NULL) {
        fputs("{\"error\":", f);
        table_print_json(f, text);
        fputs("}\n", f);
        fclose(f);
    }
}

static void reply_late(struct http_reply *out)
{
    reply_error(out, 429, "too many requests; wait a moment");
    out->header[0].name = "Retry-After";
    snprintf(out->header[0].value, sizeof out->header[0].value, "5");
}

/* "localhost:9466" for one of this console's names.  A page elsewhere whose name was made to point
 * here (DNS rebinding) has another one. */
static bool host_is_ours(const struct console *k, const struct http_request *r)
{
    const char *host = http_header(r, "Host");
    static const char *const LOOPBACK[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *name = k->conf.name;
    char ours[300];
    if (host == NULL) {
        return false;
    }
    if (name[0] != '\0' && strncmp(host, name, strlen(name)) == 0 &&
        (host[strlen(name)] == '\0' || host[strlen(name)] == ':')) {
        return true;
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(ours, sizeof ours, "%s:%u", LOOPBACK[i], r->port);
        if (strcmp(host, ours) == 0) {
            return true;
        }
    }
    return strcmp(host, k->conf.listen) == 0;
}

/* Whether the page itself made the request, where the browser says so. */
static bool same_origin(const struct http_request *r)
{
    const char *site = http_header(r, "Sec-Fetch-Site");
    const char *origin = http_header(r, "Origin");
    const char *host = http_header(r, "Host");
    if (site != NULL && strcmp(site, "same-origin") != 0) {
        return false;
    }
    if (origin == NULL) {
        return true;
    }
    const char *of = strstr(origin, "://");
    return of != NULL && host != NULL && strcmp(of + 3, host) == 0;
}

/* __Host-: a browser takes it over HTTPS only, for this host and all paths. */
static const char *cookie_name(const struct console *k)
{
    return k->conf.name[0] != '\0' ? "__Host-fraudd" : "fraudd";
}

static void set_cookie(const struct console *k, struct http_reply *out, const char *value,
                       int64_t seconds)
{
    out->header[0].name = "Set-Cookie";
    snprintf(out->header[0].value, sizeof out->header[0].value,
             "%s=%s; Path=/; Max-Age=%" PRId64 "; HttpOnly; SameSite=Strict%s", cookie_name(k),
             value, seconds, k->conf.name[0] != '\0' ? "; Secure" : "");
}

static unsigned status_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return 200;
    case ERR_INVALID:
        return 400;
    case ERR_NOTFOUND:
        return 404;
    case ERR_REFUSED:
        return 409;
    case ERR_UNAVAILABLE:
    case ERR_FULL:
        return 503;
    case ERR_NOMEM:
    case ERR_IO:
    case ERR_CORRUPT:
    case ERR_MISMATCH:
    case ERR_NUMERIC:
    case ERR_END:
        return 500;
    }
    return 500;
}

/* What the queue's functions say is for the analyst; what PostgreSQL says of the database is for
 * the log. */
static void reply_failed(struct console *k, const struct console_call *c, enum err err,
                         const struct errmsg *e, struct http_reply *out)
{
    const char *text = e->text;
    char said[120];
    if (err == ERR_INVALID && !c->told) {
        /* its words would quote the value */
        snprintf(said, sizeof said, "PostgreSQL refused a value given to %s, SQLSTATE %s",
                 c->request->path, c->sqlstate);
        complain(k, "value_refused", said);
        text = "a value in this request is not allowed";
    } else if (status_of(err) >= 500) {
        complain(k, "database", e->text);
        text = "the database does not answer; try again in a moment";
    }
    reply_error(out, status_of(err), text);
}

/* Runs a route once on a connection. */
static enum err run_once(struct console *k, const struct console_route *route,
                         struct console_call *c, struct http_reply *out, struct errmsg *e)
{
    char *body = NULL;
    size_t len = 0;
    enum err err = console_db_take(k->dbs, &c->db, e);
    if (err != ERR_OK) {
        return err;
    }
    c->out = open_memstream(&body, &len);
    if (c->out == NULL) {
        console_db_give(k->dbs, c->db, ERR_OK);
        return err_set(e, ERR_NOMEM, "no memory for an answer");
    }
    err = c->session != NULL ? console_act_for(c->db, c->session->who, e) : ERR_OK;
    if (err == ERR_OK) {
        err = route->run(c, e);
    }
    if (fclose(c->out) != 0 && err == ERR_OK) {
        err = err_set(e, ERR_NOMEM, "no memory for an answer");
    }
    snprintf(c->sqlstate, sizeof c->sqlstate, "%s", err != ERR_OK ? db_sqlstate(c->db) : "");
    console_db_give(k->dbs, c->db, err);
    if (err != ERR_OK) {
        free(body);
        return err;
    }
    out->status = 200;
    out->type = JSON;
    out->body = body;
    out->len = len;
    return ERR_OK;
}

static void run_route(struct console *k, const struct console_route *route,
                      const struct http_request *r, const struct console_session *s,
                      struct http_reply *out)
{
    struct errmsg e = {""};
    struct console_call c = {.conf = &k->conf, .request = r, .session = s};
    enum err err = run_once(k, route, &c, out, &e);
    if (err == ERR_UNAVAILABLE && !route->change) {
        err = run_once(k, route, &c, out, &e); /* the server was started anew meanwhile */
    }
    if (err != ERR_OK) {
        reply_failed(k, &c, err, &e, out);
    } else if (route->change) {
        k->changes++;
    }
}

static void login(struct console *k, const struct http_request *r, struct http_reply *out)
{
    char token[CONSOLE_SECRET_TEXT + 1];
    char cookie[CONSOLE_SECRET_TEXT];
    char said[200];
    struct console_session s;
    struct errmsg e = {""};
    const int64_t now_us = wall_us();
    const struct console_route *session = console_route_find("/api/session", false);
    if (!same_origin(r)) {
        reply_error(out, 403, "this request does not come from the console's own page");
        return;
    }
    if (!console_rate(k->auth, CONSOLE_RATE_LOGIN, r->peer, now_us)) {
        k->logins_refused++;
        reply_late(out);
        return;
    }
    enum err err = ERR_REFUSED;
    if (http_form(r, "token", token, sizeof token) == NULL) {
        snprintf(e.text, sizeof e.text, "this token is not valid, or not any more");
    } else {
        err = console_login(k->auth, token, now_us, &s, cookie, &e);
    }
    if (err != ERR_OK) {
        k->logins_refused++;
        snprintf(said, sizeof said, "peer %s: %.90s", r->peer, e.text);
        complain(k, "login_refused", said);
        reply_error(out, err == ERR_REFUSED ? 403 : status_of(err), e.text);
        return;
    }
    k->logins++;
    log_line(FD_LOG_INFO, "login", "who=%s peer=%s", s.who, r->peer);
    run_route(k, session, r, &s, out);
    set_cookie(k, out, cookie, (s.until_us - now_us) / TIME_S);
}

static void logout(struct console *k, const char *cookie, const struct console_session *s,
                   struct http_reply *out)
{
    static const char EMPTY[] = "{}\n";
    console_logout(k->auth, cookie);
    log_line(FD_LOG_INFO, "logout", "who=%s", s->who);
    out->status = 200;
    out->type = JSON;
    out->text = EMPTY;
    out->len = sizeof EMPTY - 1;
    set_cookie(k, out, "", 0);
}

/* What a change needs besides a session.  False: out says why not. */
static bool change_allowed(struct console *k, const struct http_request *r,
                           const struct console_session *s, struct http_reply *out)
{
    if (!same_origin(r) || !console_same(s->csrf, http_header(r, "X-CSRF-Token"))) {
        reply_error(out, 403, "this request does not come from the console's own page");
        return false;
    }
    if (!console_rate(k->auth, CONSOLE_RATE_CHANGE, s->who, wall_us())) {
        reply_late(out);
        return false;
    }
    return true;
}

static void answer_api(struct console *k, const struct http_request *r, struct http_reply *out)
{
    struct console_session s;
    const bool change = strcmp(r->method, "POST") == 0;
    const char *cookie = http_cookie(r, cookie_name(k));
    if (change && strcmp(r->path, "/api/login") == 0) {
        login(k, r, out);
        return;
    }
    if (!console_session(k->auth, cookie, wall_us(), &s)) {
        reply_error(out, 401, "log in first");
        return;
    }
    if (change && !change_allowed(k, r, &s, out)) {
        return;
    }
    if (change && strcmp(r->path, "/api/logout") == 0) {
        logout(k, cookie, &s, out);
        return;
    }
    const struct console_route *route = console_route_find(r->path, change);
    if (route == NULL) {
        reply_error(out, 404, "there is nothing here");
    } else if (route->analyst && s.role != CONSOLE_ANALYST) {
        reply_error(out, 403, "viewers look only; an analyst's token is needed");
    } else {
        run_route(k, route, r, &s, out);
    }
}

static void answer_file(const struct http_request *r, struct http_reply *out)
{
    static const char ALIVE[] = "ok\n";
    const struct console_file *file = console_file_find(r->path);
    if (strcmp(r->method, "POST") == 0) {
        out->status = 405;
    } else if (strcmp(r->path, "/healthz") == 0) {
        out->status = 200;
        out->type = "text/plain; charset=utf-8";
        out->text = ALIVE;
        out->len = sizeof ALIVE - 1;
    } else if (file != NULL) {
        out->status = 200;
        out->type = file->type;
        out->text = file->text;
        out->len = strlen(file->text);
    } else {
        reply_error(out, 404, "there is nothing here");
    }
}

static void handle(void *ctx, const struct http_request *r, struct http_reply *out)
{
    struct console *k = ctx;
    k->requests++;
    if (!host_is_ours(k, r)) {
        reply_error(out, 421, "this is not the console's name; console.name tells it another one");
    } else if (!console_rate(k->auth, CONSOLE_RATE_REQUEST, r->peer, wall_us())) {
        reply_late(out);
    } else if (strncmp(r->path, "/api/", 5) == 0) {
        answer_api(k, r, out);
    } else {
        answer_file(r, out);
    }
    k->refused += out->status >= 400 && out->status < 500;
    k->failed += out->status >= 500;
}

enum err console_start(const struct console_conf *c, struct console **out, struct errmsg *e)
{
    struct console *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return err_set(e, ERR_NOMEM, "cannot start the console: no memory");
    }
    k->conf = *c;
    k->limit = (struct log_limit)LOG_LIMIT_INIT;
    enum err err = console_auth_create(c->tokens, c->session_us, &k->auth, e);
    if (err == ERR_OK) {
        err = console_dbs_create(c->conninfo, STATEMENT_US, &k->dbs, e);
    }
    if (err == ERR_OK) {
        const struct http_plan plan = {.address = c->listen,
                                       .connections = CONNECTIONS,
                                       .threads = CONSOLE_DBS,
                                       .body_max = CONSOLE_BODY_MAX,
                                       .headers = HEADERS,
                                       .handler = handle,
                                       .ctx = k};
        err = http_start(&plan, &k->http, e);
    }
    if (err != ERR_OK) {
        console_stop(k);
        return err;
    }
    *out = k;
    return ERR_OK;
}

void console_stop(struct console *k)
{
    if (k != NULL) {
        http_stop(k->http);
        console_dbs_free(k->dbs);
        console_auth_free(k->auth);
        free(k);
    }
}

unsigned console_port(const struct console *k)
{
    return http_port(k->http);
}

void console_tend(struct console *k)
{
    http_end_late(k->http);
}

void console_stats(const struct console *k, struct console_stats *out)
{
    *out = (struct console_stats){.requests = k->requests,
                                  .refused = k->refused,
                                  .failed = k->failed,
                                  .logins = k->logins,
                                  .logins_refused = k->logins_refused,
                                  .changes = k->changes};
}
