/* Shape and parameters of the network: which tensors there are, in which order, of which size.
 *
 * One block of floats holds every parameter; a tensor is a name, an offset and a shape.  Linear
 * maps are [out, in] row-major, y = W x, no bias unless named.  Sources: Multi-head Latent
 * Attention, DeepSeek-V2 (arXiv 2405.04434, sec. 2.1); fine-grained and shared experts, DeepSeekMoE
 * (arXiv 2401.06066, sec. 3); balance by a bias on the ranking, DeepSeek-V3 (arXiv 2412.19437,
 * sec. 2.1.2); SwiGLU, Shazeer 2020; RMSNorm, Zhang and Sennrich 2019; target-aware bins, Gorishniy
 * et al. 2022.
 *
 *   input   h = W_in x' + b_in + sum over columns TABLE[column][bin of x],  x' = clip((x-mean)/sd,
 * +-8) block   h += attention(rmsnorm(h, norm1));  h += experts(rmsnorm(h, norm2))     (layers
 * times) head    logit = w_head . rmsnorm(h, norm_out) + b_head next    predicted x' of the card's
 * next event = W_next rmsnorm(h, norm_out)     (training only)
 *
 * attention, event i over the card's events j in the last `window` (itself included):
 *   [q_c | q_r] = W_q h per head (head_dim | rope);  [c | k_r] = W_down h (rank | rope);  c =
 * rmsnorm(c) k_c = W_uk c, v = W_uv c per head;  q_r, k_r rotated by the event time (below), k_r
 * shared by heads out = W_o concat_heads(softmax((q_c.k_c + q_r.k_r) / sqrt(head_dim + rope)) v)
 *   serving caches (c, rotated k_r) only; W_uk is absorbed into the query, W_uv into the output.
 * rotation: pair (k, k + rope/2) by angle 2 pi days / period_k, reduced mod 2 pi in double;
 * period_k log-spaced from .04 to 60 days over k = 0 .. rope/2 - 1. experts: shared swiglu + sum
 * over the top-2 by (sigmoid(W_gate h) + balance) of g_e * swiglu_e, g = sigmoid gates of the
 * chosen, normalised to sum 1. swiglu: [u | v] = W1 h (hidden | hidden);  W2 (silu(u) * v). */
#ifndef FD_MODEL_NET_H
#define FD_MODEL_NET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct net_shape {
    uint32_t columns; /* d: input columns */
    uint32_t bins;    /* rows of all columns' tables together */
    uint32_t width;   /* residual width */
    uint32_t layers;
    uint32_t heads;
    uint32_t head_dim;
    uint32_t rank;    /* latent floats an event and layer */
    uint32_t rope;    /* rotary floats an event and layer; even */
    uint32_t experts; /* routed */
    uint32_t top;     /* routed experts an event uses */
    uint32_t expert_hidden;
    uint32_t shared_hidden;
    uint32_t window; /* events attended to, itself included */
};

enum net_tensor_kind {
    NET_INPUT_W = 0, /* [width, columns] */
    NET_INPUT_B,     /* [width] */
    NET_TABLE,       /* [bins, width] */
    NET_NORM1,       /* [width]                       from here to NET_W2 once a layer */
    NET_Q,    /* [heads * (head_dim + rope), width]; per head head_dim rows, then rope rows */
    NET_DOWN, /* [rank + rope, width] */
    NET_LATENT_NORM, /* [rank] */
    NET_UK,          /* [heads * head_dim, rank] */
    NET_UV,          /* [heads * head_dim, rank] */
    NET_O,           /* [width, heads * head_dim] */
    NET_NORM2,       /* [width] */
    NET_GATE,        /* [experts, width] */
    NET_S1,          /* [2 * shared_hidden, width] */
    NET_S2,          /* [width, shared_hidden] */
    NET_W1,          /* [experts, 2 * expert_hidden, width] */
    NET_W2,          /* [experts, width, expert_hidden] */
    NET_NORM_OUT,    /* [width] */
    NET_HEAD_W,      /* [width] */
    NET_HEAD_B,      /* [1] */
    NET_NEXT,        /* [columns, width], training only */
    NET_KIND_COUNT
};

#define NET_LAYERS_MAX 8
#define NET_EXPERTS_MAX 64
#define NET_ROPE_MAX 128
#define NET_NORM_EPS 1e-6F
#define NET_INPUT_CLIP 8.0F

/* Offsets into the parameter block; layer tensors are indexed [kind][layer], others [kind][0]. */
struct net_layout {
    size_t offset[NET_KIND_COUNT][NET_LAYERS_MAX];
    size_t size[NET_KIND_COUNT]; /* floats of one such tensor */
    size_t total;                /* floats of the whole block */
};

/* Checks every size against its bounds and fills the layout.  ERR_INVALID names the size. */
FD_MUSTCHECK enum err net_layout_init(struct net_layout *out, const struct net_shape *shape,
                                      struct errmsg *e);

const char *net_tensor_name(enum net_tensor_kind kind);

/* Fills the shape with the product's sizes for `columns` and `bins`. */
void net_shape_default(struct net_shape *out, uint32_t columns, uint32_t bins);

/* Rotation of an event: cos and sin of its angles, [rope / 2] each.  Plain arithmetic in double,
 * the same bits on every machine; error below 1e-9 plus that of the days, 1e-16 of them over the
 * period. */
void net_rotation(int64_t event_us, uint32_t rope, float *out_cos, float *out_sin);
/* The same in two steps for many events: turns a day of each pair, [half] = [rope / 2]. */
void net_turns(uint32_t rope, double *out);
void net_rotation_at(const double *turns, uint32_t half, int64_t event_us, float *out_cos,
                     float *out_sin);

/* What the input encoding needs besides parameters.  Column c's bin is the number of its edges that
 * are < x (raw value, before standardising); its table row is first_row[c] + that number. */
struct net_encoding {
    uint32_t columns;
    float *mean;         /* [columns] */
    float *inv_sd;       /* [columns]; 0 for a column without variance in training: weight zero */
    uint32_t *first_row; /* [columns + 1]; first_row[columns] is the number of rows in all */
    float *edges; /* ascending; column c's are edges[first_row[c] - c .. first_row[c+1] - c - 1) */
};

#endif
