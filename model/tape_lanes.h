/* Vectors for training's own loops.
 *
 * `lanes` is sixteen floats as the compiler's own vector: operators work lane by lane, on any CPU;
 * pointers need a float's alignment only.
 *
 * TAPE_CLONES before a function compiles it for several generations of x86-64; the one that suits
 * the CPU is taken when the program starts.  Each operation rounds alike on all of them (no fused
 * multiply-add, no reordered sums), so the clones give the same bytes.  Sanitizers cannot follow
 * the choice (it is made before they are ready): there the plain function remains. */
#ifndef FD_MODEL_TAPE_LANES_H
#define FD_MODEL_TAPE_LANES_H

#include <stdint.h>

#define LANES 16

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TAPE_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define TAPE_CLONES
#endif

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t lane_marks __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline const lanes *lanes_at(const float *p)
{
    return (const lanes *)p;
}

static inline lanes *lanes_to(float *p)
{
    return (lanes *)p;
}

#endif
