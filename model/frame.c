#include "model/frame.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define MAGIC_LEN 8U
#define HEAD_LEN 16U
#define SUM_LEN 16U
#define TAG_LEN 4U

static void store_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++) {
        p[i] = (uint8_t)(v >> (8 * i) & 255);
    }
}

static void store_u64(uint8_t *p, uint64_t v)
{
    store_u32(p, (uint32_t)(v & 0xffffffffU));
    store_u32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load_u64(const uint8_t *p)
{
    return load_u32(p) | (uint64_t)load_u32(p + 4) << 32;
}

/* Room for len more bytes, or NULL. */
static uint8_t *grow(struct frame_out *f, size_t len)
{
    if (f->failed) {
        return NULL;
    }
    if (f->room - f->len < len) {
        size_t room = f->room * 2 + len;
        uint8_t *bytes = realloc(f->bytes, room);
        if (bytes == NULL) {
            f->failed = true;
            return NULL;
        }
        f->bytes = bytes;
        f->room = room;
    }
    f->len += len;
    return f->bytes + f->len - len;
}

void frame_begin(struct frame_out *f, const char magic[8], uint32_t version)
{
    *f = (struct frame_out){0};
    uint8_t *p = grow(f, HEAD_LEN);
    if (p != NULL) {
        memcpy(p, magic, MAGIC_LEN);
        store_u32(p + MAGIC_LEN, version);
        store_u32(p + MAGIC_LEN + 4, 0);
    }
}

static void end_section(struct frame_out *f)
{
    if (f->section != 0 && !f->failed) {
        store_u64(f->bytes + f->section, f->len - f->section - sizeof(uint64_t));
        store_u32(f->bytes + MAGIC_LEN + 4, f->sections);
    }
}

void frame_section(struct frame_out *f, const char tag[4])
{
    end_section(f);
    uint8_t *p = grow(f, TAG_LEN + sizeof(uint64_t));
    if (p != NULL) {
        memcpy(p, tag, TAG_LEN);
        store_u64(p + TAG_LEN, 0); /* until the section ends: a hash may be taken before */
        f->section = f->len - sizeof(uint64_t);
        f->sections++;
    }
}

void frame_put(struct frame_out *f, const void *bytes, size_t len)
{
    uint8_t *p = grow(f, len);
    if (p != NULL && len > 0) {
        memcpy(p, bytes, len);
    }
}

void frame_put_u32(struct frame_out *f, const uint32_t *v, size_t n)
{
    uint8_t *p = grow(f, n * sizeof *v);
    for (size_t i = 0; p != NULL && i < n; i++) {
        store_u32(p + i * sizeof *v, v[i]);
    }
}

void frame_put_u64(struct frame_out *f, uint64_t v)
{
    uint8_t *p = grow(f, sizeof v);
    if (p != NULL) {
        store_u64(p, v);
    }
}

void frame_put_floats(struct frame_out *f, const float *v, size_t n)
{
    uint8_t *p = grow(f, n * sizeof *v);
    for (size_t i = 0; p != NULL && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        store_u32(p + i * sizeof bits, bits);
    }
}

void frame_put_double(struct frame_out *f, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    frame_put_u64(f, bits);
}

enum err frame_end(struct frame_out *f, uint8_t **out, size_t *out_len, struct errmsg *e)
{
    end_section(f);
    uint8_t *p = grow(f, SUM_LEN);
    if (p == NULL) {
        free(f->bytes);
        f->bytes = NULL;
        return err_set(e, ERR_NOMEM, "no memory to pack the model");
    }
    hash_128(f->bytes, f->len - SUM_LEN, p);
    *out = f->bytes;
    *out_len = f->len;
    f->bytes = NULL;
    return ERR_OK;
}

enum err frame_open(const void *bytes, size_t len, const char magic[8], uint32_t version,
                    uint32_t sections, const char *what, struct frame_in *out, struct errmsg *e)
{
    const uint8_t *p = bytes;
    uint8_t sum[SUM_LEN];
    if (len < HEAD_LEN + SUM_LEN || memcmp(p, magic, MAGIC_LEN) != 0) {
        return err_set(e, ERR_CORRUPT, "these %zu bytes are not a %s: they do not begin with %.8s",
                       len, what, magic);
    }
    hash_128(p, len - SUM_LEN, sum);
    if (memcmp(sum, p + len - SUM_LEN, SUM_LEN) != 0) {
        return err_set(e, ERR_CORRUPT,
                       "the checksum of this %s of %zu bytes does not match; copy it again", what,
                       len);
    }
    if (load_u32(p + MAGIC_LEN) != version) {
        return err_set(e, ERR_MISMATCH,
                       "this %s has format version %u, this program reads %u; use the program that "
                       "wrote it, or train again",
                       what, load_u32(p + MAGIC_LEN), version);
    }
    if (load_u32(p + MAGIC_LEN + 4) != sections) {
        return err_set(e, ERR_CORRUPT, "this %s has %u sections instead of %u", what,
                       load_u32(p + MAGIC_LEN + 4), sections);
    }
    *out = (struct frame_in){p + HEAD_LEN, len - HEAD_LEN - SUM_LEN};
    return ERR_OK;
}

bool frame_next(struct frame_in *file, const char tag[4], struct frame_in *out)
{
    size_t head = TAG_LEN + sizeof(uint64_t);
    if (file->left < head || memcmp(file->at, tag, TAG_LEN) != 0) {
        return false;
    }
    uint64_t len = load_u64(file->at + TAG_LEN);
    if (len > file->left - head) {
        return false;
    }
    *out = (struct frame_in){file->at + head, (size_t)len};
    file->at += head + (size_t)len;
    file->left -= head + (size_t)len;
    return true;
}

/* The next len bytes, or NULL. */
static const uint8_t *advance(struct frame_in *f, size_t n, size_t size)
{
    if (n > f->left / size) {
        return NULL;
    }
    const uint8_t *p = f->at;
    f->at += n * size;
    f->left -= n * size;
    return p;
}

bool frame_take(struct frame_in *f, void *out, size_t len)
{
    const uint8_t *p = advance(f, len, 1);
    if (p != NULL) {
        memcpy(out, p, len);
    }
    return p != NULL;
}

bool frame_take_u32(struct frame_in *f, uint32_t *out, size_t n)
{
    const uint8_t *p = advance(f, n, sizeof *out);
    for (size_t i = 0; p != NULL && i < n; i++) {
        out[i] = load_u32(p + i * sizeof *out);
    }
    return p != NULL;
}

bool frame_take_u64(struct frame_in *f, uint64_t *out)
{
    const uint8_t *p = advance(f, 1, sizeof *out);
    if (p != NULL) {
        *out = load_u64(p);
    }
    return p != NULL;
}

bool frame_take_double(struct frame_in *f, double *out)
{
    uint64_t bits;
    if (!frame_take_u64(f, &bits)) {
        return false;
    }
    memcpy(out, &bits, sizeof bits);
    return true;
}

bool frame_take_floats(struct frame_in *f, float *out, size_t n, float most)
{
    const uint8_t *p = advance(f, n, sizeof *out);
    for (size_t i = 0; p != NULL && i < n; i++) {
        uint32_t bits = load_u32(p + i * sizeof bits);
        memcpy(&out[i], &bits, sizeof bits);
        if (!(fabsf(out[i]) <= most)) {
            return false;
        }
    }
    return p != NULL;
}
