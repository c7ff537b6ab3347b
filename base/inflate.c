#include "base/inflate.h"

#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include "base/file.h"

#define INPUT_BYTES 262144
/* what one decoder may take: xz -9 needs 65 MiB; a hostile header asks for more */
#define DECODER_MEMORY_MAX (UINT64_C(256) << 20)

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_XZ, PACKING_ZSTD };

struct inflate {
    FILE *file;
    char *path;
    enum packing packing;
    uint8_t input[INPUT_BYTES];
    size_t at;
    size_t len;
    bool ended;      /* of the file */
    bool mid_stream; /* the decoder waits for more of its stream */
    double size;
    double consumed;
    z_stream gzip;
    lzma_stream xz;
    ZSTD_DStream *zstd;
};

static enum err refill(struct inflate *f, struct errmsg *e)
{
    if (f->at < f->len || f->ended) {
        return ERR_OK;
    }
    f->at = 0;
    f->len = fread(f->input, 1, sizeof f->input, f->file);
    f->consumed += (double)f->len;
    if (f->len == 0) {
        if (ferror(f->file)) {
            return file_errno(e, errno, "read", f->path);
        }
        f->ended = true;
    }
    return ERR_OK;
}

static enum packing packing_of(const uint8_t *p, size_t len)
{
    if (len >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
        return PACKING_GZIP;
    }
    if (len >= 6 && memcmp(p,
                           "\xfd"
                           "7zXZ",
                           6) == 0) {
        return PACKING_XZ;
    }
    if (len >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0) {
        return PACKING_ZSTD;
    }
    return PACKING_NONE;
}

static bool decoder_init(struct inflate *f)
{
    switch (f->packing) {
    case PACKING_NONE:
        return true;
    case PACKING_GZIP:
        return inflateInit2(&f->gzip, 15 + 16) == Z_OK;
    case PACKING_XZ:
        return lzma_stream_decoder(&f->xz, DECODER_MEMORY_MAX, LZMA_CONCATENATED) == LZMA_OK;
    case PACKING_ZSTD:
        f->zstd = ZSTD_createDStream();
        return f->zstd != NULL;
    }
    return false;
}

enum err inflate_open(const char *path, struct inflate **out, struct errmsg *e)
{
    enum err err = ERR_OK;
    struct inflate *f = calloc(1, sizeof *f);
    if (f == NULL || (f->path = strdup(path)) == NULL) {
        err = err_set(e, ERR_NOMEM, "cannot open %s: no memory", path);
        goto out;
    }
    f->file = fopen(path, "rbe");
    struct stat st;
    if (f->file == NULL || fstat(fileno(f->file), &st) != 0) {
        err = file_errno(e, errno, "open", path);
        goto out;
    }
    f->size = (double)st.st_size;
    err = refill(f, e);
    if (err != ERR_OK) {
        goto out;
    }
    f->packing = packing_of(f->input, f->len);
    f->mid_stream = f->packing != PACKING_NONE;
    if (!decoder_init(f)) {
        err = err_set(e, ERR_NOMEM, "cannot open %s: no memory for its decoder", path);
        goto out;
    }
    *out = f;
    f = NULL;
out:
    inflate_close(f);
    return err;
}

void inflate_close(struct inflate *f)
{
    if (f == NULL) {
        return;
    }
    if (f->packing == PACKING_GZIP) {
        inflateEnd(&f->gzip);
    }
    if (f->packing == PACKING_XZ) {
        lzma_end(&f->xz);
    }
    ZSTD_freeDStream(f->zstd);
    if (f->file != NULL) {
        fclose(f->file);
    }
    free(f->path);
    free(f);
}

static size_t step_none(struct inflate *f, uint8_t *out, size_t room)
{
    size_t n = f->len - f->at < room ? f->len - f->at : room;
    memcpy(out, f->input + f->at, n);
    f->at += n;
    return n;
}

/* Each step decodes what it can and returns the bytes produced, or sets *bad. */
static size_t step_gzip(struct inflate *f, uint8_t *out, size_t room, bool *bad)
{
    z_stream *z = &f->gzip;
    if (!f->mid_stream && f->at < f->len) { /* another member follows */
        inflateReset(z);
        f->mid_stream = true;
    }
    z->next_in = f->input + f->at;
    z->avail_in = (uInt)(f->len - f->at);
    z->next_out = out;
    z->avail_out = (uInt)room;
    int result = inflate(z, Z_NO_FLUSH);
    f->at = f->len - z->avail_in;
    if (result == Z_STREAM_END) {
        f->mid_stream = false;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
        *bad = true;
    }
    return room - z->avail_out;
}

static size_t step_xz(struct inflate *f, uint8_t *out, size_t room, bool *bad)
{
    lzma_stream *x = &f->xz;
    x->next_in = f->input + f->at;
    x->avail_in = f->len - f->at;
    x->next_out = out;
    x->avail_out = room;
    lzma_ret result = lzma_code(x, f->ended ? LZMA_FINISH : LZMA_RUN);
    f->at = f->len - x->avail_in;
    if (result == LZMA_STREAM_END) {
        f->mid_stream = false;
    } else if (result != LZMA_OK && result != LZMA_BUF_ERROR) {
        *bad = true;
    }
    return room - x->avail_out;
}

static size_t step_zstd(struct inflate *f, uint8_t *out, size_t room, bool *bad)
{
    if (!f->mid_stream && f->at == f->len) {
        return 0; /* a call without input would begin a frame that never comes */
    }
    ZSTD_inBuffer in = {f->input, f->len, f->at};
    ZSTD_outBuffer o = {out, room, 0};
    size_t result = ZSTD_decompressStream(f->zstd, &o, &in);
    f->at = in.pos;
    if (ZSTD_isError(result)) {
        *bad = true;
    } else {
        f->mid_stream = result != 0;
    }
    return o.pos;
}

static size_t step(struct inflate *f, uint8_t *out, size_t room, bool *bad)
{
    switch (f->packing) {
    case PACKING_GZIP:
        return step_gzip(f, out, room, bad);
    case PACKING_XZ:
        return step_xz(f, out, room, bad);
    case PACKING_ZSTD:
        return step_zstd(f, out, room, bad);
    case PACKING_NONE:
        break;
    }
    return step_none(f, out, room);
}

enum err inflate_read(struct inflate *f, uint8_t *out, size_t room, size_t *out_len,
                      struct errmsg *e)
{
    for (;;) {
        enum err err = refill(f, e);
        if (err != ERR_OK) {
            return err;
        }
        bool bad = false;
        size_t n = step(f, out, room, &bad);
        if (bad) {
            return err_set(e, ERR_CORRUPT, "cannot decompress %s: its bytes are damaged", f->path);
        }
        if (n > 0) {
            *out_len = n;
            return ERR_OK;
        }
        if (f->ended) {
            if (f->mid_stream) {
                return err_set(e, ERR_CORRUPT, "cannot decompress %s: it ends too early", f->path);
            }
            *out_len = 0;
            return ERR_OK;
        }
    }
}

double inflate_share(const struct inflate *f)
{
    return f->size > 0 ? f->consumed / f->size : 1;
}
