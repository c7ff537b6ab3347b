/* Allow, block and watch lists: which identities are on them, at every position of the notices
 * topic, in one table.
 *
 * Invariants
 *  1. An entry says from which notice to which it is in force, so what holds at a position is read
 *     from the table and nothing is put back when a position is gone back to.
 *  2. Of one list, field and value at most one entry is in force at a position.
 *  3. An entry ends when the stream's clock reaches its expiry; no wall clock is read.
 * Memory grows with what is added, never with what is looked up.  One thread, as the rest of
 * `score`. */
#ifndef FD_DAEMON_CONTROL_LISTS_H
#define FD_DAEMON_CONTROL_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/wire.h"
#include "features/tx.h"

enum list_kind { LIST_BLOCK = 0, LIST_ALLOW, LIST_WATCH, LIST_KINDS };
enum list_field {
    LIST_CARD = 0,
    LIST_MERCHANT,
    LIST_TERMINAL,
    LIST_DEVICE,
    LIST_IP,
    LIST_COUNTRY,
    LIST_FIELDS
};

/* "block", "card": the words of the notices; static.  The numbers of words, or -1. */
const char *list_kind_name(enum list_kind k);
const char *list_field_name(enum list_field f);
int list_kind_find(struct slice word);
int list_field_find(struct slice word);

#define LISTS_MAX ((size_t)16 << 20) /* entries, those that were removed included */
#define LISTS_FOREVER INT64_MAX      /* an expiry that never comes */

struct list_entry {
    uint64_t key;
    int64_t from, until; /* offsets of the notices that added and that removed it (INT64_MAX) */
    int64_t expires_us;
    uint32_t older;    /* + 1: the entry before it in the same chain; 0: none */
    uint32_t about;    /* what the caller gave with it */
    uint32_t value_at; /* of its text, in 4 bytes */
    uint8_t value_len; /* 0: not kept */
    uint8_t list, field;
    uint8_t lists_older; /* 1 << list of every entry further down the chain */
};

struct control_lists;

/* keep_values: the entries' texts stay, for those that print them. */
FD_MUSTCHECK enum err control_lists_create(bool keep_values, struct control_lists **out,
                                           struct errmsg *e);
void control_lists_free(struct control_lists *l);

struct list_change {
    enum list_kind list;
    enum list_field field;
    struct slice value;
    int64_t offset, expires_us;
    uint32_t about;
};
/* ERR_INVALID a value that its field cannot have. */
FD_MUSTCHECK enum err control_lists_check(const struct list_change *c, struct errmsg *e);
/* In force from the notice at `offset` on; one of the same list, field and value ends there.
 * Offsets do not fall.  ERR_INVALID as above; ERR_FULL, ERR_NOMEM: nothing changed. */
FD_MUSTCHECK enum err control_lists_add(struct control_lists *l, const struct list_change *c,
                                        struct errmsg *e);
/* Ends the entry; *out_was: whether there was one. */
FD_MUSTCHECK enum err control_lists_remove(struct control_lists *l, const struct list_change *c,
                                           bool *out_was, struct errmsg *e);

/* The entries of a payment that are in force for messages that know the notices below `position`,
 * by a stream's clock: the first field's of each list, NULL where there is none. */
void control_lists_find(const struct control_lists *l, const struct tx *t, int64_t position,
                        int64_t clock_us, const struct list_entry *out[LIST_KINDS]);
/* Has the memory of a payment's look-up fetched. */
void control_lists_prefetch(const struct control_lists *l, const struct tx *t);

/* All entries ever added, in order; at < control_lists_count. */
size_t control_lists_count(const struct control_lists *l);
const struct list_entry *control_lists_at(const struct control_lists *l, size_t at);
/* Where it was kept. */
struct slice control_lists_value(const struct control_lists *l, const struct list_entry *e);
/* Those not removed by the latest notice. */
size_t control_lists_live(const struct control_lists *l);

#endif
