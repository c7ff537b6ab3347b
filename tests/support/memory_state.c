#include "tests/support/memory_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"

void memory_state_init(struct memory_state *s, size_t cards, size_t sketch, size_t clock)
{
    static const char *const names[MEMORY_AREAS] = {"cards", "sketch", "clock"};
    const size_t max[MEMORY_AREAS] = {cards, sketch, clock};
    s->pool = NULL;
    for (int i = 0; i < MEMORY_AREAS; i++) {
        s->areas[i] = (struct area){
            .name = names[i], .at = calloc(1, max[i] + 1), .bytes = 0, .bytes_max = max[i]};
        assert_non_null(s->areas[i].at);
    }
}

void memory_state_done(struct memory_state *s)
{
    for (int i = 0; i < MEMORY_AREAS; i++) {
        free(s->areas[i].at);
    }
}

void memory_state_resize(struct memory_state *s, size_t area, size_t bytes)
{
    struct area *a = &s->areas[area];
    if (bytes < a->bytes) {
        memset((char *)a->at + bytes, 0, a->bytes - bytes);
    }
    a->bytes = bytes;
}

void memory_state_change(struct memory_state *s, struct rng *rng)
{
    for (size_t i = 0; i < MEMORY_AREAS; i++) {
        struct area *a = &s->areas[i];
        if (rng_below(rng, 3) == 0) {
            memory_state_resize(s, i, (size_t)rng_below(rng, a->bytes_max + 1));
        }
        for (uint64_t n = rng_below(rng, 6); n > 0 && a->bytes > 0; n--) {
            size_t at = (size_t)rng_below(rng, a->bytes);
            size_t len = 1 + (size_t)rng_below(rng, 3000);
            for (size_t k = at; k < at + len && k < a->bytes; k++) {
                ((uint8_t *)a->at)[k] = (uint8_t)rng_next(rng);
            }
        }
    }
}

uint64_t memory_state_hash(const struct memory_state *s)
{
    uint64_t hash = 0;
    for (int i = 0; i < MEMORY_AREAS; i++) {
        hash = hash_bytes(&s->areas[i].bytes, sizeof s->areas[i].bytes, hash);
        hash = hash_bytes(s->areas[i].at, s->areas[i].bytes_max, hash);
    }
    return hash;
}

struct checkpoint_conf memory_state_conf(const struct disk *disk)
{
    return (struct checkpoint_conf){.disk = disk,
                                    .dir = "d",
                                    .stem = "world",
                                    .increments_max = 8,
                                    .increments_share = 100,
                                    .in_process = true};
}

struct checkpoint *memory_state_writer(const struct memory_state *s,
                                       const struct checkpoint_conf *conf)
{
    struct checkpoint *c = NULL;
    struct errmsg e;
    if (checkpoint_create(conf, s->areas, MEMORY_AREAS, &c, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return c;
}

enum checkpoint_state memory_state_write(const struct memory_state *s, struct checkpoint *c,
                                         uint64_t position, struct checkpoint_result *out,
                                         struct errmsg *e)
{
    uint64_t hash = memory_state_hash(s);
    if (checkpoint_begin(c, position, s->areas, &hash, sizeof hash, e) != ERR_OK) {
        fail_msg("%s", e->text);
    }
    return checkpoint_wait(c, out, e);
}

struct checkpoint_result memory_state_written(const struct memory_state *s, struct checkpoint *c,
                                              uint64_t position)
{
    struct checkpoint_result result;
    struct errmsg e;
    if (memory_state_write(s, c, position, &result, &e) != CHECKPOINT_DONE) {
        fail_msg("%s", e.text);
    }
    return result;
}

static void note_refused(void *arg, const char *name, const char *why)
{
    struct memory_refused *r = arg;
    if (r->count++ == 0) {
        snprintf(r->first, sizeof r->first, "%s", name);
        snprintf(r->why, sizeof r->why, "%s", why);
    }
}

static enum err load_by(struct pool *pool, struct memory_state *s, const struct disk *disk,
                        uint64_t position_max, uint64_t *out_position,
                        struct memory_refused *refused, struct errmsg *e)
{
    struct checkpoint_source from = {.disk = disk,
                                     .dir = "d",
                                     .stem = "world",
                                     .position_max = position_max,
                                     .pool = pool,
                                     .refused = note_refused,
                                     .arg = refused};
    struct checkpoint_loaded loaded;
    uint64_t hash;
    *refused = (struct memory_refused){0};
    uint64_t before = memory_state_hash(s);
    enum err err = checkpoint_load(&from, s->areas, MEMORY_AREAS, &loaded, e);
    if (err != ERR_OK) {
        assert_true(memory_state_hash(s) == before);
        return err;
    }
    assert_int_equal(loaded.header_bytes, sizeof hash);
    memcpy(&hash, loaded.header, sizeof hash);
    assert_true(memory_state_hash(s) == hash);
    *out_position = loaded.position;
    return err;
}

enum err memory_state_load(struct memory_state *s, const struct disk *disk, uint64_t position_max,
                           uint64_t *out_position, struct memory_refused *out_refused,
                           struct errmsg *e)
{
    struct memory_refused unwanted;
    struct memory_refused *refused = out_refused != NULL ? out_refused : &unwanted;
    enum err err = load_by(NULL, s, disk, position_max, out_position, refused, e);
    if (s->pool != NULL) {
        const uint64_t alone = *out_position;
        struct memory_refused again;
        struct errmsg why = *e;
        assert_int_equal(load_by(s->pool, s, disk, position_max, out_position, &again, &why), err);
        assert_int_equal(*out_position, alone);
        assert_int_equal(again.count, refused->count);
        assert_string_equal(again.first, refused->first);
        assert_string_equal(again.why, refused->why);
        assert_string_equal(why.text, e->text);
    }
    return err;
}
