#include "tests/support/faulty_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAMES 256U
#define NODES 4096U
#define HANDLES 16U
#define PENDING 1024U
#define PATH 256U
#define SECTOR 512U
#define NONE UINT32_MAX

struct node {
    uint8_t *bytes;
    size_t len, synced, room;
};

struct name {
    char path[PATH]; /* "": free */
    uint32_t node;
};

/* `from` loses its name, `to` gets the node; either may be "". */
struct change {
    char from[PATH], to[PATH];
    uint32_t node;
};

struct faulty_inside {
    struct node nodes[NODES];
    uint32_t node_count;
    struct name live[NAMES], durable[NAMES];
    struct change pending[PENDING];
    size_t pending_count;
    struct {
        bool open;
        uint32_t node;
        size_t at;
    } handles[HANDLES];
};

static struct name *name_find(struct name *names, const char *path)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (strcmp(names[i].path, path) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

static void name_change(struct name *names, const struct change *c)
{
    struct name *from = c->from[0] != '\0' ? name_find(names, c->from) : NULL;
    if (from != NULL) {
        from->path[0] = '\0';
    }
    if (c->to[0] != '\0') {
        struct name *to = name_find(names, c->to);
        to = to != NULL ? to : name_find(names, "");
        assert(to != NULL);
        memcpy(to->path, c->to, sizeof to->path);
        to->node = c->node;
    }
}

static void change(struct faulty_disk *f, const char *from, const char *to, uint32_t node)
{
    struct faulty_inside *in = f->inside;
    struct change c = {.node = node};
    assert(strlen(from) < PATH && strlen(to) < PATH && in->pending_count < PENDING);
    memcpy(c.from, from, strlen(from));
    memcpy(c.to, to, strlen(to));
    name_change(in->live, &c);
    in->pending[in->pending_count++] = c;
}

static uint32_t node_new(struct faulty_disk *f)
{
    assert(f->inside->node_count < NODES);
    return f->inside->node_count++;
}

static void node_append(struct node *n, const void *bytes, size_t len)
{
    if (n->len + len > n->room) {
        n->room = (n->len + len) * 2;
        n->bytes = realloc(n->bytes, n->room);
        assert(n->bytes != NULL);
    }
    if (len > 0) {
        memcpy(n->bytes + n->len, bytes, len);
    }
    n->len += len;
}

/* Counts an operation.  0: do it; else what it returns.  *out_half: do some of it all the same. */
static int enter(struct faulty_disk *f, bool *out_half)
{
    *out_half = false;
    if (f->crashed) {
        return -EIO;
    }
    f->operations++;
    if (f->operations == f->crash_at) {
        f->crashed = true;
        *out_half = rng_below(&f->rng, 2) == 0;
        return -EIO;
    }
    return f->operations == f->fail_at ? -f->fail_errno : 0;
}

static int faulty_open(void *ctx, const char *path, enum disk_open how)
{
    struct faulty_disk *f = ctx;
    struct faulty_inside *in = f->inside;
    bool half;
    int err = enter(f, &half);
    struct name *name = name_find(in->live, path);
    if (err != 0 && !half) {
        return err;
    }
    if (how == DISK_READ && name == NULL) {
        return -ENOENT;
    }
    if (name == NULL) {
        change(f, "", path, node_new(f));
        name = name_find(in->live, path);
    } else if (how == DISK_CREATE) {
        in->nodes[name->node].len = in->nodes[name->node].synced = 0;
    }
    for (int i = 0; err == 0 && i < (int)HANDLES; i++) {
        if (!in->handles[i].open) {
            in->handles[i].open = true;
            in->handles[i].node = name->node;
            in->handles[i].at = 0;
            return i;
        }
    }
    return err != 0 ? err : -EMFILE;
}

static struct node *node_of(struct faulty_disk *f, int handle)
{
    assert(handle >= 0 && handle < (int)HANDLES && f->inside->handles[handle].open);
    return &f->inside->nodes[f->inside->handles[handle].node];
}

static ssize_t faulty_read(void *ctx, int handle, void *out, size_t len)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    if (err != 0) {
        return err;
    }
    const struct node *n = node_of(f, handle);
    size_t *at = &f->inside->handles[handle].at;
    size_t left = n->len - *at;
    len = len < left ? len : left;
    if (len > 0) {
        memcpy(out, n->bytes + *at, len);
    }
    *at += len;
    return (ssize_t)len;
}

static ssize_t faulty_write(void *ctx, int handle, const void *bytes, size_t len)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    if (err != 0 && !half) {
        return err;
    }
    if (f->room == 0 && len > 0) {
        return -ENOSPC;
    }
    len = len < f->room ? len : (size_t)f->room;
    if ((half || f->short_writes) && len > 1) {
        len = 1 + (size_t)rng_below(&f->rng, len);
    }
    f->room -= f->room == UINT64_MAX ? 0 : len;
    node_append(node_of(f, handle), bytes, len);
    return err != 0 ? err : (ssize_t)len;
}

static int faulty_sync(void *ctx, int handle)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    if (err == 0 || half) {
        node_of(f, handle)->synced = node_of(f, handle)->len;
    }
    return err;
}

static int faulty_close(void *ctx, int handle)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    (void)node_of(f, handle);
    f->inside->handles[handle].open = false;
    return err;
}

