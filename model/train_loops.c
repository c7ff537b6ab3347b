#include "model/train_loops.h"

const struct train_loops *train_loops_best(void)
{
#if defined(__x86_64__)
    if (TRAIN_LOOPS_AVX512.usable()) {
        return &TRAIN_LOOPS_AVX512;
    }
    if (TRAIN_LOOPS_AVX2.usable()) {
        return &TRAIN_LOOPS_AVX2;
    }
#endif
    return &TRAIN_LOOPS_SCALAR;
}
