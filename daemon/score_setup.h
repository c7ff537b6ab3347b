/* From the settings to what scoring is made of: for `score`, and for whoever decides again what it
 * decided. */
#ifndef FD_DAEMON_SCORE_SETUP_H
#define FD_DAEMON_SCORE_SETUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/score.h"

/* Returns owned bytes of the model file that the settings name. */
FD_MUSTCHECK enum err score_setup_model_bytes(const struct conf *c, uint8_t **out, size_t *out_len,
                                              struct errmsg *e);
/* Returns that model, owned. */
FD_MUSTCHECK enum err score_setup_model(const struct conf *c, struct model **out, struct errmsg *e);

/* The alert settings, of one partition. */
struct threshold_conf score_setup_rules(const struct conf *c);

/* All that a reload may change of what decisions depend on, but for the model. */
struct bounds score_setup_bounds(const struct conf *c);

/* Everything but go_on, ctx, hand and model_bytes; borrows all it is given.  wall_us: Unix time. */
struct score_conf score_setup_conf(const struct conf *c, const struct model *m,
                                   const struct rates *rates, const struct card_rules *cards,
                                   int64_t (*wall_us)(void));

#endif
