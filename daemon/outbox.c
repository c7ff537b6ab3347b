#include "daemon/outbox.h"

#include <string.h>

#include "base/timefmt.h"
#include "storage/outbox.h"

#define ROWS_MAX 2000
#define ASK_EVERY_US (TIME_S / 2) /* while there is nothing */

static enum err ask(struct outbox *o, struct db *d, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = o->ours ? ERR_OK : outbox_lock(d, &o->ours, e);
    if (err == ERR_OK && o->ours) {
        err = outbox_read(d, ROWS_MAX, &rows, e);
    }
    if (err == ERR_OK && rows != NULL && db_rows_count(rows) > 0) {
        o->rows = rows;
        o->sent = 0;
        o->batch++;
        return ERR_OK;
    }
    db_rows_free(rows);
    return err;
}

static enum err send_rows(struct outbox *o, const struct bus *bus, struct errmsg *e)
{
    for (; o->sent < db_rows_count(o->rows); o->sent++) {
        const char *card = db_rows_text(o->rows, o->sent, 1);
        const char *body = db_rows_text(o->rows, o->sent, 2);
        const struct bus_record r = {.topic = TOPIC_LABELS,
                                     .partition = 0,
                                     .key = card,
                                     .key_len = card != NULL ? strlen(card) : 0,
                                     .value = body,
                                     .value_len = strlen(body),
                                     .batch = o->batch};
        enum err err = bus->send(bus->self, &r, e);
        if (err != ERR_OK) {
            return err == ERR_FULL ? ERR_OK : err;
        }
    }
    return ERR_OK;
}

enum err outbox_turn(struct outbox *o, struct db *d, const struct bus *bus, int64_t now_us,
                     struct errmsg *e)
{
    enum err err = ERR_OK;
    uint64_t unacknowledged = bus->wait(bus->self, 0);
    if (o->rows == NULL && now_us - o->asked_us >= ASK_EVERY_US) {
        err = ask(o, d, e);
        o->asked_us = now_us;
    }
    if (err != ERR_OK || o->rows == NULL) {
        return err;
    }
    if (o->sent < db_rows_count(o->rows)) {
        return send_rows(o, bus, e);
    }
    if (unacknowledged <= o->batch) {
        return ERR_OK;
    }
    err = outbox_remove(d, o->rows, e);
    if (err == ERR_OK) {
        int n = db_rows_count(o->rows);
        o->published += (uint64_t)n;
        o->asked_us = n == ROWS_MAX ? now_us - ASK_EVERY_US : now_us; /* more is there: at once */
        db_rows_free(o->rows);
        o->rows = NULL;
    }
    return err;
}

void outbox_forget(struct outbox *o)
{
    db_rows_free(o->rows);
    o->rows = NULL;
    o->ours = false;
}
