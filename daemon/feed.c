#include "daemon/feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/inflate.h"
#include "base/timefmt.h"
#include "daemon/card_guard.h"
#include "daemon/card_number.h"
#include "daemon/decode.h"
#include "daemon/encode.h"
#include "daemon/row_csv.h"

#define WEEK (7 * TIME_DAY)

struct feed {
    struct feed_conf conf;
    /* CSV */
    struct csv *csv;
    struct row_csv rows;
    struct card_guard *guard; /* or NULL */
    /* lines of JSON: text[at..len) is read and not yet handed out */
    struct inflate *file;
    struct decoder *decoder;
    uint64_t line;
    size_t at, len;
    bool ended;
    char text[2 * WIRE_MESSAGE_MAX];
    char json[ENCODE_MAX];
};

enum feed_format feed_format_of(const char *path)
{
    static const char *const PACKED[] = {".gz", ".xz", ".zst"};
    static const char *const LINES[] = {".jsonl", ".ndjson", ".json"};
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof PACKED / sizeof PACKED[0]; i++) {
        size_t n = strlen(PACKED[i]);
        if (len > n && strcmp(path + len - n, PACKED[i]) == 0) {
            len -= n;
            break;
        }
    }
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        size_t n = strlen(LINES[i]);
        if (len > n && memcmp(path + len - n, LINES[i], n) == 0) {
            return FEED_LINES;
        }
    }
    return FEED_CSV;
}

enum err feed_open(const struct feed_conf *c, struct feed **out, struct errmsg *e)
{
    struct feed *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return err_set(e, ERR_NOMEM, "cannot read %s: no memory", c->path);
    }
    f->conf = *c;
    enum err err = ERR_OK;
    if (c->format == FEED_CSV) {
        err = csv_open(c->path, &f->csv, e);
        if (err == ERR_OK) {
            err = row_csv_init(&f->rows, f->csv, c->rates, c->need_label, e);
        }
        if (err == ERR_OK && c->cards != NULL) {
            err = card_guard_create(c->cards, &f->guard, e);
            f->rows.guard = f->guard;
        }
    } else {
        err = inflate_open(c->path, &f->file, e);
        if (err == ERR_OK) {
            err = decoder_create(c->rates, WIRE_MESSAGE_MAX, &f->decoder, e);
        }
        if (err == ERR_OK && c->cards != NULL) {
            err = decode_guard(f->decoder, c->cards, e);
        }
    }
    if (err != ERR_OK) {
        feed_close(f);
        return err;
    }
    *out = f;
    return ERR_OK;
}

void feed_close(struct feed *f)
{
    if (f != NULL) {
        csv_close(f->csv);
        inflate_close(f->file);
        decoder_free(f->decoder);
        card_guard_free(f->guard);
        free(f);
    }
}

double feed_share(const struct feed *f)
{
    return f->csv != NULL ? csv_share(f->csv) : inflate_share(f->file);
}

uint64_t feed_line(const struct feed *f)
{
    return f->csv != NULL ? csv_line(f->csv) : f->line;
}

/* Writes the payment as a message into f->json. */
static enum err write_json(struct feed *f, struct feed_item *item, struct errmsg *e)
{
    size_t len = 0;
    if (encode_tx(&item->tx, &item->strings, f->json, sizeof f->json, &len) != ERR_OK) {
        return err_set(e, ERR_INVALID,
                       "%s line %" PRIu64 ": the shifted time lies outside 2000 to 2099",
                       f->conf.path, feed_line(f));
    }
    item->json = (struct slice){f->json, len};
    return ERR_OK;
}

static enum err next_row(struct feed *f, struct feed_item *out, struct errmsg *e)
{
    struct row row;
    enum err err = row_csv_next(&f->rows, &row, e);
    if (err != ERR_OK) {
        return err;
    }
    struct feed_item item = {.tx = row.tx, .strings = row.strings, .known_us = INT64_MAX};
    item.tx.event_us += f->conf.shift_us;
    if (row.has_label && (row.fraud || row.label_us != 0)) {
        item.fraud = row.fraud;
        item.known_us = row.label_us != 0 ? row.label_us + f->conf.shift_us
                                          : item.tx.event_us + f->conf.label_delay_us;
    }
    err = write_json(f, &item, e);
    if (err == ERR_OK) {
        *out = item;
    }
    return err;
}

