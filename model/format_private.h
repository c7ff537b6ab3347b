/* What model files and training states have in common.  Private to model/. */
#ifndef FD_MODEL_FORMAT_PRIVATE_H
#define FD_MODEL_FORMAT_PRIVATE_H

#include "base/err.h"
#include "model/frame.h"
#include "model/net.h"

#define FORMAT_MODEL_MAGIC "FRAUDMD1"
#define FORMAT_MODEL_VERSION 2U
#define FORMAT_MODEL_SECTIONS 5U
#define FORMAT_STATE_MAGIC "FRAUDTS1"
#define FORMAT_STATE_VERSION 2U
#define FORMAT_STATE_SECTIONS 3U

/* Sections "SHAP" and "ENCD". */
void format_put_shape(struct frame_out *f, const struct net_shape *s);
void format_put_encoding(struct frame_out *f, const struct net_encoding *enc,
                         const struct net_shape *s);

/* False where the section is short or long; what the numbers are is not checked. */
FD_MUSTCHECK bool format_take_shape(struct frame_in *file, struct net_shape *out);
/* Allocates out (bins_done frees, also after a failure).  The shape has passed net_layout_init.
 * ERR_CORRUPT;  ERR_NOMEM */
FD_MUSTCHECK enum err format_take_encoding(struct frame_in *file, const struct net_shape *s,
                                           struct net_encoding *out, struct errmsg *e);

/* First rows rise by 1 to 256 a column and end at s->bins; edges are finite and ascend; means and
 * inverse deviations are finite, the latter not negative.  ERR_CORRUPT names the column. */
FD_MUSTCHECK enum err format_check_encoding(const struct net_encoding *enc,
                                            const struct net_shape *s, struct errmsg *e);

#endif
