#include "daemon/inbox.h"

#include <stdlib.h>
#include <string.h>

/* What one call of inbox_put brought: one allocation, messages first, then their bytes. */
struct inbox_chunk {
    struct inbox_chunk *next;
    size_t count, taken;
    struct bus_message m[];
};

static const void *copy(char **to, const void *from, size_t len)
{
    if (from == NULL) {
        return NULL;
    }
    char *at = *to;
    if (len > 0) {
        memcpy(at, from, len);
    }
    *to += len;
    return at;
}

bool inbox_put(struct inbox *b, const struct bus_message *m, size_t n)
{
    size_t bytes = 0;
    if (n == 0) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        bytes += m[i].key_len + m[i].value_len;
    }
    struct inbox_chunk *c = malloc(sizeof *c + n * sizeof c->m[0] + bytes + 1);
    if (c == NULL) {
        return false;
    }
    *c = (struct inbox_chunk){.count = n};
    char *to = (char *)(c->m + n);
    for (size_t i = 0; i < n; i++) {
        c->m[i] = m[i];
        c->m[i].key = copy(&to, m[i].key, m[i].key_len);
        c->m[i].value = copy(&to, m[i].value, m[i].value_len);
        c->m[i].header_count = 0;
    }
    if (b->last != NULL) {
        b->last->next = c;
    } else {
        b->first = c;
    }
    b->last = c;
    b->count += n;
    b->bytes += bytes;
    return true;
}

size_t inbox_head(const struct inbox *b, const struct bus_message **out)
{
    const struct inbox_chunk *c = b->first;
    if (c == NULL) {
        return 0;
    }
    *out = c->m + c->taken;
    return c->count - c->taken;
}

void inbox_take(struct inbox *b, size_t n)
{
    struct inbox_chunk *c = b->first;
    for (size_t i = 0; i < n; i++) {
        b->bytes -= c->m[c->taken + i].key_len + c->m[c->taken + i].value_len;
    }
    b->count -= n;
    c->taken += n;
    if (c->taken == c->count) {
        b->first = c->next;
        if (b->first == NULL) {
            b->last = NULL;
        }
        free(c);
    }
}

const struct bus_message *inbox_next(const struct inbox *b, struct inbox_at *at)
{
    if (at->chunk == NULL) {
        at->chunk = b->first;
        at->next = b->first != NULL ? b->first->taken : 0;
    }
    if (at->chunk != NULL && at->next == at->chunk->count && at->chunk->next != NULL) {
        at->chunk = at->chunk->next;
        at->next = 0;
    }
    return at->chunk != NULL && at->next < at->chunk->count ? &at->chunk->m[at->next++] : NULL;
}

void inbox_clear(struct inbox *b)
{
    while (b->first != NULL) {
        inbox_take(b, b->first->count - b->first->taken);
    }
}
