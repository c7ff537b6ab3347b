/* Counts what a test's whole program allocates, libraries included: in the programs that the
 * Makefile names in COUNTING, malloc and its kin are those of allocations.c (glibc's are behind
 * them).  The sanitizers have their own, with which nothing is counted. */
#ifndef FD_TESTS_ALLOCATIONS_H
#define FD_TESTS_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether they are counted in this build. */
bool allocations_counted(void);
/* So far, of all threads. */
size_t allocations(void);

#endif
