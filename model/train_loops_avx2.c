/* Training's loops for processors with AVX2. */
#include "model/train_loops.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "model/served.h"
#include "model/tape_math.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,popcnt")
#endif

#define FD_LANES_AVX2
#include "model/lanes_avx2.h"

#include "model/train_loops_body.h"

static int usable(void)
{
    return KERNEL_AVX2.usable(); /* the same lanes */
}

const struct train_loops TRAIN_LOOPS_AVX2 = TRAIN_LOOPS_OF("avx2");

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
