#include "daemon/console_auth.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/timefmt.h"
#include "daemon/console_tokens.h"

#define BUCKETS 256 /* a key a slot; two keys of one slot share its rate */

struct session {
    uint8_t cookie[CONSOLE_HASH]; /* of the cookie */
    uint8_t token[CONSOLE_HASH];
    struct console_session s; /* until_us 0: free */
};

struct bucket {
    double left;
    int64_t at_us;
};

struct console_auth {
    const char *path;
    int64_t session_us;
    pthread_mutex_t lock; /* of all below */
    bool unreadable;      /* the file, when it was last looked at; told once */
    struct console_tokens tokens;
    struct session session[CONSOLE_SESSIONS_MAX];
    struct bucket bucket[3][BUCKETS];
};

/* Burst and refill a second. */
static const struct {
    double burst, per_s;
} RATES[] = {
    [CONSOLE_RATE_LOGIN] = {10, .2}, /* one in five seconds: a person mistypes, a program guesses */
    [CONSOLE_RATE_REQUEST] = {300, 100},
    [CONSOLE_RATE_CHANGE] = {60, 10}, /* keys held down */
};

enum err console_auth_create(const char *tokens_path, int64_t session_us, struct console_auth **out,
                             struct errmsg *e)
{
    struct console_auth *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold sessions: no memory");
    }
    enum err err = console_tokens_read(tokens_path, &a->tokens, e);
    if (err != ERR_OK) {
        free(a);
        return err;
    }
    a->path = tokens_path;
    a->session_us = session_us;
    pthread_mutex_init(&a->lock, NULL);
    for (size_t i = 0; i < sizeof a->bucket / sizeof **a->bucket; i++) {
        a->bucket[i / BUCKETS][i % BUCKETS].left = RATES[i / BUCKETS].burst;
    }
    *out = a;
    return ERR_OK;
}

void console_auth_free(struct console_auth *a)
{
    if (a != NULL) {
        pthread_mutex_destroy(&a->lock);
        OPENSSL_cleanse(a, sizeof *a);
        free(a);
    }
}

/* Reads a changed file; sessions whose token is gone, or is somebody else's now, end.  A file that
 * cannot be read is no reason to let anybody in: no token counts until it can. */
static void look_again(struct console_auth *a)
{
    char quoted[600];
    struct errmsg e = {""};
    if (!console_tokens_changed(&a->tokens, a->path)) {
        return;
    }
    if (console_tokens_read(a->path, &a->tokens, &e) != ERR_OK) {
        if (!a->unreadable) {
            log_line(FD_LOG_ERROR, "tokens_unreadable", "detail=%s",
                     log_quote(quoted, sizeof quoted, e.text));
        }
        a->unreadable = true;
        memset(&a->tokens, 0, sizeof a->tokens);
    } else {
        a->unreadable = false;
        log_line(FD_LOG_INFO, "tokens_read", "count=%zu", a->tokens.count);
    }
    for (size_t i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        struct session *s = &a->session[i];
        const struct console_token *t = console_tokens_find(&a->tokens, s->token);
        if (s->s.until_us != 0 &&
            (t == NULL || strcmp(t->who, s->s.who) != 0 || t->role != s->s.role)) {
            memset(s, 0, sizeof *s);
        } else if (s->s.until_us != 0 && t->until_us < s->s.until_us) {
            s->s.until_us = t->until_us;
        }
    }
}

static struct session *free_place(struct console_auth *a, int64_t now_us)
{
    for (size_t i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        if (a->session[i].s.until_us <= now_us) {
            memset(&a->session[i], 0, sizeof a->session[i]);
            return &a->session[i];
        }
    }
    return NULL;
}

enum err console_login(struct console_auth *a, const char *token, int64_t now_us,
                       struct console_session *out, char out_cookie[CONSOLE_SECRET_TEXT],
                       struct errmsg *e)
{
    uint8_t hash[CONSOLE_HASH];
    struct session fresh = {0};
    console_hash(token, hash);
    enum err err = console_secret(out_cookie, e);
    if (err == ERR_OK) {
        err = console_secret(fresh.s.csrf, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    console_hash(out_cookie, fresh.cookie);
    memcpy(fresh.token, hash, sizeof hash);
    pthread_mutex_lock(&a->lock);
    look_again(a);
    const struct console_token *t = console_tokens_find(&a->tokens, hash);
    struct session *place = free_place(a, now_us);
    if (t == NULL || t->until_us <= now_us) {
        err = err_set(e, ERR_REFUSED, "this token is not valid, or not any more");
    } else if (place == NULL) {
        err = err_set(e, ERR_FULL, "there are %d sessions already", CONSOLE_SESSIONS_MAX);
    } else {
        memcpy(fresh.s.who, t->who, sizeof t->who);
        fresh.s.role = t->role;
        fresh.s.until_us =
            t->until_us < now_us + a->session_us ? t->until_us : now_us + a->session_us;
        *place = fresh;
        *out = fresh.s;
    }
    pthread_mutex_unlock(&a->lock);
    return err;
}

/* Locked. */
static struct session *find(struct console_auth *a, const char *cookie)
{
    uint8_t hash[CONSOLE_HASH];
    console_hash(cookie, hash);
    for (size_t i = 0; i < CONSOLE_SESSIONS_MAX; i++) {
        struct session *s = &a->session[i];
        if (s->s.until_us != 0 && memcmp(s->cookie, hash, sizeof hash) == 0) {
            return s;
        }
    }
    return NULL;
}

bool console_session(struct console_auth *a, const char *cookie, int64_t now_us,
                     struct console_session *out)
{
    if (cookie == NULL) {
        return false;
    }
    pthread_mutex_lock(&a->lock);
    look_again(a);
    struct session *s = find(a, cookie);
    bool there = s != NULL && s->s.until_us > now_us;
    if (there) {
        *out = s->s;
    } else if (s != NULL) {
        memset(s, 0, sizeof *s);
    }
    pthread_mutex_unlock(&a->lock);
    return there;
}

void console_logout(struct console_auth *a, const char *cookie)
{
    pthread_mutex_lock(&a->lock);
    struct session *s = find(a, cookie);
    if (s != NULL) {
        memset(s, 0, sizeof *s);
    }
    pthread_mutex_unlock(&a->lock);
}

bool console_same(const char *secret, const char *given)
{
    return given != NULL && strlen(given) == CONSOLE_SECRET_TEXT - 1 &&
           CRYPTO_memcmp(secret, given, CONSOLE_SECRET_TEXT - 1) == 0;
}

bool console_rate(struct console_auth *a, enum console_rate kind, const char *key, int64_t now_us)
{
    pthread_mutex_lock(&a->lock);
    struct bucket *b = &a->bucket[kind][hash_bytes(key, strlen(key), kind) % BUCKETS];
    double passed_s =
        b->at_us == 0 || now_us < b->at_us ? 0 : (double)(now_us - b->at_us) / (double)TIME_S;
    b->left += passed_s * RATES[kind].per_s;
    b->left = b->left < RATES[kind].burst ? b->left : RATES[kind].burst;
    b->at_us = now_us;
    bool passes = b->left >= 1;
    b->left -= passes ? 1 : 0;
    pthread_mutex_unlock(&a->lock);
    return passes;
}
