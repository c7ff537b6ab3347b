/* The writer's owner: what is written next (checkpoint_begin), what it takes over when its child
 * has ended (poll_child).
 *
 *   IDLE --begin--> RUNNING --child ended--> DONE or FAILED --said by poll--> IDLE */
#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_initStaticCCtx, ZSTD_estimateCCtxSize */

#include "base/checkpoint_writer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"

static void remove_temporary(void *arg, const char *name)
{
    const struct checkpoint *c = arg;
    uint64_t position;
    enum checkpoint_kind kind;
    if (checkpoint_name_parse(name, c->stem, &position, &kind) == CHECKPOINT_FILE_TEMPORARY) {
        checkpoint_unlink(c, name); /* one that stays is overwritten or ignored */
    }
}

static enum err layout_check(const struct area *areas, size_t count, struct errmsg *e)
{
    if (count == 0 || count > CHECKPOINT_AREAS_MAX) {
        return err_set(e, ERR_INVALID, "cannot checkpoint %zu areas: 1 to %u are allowed", count,
                       CHECKPOINT_AREAS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        size_t len = strnlen(areas[i].name, CHECKPOINT_NAME_MAX + 1);
        if (len == 0 || len > CHECKPOINT_NAME_MAX) {
            return err_set(
                e, ERR_INVALID,
                "cannot checkpoint area %zu: its name has %zu bytes, 1 to %u are allowed", i, len,
                CHECKPOINT_NAME_MAX);
        }
        if (checkpoint_pages(areas[i].bytes_max) > UINT32_MAX) {
            return err_set(e, ERR_INVALID, "cannot checkpoint area %s: %zu bytes are too many",
                           areas[i].name, areas[i].bytes_max);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(areas[i].name, areas[k].name) == 0) {
                return err_set(e, ERR_INVALID, "cannot checkpoint two areas named %s",
                               areas[i].name);
            }
        }
    }
    return ERR_OK;
}

static enum err conf_check(const struct checkpoint_conf *conf, struct errmsg *e)
{
    if (!checkpoint_stem_valid(conf->stem)) {
        return err_set(e, ERR_INVALID,
                       "cannot name checkpoints \"%s\": up to %u of a-z, 0-9, _ and - are allowed",
                       conf->stem, CHECKPOINT_STEM_MAX);
    }
    if (strlen(conf->dir) == 0 || strlen(conf->dir) >= PATH_MAX) {
        return err_set(e, ERR_INVALID, "cannot keep checkpoints: the folder's path has %zu bytes",
                       strlen(conf->dir));
    }
    if (conf->increments_max >= CHECKPOINT_CHAIN_MAX || !(conf->increments_share > 0)) {
        return err_set(e, ERR_INVALID,
                       "cannot chain %u increments up to a share of %g: below %u and above 0 are "
                       "allowed",
                       conf->increments_max, conf->increments_share, CHECKPOINT_CHAIN_MAX);
    }
    return ERR_OK;
}

/* outcome, then both tables. */
static bool map_shared(struct checkpoint *c)
{
    size_t table_bytes = (c->page_count + 1) * sizeof(uint64_t);
    c->shared_bytes = sizeof(struct checkpoint_outcome) + 2 * table_bytes;
    void *p = mmap(NULL, c->shared_bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    c->outcome = p;
    c->table[0] = (uint64_t *)(void *)(c->outcome + 1);
    c->table[1] = c->table[0] + c->page_count + 1;
    return true;
}

static bool reserve(struct checkpoint *c, const struct area *areas, size_t count)
{
    c->count = count;
    c->areas = calloc(count, sizeof *c->areas);
    c->names = calloc(count, sizeof *c->names);
    c->first = calloc(count, sizeof *c->first);
    c->durable_pages = calloc(count, sizeof *c->durable_pages);
    c->head = calloc(1, CHECKPOINT_HEAD_MAX);
    c->raw = malloc(CHECKPOINT_BLOCK);
    c->out = malloc(CHECKPOINT_OUT_MAX);
    size_t zstd_bytes = ZSTD_estimateCCtxSize(CHECKPOINT_LEVEL);
    c->zstd_memory = malloc(zstd_bytes);
    if (c->areas == NULL || c->names == NULL || c->first == NULL || c->durable_pages == NULL ||
        c->head == NULL || c->raw == NULL || c->out == NULL || c->zstd_memory == NULL) {
        return false;
    }
    c->zstd = ZSTD_initStaticCCtx(c->zstd_memory, zstd_bytes);
    for (size_t i = 0; i < count; i++) {
        snprintf(c->names[i], sizeof c->names[i], "%s", areas[i].name);
        c->areas[i] = areas[i];
        c->areas[i].name = c->names[i];
        c->first[i] = c->page_count;
        c->page_count += checkpoint_pages(areas[i].bytes_max);
    }
    return c->zstd != NULL && map_shared(c);
}

enum err checkpoint_create(const struct checkpoint_conf *conf, const struct area *areas,
                           size_t count, struct checkpoint **out, struct errmsg *e)
{
    enum err err = conf_check(conf, e);
    err = err == ERR_OK ? layout_check(areas, count, e) : err;
    if (err != ERR_OK) {
        return err;
    }
    struct checkpoint *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return err_set(e, ERR_NOMEM, "no memory for a writer of checkpoints");
    }
    c->conf = *conf;
    snprintf(c->dir, sizeof c->dir, "%s", conf->dir);
    snprintf(c->stem, sizeof c->stem, "%s", conf->stem);
    c->conf.dir = c->dir;
    c->conf.stem = c->stem;
    c->kept_from = conf->kept_from;
    if (!reserve(c, areas, count)) {
        checkpoint_free(c);
        return err_set(e, ERR_NOMEM, "no memory for a writer of checkpoints of %zu areas", count);
    }
    int failed = conf->disk->list(conf->disk->ctx, c->dir, remove_temporary, c);
    if (failed != 0) {
        err = file_errno(e, -failed, "list the checkpoints in", c->dir);
        checkpoint_free(c);
        return err;
    }
    *out = c;
    return ERR_OK;
}

