/* Parts of a stream for which figures are told apart: channel, country, MCC, type, amount band. */
#ifndef FD_DAEMON_SEGMENTS_H
#define FD_DAEMON_SEGMENTS_H

#include <stdint.h>

#include "features/tx.h"

enum segment_kind {
    SEGMENT_CHANNEL,
    SEGMENT_COUNTRY,
    SEGMENT_MCC,
    SEGMENT_TYPE,
    SEGMENT_AMOUNT,
    SEGMENT_KINDS
};

#define SEGMENT_NAME_MAX 24
#define SEGMENT_OTHER UINT16_MAX /* those too many to be shown */

/* "channel", "country", "mcc", "type", "amount"; static memory. */
extern const char *const SEGMENT_KIND[SEGMENT_KINDS];
/* Kind of that name, or -1. */
int segment_find(const char *name);

/* Number of the payment's segment; below SEGMENT_OTHER. */
uint16_t segment_of(enum segment_kind kind, const struct tx *t);

/* Its name: "ecommerce", "DE", "5411", "cash", "30 to 100" (reference units), "missing", "other".
 */
void segment_name(enum segment_kind kind, uint16_t segment, char out[SEGMENT_NAME_MAX]);

#endif
