/* What is made of the lanes' functions (lanes_*.h), whichever were included before. */
#ifndef FD_MODEL_LANES_MATH_H
#define FD_MODEL_LANES_MATH_H

#ifndef FD_MODEL_LANES_H
#include "model/lanes_scalar.h"
#endif

LANES_INLINE vf vf_sigmoid(vf x)
{
    vf one = vf_all(1);
    return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_all(0), x))));
}

#endif
