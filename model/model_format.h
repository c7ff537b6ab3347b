/* Writing a model file: quantises what training found and packs it with its lineage.
 *
 * Layout, little-endian: 8 bytes magic "FRAUDMD1"; u32 format version; u32 number of sections; then
 * per section u32 tag, u64 length, bytes; last 16 bytes: XXH3-128 of everything before.  A training
 * state
 * ("FRAUDTS1", same framing: FP32 EMA and raw weights, balance) is a file of its own and never
 * loaded by scoring. */
#ifndef FD_MODEL_MODEL_FORMAT_H
#define FD_MODEL_MODEL_FORMAT_H

#include "model/model.h"
#include "model/train.h"

/* Quantises (per output row symmetric INT8 weights; tables INT8 with a scale a column) and packs.
 * The bytes are a pure function of r and lineage; lineage->version is filled in here from
 * data_until_us and the content if it is empty.  Returns owned bytes (free()). */
FD_MUSTCHECK enum err model_pack(const struct train_result *r, const struct model_lineage *lineage,
                                 uint8_t **out, size_t *out_len_bytes, struct errmsg *e);

/* The training state beside a model. */
FD_MUSTCHECK enum err train_state_pack(const struct train_result *r, uint64_t model_hash,
                                       uint8_t **out, size_t *out_len_bytes, struct errmsg *e);
FD_MUSTCHECK enum err train_state_load(const void *bytes, size_t len_bytes,
                                       struct train_result *out, uint64_t *out_model_hash,
                                       struct errmsg *e);

#endif
