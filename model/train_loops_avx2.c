/* Training's loops for processors with AVX2. */
#include "model/train_loops.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "model/served.h"
#include "model/tape_math.h"

LANES_FOR_AVX2

#define FD_LANES_AVX2
#include "model/lanes_avx2.h"

#include "model/train_loops_body.h"

static int usable(void)
{
    return KERNEL_AVX2.usable(); /* the same lanes */
}

const struct train_loops TRAIN_LOOPS_AVX2 = TRAIN_LOOPS_OF("avx2");

LANES_END

#endif
