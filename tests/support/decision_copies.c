#include "tests/support/decision_copies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include "base/hash.h"

#define SHOWN 20 /* faults printed one by one */

/* Whether the message begins with the id of a transaction of this log. */
static bool read_id(const struct decision_copies *d, const rd_kafka_message_t *m, long *out_part,
                    int64_t *out_offset)
{
    char text[256];
    char start[128];
    char *at = NULL;
    snprintf(text, sizeof text, "%.*s", (int)(m->len < 200 ? m->len : 200), (char *)m->payload);
    int len = snprintf(start, sizeof start, "{\"id\":\"%s/", d->log);
    if (strncmp(text, start, (size_t)len) != 0) {
        return false;
    }
    *out_part = strtol(text + len, &at, 10);
    if (*at != '/' || *out_part < 0 || *out_part >= d->partitions) {
        return false;
    }
    *out_offset = strtoll(at + 1, &at, 10);
    return *at == '"' && *out_offset >= 0 && *out_offset < d->end[*out_part];
}

static void on_message(void *ctx, const rd_kafka_message_t *m)
{
    struct decision_copies *d = ctx;
    long partition = -1;
    int64_t offset = -1;
    if (m->key_len == 0 || !read_id(d, m, &partition, &offset)) {
        d->strangers++;
        return;
    }
    struct copies *c = &d->of[partition][offset];
    uint64_t hash = hash_bytes(m->payload, m->len, hash_bytes(m->key, m->key_len, 0));
    d->ids += c->count == 0;
    d->repeats += c->count > 0;
    if (c->count > 0 && c->hash != hash) {
        if (d->differing++ < SHOWN) {
            print_message("differs from the one before: %.*s\n", (int)m->len, (char *)m->payload);
        }
    }
    c->hash = hash;
    c->count++;
}

void decision_copies_read(struct decision_copies *d, const struct cluster *c, const char *log,
                          const char *transactions, int partitions, const char *topic)
{
    *d = (struct decision_copies){.log = log, .partitions = partitions};
    assert_in_range(partitions, 1, COPIES_PARTITIONS);
    for (int p = 0; p < partitions; p++) {
        d->end[p] = cluster_end(c, transactions, p);
        d->of[p] = calloc((size_t)d->end[p] + 1, sizeof *d->of[p]);
        assert_non_null(d->of[p]);
    }
    cluster_read(c, topic, on_message, d);
}

uint64_t decision_copies_unlike(const struct decision_copies *a, const struct decision_copies *b)
{
    uint64_t unlike = 0;
    assert_int_equal(a->partitions, b->partitions);
    for (int p = 0; p < a->partitions; p++) {
        assert_int_equal(a->end[p], b->end[p]);
        for (int64_t i = 0; i < a->end[p]; i++) {
            const struct copies *x = &a->of[p][i];
            const struct copies *y = &b->of[p][i];
            if ((x->count > 0) != (y->count > 0) || x->hash != y->hash) {
                if (unlike++ >= SHOWN) {
                    continue;
                }
                print_message("unlike: %s/%d/%lld, %u and %u copies\n", a->log, p, (long long)i,
                              x->count, y->count);
            }
        }
    }
    return unlike;
}

void decision_copies_done(struct decision_copies *d)
{
    for (int p = 0; p < d->partitions; p++) {
        free(d->of[p]);
    }
}
