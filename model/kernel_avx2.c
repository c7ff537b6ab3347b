/* The step for processors with AVX2. */
#include "model/served.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "base/detmath_inline.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,popcnt")
#endif

#define FD_LANES_AVX2
#include "model/lanes_avx2.h"

#include "model/kernel_body.h"

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

const struct kernel KERNEL_AVX2 = {"avx2",       usable,    body_encode, body_attention,
                                   body_experts, body_head, body_product};

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
