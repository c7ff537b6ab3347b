/* Training's own loops over vectors, once for each instruction set.
 *
 * train_loops_body.h has them, over the sixteen lanes that the served step has too (lanes_*.h):
 * every operation rounds alike on all of them (no fused multiply-add, sums over lanes in one tree),
 * so they give the same bytes.  Arrays are the tape's (tape.h says what they hold); calls on
 * different tapes may run beside each other. */
#ifndef FD_MODEL_TRAIN_LOOPS_H
#define FD_MODEL_TRAIN_LOOPS_H

#include "model/tape.h"

/* Factors of a step, the same for many weights. */
struct adam_rates {
    float beta1, beta2;
    float rate; /* learning rate over the first moment's correction */
    float root; /* 1 / sqrt of the second moment's correction */
    float keep; /* what decay leaves of a weight */
    float stay; /* what the average keeps of itself */
    float epsilon;
};

struct train_loops {
    const char *name;
    int (*usable)(void); /* on this processor */
    /* Heads of sixteen floats.  attend: t->kt [keys, stride], t->krt [rope, stride] are the keys
     * and their rotary parts transposed; to prob and ao.  attend_back: t->kt holds the values
     * transposed; from dao to dq, and adds to dkc, dv and dkr. */
    void (*attend)(const struct tape *t, const struct tape_layer *l);
    void (*attend_back)(struct tape *t, const struct tape_layer *l);
    /* t->h[0] [T, width] = bias + keep * the sum of each token's rows of `table` */
    void (*look_up)(struct tape *t, const float *table, const float *bias, float keep);
    /* The gradients of both: from t->dh. */
    void (*spread)(const struct tape *t, float *table, float *bias, float keep);
    /* act [n, hidden] = silu(u) * v of uv [n, 2 hidden] */
    void (*swiglu)(size_t n, size_t hidden, const float *uv, float *act);
    void (*swiglu_back)(size_t n, size_t hidden, const float *uv, const float *dact, float *duv);
    /* The sum of n squares. */
    float (*squares)(const float *x, size_t n);
    /* One step of n weights w by their gradients g: both moments m and v, and the average ema. */
    void (*adam)(const struct adam_rates *r, size_t n, const float *g, float *m, float *v, float *w,
                 float *ema);
};

#define TAPE_HEAD 16 /* floats of a head's content and of its rotary part, for attend */

extern const struct train_loops TRAIN_LOOPS_SCALAR;
#if defined(__x86_64__)
extern const struct train_loops TRAIN_LOOPS_AVX2;
extern const struct train_loops TRAIN_LOOPS_AVX512;
#endif

/* The fastest that this processor can run. */
const struct train_loops *train_loops_best(void);

#endif
