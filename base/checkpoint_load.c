/* Which files there are, which chain is whole, and its content into the areas.
 *
 * Every file is unpacked once, into the areas, and verified on the way (checksums, unpacked pages,
 * the hash of the whole state it leaves).  Where one fails, the chain before it is read over it;
 * where none is left, the areas are emptied: they are never half of one checkpoint. */
#include "base/checkpoint_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static void refuse(struct checkpoint_loader *l, struct checkpoint_entry *entry, const char *why)
{
    char name[CHECKPOINT_FILE_NAME];
    checkpoint_name(name, l->from->stem, entry->position, entry->kind);
    if (l->newest_why[0] == '\0') {
        snprintf(l->newest_why, sizeof l->newest_why, "%s: %.300s", name, why);
    }
    entry->refused = true;
    if (l->from->refused != NULL) {
        l->from->refused(l->from->arg, name, why);
    }
}

/* Refuses the tip of a chain for a link of it, which is refused already or missing. */
static void refuse_tip(struct checkpoint_loader *l, struct checkpoint_entry *tip, uint64_t position,
                       enum checkpoint_kind kind, const char *what)
{
    char name[CHECKPOINT_FILE_NAME];
    struct errmsg why;
    checkpoint_name(name, l->from->stem, position, kind);
    (void)err_set(&why, ERR_CORRUPT, "it builds on %s, which is %s", name, what);
    refuse(l, tip, why.text);
}

static struct checkpoint_entry *find_entry(struct checkpoint_loader *l, uint64_t position,
                                           enum checkpoint_kind kind)
{
    for (size_t i = 0; i < l->entry_count; i++) {
        if (l->entries[i].position == position && l->entries[i].kind == kind) {
            return &l->entries[i];
        }
    }
    return NULL;
}

/* Follows the links back from tip.  chain[place]; *out_len: files.  ERR_CORRUPT: told. */
static enum err find_chain(struct checkpoint_loader *l, struct checkpoint_entry *tip,
                           struct checkpoint_entry **chain, uint32_t *out_len, struct errmsg *e)
{
    struct checkpoint_entry *at = tip;
    struct checkpoint_prefix h = {0};
    uint32_t place = 0;
    for (bool first = true;; first = false) {
        enum err err = checkpoint_peek(l, at, &h, e);
        if (err == ERR_OK && !first && h.place + 1 != place) {
            err = err_set(e, ERR_CORRUPT, "it is not at its place in its chain");
        }
        if (err == ERR_MISMATCH) {
            return err;
        }
        if (err != ERR_OK) {
            refuse(l, at, e->text);
            if (at != tip) {
                refuse_tip(l, tip, at->position, at->kind, "refused");
            }
            return ERR_CORRUPT;
        }
        place = h.place;
        chain[place] = at;
        *out_len = first ? place + 1 : *out_len;
        if (place == 0) {
            return ERR_OK;
        }
        enum checkpoint_kind kind = place == 1 ? CHECKPOINT_FULL : CHECKPOINT_INCREMENT;
        at = find_entry(l, h.before_position, kind);
        if (at == NULL || at->refused) {
            refuse_tip(l, tip, h.before_position, kind, at == NULL ? "missing" : "refused");
            return ERR_CORRUPT;
        }
    }
}

/* Those that a failed attempt may have written to, and what is known of their pages. */
static void empty_areas(struct checkpoint_loader *l)
{
    for (size_t i = 0; i < l->count; i++) {
        struct area *a = &l->areas[i];
        if (l->from->found == NULL || l->from->found[i]) {
            memset(l->table + l->first[i], 0, checkpoint_pages(a->bytes) * sizeof *l->table);
            memset(a->at, 0, a->bytes);
            a->bytes = 0;
        }
    }
}

static enum err read_chain(struct checkpoint_loader *l, struct checkpoint_entry **chain,
                           uint32_t len, struct errmsg *e)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len; i++) {
        enum err err = checkpoint_read_entry(l, chain[i], &sum, e);
        if (err == ERR_MISMATCH) {
            return err;
        }
        if (err != ERR_OK) {
            refuse(l, chain[i], e->text);
            if (i + 1 < len) {
                refuse_tip(l, chain[len - 1], chain[i]->position, chain[i]->kind, "refused");
            }
            return ERR_CORRUPT;
        }
    }
    l->out->full_position = chain[0]->position;
    l->out->files = len;
    return ERR_OK;
}