/* The next line without its end; ERR_END after the last. */
static enum err next_line(struct feed *f, struct slice *out, struct errmsg *e)
{
    for (;;) {
        char *start = f->text + f->at;
        char *end = memchr(start, '\n', f->len - f->at);
        if (end != NULL || (f->ended && f->at < f->len)) {
            size_t len = end != NULL ? (size_t)(end - start) : f->len - f->at;
            f->at += len + (end != NULL);
            f->line++;
            while (len > 0 && (start[len - 1] == '\r' || start[len - 1] == ' ')) {
                len--;
            }
            if (len == 0) {
                continue; /* an empty line is none */
            }
            *out = (struct slice){start, len};
            return ERR_OK;
        }
        if (f->ended) {
            return ERR_END;
        }
        if (f->len - f->at > WIRE_MESSAGE_MAX) {
            return err_set(e, ERR_CORRUPT, "%s line %" PRIu64 ": longer than %zu bytes",
                           f->conf.path, f->line + 1, WIRE_MESSAGE_MAX);
        }
        memmove(f->text, start, f->len - f->at);
        f->len -= f->at;
        f->at = 0;
        size_t got = 0;
        enum err err =
            inflate_read(f->file, (uint8_t *)f->text + f->len, sizeof f->text - f->len, &got, e);
        if (err != ERR_OK) {
            return err;
        }
        f->len += got;
        f->ended = got == 0;
    }
}

static enum err next_json(struct feed *f, struct feed_item *out, struct errmsg *e)
{
    struct feed_item item = {.known_us = INT64_MAX};
    enum err err = next_line(f, &item.json, e);
    if (err != ERR_OK) {
        return err;
    }
    enum dead_reason reason =
        decode_tx(f->decoder, item.json.at, item.json.len, NULL, 0, 0, -1, &item.tx, &item.strings);
    if (reason != DEAD_NONE) {
        return err_set(e, ERR_CORRUPT, "%s line %" PRIu64 ": %s: %s", f->conf.path, f->line,
                       dead_reason_name(reason), decode_detail(f->decoder));
    }
    bool numbers = f->conf.cards != NULL && card_number_in_json(item.json);
    if (f->conf.shift_us != 0 || numbers) {
        item.tx.event_us += f->conf.shift_us;
        err = write_json(f, &item, e);
    }
    if (err == ERR_OK) {
        *out = item;
    }
    return err;
}

enum err feed_next(struct feed *f, struct feed_item *out, struct errmsg *e)
{
    return f->csv != NULL ? next_row(f, out, e) : next_json(f, out, e);
}

enum err feed_scan(const struct feed_conf *c, int64_t *out_last_us, uint64_t *out_count,
                   struct errmsg *e)
{
    struct feed *f = NULL;
    struct feed_item item = {.known_us = INT64_MAX};
    int64_t last_us = INT64_MIN;
    uint64_t count = 0;
    enum err err = feed_open(c, &f, e);
    while (f != NULL && (err = feed_next(f, &item, e)) == ERR_OK) {
        last_us = item.tx.event_us > last_us ? item.tx.event_us : last_us;
        count++;
    }
    feed_close(f);
    if (err != ERR_END) {
        return err;
    }
    if (count == 0) {
        return err_set(e, ERR_CORRUPT, "%s holds no payment", c->path);
    }
    *out_last_us = last_us;
    *out_count = count;
    return ERR_OK;
}

int64_t feed_shift(int64_t last_us, int64_t now_us)
{
    int64_t gap = now_us - last_us;
    int64_t weeks = gap / WEEK - (gap % WEEK < 0);
    return weeks * WEEK;
}
