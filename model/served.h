/* A loaded model as the kernels see it: weights in their layouts, sizes rounded up to whole
 * vectors, the card cache's layout, and one thread's scratch.  Private to model/.
 *
 * Vectors have SERVED_LANES floats.  Every array is 64-byte aligned and padded with zeros to whole
 * vectors, so kernels have no tails; `_p` marks a padded count.
 *
 * An activation x travels as an unsigned byte round(x / scale) + 128 with one scale a row; weights
 * are signed bytes with one scale an output.  A product is  init[o] + sum of byte * weight  with
 * init[o] = -128 * sum of weights, in 32-bit integers: exact, so any order and any CPU agree. */
#ifndef FD_MODEL_SERVED_H
#define FD_MODEL_SERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"
#include "model/net.h"

#define SERVED_LANES 16U
#define SERVED_ROWS 32U /* rows that pass through a layer together */
#define SERVED_ALIGN 64U
#define SERVED_EDGES_MAX 255U
/* A column's table entries are bytes times a power of two below 2^this. */
#define SERVED_TABLE_SHIFTS 8U
/* So many rows of bytes add up in 16 bits. */
#define SERVED_TABLE_RUN 256U
/* Latents lie in the cache before their norm's weights (those are absorbed), where few are beyond
 * +-4: bytes of x * 127 / 4, cut there. */
#define SERVED_LATENT_MAX 4.0F
/* Standardised inputs travel as 16 bits, x * this: exact enough that only weights are rounded. */
#define SERVED_INPUT_STEPS 4064.0F

/* Below this a row counts as all zero: its inverse would overflow. */
#define SERVED_TINY 1e-30F
/* Every parameter's magnitude in a file: with it no step can overflow to infinity. */
#define SERVED_PARAM_MAX 256.0F

/* A matrix for products with bytes: [blocks][groups][16 outputs][4 inputs]. */
struct matrix {
    uint32_t groups; /* of 4 inputs */
    uint32_t blocks; /* of 16 outputs */
    int8_t *w;
    int32_t *init; /* [16 * blocks] */
    float *scale;  /* [16 * blocks] */
};

struct served_layer {
    float *norm1;        /* [width_p] */
    struct matrix query; /* outputs: content of all heads | first halves of pairs | second halves |
                            latent; the halves are those of all heads, then of the key */

    struct matrix out;  /* inputs: content of all heads */
    float *norm2;       /* [width_p] */
    struct matrix gate; /* outputs: experts | u of the shared one | v of it */
    float *balance;     /* [experts_p]; padding never wins */
    struct matrix shared2;
    struct matrix *w1, *w2; /* [experts] */
};

struct served_sizes {
    uint32_t columns_p, width_p;
    uint32_t table_stride; /* width to a multiple of 64 */
    uint32_t content_p;    /* heads * rank */
    uint32_t half;         /* pairs a rotary vector has, to a multiple of 4 */
    uint32_t half_p;
    uint32_t rotary_p; /* (heads + 1) * half */
    uint32_t rank_p;
    uint32_t query_p; /* outputs of struct served_layer.query */
    uint32_t experts_p, hidden_p, shared_p;
    uint32_t window_p;
    uint32_t bytes_stride, acc_stride; /* of a row of scratch */
                                       /* the card cache */
    size_t cache_times;                /* int64 [window_p] */
    size_t cache_layer;                /* first layer's part */
    size_t cache_layer_bytes;
    size_t cache_data;        /* in a layer's part, after a float a slot: the scale of its key */
    size_t cache_group_bytes; /* 16 slots: [(rank + 2 half) / 4][16 slots][4] signed bytes, at least
 rank_p * 16 */
    size_t cache_bytes;
};

struct model {
    struct net_shape shape;
    struct model_lineage lineage;
    struct net_encoding encoding;
    double calibration[3];
    uint64_t hash;
    struct served_sizes sizes;
    void *block;          /* all arrays below */
    float *mean, *inv_sd; /* [columns_p] */
    /* Bins: edge i of 16 columns side by side; a block of columns has as many as its column with
     * most, to a multiple of 4; the rest are +infinity. */
    float *edges;         /* [sum of edge_count, 16] */
    uint32_t *edge_count; /* [columns_p / 16] */
    int32_t *first;       /* [columns_p] where the rows of each column begin, in bytes */
    uint16_t *used; /* columns of more than one bin (others say nothing: training leaves their table
                       row zero), those with multiplier 2^k before used_end[k] */
    uint32_t used_end[SERVED_TABLE_SHIFTS];
    float table_scale;
    uint8_t *table; /* [bins, table_stride] entries + 128; of 64, byte 2 i is output i, byte 2 i + 1
                       output 32 + i */
    struct matrix input;
    float *input_bias; /* [width_p] */
    double *turns;     /* [half_p] turns a day of each pair */
    struct served_layer layer[NET_LAYERS_MAX];
    float *head; /* [width_p] norm_out * head_w */
    float head_bias;
};