static int faulty_rename(void *ctx, const char *from, const char *to)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    const struct name *name = name_find(f->inside->live, from);
    if (err == 0 && name == NULL) {
        return -ENOENT;
    }
    if ((err == 0 || half) && name != NULL) {
        change(f, from, to, name->node);
    }
    return err;
}

static int faulty_unlink(void *ctx, const char *path)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    bool exists = name_find(f->inside->live, path) != NULL;
    if (err == 0 && !exists) {
        return -ENOENT;
    }
    if ((err == 0 || half) && exists) {
        change(f, path, "", NONE);
    }
    return err;
}

static int faulty_sync_dir(void *ctx, const char *dir)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    (void)dir;
    if (err == 0 || half) {
        for (size_t i = 0; i < f->inside->pending_count; i++) {
            name_change(f->inside->durable, &f->inside->pending[i]);
        }
        f->inside->pending_count = 0;
    }
    return err;
}

static int faulty_list(void *ctx, const char *dir, void (*visit)(void *arg, const char *name),
                       void *arg)
{
    struct faulty_disk *f = ctx;
    bool half;
    int err = enter(f, &half);
    size_t len = strlen(dir);
    for (size_t i = 0; err == 0 && i < NAMES; i++) {
        char path[PATH];
        if (strncmp(f->inside->live[i].path, dir, len) == 0 &&
            f->inside->live[i].path[len] == '/') {
            memcpy(path, f->inside->live[i].path, sizeof path); /* visit may unlink it */
            visit(arg, path + len + 1);
        }
    }
    return err;
}

void faulty_disk_init(struct faulty_disk *f, uint64_t seed)
{
    *f = (struct faulty_disk){.disk = {.ctx = f,
                                       .open = faulty_open,
                                       .read = faulty_read,
                                       .write = faulty_write,
                                       .sync = faulty_sync,
                                       .close = faulty_close,
                                       .rename = faulty_rename,
                                       .unlink = faulty_unlink,
                                       .sync_dir = faulty_sync_dir,
                                       .list = faulty_list},
                              .room = UINT64_MAX};
    rng_init(&f->rng, seed);
    f->inside = calloc(1, sizeof *f->inside);
    assert(f->inside != NULL);
}

void faulty_disk_done(struct faulty_disk *f)
{
    for (size_t i = 0; i < NODES; i++) {
        free(f->inside->nodes[i].bytes);
    }
    free(f->inside);
}

static void tear(struct faulty_disk *f, struct node *n)
{
    n->len = n->synced + (size_t)rng_below(&f->rng, n->len - n->synced + 1);
    for (size_t at = n->synced; at < n->len; at += SECTOR) {
        size_t len = n->len - at < SECTOR ? n->len - at : SECTOR;
        if (rng_below(&f->rng, 4) == 0) {
            memset(n->bytes + at, 0, len);
        }
    }
    n->synced = n->len;
}

void faulty_disk_restart(struct faulty_disk *f)
{
    struct faulty_inside *in = f->inside;
    for (size_t i = 0; i < in->pending_count; i++) {
        if (rng_below(&f->rng, 2) == 0) {
            name_change(in->durable, &in->pending[i]);
        }
    }
    in->pending_count = 0;
    memcpy(in->live, in->durable, sizeof in->live);
    for (uint32_t i = 0; i < in->node_count; i++) {
        tear(f, &in->nodes[i]);
    }
    memset(in->handles, 0, sizeof in->handles);
    f->crashed = f->short_writes = false;
    f->crash_at = f->fail_at = 0;
    f->room = UINT64_MAX;
}

void faulty_disk_wake(struct faulty_disk *f)
{
    if (f->crashed) {
        memset(f->inside->handles, 0, sizeof f->inside->handles);
        f->crashed = false;
        f->crash_at = 0;
    }
}

uint8_t *faulty_disk_bytes(struct faulty_disk *f, const char *path, size_t *out_len_bytes)
{
    const struct name *name = name_find(f->inside->live, path);
    if (name == NULL) {
        return NULL;
    }
    *out_len_bytes = f->inside->nodes[name->node].len;
    return f->inside->nodes[name->node].bytes;
}

void faulty_disk_put(struct faulty_disk *f, const char *path, const void *bytes, size_t len_bytes)
{
    struct name *name = name_find(f->inside->live, path);
    uint32_t node = name != NULL ? name->node : node_new(f);
    struct node *n = &f->inside->nodes[node];
    n->len = 0;
    node_append(n, bytes, len_bytes);
    n->synced = n->len;
    change(f, "", path, node);
    name_change(f->inside->durable, &f->inside->pending[--f->inside->pending_count]);
}

void faulty_disk_remove(struct faulty_disk *f, const char *path)
{
    change(f, path, "", NONE);
    name_change(f->inside->durable, &f->inside->pending[--f->inside->pending_count]);
}

size_t faulty_disk_count(const struct faulty_disk *f, const char *suffix)
{
    size_t count = 0;
    for (size_t i = 0; i < NAMES; i++) {
        size_t len = strlen(f->inside->live[i].path);
        size_t end = strlen(suffix);
        count += len >= end && strcmp(f->inside->live[i].path + len - end, suffix) == 0;
    }
    return count;
}
