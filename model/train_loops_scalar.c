/* Training's loops in plain C, for any processor. */
#include "model/lanes_scalar.h"

#include "model/train_loops_body.h"

static int usable(void)
{
    return 1;
}

const struct train_loops TRAIN_LOOPS_SCALAR = TRAIN_LOOPS_OF("scalar");
