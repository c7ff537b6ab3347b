#include "daemon/notice.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static const struct bus_header *find_header(const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->header_count; i++) {
        if (strcmp(m->headers[i].name, name) == 0) {
            return &m->headers[i];
        }
    }
    return NULL;
}

static void header_text(const struct bus_message *m, const char *name, char *out, size_t size)
{
    const struct bus_header *h = find_header(m, name);
    out[0] = '\0';
    if (h != NULL && h->len < size) {
        memcpy(out, h->value, h->len);
        out[h->len] = '\0';
    }
}

bool notice_is(const struct bus_message *m, const char *kind)
{
    char text[16];
    header_text(m, "kind", text, sizeof text);
    return strcmp(text, kind) == 0;
}

/* "3/7" */
static bool part_numbers(const char *text, uint32_t *number, uint32_t *parts)
{
    char *end = NULL;
    unsigned long a = strtoul(text, &end, 10);
    if (end == text || *end != '/') {
        return false;
    }
    unsigned long b = strtoul(end + 1, NULL, 10);
    *number = (uint32_t)a;
    *parts = (uint32_t)b;
    return a >= 1 && b >= a && b <= NOTICE_MODEL_MAX / NOTICE_PART_MAX;
}

void notice_done(struct notice_reader *r)
{
    free(r->bytes);
    memset(r, 0, sizeof *r);
}

static enum err add_part(struct notice_reader *r, const struct bus_message *m, struct errmsg *e)
{
    if (r->len + m->value_len > NOTICE_MODEL_MAX) {
        return err_set(e, ERR_CORRUPT, "a notice of over %zu bytes came", NOTICE_MODEL_MAX);
    }
    uint8_t *grown = realloc(r->bytes, r->len + m->value_len + 1);
    if (grown == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold a notice of %zu bytes", r->len + m->value_len);
    }
    memcpy(grown + r->len, m->value, m->value_len);
    r->bytes = grown;
    r->len += m->value_len;
    r->next++;
    return ERR_OK;
}

enum err notice_take(struct notice_reader *r, const char *kind, const struct bus_message *m,
                     const uint8_t **out, size_t *out_len, struct errmsg *e)
{
    char hash[24];
    char part[32];
    uint32_t number = 0;
    uint32_t parts = 0;
    if (!notice_is(m, kind)) {
        return ERR_OK;
    }
    header_text(m, "hash", hash, sizeof hash);
    header_text(m, "part", part, sizeof part);
    if (!part_numbers(part, &number, &parts)) {
        return err_set(e, ERR_CORRUPT, "a %s notice has part \"%s\"", kind, part);
    }
    const uint64_t whole = strtoull(hash, NULL, 16);
    if (r->next > 0 && whole == r->hash && parts == r->parts && number < r->next &&
        (number > 1 || r->next <= parts)) {
        return ERR_OK; /* another process sends the same; once is enough */
    }
    if (number == 1) {
        notice_done(r);
        r->hash = whole;
        r->parts = parts;
        r->next = 1;
    }
    if (r->next != number || r->parts != parts || r->hash != whole) {
        const uint32_t next = r->next;
        if (r->hash == whole) {
            notice_done(r);
        }
        return err_set(e, ERR_CORRUPT, "part %s of a %s notice does not follow part %" PRIu32, part,
                       kind, next);
    }
    enum err err = add_part(r, m, e);
    if (err == ERR_OK && r->next > parts) {
        if (hash_bytes(r->bytes, r->len, 0) != r->hash) {
            err = err_set(e, ERR_CORRUPT, "a %s of %zu bytes by notice does not have hash %s", kind,
                          r->len, hash);
        } else {
            *out = r->bytes;
            *out_len = r->len;
            return ERR_END;
        }
    }
    if (err != ERR_OK) {
        notice_done(r);
    }
    return err;
}

enum err notice_fits(const char *kind, size_t len, struct errmsg *e)
{
    if (len <= NOTICE_MODEL_MAX) {
        return ERR_OK;
    }
    const bool rules = strcmp(kind, "rules") == 0;
    return err_set(e, ERR_INVALID,
                   "a %s of %zu bytes cannot be told to all processes: what travels by the notices "
                   "topic has %zu at most; %s",
                   rules ? kind : "model", len, NOTICE_MODEL_MAX,
                   rules ? "take some of them out"
                         : "train a smaller one (`fraudd train --help`: --net.width, --net.layers, "
                           "--net.experts, --net.expert-hidden, --fit.bin-leaves)");
}

enum err notice_send_by(enum err (*send)(void *self, const struct bus_record *r, struct errmsg *e),
                        void *self, const char *kind, const uint8_t *bytes, size_t len,
                        struct errmsg *e)
{
    char hash[24];
    char part[32];
    size_t parts = (len + NOTICE_PART_MAX - 1) / NOTICE_PART_MAX;
    enum err fits = notice_fits(kind, len, e);
    if (fits != ERR_OK) {
        return fits;
    }
    snprintf(hash, sizeof hash, "%016" PRIx64, hash_bytes(bytes, len, 0));
    for (size_t i = 0; i < parts; i++) {
        snprintf(part, sizeof part, "%zu/%zu", i + 1, parts);
        const struct bus_header headers[] = {{"kind", kind, strlen(kind)},
                                             {"hash", hash, strlen(hash)},
                                             {"part", part, strlen(part)}};
        size_t at = i * NOTICE_PART_MAX;
        const struct bus_record r = {.topic = TOPIC_NOTICES,
                                     .partition = 0,
                                     .key = kind,
                                     .key_len = strlen(kind),
                                     .value = bytes + at,
                                     .value_len =
                                         len - at < NOTICE_PART_MAX ? len - at : NOTICE_PART_MAX,
                                     .headers = headers,
                                     .header_count = 3,
                                     .batch = i};
        enum err err = send(self, &r, e);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err notice_send(struct bus *bus, const char *kind, const uint8_t *bytes, size_t len,
                     struct errmsg *e)
{
    return notice_send_by(bus->send, bus->self, kind, bytes, len, e);
}

enum err notice_send_text(struct bus *bus, const char *kind, const char *text, size_t len,
                          uint64_t batch, struct errmsg *e)
{
    const struct bus_header header = {"kind", kind, strlen(kind)};
    const struct bus_record r = {.topic = TOPIC_NOTICES,
                                 .partition = 0,
                                 .key = kind,
                                 .key_len = strlen(kind),
                                 .value = text,
                                 .value_len = len,
                                 .headers = &header,
                                 .header_count = 1,
                                 .batch = batch};
    return bus->send(bus->self, &r, e);
}
