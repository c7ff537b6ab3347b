/* The step for processors with AVX2. */
#include "model/served.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "base/detmath_inline.h"

LANES_FOR_AVX2

#define FD_LANES_AVX2
#include "model/lanes_avx2.h"

#include "model/kernel_body.h"

static int usable(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}

const struct kernel KERNEL_AVX2 = {"avx2",       usable,    body_encode, body_attention,
                                   body_experts, body_head, body_product};

LANES_END

#endif
