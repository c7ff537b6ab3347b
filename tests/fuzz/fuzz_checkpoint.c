/* Any bytes as a full checkpoint and an increment on it: they are refused and the areas stay as
 * they were, or they are loaded and nothing is written beyond the areas.  The first byte: whether
 * the checksums are made to fit, so that what lies behind them is reached; the next four: where the
 * increment begins. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/checkpoint_format.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define FULL "world.00000000000000000001.full"
#define INC "world.00000000000000000002.inc"
#define AREAS 2
#define ROOM 40000U

/* The two files; a handle is 0 or 1. */
struct files {
    uint8_t *bytes[2];
    size_t len[2], at[2];
};

static int mem_open(void *ctx, const char *path, enum disk_open how)
{
    struct files *f = ctx;
    int which = strcmp(path, "d/" INC) == 0;
    assert(how == DISK_READ && (which == 1 || strcmp(path, "d/" FULL) == 0));
    f->at[which] = 0;
    return which;
}

static ssize_t mem_read(void *ctx, int handle, void *out, size_t len)
{
    struct files *f = ctx;
    size_t left = f->len[handle] - f->at[handle];
    len = len < left ? len : left;
    if (len > 0) {
        memcpy(out, f->bytes[handle] + f->at[handle], len);
    }
    f->at[handle] += len;
    return (ssize_t)len;
}

static int mem_close(void *ctx, int handle)
{
    (void)ctx, (void)handle;
    return 0;
}

static int mem_list(void *ctx, const char *dir, void (*visit)(void *arg, const char *name),
                    void *arg)
{
    (void)ctx, (void)dir;
    visit(arg, FULL);
    visit(arg, INC);
    return 0;
}

static uint64_t seal(uint8_t *p, size_t len, uint64_t seed)
{
    uint64_t sum = hash_bytes(p, len, seed);
    put_u64(p + len, sum);
    return sum;
}

/* Makes the checksums of a file fit, as far as its own lengths lead.  Returns the last. */
static uint64_t reseal(uint8_t *p, size_t len, uint64_t before_sum)
{
    if (len < CHECKPOINT_PREFIX) {
        return 0;
    }
    if (get_u32(p + 12) == CHECKPOINT_INCREMENT) {
        put_u64(p + 48, before_sum);
    }
    uint64_t sum = seal(p, CHECKPOINT_PREFIX - CHECKPOINT_SUM, 0);
    size_t areas = get_u32(p + 20) % (CHECKPOINT_AREAS_MAX + 1);
    size_t at = CHECKPOINT_PREFIX;
    size_t part = areas * CHECKPOINT_AREA_ENTRY + get_u32(p + 24) % (CHECKPOINT_HEADER_MAX + 1);
    while (at + part + CHECKPOINT_SUM <= len) {
        sum = seal(p + at, part, sum);
        at += part + CHECKPOINT_SUM;
        if (at + CHECKPOINT_BLOCK_PREFIX > len) {
            break;
        }
        part =
            get_u32(p + at) == CHECKPOINT_TAG_END
                ? CHECKPOINT_END - CHECKPOINT_SUM
                : CHECKPOINT_BLOCK_PREFIX + (size_t)get_u32(p + at + 8) * 4 + get_u32(p + at + 16);
    }
    return sum;
}

static void check_beyond(const struct area *a)
{
    assert(a->bytes <= a->bytes_max);
    for (size_t i = a->bytes; i < a->bytes_max; i++) {
        assert(((const uint8_t *)a->at)[i] == 0);
    }
}

static void try_load(struct files *f)
{
    struct disk disk = {
        .ctx = f, .open = mem_open, .read = mem_read, .close = mem_close, .list = mem_list};
    struct checkpoint_source from = {
        .disk = &disk, .dir = "d", .stem = "world", .position_max = UINT64_MAX};
    struct checkpoint_loaded *loaded = malloc(sizeof *loaded);
    /* from malloc: a write beyond is seen */
    struct area areas[AREAS] = {{"cards", calloc(1, ROOM), 0, ROOM}, {"clock", calloc(1, 9), 0, 9}};
    struct errmsg e = {""};
    assert(loaded != NULL && areas[0].at != NULL && areas[1].at != NULL);
    enum err err = checkpoint_load(&from, areas, AREAS, loaded, &e);
    assert(err == ERR_OK || e.text[0] != '\0');
    for (int i = 0; i < AREAS; i++) {
        assert(err == ERR_OK || areas[i].bytes == 0);
        check_beyond(&areas[i]);
        free(areas[i].at);
    }
    free(loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 5) {
        return 0;
    }
    struct files f = {{NULL, NULL}, {0, 0}, {0, 0}};
    size_t rest = len - 5;
    size_t split = get_u32(bytes + 1);
    split = split < rest ? split : rest;
    f.len[0] = split;
    f.len[1] = rest - split;
    for (int i = 0; i < 2; i++) {
        f.bytes[i] = malloc(f.len[i] + 1);
        assert(f.bytes[i] != NULL);
        memcpy(f.bytes[i], bytes + 5 + (i == 0 ? 0 : split), f.len[i]);
    }
    if (bytes[0] % 2 == 1) {
        uint64_t sum = reseal(f.bytes[0], f.len[0], 0);
        (void)reseal(f.bytes[1], f.len[1], sum);
    }
    try_load(&f);
    free(f.bytes[0]);
    free(f.bytes[1]);
    return 0;
}
