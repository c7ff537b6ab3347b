/* The step for processors with AVX-512 (F, BW, DQ, VL) and VNNI. */
#include "model/served.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "base/detmath_inline.h"

LANES_FOR_AVX512

#define FD_LANES_AVX512
#include "model/lanes_avx512.h"

#include "model/kernel_body.h"

static int usable(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("popcnt");
}

const struct kernel KERNEL_AVX512 = {"avx512vnni", usable,    body_encode, body_attention,
                                     body_experts, body_head, body_product};

LANES_END

#endif
