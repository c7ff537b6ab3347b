/* Notices: what changes decisions while `score` runs.  A model travels as parts of at most
 * NOTICE_PART_MAX bytes on the one-partition topic `notices`, with headers
 *   kind = "model" or "shadow" (daemon/models.h), hash = 16 hex digits of the whole, part = "3/7"
 * and takes effect when the last part is there and its bytes have that hash.  Several processes may
 * send one at the same time: of the same bytes the parts complete each other, of others the one
 * begun last comes through.  Notices of kind "control" (daemon/control.h), "settings"
 * (daemon/bounds.h) and "shadow-end" (daemon/models.h) are one message of at most NOTICE_PART_MAX
 * bytes. */
#ifndef FD_DAEMON_NOTICE_H
#define FD_DAEMON_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/bus.h"

#define NOTICE_PART_MAX ((size_t)512 * 1024)
#define NOTICE_MODEL_MAX ((size_t)64 << 20)

struct notice_reader {
    uint8_t *bytes;
    size_t len;
    uint64_t hash;
    uint32_t parts, next;
};

/* Takes a message of the notices topic; one reader for each kind that travels in parts ("model",
 * "shadow", "rules").  ERR_END: a notice is complete, borrowed in out until the
 * next call; ERR_OK: more is to come, or the message is of another kind; ERR_CORRUPT: parts are
 * missing or the hash differs (what there was is dropped). */
FD_MUSTCHECK enum err notice_take(struct notice_reader *r, const char *kind,
                                  const struct bus_message *m, const uint8_t **out, size_t *out_len,
                                  struct errmsg *e);
/* Whether a message of the notices topic is of that kind. */
bool notice_is(const struct bus_message *m, const char *kind);
void notice_done(struct notice_reader *r);

/* Whether a notice may be so long: ERR_INVALID, with what to do. */
FD_MUSTCHECK enum err notice_fits(const char *kind, size_t len, struct errmsg *e);

/* Sends a notice in parts; the caller waits for the acknowledgement.  ERR_FULL from the bus is
 * given back; ERR_INVALID it is too long, nothing was sent. */
FD_MUSTCHECK enum err notice_send(struct bus *bus, const char *kind, const uint8_t *bytes,
                                  size_t len, struct errmsg *e);
/* The same through another function than the bus's, with its self and errors. */
FD_MUSTCHECK enum err
notice_send_by(enum err (*send)(void *self, const struct bus_record *r, struct errmsg *e),
               void *self, const char *kind, const uint8_t *bytes, size_t len, struct errmsg *e);
/* Sends one message of a kind; the caller waits for the acknowledgement.  batch: its number. */
FD_MUSTCHECK enum err notice_send_text(struct bus *bus, const char *kind, const char *text,
                                       size_t len, uint64_t batch, struct errmsg *e);

#endif
