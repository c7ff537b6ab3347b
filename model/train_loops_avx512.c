/* Training's loops for processors with AVX-512 and VNNI. */
#include "model/train_loops.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "model/served.h"
#include "model/tape_math.h"

LANES_FOR_AVX512

#define FD_LANES_AVX512
#include "model/lanes_avx512.h"

#include "model/train_loops_body.h"

static int usable(void)
{
    return KERNEL_AVX512.usable(); /* the same lanes */
}

const struct train_loops TRAIN_LOOPS_AVX512 = TRAIN_LOOPS_OF("avx512");

LANES_END

#endif
