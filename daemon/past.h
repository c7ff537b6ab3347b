/* A stretch of payment history, in order of event time: what training and backtest replay.  Filled
 * from CSV here, from PostgreSQL by the caller through past_add.  One owner.
 *
 * 120 bytes a payment and its id.  Where `scratch` is set before the first row, what does not fit
 * in its memory lies in files. */
#ifndef FD_DAEMON_PAST_H
#define FD_DAEMON_PAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/scratch.h"
#include "daemon/rates.h"
#include "daemon/wire.h"
#include "features/tx.h"

struct past_row {
    struct tx tx;
    uint64_t id_at;   /* of its id's text; without ids, its number on arrival */
    int64_t known_us; /* when its verdict became known; INT64_MAX: no verdict */
    uint16_t id_len;
    bool fraud;
};

struct past {
    struct past_row *rows;
    size_t n;
    bool without_ids;        /* set by the caller before the first row: past_id is not asked */
    struct scratch *scratch; /* likewise; borrowed; NULL: all in memory */
    size_t text_len;
    struct scratch_array row_array, text_array;
    bool sorted;
};

/* Reads rows with event time < until_us.  label_delay_us: how long after the event a verdict
 * becomes known where the file does not say.  Bad rows are refused with line and value.  Shows
 * progress. */
FD_MUSTCHECK enum err past_read_csv(struct past *p, const char *path, const struct rates *rates,
                                    int64_t until_us, int64_t label_delay_us, bool need_label,
                                    struct errmsg *e);
FD_MUSTCHECK enum err past_add(struct past *p, const struct tx *t, struct slice id, bool has_label,
                               bool fraud, int64_t known_us, struct errmsg *e);
/* Orders by event time, ties as they came. */
void past_sort(struct past *p);
/* out: [n] the rows in order of card, then time; n <= UINT32_MAX. */
void past_order(const struct past *p, uint32_t *out);
void past_done(struct past *p);

/* First row with event time >= at_us. */
size_t past_find(const struct past *p, int64_t at_us);
static inline const char *past_id(const struct past *p, size_t i)
{
    return (const char *)p->text_array.base + p->rows[i].id_at;
}

#endif
