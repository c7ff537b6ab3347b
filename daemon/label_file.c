#include "daemon/label_file.h"

#include <inttypes.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/card_guard.h"
#include "daemon/card_number.h"
#include "daemon/decode_fields.h"
#include "daemon/members.h"
#include "daemon/wire.h"

#define DATE_LEN 10 /* "2026-04-01" */

enum err label_file_init(struct label_file *f, struct csv *csv, struct errmsg *e)
{
    static const char *const KNOWN[] = {"known", "known_time", "label_ts", "date"};
    *f = (struct label_file){.csv = csv,
                             .tx = csv_column(csv, "tx_id"),
                             .verdict = csv_column(csv, "verdict"),
                             .known = -1,
                             .card = csv_column(csv, "card_id")};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN && f->known < 0; i++) {
        f->known = csv_column(csv, KNOWN[i]);
        f->known_name = KNOWN[i];
    }
    const char *lacks = f->tx < 0        ? "\"tx_id\""
                        : f->verdict < 0 ? "\"verdict\""
                        : f->known < 0   ? "\"known\" (or known_time, label_ts, date)"
                                         : NULL;
    return lacks == NULL
               ? ERR_OK
               : err_set(e, ERR_CORRUPT,
                         "the header has no column %s; required are tx_id, verdict, known", lacks);
}

static enum err refuse(const struct label_file *f, const char *name, const struct csv_field *v,
                       const char *wanted, struct errmsg *e)
{
    char masked[64]; /* before it is cut: half a number is not found */
    (void)card_number_mask(v->p, v->len < sizeof masked ? v->len : sizeof masked, masked);
    return err_set(e, ERR_CORRUPT, "line %" PRIu64 ": %s \"%.*s\" is not %s", csv_line(f->csv),
                   name, (int)(v->len < 40 ? v->len : 40), masked, wanted);
}

/* The guard's look at a line; *card may become its token. */
static enum err guard(const struct label_file *f, const struct csv_field *tx, struct slice *card,
                      struct errmsg *e)
{
    const char *bad = NULL;
    if (f->guard == NULL) {
        return ERR_OK;
    }
    if (!card_guard_text(f->guard, MEMBER_TX, (struct slice){tx->p, tx->len})) {
        bad = "tx_id holds a full card number or looks so; see the setting card.digits";
    } else if (card_guard_card(f->guard, card) == CARD_REFUSED) {
        bad = "card_id holds a full card number; see the setting card.numbers";
    }
    return bad == NULL ? ERR_OK
                       : err_set(e, ERR_CORRUPT, "line %" PRIu64 ": %s", csv_line(f->csv), bad);
}

static bool good_id(const struct csv_field *v)
{
    return v->len > 0 && v->len <= WIRE_ID_MAX && memchr(v->p, 0, v->len) == NULL &&
           members_utf8(v->p, v->len);
}

static const char *find_verdict(const struct csv_field *v)
{
    for (size_t i = 0; i < FIELD_VERDICTS; i++) {
        if (strcmp(v->p, FIELD_VERDICT[i]) == 0) {
            return FIELD_VERDICT[i];
        }
    }
    return NULL;
}

enum err label_file_next(struct label_file *f, struct label_line *out, struct errmsg *e)
{
    static const char ID[] = "UTF-8 of 1 to 128 bytes";
    const struct csv_field *fields = NULL;
    int64_t known = 0;
    enum err err = csv_next(f->csv, &fields, e);
    if (err != ERR_OK) {
        return err;
    }
    const struct csv_field *tx = &fields[f->tx];
    const struct csv_field *at = &fields[f->known];
    const struct csv_field *card =
        f->card >= 0 && fields[f->card].len > 0 ? &fields[f->card] : NULL;
    const char *verdict = find_verdict(&fields[f->verdict]);
    if (!good_id(tx)) {
        return refuse(f, "tx_id", tx, ID, e);
    }
    if (card != NULL && !good_id(card)) {
        return refuse(f, "card_id", card, ID, e);
    }
    if (verdict == NULL) {
        return refuse(f, "verdict", &fields[f->verdict], "fraud, legitimate or withdrawn", e);
    }
    if (time_parse_loose(at->p, at->len, &known) != ERR_OK || known < WIRE_TIME_FIRST_US ||
        known >= WIRE_TIME_END_US) {
        return refuse(f, f->known_name, at,
                      "a time from 2000 to 2099, ISO 8601 or seconds since 1970", e);
    }
    struct slice number = {card != NULL ? card->p : NULL, card != NULL ? card->len : 0};
    err = guard(f, tx, &number, e);
    if (err != ERR_OK) {
        return err;
    }
    bool day_only = at->len == DATE_LEN && memchr(at->p, '-', at->len) != NULL;
    *out = (struct label_line){.line = csv_line(f->csv),
                               .tx = tx->p,
                               .tx_len = tx->len,
                               .card = number.at,
                               .card_len = number.len,
                               .verdict = verdict,
                               .known_us = known,
                               .known_last_us = day_only ? known + TIME_DAY - 1 : known};
    return ERR_OK;
}
