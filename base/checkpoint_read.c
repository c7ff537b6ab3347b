/* One file: head, blocks, end.  Bytes are bounds-checked before they are used, since a checksum can
 * be right by intent. */
#include "base/checkpoint_reader.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

/* Reads exactly so much; a shorter file is torn. */
static enum err read_exact(struct checkpoint_loader *l, uint8_t *out, size_t len, struct errmsg *e)
{
    ssize_t n = disk_read_all(l->from->disk, l->handle, out, len);
    if (n < 0) {
        return err_set(e, ERR_IO, "it cannot be read: %s", strerror((int)-n));
    }
    if ((size_t)n < len) {
        return err_set(e, ERR_CORRUPT, "it ends too early");
    }
    return ERR_OK;
}

/* Checks the checksum behind `len` bytes. */
static enum err check_sum(struct checkpoint_loader *l, const uint8_t *bytes, size_t len,
                          const char *what, struct errmsg *e)
{
    l->sum = hash_bytes(bytes, len, l->sum);
    if (l->sum != get_u64(bytes + len)) {
        return err_set(e, ERR_CORRUPT, "%s fails its checksum", what);
    }
    return ERR_OK;
}

static enum err find_area(const struct checkpoint_loader *l, const uint8_t *entry, uint32_t *out,
                          struct errmsg *e)
{
    const char *name = (const char *)entry;
    uint64_t bytes = get_u64(entry + CHECKPOINT_NAME_MAX + 1);
    for (uint32_t i = 0; i < l->count; i++) {
        if (strncmp(l->areas[i].name, name, CHECKPOINT_NAME_MAX + 1) != 0) {
            continue;
        }
        if (bytes > l->areas[i].bytes_max) {
            return err_set(e, ERR_MISMATCH,
                           "its area %s has %llu bytes, this process has room for %zu: raise the "
                           "limit that it was made with",
                           l->areas[i].name, (unsigned long long)bytes, l->areas[i].bytes_max);
        }
        bool skip = l->take && l->from->found != NULL && !l->from->found[i]; /* not in the tip */
        *out = skip ? CHECKPOINT_NOT_ASKED : i;
        return ERR_OK;
    }
    if (l->from->found != NULL) {
        *out = CHECKPOINT_NOT_ASKED;
        return ERR_OK;
    }
    return err_set(e, ERR_MISMATCH,
                   "it has an area that this program does not know: it is of another version");
}

/* Takes the size: what an area no longer has is forgotten. */
static void resize(struct checkpoint_loader *l, uint32_t area, size_t bytes)
{
    struct area *a = &l->areas[area];
    size_t pages = checkpoint_pages(bytes);
    size_t before = checkpoint_pages(a->bytes);
    if (bytes < a->bytes) {
        memset((uint8_t *)a->at + bytes, 0, a->bytes - bytes);
    }
    if (pages < before) {
        memset(l->table + l->first[area] + pages, 0, (before - pages) * sizeof *l->table);
    }
    a->bytes = bytes;
}

static enum err read_areas(struct checkpoint_loader *l, const struct checkpoint_prefix *h,
                           struct errmsg *e)
{
    bool seen[CHECKPOINT_AREAS_MAX] = {false};
    l->file_areas = h->areas;
    if (h->areas != l->count && l->from->found == NULL) {
        return err_set(e, ERR_MISMATCH,
                       "it has %u areas, this program %zu: it is of another version", h->areas,
                       l->count);
    }
    for (uint32_t i = 0; i < h->areas; i++) {
        enum err err = find_area(l, l->in + i * CHECKPOINT_AREA_ENTRY, &l->area_of[i], e);
        if (err != ERR_OK) {
            return err;
        }
        if (l->area_of[i] == CHECKPOINT_NOT_ASKED) {
            continue;
        }
        if (seen[l->area_of[i]]) {
            return err_set(e, ERR_CORRUPT, "it has area %s twice", l->areas[l->area_of[i]].name);
        }
        seen[l->area_of[i]] = true;
    }
    for (uint32_t i = 0; l->take && i < h->areas; i++) {
        if (l->area_of[i] != CHECKPOINT_NOT_ASKED) {
            resize(l, l->area_of[i],
                   get_u64(l->in + i * CHECKPOINT_AREA_ENTRY + CHECKPOINT_NAME_MAX + 1));
        }
    }
    if (l->from->found != NULL && !l->take) {
        memcpy(l->from->found, seen, l->count * sizeof *seen);
    }
    return ERR_OK;
}

