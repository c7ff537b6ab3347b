/* Payments by our own schema, etc/wire/transaction.avsc. */
#include <string.h>

#include "daemon/avro.h"
#include "daemon/decode_fields.h"
#include "daemon/wire_bytes.h"

/* The assembler puts the file's bytes into the read-only data; a zero ends them. */
__asm__(".pushsection .rodata\navro_transaction:\n.incbin \"etc/wire/transaction.avsc\"\n"
        ".byte 0\n.popsection\n");
extern const char avro_transaction[];

const char *avro_schema_text(void)
{
    return avro_transaction;
}

/* Zigzag. */
static void put_long(struct wire_bytes *o, int64_t v)
{
    const uint64_t z = (uint64_t)v << 1;
    wire_put_varint(o, v < 0 ? ~z : z);
}

static void put_text(struct wire_bytes *o, const char *at, size_t len)
{
    put_long(o, (int64_t)len);
    wire_put(o, at, len);
}

/* The branch of a union with null; false: null, nothing follows. */
static bool put_branch(struct wire_bytes *o, bool there)
{
    put_long(o, there);
    return there;
}

static void put_optional(struct wire_bytes *o, struct slice s)
{
    if (put_branch(o, s.len > 0)) {
        put_text(o, s.at, s.len);
    }
}

/* One of the format's words; 0 is a missing one. */
static void put_word(struct wire_bytes *o, const char *const *words, uint8_t first, uint8_t v)
{
    if (put_branch(o, v >= first)) {
        put_text(o, words[v - first], strlen(words[v - first]));
    }
}

static void put_double(struct wire_bytes *o, bool there, float v)
{
    if (put_branch(o, there)) {
        wire_put_double(o, (double)v);
    }
}

enum err avro_payment_write(const struct tx *t, const struct tx_strings *s, char *out, size_t cap,
                            size_t *out_len)
{
    struct wire_bytes o = {out, 0, cap, false};
    const char country[2] = {(char)(t->country >> 8), (char)(t->country & 0xff)};
    put_text(&o, s->id.at, s->id.len);
    put_long(&o, t->event_us);
    put_text(&o, s->card.at, s->card.len);
    put_text(&o, FIELD_TYPE[t->type], strlen(FIELD_TYPE[t->type]));
    put_long(&o, t->amount_minor);
    put_text(&o, t->currency, strlen(t->currency));
    (void)put_branch(&o, true);
    put_long(&o, s->exponent);
    put_optional(&o, s->merchant);
    put_optional(&o, s->terminal);
    if (put_branch(&o, t->mcc != 0)) {
        put_long(&o, t->mcc);
    }
    put_optional(&o, (struct slice){country, t->country != 0 ? 2 : 0});
    put_word(&o, FIELD_CHANNEL, CHANNEL_POS, t->channel);
    put_word(&o, FIELD_ENTRY, ENTRY_CHIP, t->entry);
    put_optional(&o, s->device);
    put_optional(&o, s->ip);
    put_double(&o, t->has_location, t->lat);
    put_double(&o, t->has_location, t->lon);
    if (o.full) {
        return ERR_FULL;
    }
    *out_len = o.len;
    return ERR_OK;
}