static enum err load_tip(struct checkpoint_loader *l, struct checkpoint_entry *tip,
                         struct errmsg *e)
{
    struct checkpoint_entry *chain[CHECKPOINT_CHAIN_MAX];
    uint32_t len = 0;
    enum err err = find_chain(l, tip, chain, &len, e);
    if (err == ERR_OK && l->from->found != NULL) { /* what the tip lacks stays as it is */
        l->take = false;
        err = checkpoint_read_areas(l, tip, e);
        if (err == ERR_CORRUPT || err == ERR_IO) {
            refuse(l, tip, e->text);
            err = ERR_CORRUPT;
        }
    }
    if (err == ERR_OK) {
        l->take = true;
        err = read_chain(l, chain, len, e);
        if (err != ERR_OK) {
            empty_areas(l);
        }
    }
    if (err == ERR_MISMATCH) {
        char name[CHECKPOINT_FILE_NAME];
        checkpoint_name(name, l->from->stem, tip->position, tip->kind);
        return err_prefix(e, err, "cannot use checkpoint %s/%s", l->from->dir, name);
    }
    return err;
}

static void note_entry(void *arg, const char *name)
{
    struct checkpoint_loader *l = arg;
    struct checkpoint_entry entry = {0};
    if (checkpoint_name_parse(name, l->from->stem, &entry.position, &entry.kind) !=
        CHECKPOINT_FILE_WHOLE) {
        return;
    }
    if (l->entry_count == l->entry_room) {
        size_t room = l->entry_room * 2 + 64;
        struct checkpoint_entry *more = realloc(l->entries, room * sizeof *more);
        if (more == NULL) {
            l->no_room = true;
            return;
        }
        l->entries = more;
        l->entry_room = room;
    }
    l->entries[l->entry_count++] = entry;
}

/* Newest first; of one position the full one first. */
static int by_position(const void *a, const void *b)
{
    const struct checkpoint_entry *x = a;
    const struct checkpoint_entry *y = b;
    if (x->position != y->position) {
        return x->position > y->position ? -1 : 1;
    }
    return (int)x->kind - (int)y->kind;
}

static enum err list_entries(struct checkpoint_loader *l, struct errmsg *e)
{
    const struct disk *d = l->from->disk;
    int failed = d->list(d->ctx, l->from->dir, note_entry, l);
    if (failed != 0) {
        return file_errno(e, -failed, "list the checkpoints in", l->from->dir);
    }
    if (l->no_room) {
        return err_set(e, ERR_NOMEM, "no memory to list the checkpoints in %s", l->from->dir);
    }
    if (l->entry_count > 0) {
        qsort(l->entries, l->entry_count, sizeof *l->entries, by_position);
    }
    return ERR_OK;
}

static bool reserve_unpackers(struct checkpoint_loader *l)
{
    uint32_t threads = l->from->pool != NULL ? pool_threads(l->from->pool) : 1;
    l->threads = threads < CHECKPOINT_THREADS_MAX ? threads : CHECKPOINT_THREADS_MAX;
    for (uint32_t i = 0; i < l->threads; i++) {
        struct checkpoint_unpacker *u = &l->unpacker[i];
        u->in = malloc(CHECKPOINT_IN_MAX);
        u->raw = malloc(CHECKPOINT_BLOCK);
        u->zstd = ZSTD_createDCtx();
        if (u->in == NULL || u->raw == NULL || u->zstd == NULL) {
            return false;
        }
    }
    l->in = l->unpacker[0].in;
    return true;
}

static enum err reserve(struct checkpoint_loader *l, struct errmsg *e)
{
    size_t pages = 0;
    l->first = calloc(l->count + 1, sizeof *l->first);
    for (size_t i = 0; l->first != NULL && i < l->count; i++) {
        l->first[i] = pages;
        pages += checkpoint_pages(l->areas[i].bytes_max);
    }
    l->table = calloc(pages + 1, sizeof *l->table);
    if (l->first == NULL || l->table == NULL || !reserve_unpackers(l)) {
        return err_set(e, ERR_NOMEM, "no memory to read checkpoints of %zu pages", pages);
    }
    return ERR_OK;
}