static enum err read_head(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                          uint64_t before_sum, struct errmsg *e)
{
    struct checkpoint_prefix h;
    enum err err = read_exact(l, l->in, CHECKPOINT_PREFIX, e);
    err = err == ERR_OK ? checkpoint_prefix_get(l->in, &h, &l->sum, e) : err;
    if (err != ERR_OK) {
        return err;
    }
    if (h.kind != entry->kind || h.position != entry->position) {
        return err_set(e, ERR_CORRUPT, "its name is not that of its content");
    }
    if (h.before_sum != before_sum) {
        return err_set(e, ERR_CORRUPT, "it builds on another file than the one that is there");
    }
    size_t table = h.areas * CHECKPOINT_AREA_ENTRY;
    err = read_exact(l, l->in, table + h.header_bytes + CHECKPOINT_SUM, e);
    err = err == ERR_OK ? check_sum(l, l->in, table + h.header_bytes, "its head", e) : err;
    err = err == ERR_OK ? read_areas(l, &h, e) : err;
    if (err == ERR_OK && l->take) {
        l->out->position = h.position;
        l->out->header_bytes = h.header_bytes;
        memcpy(l->out->header, l->in + table, h.header_bytes);
    }
    return err;
}

struct block {
    uint64_t place;  /* in the file */
    uint32_t number; /* of the area in the file */
    uint32_t area;   /* ours, or CHECKPOINT_NOT_ASKED */
    uint32_t pages;
    uint32_t raw_bytes, packed_bytes;
    const uint8_t *in; /* from its tag on */
};

static uint32_t page_of(const struct block *b, uint32_t i)
{
    return get_u32(b->in + CHECKPOINT_BLOCK_PREFIX + (size_t)i * 4);
}

/* Page numbers rise and lie within the area; their lengths add up. */
static bool block_plausible(struct checkpoint_loader *l, const struct block *b)
{
    size_t bytes = l->areas[b->area].bytes;
    size_t sum = 0;
    for (uint32_t i = 0; i < b->pages; i++) {
        uint32_t page = page_of(b, i);
        bool rises = b->place + i == 0 || b->number > l->last_area ||
                     (b->number == l->last_area && page > l->last_page);
        if (!rises || page >= checkpoint_pages(bytes)) {
            return false;
        }
        l->last_area = b->number;
        l->last_page = page;
        sum += checkpoint_page_len(bytes, page);
    }
    return sum == b->raw_bytes;
}

/* Unpacks a plausible block into its area: at once where its pages are neighbours. */
static bool take_pages(const struct checkpoint_loader *l, const struct checkpoint_unpacker *u,
                       const struct block *b)
{
    const struct area *a = &l->areas[b->area];
    const bool neighbours = page_of(b, b->pages - 1) - page_of(b, 0) == b->pages - 1;
    const size_t at = (size_t)page_of(b, 0) * CHECKPOINT_PAGE;
    uint8_t *raw = neighbours ? (uint8_t *)a->at + at : u->raw;
    if (ZSTD_decompressDCtx(u->zstd, raw, b->raw_bytes,
                            b->in + CHECKPOINT_BLOCK_PREFIX + (size_t)b->pages * 4,
                            b->packed_bytes) != b->raw_bytes) {
        return false;
    }
    for (uint32_t i = 0; i < b->pages; i++) {
        uint32_t page = page_of(b, i);
        size_t len = checkpoint_page_len(a->bytes, page);
        l->table[l->first[b->area] + page] = hash_id(raw, len);
        if (!neighbours) {
            memcpy((uint8_t *)a->at + (size_t)page * CHECKPOINT_PAGE, raw, len);
        }
        raw += len;
    }
    return true;
}

static enum err not_what_it_says(const struct block *b, struct errmsg *e)
{
    return err_set(e, ERR_CORRUPT, "block %llu is not what it says", (unsigned long long)b->place);
}

