/* Entries of the journal: one topic of one partition, whose order is the order of everything that
 * decisions depend on.  A claim says who decides a partition of the transactions topic from now on;
 * a batch says which messages were decided together, how far the labels and notices topics had been
 * read by then, and what the world (features/world.h) needs to know of each payment.  Which of them
 * count: daemon/journal_order.h.
 *
 * The bytes, integers least significant first (base/bytes.h); a varint has seven bits a byte, least
 * significant first, the top bit set in all bytes but the last, and is as short as it can be:
 *
 *   "fdj", version u8, kind u8, writer [16], seen i64
 *   claim: partition u32, first i64
 *   batch: labels_next i64, notices_next i64, parts u16
 *     a part: partitions skipped since the one before (varint), first (varint), runs (varint),
 *             for each run its length * 4 + fate (varint)
 *     then, in the parts' order, each decided message: flags u8 (bits 0 to 3: merchant, terminal,
 *             device, IP are there; from bit 4 on the type), id u64, card u64, those of the four
 *             u64, microseconds since the payment before it (zigzag varint; the first: since 1970),
 *             amount_ref (varint), mcc u16, country u16
 *   XXH3-64 of all that, seed 0
 *
 * Invariants
 *  1. An entry has one form as bytes: what journal_decode accepts, journal_encode gives back.
 *  2. Every change of bytes fails the checksum; bytes whose checksum fits are still held to every
 *     bound below.
 *  3. A version or kind that this program does not know is told apart from damage: a reader may
 *     pass damage, which every reader sees, and must stop at what a newer program wrote.
 * Nothing here allocates. */
#ifndef FD_DAEMON_JOURNAL_H
#define FD_DAEMON_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "features/tx.h"

#define JOURNAL_VERSION 1
#define JOURNAL_PARTITIONS_MAX 1024 /* of the transactions topic */
#define JOURNAL_MESSAGES_MAX 4096   /* of one batch */
#define JOURNAL_PARTS_MAX JOURNAL_PARTITIONS_MAX
#define JOURNAL_RUNS_MAX (2 * JOURNAL_MESSAGES_MAX) /* a gap before each message */
#define JOURNAL_OFFSET_MAX (INT64_MAX >> 2)         /* leaves a run's fate its two bits */

#define JOURNAL_CLAIM_BYTES 49U
#define JOURNAL_BATCH_HEAD_BYTES 47U
#define JOURNAL_PART_BYTES_MAX 13U
#define JOURNAL_RUN_BYTES_MAX 9U
#define JOURNAL_TX_BYTES_MAX 68U
#define JOURNAL_SUM_BYTES 8U
/* No entry is longer. */
#define JOURNAL_BYTES_MAX                                                                          \
    (JOURNAL_BATCH_HEAD_BYTES + JOURNAL_PARTS_MAX * JOURNAL_PART_BYTES_MAX +                       \
     JOURNAL_RUNS_MAX * JOURNAL_RUN_BYTES_MAX + JOURNAL_MESSAGES_MAX * JOURNAL_TX_BYTES_MAX +      \
     JOURNAL_SUM_BYTES)

/* Drawn at random at each start of a process. */
struct journal_writer {
    uint8_t bytes[16];
};

enum journal_kind { JOURNAL_CLAIM = 1, JOURNAL_BATCH = 2 };

/* What became of an offset. */
enum journal_fate {
    JOURNAL_ABSENT = 0, /* the log has no message there (a control record, gone by retention) */
    JOURNAL_DECIDED,
    JOURNAL_DEAD_LETTER,
    JOURNAL_REPEAT /* of a payment decided earlier: gets its answer again */
};

/* Offsets in a row with the same fate. */
struct journal_run {
    int64_t length;
    enum journal_fate fate;
};

/* The offsets from first to last of a partition; the last one is a message. */
struct journal_part {
    int32_t partition;
    int64_t first, last;
    size_t run, run_count; /* in the entry's runs */
    size_t tx, tx_count;   /* in the entry's payments */
};

/* 0.6 MiB: allocated once by whoever writes or reads. */
struct journal_entry {
    enum journal_kind kind;
    struct journal_writer writer;
    int64_t seen; /* offset of the latest entry that the writer had applied; -1: none */
    /* a claim */
    int32_t partition;
    int64_t first;
    /* a batch */
    int64_t labels_next, notices_next; /* messages below these offsets are known to its payments */
    size_t part_count, run_count, tx_count, message_count;
    struct journal_part parts[JOURNAL_PARTS_MAX]; /* partitions rise */
    struct journal_run runs[JOURNAL_RUNS_MAX];
    /* What feat_world_follow reads of the decided messages; the other members are 0. */
    struct tx tx[JOURNAL_MESSAGES_MAX];
};

/* Makes e a claim of a partition whose next offset to decide is `first`, or a batch without
 * messages. */
void journal_claim(struct journal_entry *e, const struct journal_writer *writer, int64_t seen,
                   int32_t partition, int64_t first);
void journal_batch(struct journal_entry *e, const struct journal_writer *writer, int64_t seen,
                   int64_t labels_next, int64_t notices_next);
/* Begins the part of a partition above the last part's, at its next offset to decide.  At least one
 * message must follow. */
void journal_part(struct journal_entry *e, int32_t partition, int64_t first);
/* Adds a message to the last part, beyond its last one; offsets between are absent.  t: the
 * payment if it was decided (copied), else NULL.  false: the batch is full, nothing was added. */
FD_MUSTCHECK bool journal_add(struct journal_entry *e, int64_t offset, enum journal_fate fate,
                              const struct tx *t);

/* out: [JOURNAL_BYTES_MAX].  Returns how many bytes it takes. */
size_t journal_encode(const struct journal_entry *e, uint8_t *out);
/* ERR_CORRUPT; ERR_MISMATCH written by a newer program.  *out is undefined then. */
FD_MUSTCHECK enum err journal_decode(const void *bytes, size_t len, struct journal_entry *out,
                                     struct errmsg *e);

#endif
