/* The step in plain C, for any processor. */
#include "model/lanes_scalar.h"

#include "model/kernel_body.h"

static int usable(void)
{
    return 1;
}

const struct kernel KERNEL_SCALAR = {"scalar",     usable,    body_encode, body_attention,
                                     body_experts, body_head, body_product};