/* The block whose tag is in `in`, with all its bytes behind it. */
static enum err read_block(struct checkpoint_loader *l, uint8_t *in, struct block *out,
                           struct errmsg *e)
{
    enum err err = read_exact(l, in + 4, CHECKPOINT_BLOCK_PREFIX - 4, e);
    if (err != ERR_OK) {
        return err;
    }
    struct block b = {.place = l->blocks,
                      .number = get_u32(in + 4),
                      .pages = get_u32(in + 8),
                      .raw_bytes = get_u32(in + 12),
                      .packed_bytes = get_u32(in + 16),
                      .in = in};
    if (b.number >= l->file_areas || b.pages == 0 || b.pages > CHECKPOINT_BLOCK_PAGES ||
        b.raw_bytes > CHECKPOINT_BLOCK || b.packed_bytes > CHECKPOINT_PACKED_MAX) {
        return err_set(e, ERR_CORRUPT, "block %llu has impossible sizes",
                       (unsigned long long)b.place);
    }
    b.area = l->area_of[b.number];
    size_t end = CHECKPOINT_BLOCK_PREFIX + (size_t)b.pages * 4 + b.packed_bytes;
    err = read_exact(l, in + CHECKPOINT_BLOCK_PREFIX,
                     end - CHECKPOINT_BLOCK_PREFIX + CHECKPOINT_SUM, e);
    err = err == ERR_OK ? check_sum(l, in, end, "a block", e) : err;
    if (err != ERR_OK) {
        return err;
    }
    if (b.area == CHECKPOINT_NOT_ASKED) {
        l->last_area = b.number;
        l->last_page = 0;
    } else if (!block_plausible(l, &b)) {
        return not_what_it_says(&b, e);
    }
    l->blocks++;
    *out = b;
    return ERR_OK;
}

/* Every page of every area asked for was seen, here or in a file before, and they are the writer's:
 * where all were asked for. */
static enum err check_state(const struct checkpoint_loader *l, uint64_t wanted, struct errmsg *e)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < l->file_areas; i++) {
        uint32_t area = l->area_of[i];
        if (area == CHECKPOINT_NOT_ASKED) {
            continue;
        }
        const uint64_t *pages = l->table + l->first[area];
        for (size_t p = 0; p < checkpoint_pages(l->areas[area].bytes); p++) {
            if (pages[p] == 0) {
                return err_set(e, ERR_CORRUPT, "page %zu of area %s is in no file of its chain", p,
                               l->areas[area].name);
            }
        }
        hash = checkpoint_state_hash(hash, l->areas[area].bytes, pages);
    }
    if (hash != wanted && l->from->found == NULL) {
        return err_set(e, ERR_CORRUPT,
                       "with the files before it it does not give the state that "
                       "was written");
    }
    return ERR_OK;
}

/* The end whose tag is in `in`. */
static enum err read_end(struct checkpoint_loader *l, uint8_t *in, struct errmsg *e)
{
    uint8_t more;
    enum err err = read_exact(l, in + 4, CHECKPOINT_END - 4, e);
    err = err == ERR_OK ? check_sum(l, in, CHECKPOINT_END - CHECKPOINT_SUM, "its end", e) : err;
    if (err != ERR_OK) {
        return err;
    }
    if (get_u64(in + 4) != l->blocks || disk_read_all(l->from->disk, l->handle, &more, 1) != 0) {
        return err_set(e, ERR_CORRUPT, "it goes on behind its end");
    }
    l->state_hash = get_u64(in + 12);
    return ERR_OK;
}

/* The next block, or the end (l->ended). */
static enum err read_next(struct checkpoint_loader *l, uint8_t *in, struct block *out,
                          struct errmsg *e)
{
    enum err err = read_exact(l, in, 4, e);
    if (err != ERR_OK) {
        return err;
    }
    switch (get_u32(in)) {
    case CHECKPOINT_TAG_END:
        l->ended = true;
        return read_end(l, in, e);
    case CHECKPOINT_TAG_BLOCK:
        return read_block(l, in, out, e);
    default:
        return err_set(e, ERR_CORRUPT, "it has a block of no kind");
    }
}

