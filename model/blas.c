#include <cblas.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "model/train.h"

static const char CORETYPE[] = "OPENBLAS_CORETYPE"; /* read by OpenBLAS as it is loaded */

const char *train_blas_core(void)
{
    return openblas_get_corename();
}

const char *train_blas_better(const char *core, bool avx2, bool avx512)
{
    if (!avx2 || strcasecmp(core, "Prescott") != 0) {
        return NULL;
    }
    return avx512 ? "SkylakeX" : "Haswell";
}

void train_blas_suit(char **argv)
{
#if defined(__x86_64__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    const char *better = train_blas_better(train_blas_core(), avx2, avx512);
    if (better == NULL || getenv(CORETYPE) != NULL || setenv(CORETYPE, better, 0) != 0) {
        return;
    }
    execv("/proc/self/exe", argv);
    unsetenv(CORETYPE); /* without it everything works, only slower */
#else
    (void)argv;
#endif
}
