/* Payments by our own schema, etc/wire/transaction.proto. */
#include <string.h>

#include "daemon/decode_fields.h"
#include "daemon/proto.h"
#include "daemon/wire_bytes.h"

/* The assembler puts the file's bytes into the read-only data; a zero ends them. */
__asm__(".pushsection .rodata\nproto_transaction:\n.incbin \"etc/wire/transaction.proto\"\n"
        ".byte 0\n.popsection\n");
extern const char proto_transaction[];

const char *proto_schema_text(void)
{
    return proto_transaction;
}

/* The numbers in it. */
enum {
    ID = 1,
    TS,
    CARD,
    TYPE,
    AMOUNT,
    CURRENCY,
    EXPONENT,
    MERCHANT,
    TERMINAL,
    MCC,
    COUNTRY,
    CHANNEL,
    ENTRY,
    DEVICE,
    IP,
    LAT,
    LON
};

enum { VARINT = 0, FIXED64 = 1, COUNTED = 2 }; /* wire types */

static void put_tag(struct wire_bytes *o, uint32_t number, uint32_t wire)
{
    wire_put_varint(o, number << 3 | wire);
}

static void put_integer(struct wire_bytes *o, uint32_t number, int64_t v)
{
    put_tag(o, number, VARINT);
    wire_put_varint(o, (uint64_t)v);
}

/* Empty is absent. */
static void put_text(struct wire_bytes *o, uint32_t number, struct slice s)
{
    if (s.len > 0) {
        put_tag(o, number, COUNTED);
        wire_put_varint(o, s.len);
        wire_put(o, s.at, s.len);
    }
}

/* One of the format's words; below `first` there is none. */
static void put_word(struct wire_bytes *o, uint32_t number, const char *const *words, uint8_t first,
                     uint8_t v)
{
    if (v >= first) {
        put_text(o, number, (struct slice){words[v - first], strlen(words[v - first])});
    }
}

static void put_double(struct wire_bytes *o, uint32_t number, float v)
{
    put_tag(o, number, FIXED64);
    wire_put_double(o, (double)v);
}

/* A google.protobuf.Timestamp; payments are of 2000 or later. */
static void put_time(struct wire_bytes *o, int64_t us)
{
    char at[32];
    struct wire_bytes inner = {at, 0, sizeof at, false};
    put_integer(&inner, 1, us / 1000000);
    put_integer(&inner, 2, us % 1000000 * 1000);
    put_text(o, TS, (struct slice){at, inner.len});
}

enum err proto_payment_write(const struct tx *t, const struct tx_strings *s, char *out, size_t cap,
                             size_t *out_len)
{
    struct wire_bytes o = {out, 0, cap, false};
    const char country[2] = {(char)(t->country >> 8), (char)(t->country & 0xff)};
    wire_put_varint(&o, 0); /* the list of indexes: the first message */
    put_text(&o, ID, s->id);
    put_time(&o, t->event_us);
    put_text(&o, CARD, s->card);
    put_word(&o, TYPE, FIELD_TYPE, 0, t->type);
    put_integer(&o, AMOUNT, t->amount_minor);
    put_text(&o, CURRENCY, (struct slice){t->currency, strlen(t->currency)});
    put_integer(&o, EXPONENT, s->exponent);
    put_text(&o, MERCHANT, s->merchant);
    put_text(&o, TERMINAL, s->terminal);
    if (t->mcc != 0) {
        put_integer(&o, MCC, t->mcc);
    }
    put_text(&o, COUNTRY, (struct slice){country, t->country != 0 ? 2 : 0});
    put_word(&o, CHANNEL, FIELD_CHANNEL, CHANNEL_POS, t->channel);
    put_word(&o, ENTRY, FIELD_ENTRY, ENTRY_CHIP, t->entry);
    put_text(&o, DEVICE, s->device);
    put_text(&o, IP, s->ip);
    if (t->has_location) {
        put_double(&o, LAT, t->lat);
        put_double(&o, LON, t->lon);
    }
    if (o.full) {
        return ERR_FULL;
    }
    *out_len = o.len;
    return ERR_OK;
}