/* Of all failures the first in the file is told: every block before it was unpacked, by whoever
 * read it, so it is the same for any number of threads. */
static void fail_at(struct checkpoint_loader *l, uint64_t place, enum err err,
                    const struct errmsg *why)
{
    l->ended = true;
    if (place < l->bad_block) {
        l->bad_block = place;
        l->bad_err = err;
        *l->bad_e = *why;
    }
}

/* What a thread does: reads the next block in its turn and unpacks it while others read. */
static void unpack(void *ctx, uint32_t worker, uint32_t item)
{
    struct checkpoint_loader *l = ctx;
    const struct checkpoint_unpacker *u = &l->unpacker[item];
    struct block b = {.area = CHECKPOINT_NOT_ASKED};
    struct errmsg e;
    (void)worker;
    pthread_mutex_lock(&l->lock);
    while (!l->ended) {
        enum err err = read_next(l, u->in, &b, &e);
        if (err != ERR_OK) {
            fail_at(l, l->blocks, err, &e);
        }
        if (l->ended || b.area == CHECKPOINT_NOT_ASKED) {
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        bool taken = take_pages(l, u, &b);
        pthread_mutex_lock(&l->lock);
        if (!taken) {
            fail_at(l, b.place, not_what_it_says(&b, &e), &e);
        }
    }
    pthread_mutex_unlock(&l->lock);
}

static enum err read_content(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                             uint64_t before_sum, struct errmsg *e)
{
    enum err err = read_head(l, entry, before_sum, e);
    if (err != ERR_OK) {
        return err;
    }
    l->blocks = 0;
    l->ended = false;
    l->bad_block = UINT64_MAX;
    l->bad_e = e;
    if (l->threads > 1) {
        pool_run(l->from->pool, l->threads, unpack, l);
    } else {
        unpack(l, 0, 0);
    }
    return l->bad_block != UINT64_MAX ? l->bad_err : check_state(l, l->state_hash, e);
}

static enum err open_entry(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                           struct errmsg *e)
{
    const struct disk *d = l->from->disk;
    char name[CHECKPOINT_FILE_NAME];
    char path[CHECKPOINT_PATH];
    checkpoint_name(name, l->from->stem, entry->position, entry->kind);
    snprintf(path, sizeof path, "%s/%s", l->from->dir, name);
    l->handle = d->open(d->ctx, path, DISK_READ);
    if (l->handle < 0) {
        return err_set(e, ERR_IO, "it cannot be opened: %s", strerror(-l->handle));
    }
    return ERR_OK;
}

static void close_entry(struct checkpoint_loader *l)
{
    (void)l->from->disk->close(l->from->disk->ctx, l->handle);
}

enum err checkpoint_read_entry(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                               uint64_t *sum, struct errmsg *e)
{
    enum err err = open_entry(l, entry, e);
    if (err == ERR_OK) {
        err = read_content(l, entry, *sum, e);
        close_entry(l);
        *sum = l->sum;
    }
    return err;
}

enum err checkpoint_read_areas(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                               struct errmsg *e)
{
    struct checkpoint_prefix h;
    enum err err = checkpoint_peek(l, entry, &h, e);
    err = err == ERR_OK ? open_entry(l, entry, e) : err;
    if (err == ERR_OK) {
        err = read_head(l, entry, h.before_sum, e);
        close_entry(l);
    }
    return err;
}

enum err checkpoint_peek(struct checkpoint_loader *l, const struct checkpoint_entry *entry,
                         struct checkpoint_prefix *out, struct errmsg *e)
{
    uint64_t sum;
    enum err err = open_entry(l, entry, e);
    if (err == ERR_OK) {
        err = read_exact(l, l->in, CHECKPOINT_PREFIX, e);
        err = err == ERR_OK ? checkpoint_prefix_get(l->in, out, &sum, e) : err;
        close_entry(l);
    }
    if (err == ERR_OK && (out->kind != entry->kind || out->position != entry->position)) {
        err = err_set(e, ERR_CORRUPT, "its name is not that of its content");
    }
    return err;
}
