/* Writing a model file: quantises what training found and packs it with its lineage.
 *
 * Framing as in frame.h, magic "FRAUDMD1", version 2.  Sections, numbers little-endian:
 *   SHAP  u32 each field of struct net_shape
 *   CALB  3 doubles of beta calibration
 *   ENCD  mean, inverse deviation [columns]; u32 first_row [columns + 1]; edges [bins - columns]
 *   NETW  table: a scale, a byte [columns] (1, 2, 4 .. 128), signed bytes [bins, width] (entry =
 * byte * scale * the column's byte); input W, b; a layer: norm1, W_q with W_uk and the latent's
 * norm absorbed (per head rank rows, then rope rows), W_down, W_o with W_uv and the norm absorbed
 * [width, heads * rank], norm2, W_gate, balance, shared W1, W2, routed W1, W2; then norm_out, head
 * w, head b. A matrix is a float scale a row, then its rows in signed bytes; the rest are floats.
 * LINE  struct model_lineage, its texts with all their bytes
 *
 * A training state (magic "FRAUDTS1": SHAP, ENCD, and PARM with the model's hash, FP32 averaged and
 * raw weights, balance, Fisher information and figures) is a file of its own and never loaded by
 * scoring. */
#ifndef FD_MODEL_MODEL_FORMAT_H
#define FD_MODEL_MODEL_FORMAT_H

#include "model/model.h"
#include "model/train.h"

/* Quantises (per output row symmetric INT8 weights; tables INT8 with a scale a column) and packs.
 * The bytes are a pure function of r and lineage; where lineage->version is empty the file gets one
 * of data_until_us and the content.  Returns owned bytes (free()).
 * ERR_INVALID sizes that no model may have;  ERR_NUMERIC a parameter is not finite or above 256
 * (named);  ERR_CORRUPT an encoding that is not one;  ERR_NOMEM */
FD_MUSTCHECK enum err model_pack(const struct train_result *r, const struct model_lineage *lineage,
                                 uint8_t **out, size_t *out_len_bytes, struct errmsg *e);

/* The training state beside a model: owned bytes (free()).  The same errors. */
FD_MUSTCHECK enum err train_state_pack(const struct train_result *r, uint64_t model_hash,
                                       uint8_t **out, size_t *out_len_bytes, struct errmsg *e);
/* Borrows; out owns its arrays (train_result_done).  ERR_CORRUPT, ERR_MISMATCH, ERR_NOMEM as
 * model_load. */
FD_MUSTCHECK enum err train_state_load(const void *bytes, size_t len_bytes,
                                       struct train_result *out, uint64_t *out_model_hash,
                                       struct errmsg *e);

#endif
