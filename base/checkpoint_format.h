/* The bytes of checkpoint files (base/checkpoint.h says what they mean), for its writer and reader.
 * Nothing here allocates. */
#ifndef FD_BASE_CHECKPOINT_FORMAT_H
#define FD_BASE_CHECKPOINT_FORMAT_H

#include <limits.h>

#include "base/bytes.h"
#include "base/checkpoint.h"

/* A page is what an increment writes when one byte changed; its hash takes 8 bytes of the table.
 * 16 KiB holds 256 records of 64 bytes: pages of 4 KiB would make the table four times as long and
 * pack worse, pages of 64 KiB would write four times as much for changes that are far apart. */
#define CHECKPOINT_PAGE 16384U
/* A block is what is packed at once: the unit of memory. */
#define CHECKPOINT_BLOCK_PAGES 16U
#define CHECKPOINT_BLOCK (CHECKPOINT_PAGE * CHECKPOINT_BLOCK_PAGES)

#define CHECKPOINT_VERSION 1U
#define CHECKPOINT_PREFIX 64U
#define CHECKPOINT_AREA_ENTRY (CHECKPOINT_NAME_MAX + 1 + 8)
#define CHECKPOINT_SUM 8U
#define CHECKPOINT_HEAD_MAX                                                                        \
    (CHECKPOINT_PREFIX + CHECKPOINT_AREAS_MAX * CHECKPOINT_AREA_ENTRY + CHECKPOINT_HEADER_MAX +    \
     CHECKPOINT_SUM)
#define CHECKPOINT_BLOCK_PREFIX 20U
#define CHECKPOINT_END 28U
#define CHECKPOINT_TAG_BLOCK 0x62U
#define CHECKPOINT_TAG_END 0x65U

#define CHECKPOINT_FILE_NAME (CHECKPOINT_STEM_MAX + 40)
#define CHECKPOINT_PATH (PATH_MAX + CHECKPOINT_FILE_NAME + 8)

struct checkpoint_prefix {
    enum checkpoint_kind kind;
    uint32_t place; /* in its chain */
    uint32_t areas;
    uint32_t header_bytes;
    uint64_t position;
    uint64_t before_position;
    uint64_t before_sum;
};

static inline size_t checkpoint_pages(size_t bytes)
{
    return bytes / CHECKPOINT_PAGE + (bytes % CHECKPOINT_PAGE != 0);
}

/* Bytes of a page of an area that has so many in use. */
static inline size_t checkpoint_page_len(size_t bytes, size_t page)
{
    size_t left = bytes - page * CHECKPOINT_PAGE;
    return left < CHECKPOINT_PAGE ? left : CHECKPOINT_PAGE;
}

/* Writes the 64 bytes with their checksum, which it returns. */
uint64_t checkpoint_prefix_put(const struct checkpoint_prefix *h, uint8_t *out);

/* Reads them.  ERR_CORRUPT; ERR_MISMATCH another version or page size.  e: only why. */
FD_MUSTCHECK enum err checkpoint_prefix_get(const uint8_t *bytes, struct checkpoint_prefix *out,
                                            uint64_t *out_sum, struct errmsg *e);

/* Continues a hash of areas with one area's size and page hashes. */
uint64_t checkpoint_state_hash(uint64_t hash, size_t bytes, const uint64_t *page_hashes);

enum checkpoint_file { CHECKPOINT_FILE_OTHER, CHECKPOINT_FILE_WHOLE, CHECKPOINT_FILE_TEMPORARY };

bool checkpoint_stem_valid(const char *stem);
/* out: CHECKPOINT_FILE_NAME bytes. */
void checkpoint_name(char *out, const char *stem, uint64_t position, enum checkpoint_kind kind);
/* What a name in the directory is; position and kind are set unless OTHER. */
enum checkpoint_file checkpoint_name_parse(const char *name, const char *stem,
                                           uint64_t *out_position, enum checkpoint_kind *out_kind);

#endif
