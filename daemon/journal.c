#include "daemon/journal.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

#define MAGIC "fdj"
#define HEAD_BYTES 29U /* before what is a claim's or a batch's own */
#define FATE_BITS 2
#define PLACES 4
#define TYPE_BIT 4

/* The largest message that a broker takes by default is 1 MiB with its own fields. */
_Static_assert(JOURNAL_BYTES_MAX < 1000000, "an entry must fit into a record");
_Static_assert(JOURNAL_BATCH_HEAD_BYTES == HEAD_BYTES + 18, "head of a batch");
_Static_assert(JOURNAL_CLAIM_BYTES == HEAD_BYTES + 12 + JOURNAL_SUM_BYTES, "a claim");

static void begin_entry(struct journal_entry *e, enum journal_kind kind,
                        const struct journal_writer *writer, int64_t seen)
{
    assert(seen >= -1 && seen <= JOURNAL_OFFSET_MAX);
    e->kind = kind;
    e->writer = *writer;
    e->seen = seen;
    e->partition = 0;
    e->first = e->labels_next = e->notices_next = 0;
    e->part_count = e->run_count = e->tx_count = e->message_count = 0;
}

void journal_claim(struct journal_entry *e, const struct journal_writer *writer, int64_t seen,
                   int32_t partition, int64_t first)
{
    assert(partition >= 0 && partition < JOURNAL_PARTITIONS_MAX);
    assert(first >= 0 && first <= JOURNAL_OFFSET_MAX);
    begin_entry(e, JOURNAL_CLAIM, writer, seen);
    e->partition = partition;
    e->first = first;
}

void journal_batch(struct journal_entry *e, const struct journal_writer *writer, int64_t seen,
                   int64_t labels_next, int64_t notices_next)
{
    assert(labels_next >= 0 && labels_next <= JOURNAL_OFFSET_MAX);
    assert(notices_next >= 0 && notices_next <= JOURNAL_OFFSET_MAX);
    begin_entry(e, JOURNAL_BATCH, writer, seen);
    e->labels_next = labels_next;
    e->notices_next = notices_next;
}

void journal_part(struct journal_entry *e, int32_t partition, int64_t first)
{
    assert(e->kind == JOURNAL_BATCH && e->part_count < JOURNAL_PARTS_MAX);
    assert(partition < JOURNAL_PARTITIONS_MAX && first >= 0 && first <= JOURNAL_OFFSET_MAX);
    assert(partition > (e->part_count > 0 ? e->parts[e->part_count - 1].partition : -1));
    e->parts[e->part_count++] = (struct journal_part){.partition = partition,
                                                      .first = first,
                                                      .last = first - 1,
                                                      .run = e->run_count,
                                                      .tx = e->tx_count};
}

static void extend(struct journal_entry *e, struct journal_part *p, int64_t length,
                   enum journal_fate fate)
{
    if (p->run_count == 0 || e->runs[e->run_count - 1].fate != fate) {
        e->runs[e->run_count++] = (struct journal_run){.fate = fate};
        p->run_count++;
    }
    e->runs[e->run_count - 1].length += length;
    p->last += length;
}

/* What the world reads of a payment. */
static struct tx followed_part(const struct tx *t)
{
    return (struct tx){.id = t->id,
                       .card = t->card,
                       .merchant = t->merchant,
                       .terminal = t->terminal,
                       .device = t->device,
                       .ip = t->ip,
                       .event_us = t->event_us,
                       .amount_ref = t->amount_ref,
                       .mcc = t->mcc,
                       .country = t->country,
                       .type = t->type};
}

bool journal_add(struct journal_entry *e, int64_t offset, enum journal_fate fate,
                 const struct tx *t)
{
    assert(e->part_count > 0);
    struct journal_part *p = &e->parts[e->part_count - 1];
    assert(offset > p->last && offset <= JOURNAL_OFFSET_MAX);
    assert(fate != JOURNAL_ABSENT && (fate == JOURNAL_DECIDED) == (t != NULL));
    if (e->message_count == JOURNAL_MESSAGES_MAX) {
        return false;
    }
    if (offset > p->last + 1) {
        extend(e, p, offset - p->last - 1, JOURNAL_ABSENT);
    }
    extend(e, p, 1, fate);
    e->message_count++;
    if (t != NULL) {
        e->tx[e->tx_count++] = followed_part(t);
        p->tx_count++;
    }
    return true;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *p++ = (uint8_t)(v | 0x80);
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Small numbers of either sign as small ones without. */
static uint64_t zigzag(uint64_t v)
{
    return (v << 1) ^ (0 - (v >> 63));
}

static uint64_t unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}

static uint8_t *put_parts(const struct journal_entry *e, uint8_t *p)
{
    int32_t next = 0;
    for (size_t i = 0; i < e->part_count; i++) {
        const struct journal_part *part = &e->parts[i];
        assert(part->run_count > 0);
        p = put_varint(p, (uint64_t)(part->partition - next));
        p = put_varint(p, (uint64_t)part->first);
        p = put_varint(p, part->run_count);
        for (size_t r = part->run; r < part->run + part->run_count; r++) {
            p = put_varint(p,
                           ((uint64_t)e->runs[r].length << FATE_BITS) | (uint64_t)e->runs[r].fate);
        }
        next = part->partition + 1;
    }
    return p;
}

