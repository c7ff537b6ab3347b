#include "tests/support/machine.h"

#include <stdio.h>

#include "model/model.h"
#include "model/train.h"

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
