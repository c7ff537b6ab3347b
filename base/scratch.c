#include "base/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"

/* Pages of this size, where the kernel has them, spare most TLB misses. */
#define HUGE_PAGE ((size_t)2 << 20)

static enum err no_memory(size_t bytes, struct errmsg *e)
{
    return err_set(e, ERR_NOMEM, "no memory for an array of %zu bytes", bytes);
}

/* Whether arrays may have so many more bytes of memory; counts them. */
static bool take_memory(struct scratch *s, size_t bytes)
{
    if (s == NULL) {
        return true;
    }
    if (bytes > s->memory_max_bytes - s->memory_used_bytes) {
        return false;
    }
    s->memory_used_bytes += bytes;
    return true;
}

static void give_memory(struct scratch *s, size_t bytes)
{
    if (s != NULL) {
        s->memory_used_bytes -= bytes;
    }
}

static enum err grow_in_memory(struct scratch_array *a, size_t bytes, struct errmsg *e)
{
    void *p = a->base == NULL ? mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                              : mremap(a->base, a->size_bytes, bytes, MREMAP_MAYMOVE);
    if (p == MAP_FAILED) {
        return no_memory(bytes, e);
    }
    if (bytes >= HUGE_PAGE) {
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish */
    }
    a->base = p;
    a->size_bytes = bytes;
    return ERR_OK;
}

/* The disk's room for the file, now.  A file system without fallocate gets bytes written. */
static enum err take_disk(const struct scratch *s, int fd, size_t bytes, struct errmsg *e)
{
    int failed = posix_fallocate(fd, 0, (off_t)bytes);
    if (failed == 0) {
        return ERR_OK;
    }
    char what[PATH_MAX];
    snprintf(what, sizeof what, "%zu MiB in %s", bytes >> 20, s->folder);
    return file_errno(e, failed, "take", what);
}

/* A file of so many bytes that nobody else can open. */
static enum err make_file(const struct scratch *s, size_t bytes, int *out_fd, struct errmsg *e)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/fraudd-scratch-XXXXXX", s->folder);
    if (len < 0 || (size_t)len >= sizeof path) {
        return err_set(e, ERR_INVALID, "cannot make a file: its path has %d characters", len);
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return file_errno(e, errno, "make a file in", s->folder);
    }
    unlink(path);
    enum err err = take_disk(s, fd, bytes, e);
    if (err != ERR_OK) {
        close(fd);
        return err;
    }
    *out_fd = fd;
    return ERR_OK;
}

/* From memory, or nothing, to a file. */
static enum err move_to_file(struct scratch *s, struct scratch_array *a, size_t bytes,
                             struct errmsg *e)
{
    int fd = -1;
    enum err err = make_file(s, bytes, &fd, e);
    if (err != ERR_OK) {
        return err;
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        close(fd);
        return no_memory(bytes, e);
    }
    if (a->base != NULL) {
        memcpy(p, a->base, a->size_bytes);
        munmap(a->base, a->size_bytes);
        give_memory(s, a->size_bytes);
    }
    *a = (struct scratch_array){p, bytes, fd + 1};
    return ERR_OK;
}

static enum err grow_file(const struct scratch *s, struct scratch_array *a, size_t bytes,
                          struct errmsg *e)
{
    enum err err = take_disk(s, a->file - 1, bytes, e);
    if (err != ERR_OK) {
        return err;
    }
    void *p = mremap(a->base, a->size_bytes, bytes, MREMAP_MAYMOVE);
    if (p == MAP_FAILED) {
        return no_memory(bytes, e);
    }
    a->base = p;
    a->size_bytes = bytes;
    return ERR_OK;
}

enum err scratch_grow(struct scratch *s, struct scratch_array *a, size_t size_bytes,
                      struct errmsg *e)
{
    if (size_bytes <= a->size_bytes) {
        return ERR_OK;
    }
    if (size_bytes > (size_t)SSIZE_MAX) {
        return no_memory(size_bytes, e);
    }
    if (a->file != 0) {
        return grow_file(s, a, size_bytes, e);
    }
    size_t more = size_bytes - a->size_bytes;
    if (!take_memory(s, more)) {
        return move_to_file(s, a, size_bytes, e);
    }
    enum err err = grow_in_memory(a, size_bytes, e);
    if (err != ERR_OK) {
        give_memory(s, more);
    }
    return err;
}

void scratch_free(struct scratch *s, struct scratch_array *a)
{
    if (a->base != NULL) {
        munmap(a->base, a->size_bytes);
        if (a->file != 0) {
            close(a->file - 1);
        } else {
            give_memory(s, a->size_bytes);
        }
    }
    *a = (struct scratch_array){0};
}