static uint8_t *put_tx(const struct tx *t, uint64_t before_us, uint8_t *p)
{
    const uint64_t place[PLACES] = {t->merchant, t->terminal, t->device, t->ip};
    uint8_t *flags = p++;
    *flags = (uint8_t)(t->type << TYPE_BIT);
    p = put_u64(p, t->id);
    p = put_u64(p, t->card);
    for (int i = 0; i < PLACES; i++) {
        if (place[i] != 0) {
            *flags = (uint8_t)(*flags | 1U << i);
            p = put_u64(p, place[i]);
        }
    }
    p = put_varint(p, zigzag((uint64_t)t->event_us - before_us));
    p = put_varint(p, t->amount_ref);
    p = put_u16(p, t->mcc);
    return put_u16(p, t->country);
}

static uint8_t *put_batch(const struct journal_entry *e, uint8_t *p)
{
    uint64_t before_us = 0;
    p = put_u64(p, (uint64_t)e->labels_next);
    p = put_u64(p, (uint64_t)e->notices_next);
    p = put_u16(p, (uint16_t)e->part_count);
    p = put_parts(e, p);
    for (size_t i = 0; i < e->tx_count; i++) {
        p = put_tx(&e->tx[i], before_us, p);
        before_us = (uint64_t)e->tx[i].event_us;
    }
    return p;
}

size_t journal_encode(const struct journal_entry *e, uint8_t *out)
{
    uint8_t *p = out;
    memcpy(p, MAGIC, sizeof MAGIC - 1);
    p += sizeof MAGIC - 1;
    *p++ = JOURNAL_VERSION;
    *p++ = (uint8_t)e->kind;
    memcpy(p, e->writer.bytes, sizeof e->writer.bytes);
    p = put_u64(p + sizeof e->writer.bytes, (uint64_t)e->seen);
    if (e->kind == JOURNAL_CLAIM) {
        p = put_u32(p, (uint32_t)e->partition);
        p = put_u64(p, (uint64_t)e->first);
    } else {
        p = put_batch(e, p);
    }
    p = put_u64(p, hash_bytes(out, (size_t)(p - out), 0));
    assert((size_t)(p - out) <= JOURNAL_BYTES_MAX);
    return (size_t)(p - out);
}

/* What is left of the bytes.  `bad` once something did not fit; then every number is 0. */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *take(struct reader *r, size_t len)
{
    static const uint8_t NOTHING[sizeof(uint64_t)] = {0};
    assert(len <= sizeof NOTHING);
    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return NOTHING;
    }
    r->at += len;
    return r->at - len;
}

static void expect(struct reader *r, bool holds)
{
    r->bad = r->bad || !holds;
}

/* Refuses one above max, and one that could be shorter. */
static uint64_t take_varint(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = *take(r, 1);
        uint64_t bits = (byte & 0x7f) << shift;
        expect(r, bits >> shift == (byte & 0x7f));
        v |= bits;
        if (byte < 0x80) {
            expect(r, v <= max && (byte != 0 || shift == 0));
            return r->bad ? 0 : v;
        }
    }
    r->bad = true;
    return 0;
}

static int64_t take_offset(struct reader *r, int64_t low)
{
    int64_t v = (int64_t)get_u64(take(r, sizeof v));
    expect(r, v >= low && v <= JOURNAL_OFFSET_MAX);
    return r->bad ? 0 : v;
}

static void take_run(struct reader *r, struct journal_entry *e, struct journal_part *part)
{
    uint64_t v = take_varint(r, INT64_MAX);
    int64_t length = (int64_t)(v >> FATE_BITS);
    enum journal_fate fate = (enum journal_fate)(v & ((1U << FATE_BITS) - 1));
    expect(r, length > 0 && length <= JOURNAL_OFFSET_MAX - part->last);
    expect(r, part->run_count == 0 || e->runs[e->run_count - 1].fate != fate);
    if (fate != JOURNAL_ABSENT) {
        expect(r, length <= (int64_t)(JOURNAL_MESSAGES_MAX - e->message_count));
    }
    if (r->bad) {
        return;
    }
    extend(e, part, length, fate);
    if (fate != JOURNAL_ABSENT) {
        e->message_count += (size_t)length;
    }
    if (fate == JOURNAL_DECIDED) {
        part->tx_count += (size_t)length;
        e->tx_count += (size_t)length;
    }
}

