#include "base/region.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

/* Pages of this size, where the kernel has them, spare most TLB misses. */
#define HUGE_PAGE ((size_t)2 << 20)

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (bytes >= HUGE_PAGE) {
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish */
    }
    return p;
}

/* Blocks begin after the head. */
#define FIRST_BLOCK ((sizeof(struct region_head) + REGION_UNIT - 1) / REGION_UNIT)

static struct region_head *head(const struct region *r)
{
    return (struct region_head *)(void *)r->base;
}

enum err region_init(struct region *r, size_t bytes_max, struct errmsg *e)
{
    memset(r, 0, sizeof *r);
    if (bytes_max < FIRST_BLOCK * REGION_UNIT) {
        return err_set(e, ERR_INVALID, "a region of %zu bytes has no room for its bookkeeping",
                       bytes_max);
    }
    r->base = reserve(bytes_max);
    if (r->base == NULL) {
        return err_set(e, ERR_NOMEM,
                       "cannot reserve %zu bytes of memory; lower the state's ceiling", bytes_max);
    }
    r->bytes_max = bytes_max;
    head(r)->bytes_used = FIRST_BLOCK * REGION_UNIT;
    return ERR_OK;
}

void region_done(struct region *r)
{
    if (r->base != NULL) {
        munmap(r->base, r->bytes_max);
        r->base = NULL;
    }
}

uint32_t region_alloc(struct region *r, unsigned size_class)
{
    struct region_head *h = head(r);
    size_t bytes = (size_t)REGION_UNIT << size_class;
    uint32_t block = h->free_list[size_class];
    if (block != 0) {
        char *p = region_at(r, block);
        memcpy(&h->free_list[size_class], p, sizeof block);
        memset(p, 0, bytes);
    } else {
        if (bytes > r->bytes_max - h->bytes_used) {
            return 0;
        }
        block = (uint32_t)(h->bytes_used / REGION_UNIT);
        h->bytes_used += bytes;
    }
    h->bytes_live += bytes;
    return block;
}

void region_free(struct region *r, uint32_t block, unsigned size_class)
{
    if (block == 0) {
        return;
    }
    struct region_head *h = head(r);
    memcpy(region_at(r, block), &h->free_list[size_class], sizeof block);
    h->free_list[size_class] = block;
    h->bytes_live -= (size_t)REGION_UNIT << size_class;
}

struct area region_area(const struct region *r, const char *name)
{
    return (struct area){name, r->base, head(r)->bytes_used, r->bytes_max};
}

bool region_has(const struct region *r, uint32_t block, unsigned size_class)
{
    return block == 0 || (size_class < REGION_CLASSES && block >= FIRST_BLOCK &&
                          (size_t)block * REGION_UNIT + ((size_t)REGION_UNIT << size_class) <=
                              head(r)->bytes_used);
}

bool region_fits(const struct region *r)
{
    const struct region_head *h = head(r);
    if (h->bytes_used < FIRST_BLOCK * REGION_UNIT || h->bytes_used > r->bytes_max ||
        h->bytes_used % REGION_UNIT != 0 ||
        h->bytes_live > h->bytes_used - FIRST_BLOCK * REGION_UNIT) {
        return false;
    }
    for (unsigned k = 0; k < REGION_CLASSES; k++) {
        if (!region_has(r, h->free_list[k], k)) {
            return false;
        }
    }
    return true;
}

void *region_array(size_t count, size_t size)
{
    return count > 0 && size <= SIZE_MAX / count ? reserve(count * size) : NULL;
}

void region_array_free(void *p, size_t count, size_t size)
{
    if (p != NULL) {
        munmap(p, count * size);
    }
}

void region_array_clear(void *p, size_t count, size_t size)
{
    int refused = madvise(p, count * size, MADV_DONTNEED); /* private and anonymous: zeroes */
    assert(refused == 0);
    (void)refused;
}
