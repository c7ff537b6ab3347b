/* The training network's passes over a shard: pieces of histories one after another, T tokens, no
 * padding.  A tape keeps what the forward pass computed until the backward pass has used it.
 *
 * Every array is row-major, one row a token (or a token and expert slot); shapes beside the fields.
 * A shard's numbers depend on its pieces alone: OpenBLAS gives other last digits for other matrix
 * sizes, so pieces are put in shards without regard to the number of threads. */
#ifndef FD_MODEL_TAPE_H
#define FD_MODEL_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/bins.h"
#include "model/net.h"
#include "model/pieces.h"
#include "model/train.h"

/* Parameters to compute with.  Borrows everything. */
struct tape_net {
    struct net_shape shape;
    struct net_layout layout;
    const float *params;
    const float *balance; /* [layers, experts] */
};

/* Rows to compute on.  Borrows everything. */
struct tape_data {
    const struct train_rows *rows;
    const struct net_encoding *encoding;
    const struct bins_finder *finder; /* of the encoding */
    const float *target; /* [rows] probability that the loss draws a row to; NULL: its label */
};

/* Random omission (dropout): a draw depends on key, row and place only.  Rates in [0, 1). */
struct tape_drop {
    uint64_t key; /* of seed and step */
    float residual, input;
};

/* How losses count: sums are multiplied by these, so that shards of a batch add up to its mean. */
struct tape_loss {
    double label_scale; /* 1 / sum of the batch's weights */
    double next_scale;  /* weight of the next-event loss / (pairs in the batch * columns) */
    double label_sum;   /* out: of w * cross entropy, not scaled */
    double next_sum;    /* out: of squared differences, not scaled */
};

#define TAPE_PAD 16U          /* floats of a vector (train_loops.h) */
#define TAPE_COLUMNS_MAX 1024 /* the largest sizes that net.h admits */
#define TAPE_WIDTH_MAX 1024

#define TAPE_DROP_INPUT 0U /* places of draws; layer l: 1 + 2 l attention, 2 + 2 l experts */

struct tape_layer {
    float *n1, *r1; /* [T, width] normed, [T] inverse norm */
    float *q;       /* [T, heads * (head_dim + rope)], rotary parts rotated */
    float *down;    /* [T, rank + rope] */
    float *c, *rc;  /* [T, rank] normed latent, [T] */
    float *kr;      /* [T, rope] rotated */
    float *kc, *v;  /* [T, heads * head_dim] */
    float *prob; /* [T, heads, tape window]: entry j is the event `j` places after the first seen */
    float *ao;   /* [T, heads * head_dim] */
    float *mid;  /* [T, width] residual after attention */
    float *n2, *r2;           /* [T, width], [T] */
    float *gate;              /* [T, experts] sigmoids */
    float *g;                 /* [T, top] */
    uint32_t *chosen, *slot;  /* [T, top] expert; row in the gathered arrays */
    uint32_t *expert_first;   /* [experts + 1] first gathered row of each */
    float *suv, *sact;        /* [T, 2 shared_hidden], [T, shared_hidden] */
    float *xg;                /* [T top, width] gathered inputs */
    float *euv, *eact, *eout; /* [T top, 2 expert_hidden], [T top, expert_hidden], [T top, width] */
};

struct train_loops;

struct tape {
    struct net_shape shape;
    const struct train_loops *loops; /* the fastest; all give the same bytes */
    size_t tokens_max;
    size_t window; /* the shape's, rounded up to TAPE_PAD */
    size_t stride; /* of the transposed arrays: tokens_max and room for reading past its end */
    void *block;
    size_t tokens, pieces;
    const struct piece *piece;    /* [pieces] borrowed until the next forward pass */
    size_t *row;                  /* [T] */
    uint32_t *seen;               /* [T] events attended to, itself included */
    uint8_t *counted;             /* [T] 0: context */
    uint32_t *table_row;          /* [T, columns] rows of the table that count, kept[i] of them */
    uint32_t *kept;               /* [T] */
    float *xs;                    /* [T, columns] standardised, after dropout */
    float *cos, *sin;             /* [T, rope / 2] */
    float *h[NET_LAYERS_MAX + 1]; /* [T, width] residual before each layer, after the last */
    struct tape_layer layer[NET_LAYERS_MAX];
    float *out, *rout; /* [T, width] normed, [T] */
    float *logit;      /* [T] */
    float *next;       /* [T, columns] prediction, then its gradient */
    /* scratch of both passes; the names say what the backward pass uses them for */
    float *dlogit;                      /* [T] */
    float *dh, *dn, *df;                /* [T, width] */
    float *dq;                          /* as q */
    float *dkc, *dv, *dao;              /* as kc */
    float *dkr, *ddown, *dc;            /* as kr, down, c */
    float *dgate;                       /* [T, experts] */
    float *dsuv, *dsact, *deuv, *deact; /* as suv, sact, euv, eact */
    float *deout;                       /* [T top, width] */
    float *kt, *krt; /* [heads * head_dim, stride] keys or values, [rope, stride] kr; transposed */
};

/* Room for shards of up to tokens_max tokens. */
FD_MUSTCHECK enum err tape_create(const struct net_shape *shape, size_t tokens_max,
                                  struct tape **out, struct errmsg *e);
void tape_free(struct tape *t);

/* Forward pass of `count` pieces that together have at most tokens_max rows.  drop NULL: none.
 * next: also predict the next event.  t->logit [T] and the rest of the tape hold the result. */
void tape_forward(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                  const struct piece *piece, size_t count, const struct tape_drop *drop, bool next);

/* Losses and backward pass of what tape_forward left on the tape with the same net, data and drop
 * (next: true there): adds the gradient to grad [layout.total] and the sums to *loss. */
void tape_backward(struct tape *t, const struct tape_net *net, const struct tape_data *data,
                   const struct tape_drop *drop, struct tape_loss *loss, float *grad);

#endif
