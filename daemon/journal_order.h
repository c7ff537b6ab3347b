/* Which entries of the journal count: the one rule by which every reader, whenever it reads, comes
 * to the same order of everything that decisions depend on.  State machine replication (Schneider,
 * ACM Computing Surveys 22(4), 1990); Kafka's partition is the log.
 *
 * The rule, entry by entry in order of offsets:
 *  - A claim makes its writer the owner of its partition.  The partition's first claim ever sets
 *    `next`, the next offset to decide; later ones leave it as it is, whatever they name, so a
 * claim neither repeats nor skips anything.
 *  - A batch moves labels_next and notices_next forward to its own, never back; this is before its
 *    parts.  A part counts if its writer owns its partition and it begins at `next`, which then is
 *    after its last offset.
 *  - Nothing else has an effect.
 *
 * A reader that begins later than at offset 0 does not know owners and next offsets yet.  It learns
 * them from what writers had seen (`seen`), since all follow this protocol:
 *  - A writer claims a partition, or sends a part of it as its owner, after it has applied every
 *    entry up to `seen`; it names the partition's `next` as it was there, and sends nothing of the
 *    partition before it has read its claim back.
 *  - It has one batch or its claims under way at a time.
 * So where a reader has read everything after `seen` without meeting a claim, the part's writer was
 * the owner.  A part that a reader cannot judge is JOURNAL_UNKNOWN; that happens only where its
 * writer had not seen the entry before the reader's first.
 *
 * Invariants
 *  1. The parts of a partition that count follow each other without gap or overlap.
 *  2. All readers from offset 0 judge every entry alike, whatever writers do.
 *  3. A reader that begins later judges like them all that it does not call unknown, if writers
 *     follow the protocol.
 *  4. A struct journal_order is plain bytes, equal where equal entries were applied: part of a
 *     checkpoint. */
#ifndef FD_DAEMON_JOURNAL_ORDER_H
#define FD_DAEMON_JOURNAL_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/journal.h"

enum journal_verdict {
    JOURNAL_COUNTS = 0,
    JOURNAL_NOT_OWNER, /* another one has claimed the partition */
    JOURNAL_NOT_NEXT,  /* does not begin where the counted ones end */
    JOURNAL_UNKNOWN    /* began to read too late to tell */
};

/* What is known of a partition. */
struct journal_turn {
    struct journal_writer owner;
    int64_t next;    /* offset to decide next */
    int64_t unknown; /* offset of the latest entry that may have moved `next` unseen; -1: none */
    uint8_t owned;   /* owner is known */
    uint8_t placed;  /* next is known */
    uint8_t spare[6];
};

struct journal_order {
    int64_t begin;    /* offset at which reading began */
    int64_t position; /* after the latest entry applied */
    int64_t labels_next, notices_next;
    struct journal_turn turns[JOURNAL_PARTITIONS_MAX];
};

/* Before any entry; the first applied is that at offset `begin` or after it. */
void journal_order_init(struct journal_order *o, int64_t begin);

/* Applies the entry at an offset, not below `position`.  out: [e->part_count], what becomes of each
 * part; untouched by a claim. */
void journal_order_apply(struct journal_order *o, int64_t offset, const struct journal_entry *e,
                         enum journal_verdict *out);
/* Passes a message that is no entry (ERR_CORRUPT): without effect for every reader. */
void journal_order_pass(struct journal_order *o, int64_t offset);

/* Whether this writer may send parts of the partition, from turns[partition].next on. */
bool journal_order_owns(const struct journal_order *o, const struct journal_writer *w,
                        int32_t partition);

#endif
