#include "base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static int real_open(void *ctx, const char *path, enum disk_open how)
{
    (void)ctx;
    /* O_NONBLOCK: a FIFO in the place of a file must not stop us; files do not care */
    int flags = how == DISK_READ ? O_RDONLY | O_NONBLOCK : O_WRONLY | O_CREAT | O_TRUNC;
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0640);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static ssize_t real_read(void *ctx, int handle, void *out, size_t len_bytes)
{
    (void)ctx;
    ssize_t n = read(handle, out, len_bytes);
    return n < 0 ? -errno : n;
}

static ssize_t real_write(void *ctx, int handle, const void *bytes, size_t len_bytes)
{
    (void)ctx;
    ssize_t n = write(handle, bytes, len_bytes);
    return n < 0 ? -errno : n;
}

static int real_sync(void *ctx, int handle)
{
    (void)ctx;
    return fsync(handle) != 0 ? -errno : 0;
}

static int real_close(void *ctx, int handle)
{
    (void)ctx;
    return close(handle) != 0 ? -errno : 0;
}

static int real_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return rename(from, to) != 0 ? -errno : 0;
}

static int real_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) != 0 ? -errno : 0;
}

static int open_dir(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int real_sync_dir(void *ctx, const char *dir)
{
    (void)ctx;
    int fd = open_dir(dir);
    int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

/* getdents64 and not opendir, which allocates. */
static int real_list(void *ctx, const char *dir, void (*visit)(void *arg, const char *name),
                     void *arg)
{
    (void)ctx;
    union {
        char bytes[8192];
        struct dirent64 first; /* for its alignment */
    } buf;
    int fd = open_dir(dir);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n;
    while ((n = getdents64(fd, buf.bytes, sizeof buf.bytes)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(buf.bytes + at);
            at += entry->d_reclen;
            visit(arg, entry->d_name);
        }
    }
    int err = n < 0 ? -errno : 0;
    close(fd);
    return err;
}

const struct disk DISK_REAL = {
    .open = real_open,
    .read = real_read,
    .write = real_write,
    .sync = real_sync,
    .close = real_close,
    .rename = real_rename,
    .unlink = real_unlink,
    .sync_dir = real_sync_dir,
    .list = real_list,
};

int disk_write_all(const struct disk *d, int handle, const void *bytes, size_t len_bytes)
{
    const uint8_t *p = bytes;
    for (size_t at = 0; at < len_bytes;) {
        ssize_t n = d->write(d->ctx, handle, p + at, len_bytes - at);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? (int)n : -EIO;
        }
        at += (size_t)n;
    }
    return 0;
}

ssize_t disk_read_all(const struct disk *d, int handle, void *out, size_t len_bytes)
{
    uint8_t *p = out;
    size_t at = 0;
    while (at < len_bytes) {
        ssize_t n = d->read(d->ctx, handle, p + at, len_bytes - at);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            break;
        }
        at += (size_t)n;
    }
    return (ssize_t)at;
}
