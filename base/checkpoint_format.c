#include "base/checkpoint_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

#define DIGITS 20U

static const uint8_t MAGIC[8] = {'f', 'd', 'c', 'k', 'p', 't', '\r', '\n'};

uint64_t checkpoint_prefix_put(const struct checkpoint_prefix *h, uint8_t *out)
{
    uint8_t *p = out;
    memcpy(p, MAGIC, sizeof MAGIC);
    p = put_u32(p + sizeof MAGIC, CHECKPOINT_VERSION);
    p = put_u32(p, (uint32_t)h->kind);
    p = put_u32(p, h->place);
    p = put_u32(p, h->areas);
    p = put_u32(p, h->header_bytes);
    p = put_u32(p, CHECKPOINT_PAGE);
    p = put_u64(p, h->position);
    p = put_u64(p, h->before_position);
    p = put_u64(p, h->before_sum);
    uint64_t sum = hash_bytes(out, (size_t)(p - out), 0);
    put_u64(p, sum);
    return sum;
}

static bool prefix_plausible(const struct checkpoint_prefix *h)
{
    if (h->areas == 0 || h->areas > CHECKPOINT_AREAS_MAX ||
        h->header_bytes > CHECKPOINT_HEADER_MAX || h->place >= CHECKPOINT_CHAIN_MAX) {
        return false;
    }
    if (h->kind == CHECKPOINT_FULL) {
        return h->place == 0 && h->before_position == 0 && h->before_sum == 0;
    }
    return h->kind == CHECKPOINT_INCREMENT && h->place > 0 && h->before_position < h->position;
}

enum err checkpoint_prefix_get(const uint8_t *bytes, struct checkpoint_prefix *out,
                               uint64_t *out_sum, struct errmsg *e)
{
    uint64_t sum = hash_bytes(bytes, CHECKPOINT_PREFIX - CHECKPOINT_SUM, 0);
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0) {
        return err_set(e, ERR_CORRUPT, "it does not begin as a checkpoint does");
    }
    if (sum != get_u64(bytes + CHECKPOINT_PREFIX - CHECKPOINT_SUM)) {
        return err_set(e, ERR_CORRUPT, "its first bytes fail their checksum");
    }
    if (get_u32(bytes + 8) != CHECKPOINT_VERSION || get_u32(bytes + 28) != CHECKPOINT_PAGE) {
        return err_set(
            e, ERR_MISMATCH,
            "it has format version %u with pages of %u bytes, this program reads version "
            "%u with pages of %u",
            get_u32(bytes + 8), get_u32(bytes + 28), CHECKPOINT_VERSION, CHECKPOINT_PAGE);
    }
    struct checkpoint_prefix h = {
        .kind = (enum checkpoint_kind)get_u32(bytes + 12),
        .place = get_u32(bytes + 16),
        .areas = get_u32(bytes + 20),
        .header_bytes = get_u32(bytes + 24),
        .position = get_u64(bytes + 32),
        .before_position = get_u64(bytes + 40),
        .before_sum = get_u64(bytes + 48),
    };
    if (!prefix_plausible(&h)) {
        return err_set(e, ERR_CORRUPT, "its head contradicts itself");
    }
    *out = h;
    *out_sum = sum;
    return ERR_OK;
}

uint64_t checkpoint_state_hash(uint64_t hash, size_t bytes, const uint64_t *page_hashes)
{
    uint64_t size = bytes;
    hash = hash_bytes(&size, sizeof size, hash);
    return hash_bytes(page_hashes, checkpoint_pages(bytes) * sizeof *page_hashes, hash);
}

bool checkpoint_stem_valid(const char *stem)
{
    size_t n = strspn(stem, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= CHECKPOINT_STEM_MAX && stem[n] == '\0';
}

static const char *suffix(enum checkpoint_kind kind)
{
    return kind == CHECKPOINT_FULL ? ".full" : ".inc";
}

void checkpoint_name(char *out, const char *stem, uint64_t position, enum checkpoint_kind kind)
{
    snprintf(out, CHECKPOINT_FILE_NAME, "%s.%020" PRIu64 "%s", stem, position, suffix(kind));
}

enum checkpoint_file checkpoint_name_parse(const char *name, const char *stem,
                                           uint64_t *out_position, enum checkpoint_kind *out_kind)
{
    size_t len = strlen(stem);
    if (strncmp(name, stem, len) != 0 || name[len] != '.') {
        return CHECKPOINT_FILE_OTHER;
    }
    const char *digits = name + len + 1;
    if (strspn(digits, "0123456789") != DIGITS) {
        return CHECKPOINT_FILE_OTHER;
    }
    errno = 0;
    uint64_t position = strtoull(digits, NULL, 10);
    if (errno != 0) {
        return CHECKPOINT_FILE_OTHER;
    }
    for (int kind = CHECKPOINT_FULL; kind <= CHECKPOINT_INCREMENT; kind++) {
        const char *end = suffix((enum checkpoint_kind)kind);
        if (strncmp(digits + DIGITS, end, strlen(end)) == 0) {
            const char *rest = digits + DIGITS + strlen(end);
            *out_position = position;
            *out_kind = (enum checkpoint_kind)kind;
            if (*rest == '\0') {
                return CHECKPOINT_FILE_WHOLE;
            }
            return strcmp(rest, ".tmp") == 0 ? CHECKPOINT_FILE_TEMPORARY : CHECKPOINT_FILE_OTHER;
        }
    }
    return CHECKPOINT_FILE_OTHER;
}