void checkpoint_free(struct checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    if (c->child > 0) {
        kill(c->child, SIGKILL);
        while (waitpid(c->child, NULL, 0) < 0 && errno == EINTR) {
        }
        (void)c->conf.disk->unlink(c->conf.disk->ctx, c->temporary);
    }
    if (c->outcome != NULL) {
        munmap(c->outcome, c->shared_bytes);
    }
    free(c->zstd_memory);
    free(c->out);
    free(c->raw);
    free(c->head);
    free(c->durable_pages);
    free(c->first);
    free(c->names);
    free(c->areas);
    free(c);
}

static bool same_layout(const struct checkpoint *c, const struct area *areas)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(areas[i].name, c->names[i]) != 0 ||
            areas[i].bytes_max != c->areas[i].bytes_max || areas[i].bytes > areas[i].bytes_max) {
            return false;
        }
    }
    return true;
}

static bool full_is_due(const struct checkpoint *c)
{
    return !c->tip.exists || c->tip.place >= c->conf.increments_max ||
           (double)c->tip.increments_bytes >= c->conf.increments_share * (double)c->tip.full_bytes;
}

static void build_head(struct checkpoint *c, const void *header, size_t header_bytes)
{
    uint64_t sum = checkpoint_prefix_put(&c->prefix, c->head);
    uint8_t *rest = c->head + CHECKPOINT_PREFIX;
    uint8_t *p = rest;
    for (size_t i = 0; i < c->count; i++) {
        memcpy(p, c->names[i], sizeof c->names[i]);
        p = put_u64(p + sizeof c->names[i], c->areas[i].bytes);
    }
    if (header_bytes > 0) {
        memcpy(p, header, header_bytes);
        p += header_bytes;
    }
    c->head_sum = hash_bytes(rest, (size_t)(p - rest), sum);
    p = put_u64(p, c->head_sum);
    c->head_bytes = (size_t)(p - c->head);
}

static void prepare(struct checkpoint *c, uint64_t position, const struct area *areas,
                    const void *header, size_t header_bytes)
{
    char name[CHECKPOINT_FILE_NAME];
    bool full = full_is_due(c);
    c->prefix = (struct checkpoint_prefix){
        .kind = full ? CHECKPOINT_FULL : CHECKPOINT_INCREMENT,
        .place = full ? 0 : c->tip.place + 1,
        .areas = (uint32_t)c->count,
        .header_bytes = (uint32_t)header_bytes,
        .position = position,
        .before_position = full ? 0 : c->tip.position,
        .before_sum = full ? 0 : c->tip.sum,
    };
    for (size_t i = 0; i < c->count; i++) {
        c->areas[i].at = areas[i].at;
        c->areas[i].bytes = areas[i].bytes;
    }
    build_head(c, header, header_bytes);
    checkpoint_name(name, c->stem, position, c->prefix.kind);
    snprintf(c->path, sizeof c->path, "%s/%s", c->dir, name);
    snprintf(c->temporary, sizeof c->temporary, "%s/%s.tmp", c->dir, name);
    c->sum = c->blocks = 0;
    c->block_pages = 0;
    c->block_bytes = 0;
    *c->outcome = (struct checkpoint_outcome){.step = STEP_BEGUN};
}

static enum err fork_child(struct checkpoint *c, struct errmsg *e)
{
    sigset_t all;
    sigset_t before;
    pid_t owner = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
    pid_t pid = fork();
    if (pid == 0) {
        checkpoint_child_main(c, owner);
    }
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        return err_set(e, ERR_NOMEM, "cannot fork to write %s: %s; the state is as it was", c->path,
                       strerror(errnum));
    }
    c->child = pid;
    c->state = CHECKPOINT_RUNNING;
    return ERR_OK;
}