static void release(struct checkpoint_loader *l)
{
    for (uint32_t i = 0; i < l->threads; i++) {
        ZSTD_freeDCtx(l->unpacker[i].zstd);
        free(l->unpacker[i].raw);
        free(l->unpacker[i].in);
    }
    pthread_mutex_destroy(&l->lock);
    free(l->table);
    free(l->first);
    free(l->entries);
}

/* Whether what was asked for may be in this file. */
static bool eligible(const struct checkpoint_loader *l, const struct checkpoint_entry *tip)
{
    const struct checkpoint_source *from = l->from;
    return !tip->refused && (from->found != NULL ? tip->position == from->position_max
                                                 : tip->position <= from->position_max);
}

static enum err load_newest(struct checkpoint_loader *l, struct errmsg *e)
{
    for (size_t i = 0; i < l->entry_count; i++) {
        struct checkpoint_entry *tip = &l->entries[i];
        if (!eligible(l, tip)) {
            continue;
        }
        enum err err = load_tip(l, tip, e);
        if (err != ERR_CORRUPT) {
            return err;
        }
    }
    if (l->newest_why[0] == '\0') {
        return err_set(e, ERR_NOTFOUND, "there is no checkpoint %s in %s", l->from->stem,
                       l->from->dir);
    }
    return err_set(e, ERR_CORRUPT, "no checkpoint in %s is usable; the newest, %s", l->from->dir,
                   l->newest_why);
}

static enum err look(struct checkpoint_loader *l, struct errmsg *e)
{
    for (size_t i = 0; i < l->entry_count; i++) {
        if (eligible(l, &l->entries[i])) {
            return checkpoint_read_areas(l, &l->entries[i], e);
        }
    }
    return err_set(e, ERR_NOTFOUND, "there is no checkpoint %s in %s", l->from->stem, l->from->dir);
}

/* Lists the files and has `what` work on them. */
static enum err with_loader(const struct checkpoint_source *from, struct area *areas, size_t count,
                            struct checkpoint_loaded *out,
                            enum err (*what)(struct checkpoint_loader *l, struct errmsg *e),
                            struct errmsg *e)
{
    struct errmsg unwanted = {""}; /* reasons are needed whether or not the caller wants words */
    struct errmsg *words = e != NULL ? e : &unwanted;
    if (!checkpoint_stem_valid(from->stem) || count == 0 || count > CHECKPOINT_AREAS_MAX) {
        return err_set(e, ERR_INVALID, "cannot read checkpoints \"%s\" of %zu areas", from->stem,
                       count);
    }
    struct checkpoint_loader *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to read checkpoints");
    }
    l->from = from;
    l->areas = areas;
    l->count = count;
    l->out = out;
    pthread_mutex_init(&l->lock, NULL);
    enum err err = reserve(l, words);
    err = err == ERR_OK ? list_entries(l, words) : err;
    err = err == ERR_OK ? what(l, words) : err;
    release(l);
    free(l);
    return err;
}

enum err checkpoint_load(const struct checkpoint_source *from, struct area *areas, size_t count,
                         struct checkpoint_loaded *out, struct errmsg *e)
{
    return with_loader(from, areas, count, out, load_newest, e);
}

enum err checkpoint_look(const struct checkpoint_source *from, struct area *areas, size_t count,
                         struct errmsg *e)
{
    return with_loader(from, areas, count, NULL, look, e);
}

struct visit {
    const char *stem;
    void (*to)(void *arg, uint64_t position);
    void *arg;
};

static void visit_name(void *arg, const char *name)
{
    const struct visit *v = arg;
    uint64_t position;
    enum checkpoint_kind kind;
    if (checkpoint_name_parse(name, v->stem, &position, &kind) == CHECKPOINT_FILE_WHOLE) {
        v->to(v->arg, position);
    }
}

enum err checkpoint_positions(const struct checkpoint_source *from,
                              void (*visit)(void *arg, uint64_t position), void *arg,
                              struct errmsg *e)
{
    struct visit v = {from->stem, visit, arg};
    int failed = from->disk->list(from->disk->ctx, from->dir, visit_name, &v);
    return failed == 0 ? ERR_OK : file_errno(e, -failed, "list the checkpoints in", from->dir);
}
