/* Counts what a test's program allocates, in the programs that the Makefile names in COUNTING:
 * malloc and its kin are those of allocations.c there, for libraries, too.  The sanitizers have
 * their own; with them the linker sends the program's calls here, and those of shared libraries are
 * not counted. */
#ifndef FD_TESTS_ALLOCATIONS_H
#define FD_TESTS_ALLOCATIONS_H

#include <stddef.h>

/* So far, of all threads. */
size_t allocations(void);

#endif
