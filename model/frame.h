/* Framing of model files and training states: tagged sections between a magic number and a
 * checksum.
 *
 * Layout, little-endian: 8 bytes magic; u32 format version; u32 number of sections; then per
 * section 4 bytes tag, u64 length, bytes; last 16 bytes: XXH3-128 of everything before.  The reader
 * never reads outside the bytes it was given, whatever they are. */
#ifndef FD_MODEL_FRAME_H
#define FD_MODEL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct frame_out {
    uint8_t *bytes;
    size_t len, room;
    size_t section; /* where the open section's length goes; 0: none is open */
    uint32_t sections;
    bool failed; /* no memory */
};

void frame_begin(struct frame_out *f, const char magic[8], uint32_t version);
/* Ends the section before, if any. */
void frame_section(struct frame_out *f, const char tag[4]);
void frame_put(struct frame_out *f, const void *bytes, size_t len);
void frame_put_u32(struct frame_out *f, const uint32_t *v, size_t n);
void frame_put_u64(struct frame_out *f, uint64_t v);
void frame_put_floats(struct frame_out *f, const float *v, size_t n);
void frame_put_double(struct frame_out *f, double v);
/* Checksum; returns owned bytes.  ERR_NOMEM; either way f is done with. */
FD_MUSTCHECK enum err frame_end(struct frame_out *f, uint8_t **out, size_t *out_len,
                                struct errmsg *e);

/* What is left to read of a file or section.  Borrows the bytes. */
struct frame_in {
    const uint8_t *at;
    size_t left;
};

/* Checks magic, version, checksum; out: the sections.  `what` names the kind of file in messages.
 * ERR_CORRUPT;  ERR_MISMATCH another format version */
FD_MUSTCHECK enum err frame_open(const void *bytes, size_t len, const char magic[8],
                                 uint32_t version, uint32_t sections, const char *what,
                                 struct frame_in *out, struct errmsg *e);
/* The next section, which must have this tag. */
FD_MUSTCHECK bool frame_next(struct frame_in *file, const char tag[4], struct frame_in *out);

/* False where fewer bytes are left; then nothing is taken. */
FD_MUSTCHECK bool frame_take(struct frame_in *f, void *out, size_t len);
FD_MUSTCHECK bool frame_take_u32(struct frame_in *f, uint32_t *out, size_t n);
FD_MUSTCHECK bool frame_take_u64(struct frame_in *f, uint64_t *out);
FD_MUSTCHECK bool frame_take_double(struct frame_in *f, double *out);
/* Also false where one is not finite or its magnitude is above `most`. */
FD_MUSTCHECK bool frame_take_floats(struct frame_in *f, float *out, size_t n, float most);

#endif
