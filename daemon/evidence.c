#include "daemon/evidence.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "daemon/encode.h"

#define VERSION 1

bool evidence_sampled(struct slice log, int32_t partition, int64_t offset, double share)
{
    char id[ENCODE_ID_MAX];
    if (share <= 0) {
        return false;
    }
    const size_t len = encode_id(log, partition, offset, id, sizeof id);
    return (double)(hash_bytes(id, len, 0) >> 11) * 0x1p-53 < share;
}

void evidence_write(const struct positions *at, const float *x, uint8_t *out)
{
    *out++ = VERSION;
    out = put_u64(out, (uint64_t)at->journal);
    out = put_u64(out, (uint64_t)at->labels_next);
    out = put_u64(out, (uint64_t)at->notices_next);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof bits);
        out = put_u32(out, bits);
    }
}

static bool read_bytes(const uint8_t *p, struct positions *out, float *out_x)
{
    if (*p++ != VERSION) {
        return false;
    }
    out->journal = (int64_t)get_u64(p);
    out->labels_next = (int64_t)get_u64(p + sizeof(uint64_t));
    out->notices_next = (int64_t)get_u64(p + 2 * sizeof(uint64_t));
    p += 3 * sizeof(uint64_t);
    for (size_t i = 0; i < FEAT_DIM; i++) {
        const uint32_t bits = get_u32(p + i * sizeof bits);
        memcpy(&out_x[i], &bits, sizeof bits);
    }
    return true;
}

bool evidence_read(const struct bus_header *headers, size_t n, struct positions *out, float *out_x)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(headers[i].name, EVIDENCE_HEADER) == 0 && headers[i].len == EVIDENCE_BYTES) {
            return read_bytes(headers[i].value, out, out_x);
        }
    }
    return false;
}
