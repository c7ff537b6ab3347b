/* A served model with random weights that fits the program's feature schema: for tests of what is
 * around the model. */
#ifndef FD_TESTS_RANDOM_MODEL_H
#define FD_TESTS_RANDOM_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "features/schema.h"
#include "model/model.h"

/* The file's bytes (free()): small (width 16, one layer), its probabilities spread over (0, 1).
 * version: such as "random-1"; schema_hash 0: the program's own. */
uint8_t *random_model_bytes(uint64_t seed, const char *version, uint64_t schema_hash,
                            size_t *out_len);
/* The same, loaded; free with model_free. */
struct model *random_model(uint64_t seed);
/* With a version and so many layers. */
struct model *random_model_deep(uint64_t seed, const char *version, uint32_t layers);
/* The feature parameters it was made for. */
struct feature_params random_model_params(void);

#endif