static void take_part(struct reader *r, struct journal_entry *e, int32_t next)
{
    uint64_t skipped = take_varint(r, JOURNAL_PARTITIONS_MAX);
    int64_t first = (int64_t)take_varint(r, JOURNAL_OFFSET_MAX);
    uint64_t runs = take_varint(r, JOURNAL_RUNS_MAX - e->run_count);
    expect(r, runs > 0 && skipped < (uint64_t)(JOURNAL_PARTITIONS_MAX - next));
    if (r->bad) {
        return;
    }
    journal_part(e, next + (int32_t)skipped, first);
    for (uint64_t i = 0; i < runs && !r->bad; i++) {
        take_run(r, e, &e->parts[e->part_count - 1]);
    }
    expect(r, e->run_count > 0 && e->runs[e->run_count - 1].fate != JOURNAL_ABSENT);
}

static void take_tx(struct reader *r, uint64_t before_us, struct tx *out)
{
    uint64_t place[PLACES] = {0};
    unsigned flags = *take(r, 1);
    uint64_t id = get_u64(take(r, sizeof id));
    uint64_t card = get_u64(take(r, sizeof card));
    expect(r, id != 0 && card != 0 && flags >> TYPE_BIT <= TX_CHECK);
    for (unsigned i = 0; i < PLACES; i++) {
        if ((flags >> i & 1) != 0) {
            place[i] = get_u64(take(r, sizeof place[i]));
            expect(r, place[i] != 0);
        }
    }
    uint64_t event_us = before_us + unzigzag(take_varint(r, UINT64_MAX));
    uint32_t amount_ref = (uint32_t)take_varint(r, UINT32_MAX);
    uint16_t mcc = get_u16(take(r, sizeof mcc));
    *out = (struct tx){.id = id,
                       .card = card,
                       .merchant = place[0],
                       .terminal = place[1],
                       .device = place[2],
                       .ip = place[3],
                       .event_us = (int64_t)event_us,
                       .amount_ref = amount_ref,
                       .mcc = mcc,
                       .country = get_u16(take(r, sizeof out->country)),
                       .type = (uint8_t)(flags >> TYPE_BIT)};
}

static void take_batch(struct reader *r, struct journal_entry *e)
{
    uint64_t before_us = 0;
    e->labels_next = take_offset(r, 0);
    e->notices_next = take_offset(r, 0);
    size_t parts = get_u16(take(r, sizeof(uint16_t)));
    expect(r, parts <= JOURNAL_PARTS_MAX);
    for (size_t i = 0; i < parts && !r->bad; i++) {
        take_part(r, e, i > 0 ? e->parts[i - 1].partition + 1 : 0);
    }
    for (size_t i = 0; i < e->tx_count && !r->bad; i++) {
        take_tx(r, before_us, &e->tx[i]);
        before_us = (uint64_t)e->tx[i].event_us;
    }
}

static void take_claim(struct reader *r, struct journal_entry *e)
{
    uint32_t partition = get_u32(take(r, sizeof partition));
    expect(r, partition < JOURNAL_PARTITIONS_MAX);
    e->partition = r->bad ? 0 : (int32_t)partition;
    e->first = take_offset(r, 0);
}

/* The part that every version has: what it begins with, and its checksum at the end. */
static enum err check_frame(const uint8_t *bytes, size_t len, struct errmsg *e)
{
    if (len < HEAD_BYTES + JOURNAL_SUM_BYTES || memcmp(bytes, MAGIC, sizeof MAGIC - 1) != 0) {
        return err_set(e, ERR_CORRUPT, "%zu bytes that do not begin as a journal entry does", len);
    }
    if (hash_bytes(bytes, len - JOURNAL_SUM_BYTES, 0) != get_u64(bytes + len - JOURNAL_SUM_BYTES)) {
        return err_set(e, ERR_CORRUPT, "a journal entry of %zu bytes fails its checksum", len);
    }
    unsigned version = bytes[sizeof MAGIC - 1];
    unsigned kind = bytes[sizeof MAGIC];
    if (version != JOURNAL_VERSION || (kind != JOURNAL_CLAIM && kind != JOURNAL_BATCH)) {
        return err_set(e, ERR_MISMATCH,
                       "a journal entry has version %u and kind %u, this program reads version %d "
                       "with kinds %d and %d; update it",
                       version, kind, JOURNAL_VERSION, JOURNAL_CLAIM, JOURNAL_BATCH);
    }
    return ERR_OK;
}

enum err journal_decode(const void *bytes, size_t len, struct journal_entry *out, struct errmsg *e)
{
    const uint8_t *p = bytes;
    struct journal_writer writer;
    enum err err = check_frame(p, len, e);
    if (err != ERR_OK) {
        return err;
    }
    struct reader r = {.at = p + HEAD_BYTES - sizeof(int64_t), .end = p + len - JOURNAL_SUM_BYTES};
    memcpy(writer.bytes, r.at - sizeof writer.bytes, sizeof writer.bytes);
    begin_entry(out, (enum journal_kind)p[sizeof MAGIC], &writer, take_offset(&r, -1));
    if (out->kind == JOURNAL_CLAIM) {
        take_claim(&r, out);
    } else {
        take_batch(&r, out);
    }
    if (r.bad || r.at != r.end) {
        return err_set(e, ERR_CORRUPT,
                       "a journal entry of %zu bytes contradicts itself at byte %zu", len,
                       (size_t)(r.at - p));
    }
    return ERR_OK;
}