enum err checkpoint_begin(struct checkpoint *c, uint64_t position, const struct area *areas,
                          const void *header, size_t header_bytes, struct errmsg *e)
{
    if (c->state != CHECKPOINT_IDLE) {
        return err_set(e, ERR_REFUSED, "cannot begin a checkpoint at %llu: %s is not settled",
                       (unsigned long long)position, c->path);
    }
    if (header_bytes > CHECKPOINT_HEADER_MAX || !same_layout(c, areas)) {
        return err_set(e, ERR_INVALID,
                       "cannot begin a checkpoint at %llu: %zu bytes of header (at most %u), or "
                       "areas of another layout than at the start",
                       (unsigned long long)position, header_bytes, CHECKPOINT_HEADER_MAX);
    }
    if (c->tip.exists && position <= c->tip.position) {
        return err_set(e, ERR_INVALID,
                       "cannot begin a checkpoint at %llu: there is one at %llu already",
                       (unsigned long long)position, (unsigned long long)c->tip.position);
    }
    prepare(c, position, areas, header, header_bytes);
    if (!c->conf.in_process) {
        return fork_child(c, e);
    }
    c->state = checkpoint_write_file(c) ? CHECKPOINT_DONE : CHECKPOINT_FAILED;
    return ERR_OK;
}

static void settle_done(struct checkpoint *c)
{
    c->now = !c->now;
    for (size_t i = 0; i < c->count; i++) {
        c->durable_pages[i] = checkpoint_pages(c->areas[i].bytes);
    }
    c->tip.exists = true;
    c->tip.position = c->prefix.position;
    c->tip.sum = c->outcome->sum;
    c->tip.place = c->prefix.place;
    if (c->prefix.kind == CHECKPOINT_FULL) {
        c->tip.full_bytes = c->outcome->file_bytes;
        c->tip.increments_bytes = 0;
        c->kept_from = c->prefix.position;
    } else {
        c->tip.increments_bytes += c->outcome->file_bytes;
    }
}

static enum err tell_failure(const struct checkpoint *c, int status, struct errmsg *e)
{
    int errnum = c->outcome->errnum;
    if (WIFSIGNALED(status)) {
        return err_set(e, ERR_IO, "cannot write %s: the child that wrote it was ended by signal %d",
                       c->path, WTERMSIG(status));
    }
    switch (c->outcome->step) {
    case STEP_BEGUN:
    case STEP_DONE:
        return err_set(e, ERR_IO, "cannot write %s: the child that wrote it ended early", c->path);
    case STEP_CREATE:
        return file_errno(e, errnum, "create", c->temporary);
    case STEP_WRITE:
        return file_errno(e, errnum, "write", c->temporary);
    case STEP_PACK:
        return err_set(e, ERR_NOMEM, "cannot write %s: zstd refuses the memory it asked for",
                       c->path);
    case STEP_SYNC:
        return file_errno(e, errnum, "sync", c->temporary);
    case STEP_CLOSE:
        return file_errno(e, errnum, "close", c->temporary);
    case STEP_RENAME:
        return file_errno(e, errnum, "rename to its name", c->temporary);
    case STEP_SYNC_DIR:
        return file_errno(e, errnum, "sync the folder", c->dir);
    }
    return ERR_IO;
}

static enum checkpoint_state poll_child(struct checkpoint *c, int flags,
                                        struct checkpoint_result *out_result, struct errmsg *e)
{
    int status = 0;
    if (c->state == CHECKPOINT_RUNNING) {
        pid_t pid;
        do {
            pid = waitpid(c->child, &status, flags);
        } while (pid < 0 && errno == EINTR);
        if (pid == 0) {
            return CHECKPOINT_RUNNING;
        }
        /* Where the process ignores SIGCHLD there is no status (ECHILD).  Once the child said
         * DONE, the file is durable, however it ended. */
        c->child = 0;
        c->state = c->outcome->step == STEP_DONE ? CHECKPOINT_DONE : CHECKPOINT_FAILED;
        if (c->state == CHECKPOINT_FAILED) {
            (void)c->conf.disk->unlink(c->conf.disk->ctx, c->temporary); /* of a killed one */
        }
    }
    enum checkpoint_state state = c->state;
    if (state == CHECKPOINT_IDLE) {
        return state;
    }
    *out_result = (struct checkpoint_result){.kind = c->prefix.kind,
                                             .position = c->prefix.position,
                                             .file_bytes = c->outcome->file_bytes,
                                             .pages_written = c->outcome->pages_written,
                                             .pages = c->outcome->pages};
    if (state == CHECKPOINT_DONE) {
        settle_done(c);
    } else {
        out_result->err = tell_failure(c, status, e);
    }
    c->state = CHECKPOINT_IDLE;
    return state;
}

enum checkpoint_state checkpoint_poll(struct checkpoint *c, struct checkpoint_result *out_result,
                                      struct errmsg *e)
{
    return poll_child(c, WNOHANG, out_result, e);
}

enum checkpoint_state checkpoint_wait(struct checkpoint *c, struct checkpoint_result *out_result,
                                      struct errmsg *e)
{
    return poll_child(c, 0, out_result, e);
}

int checkpoint_pid(const struct checkpoint *c)
{
    return c->child;
}
