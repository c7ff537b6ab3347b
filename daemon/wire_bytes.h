/* Bytes of the binary formats being written into the caller's memory: what Avro and Protobuf have
 * in common.  Plain values; any thread. */
#ifndef FD_DAEMON_WIRE_BYTES_H
#define FD_DAEMON_WIRE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_bytes {
    char *at; /* [cap], borrowed */
    size_t len, cap;
    bool full; /* something did not fit: what is there is of no use */
};

static inline void wire_put(struct wire_bytes *o, const void *from, size_t len)
{
    o->full = o->full || len > o->cap - o->len;
    if (!o->full && len > 0) {
        memcpy(o->at + o->len, from, len);
        o->len += len;
    }
}

/* Seven bits a byte, the lowest first. */
static inline void wire_put_varint(struct wire_bytes *o, uint64_t v)
{
    uint8_t b[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) {
        b[n++] = (uint8_t)(v | 0x80);
    }
    b[n++] = (uint8_t)v;
    wire_put(o, b, n);
}

/* Eight bytes, little endian. */
static inline void wire_put_double(struct wire_bytes *o, double v)
{
    uint64_t bits = 0;
    uint8_t b[8];
    memcpy(&bits, &v, sizeof bits);
    for (size_t i = 0; i < 8; i++) {
        b[i] = (uint8_t)(bits >> 8 * i);
    }
    wire_put(o, b, sizeof b);
}

#endif
