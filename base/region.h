/* A bounded area of memory in which blocks never move: reserved once, touched as it fills (the
 * kernel gives pages on first use), so state can grow to a stated ceiling without a pause or a
 * copy.
 *
 * Blocks have sizes 64 B * 2^k and are named by a 32-bit number (0: none).  Freed blocks are reused
 * by size.  What is in use, the bookkeeping included, is one range of bytes without pointers
 * (base/area.h): the same calls make the same bytes.  One owner, no locks. */
#ifndef FD_BASE_REGION_H
#define FD_BASE_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/area.h"
#include "base/err.h"

#define REGION_UNIT 64U
#define REGION_CLASSES 24

/* Bookkeeping, at the beginning of the region itself. */
struct region_head {
    uint64_t bytes_used; /* high-water mark, this head included */
    uint64_t bytes_live; /* in blocks */
    uint32_t free_list[REGION_CLASSES];
};

struct region {
    char *base;
    size_t bytes_max;
};

/* ERR_NOMEM the address space is refused. */
FD_MUSTCHECK enum err region_init(struct region *r, size_t bytes_max, struct errmsg *e);
void region_done(struct region *r);

/* A zeroed block of REGION_UNIT << class bytes, or 0 where the region is full. */
uint32_t region_alloc(struct region *r, unsigned size_class);
void region_free(struct region *r, uint32_t block, unsigned size_class);

static inline const struct region_head *region_head(const struct region *r)
{
    return (const struct region_head *)(const void *)r->base;
}

/* The range in use.  name: static. */
struct area region_area(const struct region *r, const char *name);
/* After another region's range was read into this one's: whether the bookkeeping is possible. */
bool region_fits(const struct region *r);
/* Whether a block of that class lies in the part in use; 0 (none) does. */
bool region_has(const struct region *r, uint32_t block, unsigned size_class);

static inline void *region_at(const struct region *r, uint32_t block)
{
    return r->base + (size_t)block * REGION_UNIT;
}

/* A zeroed array of `count` elements that takes memory as it is touched, by huge pages where the
 * kernel has them; NULL: refused. */
void *region_array(size_t count, size_t size);
void region_array_free(void *p, size_t count, size_t size);
/* Zeroes the whole array and gives its memory back; the address space stays reserved. */
void region_array_clear(void *p, size_t count, size_t size);

#endif
