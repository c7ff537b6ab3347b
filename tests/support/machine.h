/* What a benchmark ran on. */
#ifndef FD_TESTS_SUPPORT_MACHINE_H
#define FD_TESTS_SUPPORT_MACHINE_H

/* Prints the CPU's features, the step's kernel and OpenBLAS's core, a line each. */
void machine_print(void);

#endif
