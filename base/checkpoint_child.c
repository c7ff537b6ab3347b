/* The writer's child: pages that changed, packed into blocks; sync, rename, sync; then old chains
 * go. Nothing here allocates (base/checkpoint_writer.h). */
#include "base/checkpoint_writer.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hash.h"

static bool failed(struct checkpoint *c, enum checkpoint_step step, int negative_errno)
{
    c->outcome->step = step;
    c->outcome->errnum = -negative_errno;
    return false;
}

static bool write_bytes(struct checkpoint *c, const uint8_t *bytes, size_t len)
{
    int err = disk_write_all(c->conf.disk, c->handle, bytes, len);
    c->outcome->file_bytes += len;
    return err == 0 || failed(c, STEP_WRITE, err);
}

/* Appends the checksum to `len` bytes and writes them. */
static bool write_summed(struct checkpoint *c, uint8_t *bytes, size_t len)
{
    c->sum = hash_bytes(bytes, len, c->sum);
    put_u64(bytes + len, c->sum);
    return write_bytes(c, bytes, len + CHECKPOINT_SUM);
}

static bool write_block(struct checkpoint *c, uint32_t area)
{
    if (c->block_pages == 0) {
        return true;
    }
    uint8_t *packed = c->out + CHECKPOINT_BLOCK_PREFIX + (size_t)c->block_pages * 4;
    size_t n = ZSTD_compressCCtx(c->zstd, packed, ZSTD_COMPRESSBOUND(CHECKPOINT_BLOCK), c->raw,
                                 c->block_bytes, CHECKPOINT_LEVEL);
    if (ZSTD_isError(n)) {
        return failed(c, STEP_PACK, -ENOMEM);
    }
    uint8_t *p = put_u32(c->out, CHECKPOINT_TAG_BLOCK);
    p = put_u32(p, area);
    p = put_u32(p, c->block_pages);
    p = put_u32(p, (uint32_t)c->block_bytes);
    p = put_u32(p, (uint32_t)n);
    for (uint32_t i = 0; i < c->block_pages; i++) {
        p = put_u32(p, c->page[i]);
    }
    c->blocks++;
    c->outcome->pages_written += c->block_pages;
    c->block_pages = 0;
    c->block_bytes = 0;
    return write_summed(c, c->out, (size_t)(packed - c->out) + n);
}

static bool write_area(struct checkpoint *c, uint32_t area)
{
    const struct area *a = &c->areas[area];
    const uint64_t *old = c->table[c->now] + c->first[area];
    uint64_t *new = c->table[!c->now] + c->first[area];
    size_t pages = checkpoint_pages(a->bytes);
    size_t known = c->prefix.kind == CHECKPOINT_FULL ? 0 : c->durable_pages[area];
    c->outcome->pages += pages;
    for (size_t i = 0; i < pages; i++) {
        const uint8_t *page = (const uint8_t *)a->at + i * CHECKPOINT_PAGE;
        size_t len = checkpoint_page_len(a->bytes, i);
        new[i] = hash_id(page, len);
        if (i < known && new[i] == old[i]) {
            continue;
        }
        memcpy(c->raw + c->block_bytes, page, len);
        c->block_bytes += len;
        c->page[c->block_pages++] = (uint32_t)i;
        if (c->block_pages == CHECKPOINT_BLOCK_PAGES && !write_block(c, area)) {
            return false;
        }
    }
    return write_block(c, area);
}

static bool write_end(struct checkpoint *c)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < c->count; i++) {
        hash = checkpoint_state_hash(hash, c->areas[i].bytes, c->table[!c->now] + c->first[i]);
    }
    uint8_t *p = put_u32(c->out, CHECKPOINT_TAG_END);
    p = put_u64(p, c->blocks);
    p = put_u64(p, hash);
    return write_summed(c, c->out, (size_t)(p - c->out));
}

static bool write_content(struct checkpoint *c)
{
    if (!write_bytes(c, c->head, c->head_bytes)) {
        return false;
    }
    c->sum = c->head_sum;
    for (size_t i = 0; i < c->count; i++) {
        if (!write_area(c, (uint32_t)i)) {
            return false;
        }
    }
    return write_end(c);
}

static bool write_temporary(struct checkpoint *c)
{
    const struct disk *d = c->conf.disk;
    c->handle = d->open(d->ctx, c->temporary, DISK_CREATE);
    if (c->handle < 0) {
        return failed(c, STEP_CREATE, c->handle);
    }
    bool ok = write_content(c);
    if (ok) {
        int err = d->sync(d->ctx, c->handle);
        ok = err == 0 || failed(c, STEP_SYNC, err);
    }
    int err = d->close(d->ctx, c->handle);
    return ok && (err == 0 || failed(c, STEP_CLOSE, err));
}

struct purge {
    const struct checkpoint *c;
    uint64_t before;
};

void checkpoint_unlink(const struct checkpoint *c, const char *name)
{
    char path[CHECKPOINT_PATH];
    size_t dir = strlen(c->dir);
    size_t len = strlen(name);
    if (dir + 1 + len >= sizeof path) {
        return;
    }
    memcpy(path, c->dir, dir);
    path[dir] = '/';
    memcpy(path + dir + 1, name, len + 1);
    (void)c->conf.disk->unlink(c->conf.disk->ctx, path);
}

static void purge_one(void *arg, const char *name)
{
    const struct purge *purge = arg;
    uint64_t position;
    enum checkpoint_kind kind;
    if (checkpoint_name_parse(name, purge->c->stem, &position, &kind) == CHECKPOINT_FILE_WHOLE &&
        position < purge->before) {
        checkpoint_unlink(purge->c, name);
    }
}

/* What cannot be deleted now, the next full one tries again. */
static void purge_old(const struct checkpoint *c)
{
    const struct disk *d = c->conf.disk;
    struct purge purge = {c, c->kept_from};
    if (purge.before > c->prefix.position) {
        purge.before = c->prefix.position;
    }
    (void)d->list(d->ctx, c->dir, purge_one, &purge);
}

bool checkpoint_write_file(struct checkpoint *c)
{
    const struct disk *d = c->conf.disk;
    bool renamed = false;
    bool ok = write_temporary(c);
    if (ok) {
        int err = d->rename(d->ctx, c->temporary, c->path);
        renamed = ok = err == 0 || failed(c, STEP_RENAME, err);
    }
    if (ok) {
        int err = d->sync_dir(d->ctx, c->dir);
        ok = err == 0 || failed(c, STEP_SYNC_DIR, err);
    }
    if (!ok) {
        if (!renamed) {
            (void)d->unlink(d->ctx, c->temporary);
        }
        return false;
    }
    c->outcome->sum = c->sum;
    atomic_thread_fence(memory_order_release); /* a child killed right here has not said DONE */
    c->outcome->step = STEP_DONE;
    if (c->prefix.kind == CHECKPOINT_FULL) {
        purge_old(c);
    }
    return true;
}

/* The owner's handlers, sockets and signal mask are not the child's: a handler would write into the
 * owner's pipes, and an open copy of a socket keeps a connection alive that the owner closed. */
_Noreturn void checkpoint_child_main(struct checkpoint *c, pid_t owner)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != owner) {
        _exit(1); /* the owner ended before prctl; its successor removes our files */
    }
    for (int i = 1; i < NSIG; i++) {
        (void)signal(i, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    close_range(3, ~0U, 0);
    setpriority(PRIO_PROCESS, 0, c->conf.nice); /* refused where the owner's is higher: as good */
    _exit(checkpoint_write_file(c) ? 0 : 1);
}
