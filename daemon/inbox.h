/* Messages of one partition that were read and wait for their turn: copies, in offset order.
 * One owner. */
#ifndef FD_DAEMON_INBOX_H
#define FD_DAEMON_INBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/bus.h"

struct inbox_chunk;

/* Zeroed: empty. */
struct inbox {
    struct inbox_chunk *first, *last;
    size_t count; /* messages */
    size_t bytes; /* of their keys and values */
};

/* A place in an inbox; zeroed: before the first message.  Good until the inbox changes. */
struct inbox_at {
    const struct inbox_chunk *chunk;
    size_t next;
};

/* Copies messages (without their headers) behind those that wait.  false: no memory, nothing was
 * added. */
FD_MUSTCHECK bool inbox_put(struct inbox *b, const struct bus_message *m, size_t n);
/* The first messages that lie in a row: how many, *out borrowed until they are taken.  0: empty. */
size_t inbox_head(const struct inbox *b, const struct bus_message **out);
/* Gives up the first n (of those inbox_head told). */
void inbox_take(struct inbox *b, size_t n);
/* The message after `at`, or NULL. */
const struct bus_message *inbox_next(const struct inbox *b, struct inbox_at *at);
void inbox_clear(struct inbox *b);

#endif
