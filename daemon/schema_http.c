#include "daemon/schema_http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define USER_MAX 512 /* bytes of user:password */
#define CONNECT_S 5L

struct schema_http {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char url[512];
    char user[USER_MAX];
    char *body; /* [SCHEMA_ANSWER_MAX] */
    size_t len;
    bool too_long;
    char error[CURL_ERROR_SIZE];
};

static size_t on_bytes(char *at, size_t size, size_t count, void *ctx)
{
    struct schema_http *h = ctx;
    const size_t n = size * count;
    if (n > SCHEMA_ANSWER_MAX - h->len) {
        h->too_long = true;
        return 0; /* ends it */
    }
    memcpy(h->body + h->len, at, n);
    h->len += n;
    return n;
}

/* user:password, the file's one line. */
static enum err read_user(struct schema_http *h, const char *path, struct errmsg *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return err_prefix(e, file_errno(e, errno, "open", path), "registry.user-file");
    }
    enum err err = file_check_private(fd, path, e);
    const ssize_t n = err == ERR_OK ? read(fd, h->user, sizeof h->user - 1) : 0;
    if (err == ERR_OK && n < 0) {
        err = file_errno(e, errno, "read", path);
    }
    close(fd);
    const size_t end = strcspn(h->user, "\r\n");
    h->user[end] = '\0';
    if (err == ERR_OK && (end == sizeof h->user - 1 || strchr(h->user, ':') == NULL)) {
        err = err_set(e, ERR_CORRUPT, "%s is not one line user:password of at most %d bytes", path,
                      USER_MAX - 2);
    }
    return err == ERR_OK ? err : err_prefix(e, err, "registry.user-file");
}

static enum err read_settings(struct schema_http *h, const struct conf *c, struct errmsg *e)
{
    const char *url = conf_text(c, "registry.url");
    const char *user = conf_text(c, "registry.user-file");
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    if (len >= sizeof h->url) {
        return err_set(e, ERR_INVALID, "registry.url has more than %zu bytes", sizeof h->url - 1);
    }
    memcpy(h->url, url, len);
    return user != NULL && user[0] != '\0' ? read_user(h, user, e) : ERR_OK;
}

/* NOLINTBEGIN(bugprone-branch-clone) */
static bool set_up(struct schema_http *h, const char *ca)
{
    CURL *c = h->easy;
    bool good = curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_WRITEDATA, h) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->error) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_S) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SCHEMA_ANSWER_S) == CURLE_OK &&
                curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers) == CURLE_OK;
    if (good && h->user[0] != '\0') {
        good = curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_USERPWD, h->user) == CURLE_OK;
    }
    if (good && ca != NULL && ca[0] != '\0') {
        good = curl_easy_setopt(c, CURLOPT_CAINFO, ca) == CURLE_OK;
    }
    return good;
}
/* NOLINTEND(bugprone-branch-clone) */

enum err schema_http_create(const struct conf *c, struct schema_http **out, struct errmsg *e)
{
    struct schema_http *h = calloc(1, sizeof *h);
    if (h == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(h);
        return err_set(e, ERR_NOMEM, "cannot speak to a registry: no memory");
    }
    h->body = malloc(SCHEMA_ANSWER_MAX);
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    h->headers = curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    enum err err = ERR_OK;
    if (h->body == NULL || h->multi == NULL || h->easy == NULL || h->headers == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot speak to a registry: no memory");
    }
    if (err == ERR_OK) {
        err = read_settings(h, c, e);
    }
    if (err == ERR_OK && !set_up(h, conf_text(c, "registry.ca-file"))) {
        err = err_set(e, ERR_MISMATCH, "libcurl refuses an option: %s", curl_version());
    }
    if (err != ERR_OK) {
        schema_http_free(h);
        return err;
    }
    *out = h;
    return ERR_OK;
}

void schema_http_free(struct schema_http *h)
{
    if (h == NULL) {
        return;
    }
    if (h->multi != NULL && h->easy != NULL) {
        (void)curl_multi_remove_handle(h->multi, h->easy);
    }
    curl_easy_cleanup(h->easy);
    (void)curl_multi_cleanup(h->multi);
    curl_slist_free_all(h->headers);
    OPENSSL_cleanse(h->user, sizeof h->user);
    free(h->body);
    free(h);
    curl_global_cleanup();
}

const char *schema_http_url(const struct schema_http *h)
{
    return h->url;
}

void schema_http_begin(struct schema_http *h, const char *path, const char *body)
{
    char url[1024];
    snprintf(url, sizeof url, "%s%s", h->url, path);
    h->len = 0;
    h->too_long = false;
    h->error[0] = '\0';
    (void)curl_easy_setopt(h->easy, CURLOPT_URL, url);
    if (body != NULL) {
        (void)curl_easy_setopt(h->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        (void)curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, body);
    } else {
        (void)curl_easy_setopt(h->easy, CURLOPT_HTTPGET, 1L);
    }
    (void)curl_multi_add_handle(h->multi, h->easy);
}

/* The end of a request. */
static enum schema_http_state ended(struct schema_http *h, CURLcode code,
                                    struct schema_http_answer *out)
{
    (void)curl_multi_remove_handle(h->multi, h->easy);
    if (code != CURLE_OK) {
        out->certificate =
            code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
        snprintf(out->text, sizeof out->text, "%.220s%s",
                 h->too_long           ? "the answer is larger than 1 MiB"
                 : h->error[0] != '\0' ? h->error
                                       : curl_easy_strerror(code),
                 out->certificate ? "; look at registry.ca-file and the registry's certificate"
                                  : "");
        return SCHEMA_HTTP_FAILED;
    }
    (void)curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &out->status);
    out->body = h->body;
    out->len = h->len;
    return SCHEMA_HTTP_ANSWERED;
}

enum schema_http_state schema_http_turn(struct schema_http *h, int wait_ms,
                                        struct schema_http_answer *out)
{
    int running = 0;
    int left = 0;
    memset(out, 0, sizeof *out);
    CURLMcode code = curl_multi_perform(h->multi, &running);
    if (code == CURLM_OK && running > 0 && wait_ms > 0) {
        code = curl_multi_poll(h->multi, NULL, 0, wait_ms, NULL);
        code = code == CURLM_OK ? curl_multi_perform(h->multi, &running) : code;
    }
    if (code != CURLM_OK) {
        (void)curl_multi_remove_handle(h->multi, h->easy);
        snprintf(out->text, sizeof out->text, "%s", curl_multi_strerror(code));
        return SCHEMA_HTTP_FAILED;
    }
    const CURLMsg *m = curl_multi_info_read(h->multi, &left);
    return m != NULL && m->msg == CURLMSG_DONE ? ended(h, m->data.result, out) : SCHEMA_HTTP_BUSY;
}
