/* What a benchmark ran on. */
#ifndef FD_TESTS_SUPPORT_MACHINE_H
#define FD_TESTS_SUPPORT_MACHINE_H

#include <stdint.h>

/* CPU time of this thread in ns: other programs on the machine do not count. */
uint64_t machine_thread_ns(void);

/* Prints the CPU's features, the step's kernel and OpenBLAS's core, a line each. */
void machine_print(void);

#endif
