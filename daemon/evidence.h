/* What a decision was computed from, kept beside it: the columns, and the places in the logs that
 * were in force.  It travels as header "evidence" of the decision's record, of every alert and of a
 * sample of the others, and lies in PostgreSQL as long as the decision.
 *
 * The bytes, least significant first: version u8 (1), journal i64, labels_next i64, notices_next
 * i64, then the columns, 32-bit floats.  Any thread. */
#ifndef FD_DAEMON_EVIDENCE_H
#define FD_DAEMON_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/bus.h"
#include "daemon/wire.h"
#include "features/schema.h"

#define EVIDENCE_HEADER "evidence"
#define EVIDENCE_BYTES (1 + 3 * sizeof(int64_t) + FEAT_DIM * sizeof(float))

/* Places in the logs. */
struct positions {
    int64_t journal;                   /* offset of the entry that holds the message; -1: none */
    int64_t labels_next, notices_next; /* what lies below them was in force */
};

/* Whether a decision is of the sample: its id's XXH3-64, seed 0, lies in the first `share` (0 to 1)
 * of all.  Decided by the id alone, so copies agree. */
bool evidence_sampled(struct slice log, int32_t partition, int64_t offset, double share);

/* out: [EVIDENCE_BYTES].  x: [FEAT_DIM]. */
void evidence_write(const struct positions *at, const float *x, uint8_t *out);
/* The header of a message; false: it has none that this program reads.  out_x: [FEAT_DIM]. */
bool evidence_read(const struct bus_header *headers, size_t n, struct positions *out, float *out_x);

#endif
