#include <cblas.h>

#include "model/train.h"

const char *train_blas_core(void)
{
    return openblas_get_corename();
}
