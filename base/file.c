#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err file_errno(struct errmsg *e, int errnum, const char *did, const char *path)
{
    enum err code = ERR_IO;
    const char *advice = "check the device";
    if (errnum == ENOENT || errnum == ENOTDIR) {
        code = ERR_NOTFOUND;
        advice = "check the path";
    } else if (errnum == EACCES || errnum == EPERM) {
        code = ERR_REFUSED;
        advice = "check the permissions";
    } else if (errnum == EROFS) {
        advice = "the file system is read-only: choose another folder";
    } else if (errnum == ENOSPC || errnum == EDQUOT) {
        advice = "the disk is full: make room";
    }
    return err_set(e, code, "cannot %s %s: %s; %s", did, path, strerror(errnum), advice);
}

/* Reads until len bytes or the end; returns the number read or -1. */
static ssize_t read_whole(int fd, uint8_t *out, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = read(fd, out + at, len - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        at += (size_t)n;
    }
    return (ssize_t)at;
}

enum err file_check_private(int fd, const char *path, struct errmsg *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return file_errno(e, errno, "read", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, ERR_CORRUPT, "%s is no file", path);
    }
    bool ours = st.st_uid == geteuid();
    bool good = (ours && (st.st_mode & 077) == 0) || (st.st_uid == 0 && (st.st_mode & 037) == 0);
    if (!good) {
        return err_set(e, ERR_REFUSED,
                       "%s: mode %03o of user %u lets others at it; `chmod 600` it and give it "
                       "to user %u, who runs this",
                       path, (unsigned)(st.st_mode & 0777), (unsigned)st.st_uid,
                       (unsigned)geteuid());
    }
    return ERR_OK;
}

enum err file_read(const char *path, size_t max_bytes, uint8_t **out, size_t *out_len_bytes,
                   struct errmsg *e)
{
    enum err err = ERR_OK;
    uint8_t *bytes = NULL;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = file_errno(e, errno, "open", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        err = err_set(e, ERR_INVALID, "cannot read %s: it is not a regular file", path);
        goto out;
    }
    size_t len = (size_t)st.st_size;
    if (len > max_bytes) {
        err = err_set(e, ERR_INVALID, "cannot read %s: it has %zu bytes, at most %zu are allowed",
                      path, len, max_bytes);
        goto out;
    }
    bytes = malloc(len + 1);
    if (bytes == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot read %s: no memory for %zu bytes", path, len);
        goto out;
    }
    ssize_t got = read_whole(fd, bytes, len);
    if (got < 0) {
        err = file_errno(e, errno, "read", path);
        goto out;
    }
    bytes[got] = 0;
    *out = bytes;
    *out_len_bytes = (size_t)got;
    bytes = NULL;
out:
    free(bytes);
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static int write_whole(int fd, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = write(fd, bytes + at, len - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        at += (size_t)n;
    }
    return 0;
}

static void sync_folder_of(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

enum err file_write(const char *path, const void *bytes, size_t len_bytes, struct errmsg *e)
{
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof temporary) {
        return err_set(e, ERR_INVALID, "cannot write a file: its path has %d characters", n);
    }
    int fd = mkstemp(temporary);
    if (fd < 0) {
        return file_errno(e, errno, "write", path);
    }
    /* mkstemp makes 0600; models and reports are meant to be read by others of the group */
    if (write_whole(fd, bytes, len_bytes) != 0 || fchmod(fd, 0640) != 0 || fsync(fd) != 0 ||
        rename(temporary, path) != 0) {
        enum err err = file_errno(e, errno, "write", path);
        unlink(temporary);
        close(fd);
        return err;
    }
    close(fd);
    sync_folder_of(path);
    return ERR_OK;
}
