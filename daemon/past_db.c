#include "daemon/past_db.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/progress.h"
#include "daemon/decode_fields.h"

struct reading {
    struct past *past;
    const struct rates *rates;
    const struct rate *reference;
    int64_t from_us, until_us, maturity_us;
    struct progress progress;
};

static int64_t number(const struct payment_row *row, enum payment_column c)
{
    return row->text[c] != NULL ? strtoll(row->text[c], NULL, 10) : 0;
}

static uint64_t identity(const struct payment_row *row, enum payment_column c)
{
    return row->len[c] > 0 ? hash_id(row->text[c], row->len[c]) : 0;
}

/* The word's index plus first; 0 where there is none. */
static enum err choice(const struct payment_row *row, enum payment_column c,
                       const char *const *words, size_t count, uint8_t first, uint8_t *out,
                       struct errmsg *e)
{
    if (row->text[c] == NULL) {
        return ERR_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(row->text[c], words[i]) == 0) {
            *out = (uint8_t)(first + i);
            return ERR_OK;
        }
    }
    return err_set(e, ERR_MISMATCH,
                   "a stored payment has \"%.40s\", which this program does not know",
                   row->text[c]);
}

static enum err take_words(const struct payment_row *row, struct tx *t, struct errmsg *e)
{
    enum err err = choice(row, PAYMENT_TYPE, FIELD_TYPE, FIELD_TYPES, TX_PURCHASE, &t->type, e);
    if (err == ERR_OK) {
        err = choice(row, PAYMENT_CHANNEL, FIELD_CHANNEL, FIELD_CHANNELS, CHANNEL_POS, &t->channel,
                     e);
    }
    if (err == ERR_OK) {
        err = choice(row, PAYMENT_ENTRY, FIELD_ENTRY, FIELD_ENTRIES, ENTRY_CHIP, &t->entry, e);
    }
    return err;
}

static enum err take_money(const struct rates *rates, const struct rate *reference,
                           const struct payment_row *row, struct tx *t, struct errmsg *e)
{
    const char *code = row->text[PAYMENT_CURRENCY];
    const struct rate *rate = row->len[PAYMENT_CURRENCY] == 3 ? rates_find(rates, code) : NULL;
    if (rate == NULL) {
        return err_set(e, ERR_MISMATCH,
                       "a stored payment is in \"%.3s\", which is not in the exchange-rate table",
                       code != NULL ? code : "");
    }
    t->amount_minor = number(row, PAYMENT_AMOUNT_MINOR);
    t->amount_ref = rates_convert(rate, t->amount_minor, (uint8_t)number(row, PAYMENT_EXPONENT));
    t->foreign_currency = rate != reference;
    memcpy(t->currency, rate->code, sizeof t->currency);
    return ERR_OK;
}

enum err past_db_tx(const struct rates *rates, const struct rate *reference,
                    const struct payment_row *row, struct tx *t, struct errmsg *e)
{
    const char *country = row->text[PAYMENT_COUNTRY];
    memset(t, 0, sizeof *t);
    t->id = identity(row, PAYMENT_TX);
    t->card = identity(row, PAYMENT_CARD);
    t->merchant = identity(row, PAYMENT_MERCHANT);
    t->terminal = identity(row, PAYMENT_TERMINAL);
    t->device = identity(row, PAYMENT_DEVICE);
    t->ip = identity(row, PAYMENT_IP);
    t->event_us = number(row, PAYMENT_EVENT_US);
    t->mcc = (uint16_t)number(row, PAYMENT_MCC);
    if (row->len[PAYMENT_COUNTRY] == 2) {
        t->country = (uint16_t)(country[0] * 256 + country[1]);
    }
    if (row->text[PAYMENT_LAT] != NULL && row->text[PAYMENT_LON] != NULL) {
        t->has_location = true;
        t->lat = strtof(row->text[PAYMENT_LAT], NULL); /* the shortest text that means this float */
        t->lon = strtof(row->text[PAYMENT_LON], NULL);
    }
    enum err err = take_words(row, t, e);
    return err == ERR_OK ? take_money(rates, reference, row, t, e) : err;
}

static enum err on_row(void *ctx, const struct payment_row *row, struct errmsg *e)
{
    struct reading *r = ctx;
    struct tx t;
    enum err err = past_db_tx(r->rates, r->reference, row, &t, e);
    if (err != ERR_OK) {
        return err;
    }
    const char *verdict = row->text[PAYMENT_VERDICT];
    bool declined = row->text[PAYMENT_DECLINED][0] == 't';
    int64_t known = verdict != NULL ? number(row, PAYMENT_KNOWN_US) : t.event_us + r->maturity_us;
    if (r->past->n % 4096 == 0) {
        progress_update(&r->progress,
                        (double)(t.event_us - r->from_us) / (double)(r->until_us - r->from_us),
                        NULL);
    }
    return past_add(r->past, &t, (struct slice){row->text[PAYMENT_TX], row->len[PAYMENT_TX]},
                    verdict != NULL || !declined, verdict != NULL && strcmp(verdict, "fraud") == 0,
                    known, e);
}

enum err past_read_db(struct past *p, struct db *d, const struct rates *rates, int64_t from_us,
                      int64_t until_us, int64_t maturity_us, struct errmsg *e)
{
    struct reading r = {.past = p,
                        .rates = rates,
                        .reference = rates_find(rates, rates_reference(rates)),
                        .from_us = from_us,
                        .until_us = until_us,
                        .maturity_us = maturity_us};
    progress_begin(&r.progress, "reading history", 1);
    enum err err = payments_read(d, from_us, until_us, on_row, &r, e);
    if (err == ERR_OK) {
        progress_end(&r.progress, 1);
        past_sort(p);
    }
    return err;
}
