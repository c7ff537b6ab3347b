#include "tests/support/allocations.h"

#include <stdatomic.h>
#include <stdlib.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the names of glibc and of the linker */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OURS(name) __wrap_##name
#define REAL(name) __real_##name
#define WRAPS_NEW 1 /* C++'s new comes to malloc by itself in other builds */
#else
#define OURS(name) name
#define REAL(name) __libc_##name
#define __libc_aligned_alloc __libc_memalign
#endif

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t size);
void *REAL(aligned_alloc)(size_t alignment, size_t size);
void *OURS(malloc)(size_t size);
void *OURS(calloc)(size_t n, size_t size);
void *OURS(realloc)(void *p, size_t size);
void *OURS(aligned_alloc)(size_t alignment, size_t size);
#ifdef WRAPS_NEW
void *REAL(_Znwm)(size_t size);
void *OURS(_Znwm)(size_t size);
#endif
/* NOLINTEND(bugprone-reserved-identifier) */

static atomic_size_t count;

void *OURS(malloc)(size_t size)
{
    count++;
    return REAL(malloc)(size);
}

void *OURS(calloc)(size_t n, size_t size)
{
    count++;
    return REAL(calloc)(n, size);
}

void *OURS(realloc)(void *p, size_t size)
{
    count++;
    return REAL(realloc)(p, size);
}

void *OURS(aligned_alloc)(size_t alignment, size_t size)
{
    count++;
    return REAL(aligned_alloc)(alignment, size);
}

#ifdef WRAPS_NEW
void *OURS(_Znwm)(size_t size)
{
    count++;
    return REAL(_Znwm)(size);
}
#endif

size_t allocations(void)
{
    return count;
}
