#include "daemon/console_tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timefmt.h"

#define FILE_MAX ((size_t)1 << 20)
#define BLANKS " \t\r"

static const char *const ROLES[] = {[CONSOLE_VIEWER] = "viewer", [CONSOLE_ANALYST] = "analyst"};

void console_hash(const char *secret, uint8_t out[CONSOLE_HASH])
{
    SHA256((const unsigned char *)secret, strlen(secret), out);
}

static void to_hex(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static bool from_hex(const char *text, size_t len, uint8_t out[CONSOLE_HASH])
{
    if (len != CONSOLE_HASH * 2 || strspn(text, "0123456789abcdef") < len) {
        return false;
    }
    for (size_t i = 0; i < CONSOLE_HASH; i++) {
        const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

enum err console_secret(char out[CONSOLE_SECRET_TEXT], struct errmsg *e)
{
    uint8_t bytes[CONSOLE_HASH];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        return err_set(e, ERR_IO, "the system gives no random bytes: %s", strerror(errno));
    }
    to_hex(bytes, sizeof bytes, out);
    return ERR_OK;
}

/* Who acts is written into the audit and into messages. */
static bool who_good(const char *who, size_t len)
{
    return len > 0 && len <= CONSOLE_WHO_MAX &&
           strspn(who, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-") >= len;
}

static bool role_find(const char *text, size_t len, enum console_role *out)
{
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++) {
        if (strlen(ROLES[i]) == len && memcmp(text, ROLES[i], len) == 0) {
            *out = (enum console_role)i;
            return true;
        }
    }
    return false;
}

/* The next word of a line; *len 0 at its end. */
static const char *word(const char **at, size_t *len)
{
    const char *begin = *at + strspn(*at, BLANKS);
    *len = strcspn(begin, BLANKS "\n");
    *at = begin + *len;
    return begin;
}

static enum err take_line(const char *line, struct console_token *out, struct errmsg *e)
{
    size_t len = 0;
    const char *at = line;
    const char *text = word(&at, &len);
    if (!who_good(text, len)) {
        return err_set(e, ERR_INVALID, "a name has 1 to %d letters, digits and any of \"._@-\"",
                       CONSOLE_WHO_MAX);
    }
    memcpy(out->who, text, len);
    out->who[len] = '\0';
    text = word(&at, &len);
    if (!role_find(text, len, &out->role)) {
        return err_set(e, ERR_INVALID, "the role is not viewer or analyst");
    }
    text = word(&at, &len);
    if (time_parse(text, len, &out->until_us) != ERR_OK) {
        return err_set(e, ERR_INVALID, "the expiry is no time such as 2026-12-31T17:00:00Z");
    }
    text = word(&at, &len);
    if (!from_hex(text, len, out->hash)) {
        return err_set(e, ERR_INVALID, "the token's SHA-256 is not 64 hexadecimal digits");
    }
    (void)word(&at, &len);
    return len == 0 ? ERR_OK : err_set(e, ERR_INVALID, "there is a fifth word");
}

static enum err parse(const char *path, const char *text, struct console_tokens *out,
                      struct errmsg *e)
{
    int number = 0;
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char first = line[strspn(line, BLANKS)];
        number++;
        if (first != '#' && first != '\n' && first != '\0') {
            if (out->count == CONSOLE_TOKENS_MAX) {
                return err_set(e, ERR_INVALID, "%s has more than %d tokens", path,
                               CONSOLE_TOKENS_MAX);
            }
            enum err err = take_line(line, &out->token[out->count], e);
            if (err != ERR_OK) {
                return err_prefix(e, err, "%s line %d", path, number);
            }
            out->count++;
        }
        line += len + (line[len] == '\n');
    }
    return ERR_OK;
}

enum err console_tokens_read(const char *path, struct console_tokens *out, struct errmsg *e)
{
    struct stat st;
    uint8_t *text = NULL;
    size_t len = 0;
    if (stat(path, &st) != 0) {
        return file_errno(e, errno, "read", path);
    }
    if ((st.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return err_set(e, ERR_REFUSED,
                       "%s may be read or written by others (mode %03o); chmod 600 it, or 640",
                       path, (unsigned)(st.st_mode & 0777U));
    }
    struct console_tokens *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return err_set(e, ERR_NOMEM, "cannot read %s: no memory", path);
    }
    t->changed = st.st_mtim;
    t->inode = st.st_ino;
    t->size = st.st_size;
    enum err err = file_read(path, FILE_MAX, &text, &len, e);
    if (err == ERR_OK) {
        err = parse(path, (const char *)text, t, e);
    }
    if (err == ERR_OK) {
        *out = *t;
    }
    free(text);
    free(t);
    return err;
}

bool console_tokens_changed(const struct console_tokens *t, const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || st.st_ino != t->inode || st.st_size != t->size ||
           st.st_mtim.tv_sec != t->changed.tv_sec || st.st_mtim.tv_nsec != t->changed.tv_nsec;
}

const struct console_token *console_tokens_find(const struct console_tokens *t,
                                                const uint8_t hash[CONSOLE_HASH])
{
    for (size_t i = 0; i < t->count; i++) {
        if (memcmp(t->token[i].hash, hash, CONSOLE_HASH) == 0) {
            return &t->token[i];
        }
    }
    return NULL;
}

enum err console_grant(const char *tokens_path, const char *who, const char *role, int64_t until_us,
                       char out_token[CONSOLE_SECRET_TEXT], struct errmsg *e)
{
    char line[CONSOLE_WHO_MAX + 200];
    char expiry[TIME_TEXT_MAX];
    char hex[CONSOLE_HASH * 2 + 1];
    char token[CONSOLE_SECRET_TEXT];
    uint8_t hash[CONSOLE_HASH];
    enum console_role is = CONSOLE_VIEWER;
    if (!who_good(who, strlen(who)) || !role_find(role, strlen(role), &is)) {
        return err_set(e, ERR_INVALID,
                       "\"%.70s\" as \"%.20s\" is not allowed; give a name of letters, digits and "
                       "\"._@-\", and viewer or analyst",
                       who, role);
    }
    enum err err = console_secret(token, e);
    if (err != ERR_OK) {
        return err;
    }
    console_hash(token, hash);
    to_hex(hash, sizeof hash, hex);
    time_format(expiry, until_us);
    int len = snprintf(line, sizeof line, "%s %s %s %s\n", who, role, expiry, hex);
    int fd = open(tokens_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return file_errno(e, errno, "write", tokens_path);
    }
    if (write(fd, line, (size_t)len) != len || fsync(fd) != 0) {
        err = file_errno(e, errno, "write", tokens_path);
    }
    close(fd);
    if (err == ERR_OK) {
        memcpy(out_token, token, sizeof token);
    }
    return err;
}
