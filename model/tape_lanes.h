/* Sixteen floats as the compiler's own vector: operators work lane by lane, on any CPU.  Pointers
 * need a float's alignment only. */
#ifndef FD_MODEL_TAPE_LANES_H
#define FD_MODEL_TAPE_LANES_H

#include <stdint.h>

#define LANES 16

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
