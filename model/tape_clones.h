/* Training's plain loops for several processors.
 *
 * TAPE_CLONES before a function compiles it for several generations of x86-64; the one that suits
 * the CPU is taken when the program starts.  Each operation rounds alike on all of them (no fused
 * multiply-add, no reordered sums), so the clones give the same bytes.  Sanitizers cannot follow
 * the choice (it is made before they are ready): there the plain function remains.  Loops over
 * vectors are not for it: the compiler keeps vectors wider than the processor's in memory
 * (train_loops.h). */
#ifndef FD_MODEL_TAPE_CLONES_H
#define FD_MODEL_TAPE_CLONES_H

#include <stddef.h> /* a header is a translation unit of its own in the check of headers */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TAPE_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define TAPE_CLONES
#endif

#endif
