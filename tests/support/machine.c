#include "tests/support/machine.h"

#include <stdio.h>
#include <time.h>

#include "model/model.h"
#include "model/train.h"

uint64_t machine_thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void machine_print(void)
{
#if defined(__x86_64__)
    printf("CPU: avx2 %d, fma %d, avx512f %d, avx512bw %d, avx512vl %d, avx512vnni %d\n",
           __builtin_cpu_supports("avx2") != 0, __builtin_cpu_supports("fma") != 0,
           __builtin_cpu_supports("avx512f") != 0, __builtin_cpu_supports("avx512bw") != 0,
           __builtin_cpu_supports("avx512vl") != 0, __builtin_cpu_supports("avx512vnni") != 0);
#else
    printf("CPU: not x86-64\n");
#endif
    printf("kernel %s; OpenBLAS core %s (training only)\n", model_kernel_name(), train_blas_core());
}
