#include "base/region.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

/* Pages of this size, where the kernel has them, spare most TLB misses. */
#define HUGE_PAGE ((size_t)2 << 20)

static void *reserve(size_t bytes, bool huge_pages)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    if (huge_pages && bytes >= HUGE_PAGE) {
        (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish */
    }
    return p;
}

enum err region_init(struct region *r, size_t bytes_max, struct errmsg *e)
{
    memset(r, 0, sizeof *r);
    r->base = reserve(bytes_max, true);
    if (r->base == NULL) {
        return err_set(e, ERR_NOMEM,
                       "cannot reserve %zu bytes of memory; lower the state's ceiling", bytes_max);
    }
    r->bytes_max = bytes_max;
    r->bytes_used = REGION_UNIT; /* block 0 means none */
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
    size_t bytes = (size_t)REGION_UNIT << size_class;
    uint32_t block = r->free_list[size_class];
    if (block != 0) {
        char *p = region_at(r, block);
        memcpy(&r->free_list[size_class], p, sizeof block);
        memset(p, 0, bytes);
    } else {
        if (bytes > r->bytes_max - r->bytes_used) {
            return 0;
        }
        block = (uint32_t)(r->bytes_used / REGION_UNIT);
        r->bytes_used += bytes;
    }
    r->bytes_live += bytes;
    return block;
}

void region_free(struct region *r, uint32_t block, unsigned size_class)
{
    if (block == 0) {
        return;
    }
    memcpy(region_at(r, block), &r->free_list[size_class], sizeof block);
    r->free_list[size_class] = block;
    r->bytes_live -= (size_t)REGION_UNIT << size_class;
}

void *region_array(size_t count, size_t size)
{
    return count > 0 && size <= SIZE_MAX / count ? reserve(count * size, true) : NULL;
}

void *region_array_sparse(size_t count, size_t size)
{
    return count > 0 && size <= SIZE_MAX / count ? reserve(count * size, false) : NULL;
}

void region_array_free(void *p, size_t count, size_t size)
{
    if (p != NULL) {
        munmap(p, count * size);
    }
}