struct model_work {
    const struct model *model;
    size_t batch_max;
    void *block;
    float *h;             /* [ROWS, width_p] residual */
    int32_t *table_row;   /* [columns_p] in bytes */
    int32_t *table_sum;   /* [ROWS, table_stride] */
    uint8_t *high, *low;  /* [ROWS, columns_p] bytes of the 16-bit inputs */
    uint8_t *bytes;       /* [ROWS, bytes_stride] activations */
    float *scale;         /* [ROWS] of them */
    int32_t *acc, *acc2;  /* [ROWS, acc_stride] */
    float *cosine, *sine; /* [ROWS, rotary_p] */
    float *row;           /* [row_floats] one row's vectors */
    uint8_t *query;       /* [content_p + 2 rotary_p] one row's query bytes */
    float *score;         /* [heads, window_p] */
    uint8_t *weight;      /* [heads, window_p] attention, 255 for the largest */

    int32_t *shift;         /* [window_p / 16, 2, 16] */
    uint8_t *middle;        /* [max(rank, 2 half)] all 128 */
    uint32_t *chosen;       /* [ROWS, top] */
    float *gate;            /* [ROWS, top] */
    uint32_t *slot;         /* [ROWS, top] row in the gathered arrays */
    uint32_t *expert_first; /* [experts + 1] */
    uint8_t *gathered;      /* [ROWS top, width_p] */
    float *gathered_scale;  /* [ROWS top] */
    uint8_t *act;           /* [ROWS top, hidden_p] */
    float *act_scale;       /* [ROWS top] */
    int32_t *expert_acc;    /* [ROWS top, 2 hidden_p] */
    int32_t *expert_out;    /* [ROWS top, width_p] */
    uint32_t *place;        /* [ROWS] slot of the event in its cache */
    uint16_t *visible;      /* [ROWS, window_p / 16] slots attended to */
    char **cache;           /* [ROWS] */
    char *own; /* [ROWS, cache_bytes] caches of events that are not kept, and of model_attribute */
    float *group; /* [ROWS, columns] rows of model_attribute */
    size_t row_floats;
};

/* One instruction set's step over up to SERVED_ROWS rows; all agree to the bit. */
struct kernel {
    const char *name;
    int (*usable)(void);
    void (*encode)(const struct model *m, struct model_work *w, size_t n, const float *x,
                   const int64_t *event_us);
    void (*attention)(const struct model *m, struct model_work *w, size_t n, uint32_t layer);
    void (*experts)(const struct model *m, struct model_work *w, size_t n, uint32_t layer);
    void (*head)(const struct model *m, struct model_work *w, size_t n, float *out_logit);
    /* acc [n, 16 blocks] = init + bytes [n, stride] * w */
    void (*product)(const struct matrix *a, size_t n, const uint8_t *bytes, size_t stride,
                    int32_t *acc, size_t acc_stride);
};

/* What lies from LANES_FOR_.. to LANES_END is compiled for the processors of that kernel. */
#define LANES_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define LANES_FOR(cpu)                                                                             \
    LANES_PRAGMA(clang attribute push(__attribute__((target(cpu))), apply_to = function))
#define LANES_END LANES_PRAGMA(clang attribute pop)
#else
#define LANES_FOR(cpu) LANES_PRAGMA(GCC push_options) LANES_PRAGMA(GCC target(cpu))
#define LANES_END LANES_PRAGMA(GCC pop_options)
#endif
#define LANES_FOR_AVX2 LANES_FOR("avx2,popcnt")
#define LANES_FOR_AVX512 LANES_FOR("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,popcnt")

extern const struct kernel KERNEL_SCALAR;
extern const struct kernel KERNEL_AVX2;   /* x86-64 only */
extern const struct kernel KERNEL_AVX512; /* x86-64 only */

/* The kernel in use: the best that this CPU has, or the one model_use_kernel chose. */
const struct kernel *served_kernel(void);

/* A card's cache is at most this large. */
#define SERVED_CACHE_MAX 65536U

/* Fills the sizes of a shape that net_layout_init accepts.  ERR_INVALID its card cache is too large
 */
FD_MUSTCHECK enum err served_sizes_init(struct served_sizes *z, const struct net_shape *s,
                                        struct errmsg *e);

/* Hands out aligned parts of a block; with base NULL it only measures. */
struct carver {
    char *base;
    size_t at;
};
void *served_carve(struct carver *c, size_t count, size_t size);

/* Cache of a card (model_cache.c).  Entries are a ring in order of event time, ties in order of
 * arrival.  Puts an event in its place: *place its slot; visible: a mask of slots a group of 16,
 * the events up to it and itself.  False where it is older than all of a full cache: nothing
 * changes. */
FD_MUSTCHECK bool cache_insert(const struct model *m, char *cache, int64_t event_us,
                               uint32_t *place, uint16_t *visible);
/* Takes out the newest event of exactly this time, if there is one. */
void cache_remove(const struct model *m, char *cache, int64_t event_us);

static inline uint32_t served_round(uint32_t n, uint32_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

#endif
