/* What becomes of full card numbers (card_number.h) in what comes from outside, before anything is
 * kept of it:
 *
 *   the card          refused, or replaced by a keyed hash (card_hash.h), as the settings say
 *   any other text    refused
 *   text of digits only in a member that the settings name (card.digits): an identity, passes
 *
 * Nobody is told the number itself. */
#ifndef FD_DAEMON_CARD_GUARD_H
#define FD_DAEMON_CARD_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/members.h"
#include "daemon/wire.h"

struct card_key;

/* What the settings say; a plain value. */
struct card_rules {
    struct card_key *key; /* owned; NULL: card numbers are refused */
    uint64_t digits;      /* MEMBER_BITs of identities that may look like a card number */
};

/* Reads card.numbers, card.key-file and card.digits, and the key.  ERR_INVALID a value; what
 * card_key_read returns, with the setting named. */
FD_MUSTCHECK enum err card_rules_read(const struct conf *c, struct card_rules *out,
                                      struct errmsg *e);
void card_rules_done(struct card_rules *r);

/* The values without the key.  out_bad (may be NULL): the option that is refused, static. */
FD_MUSTCHECK enum err card_rules_check(const struct conf *c, const char **out_bad,
                                       struct errmsg *e);

/* One line for logs and `fraudd check`: "refused", "hashed with key k1f0c22d9". */
void card_rules_tell(const struct card_rules *r, char *out, size_t size);

/* One thread's guard. */
struct card_guard;

/* Returns owned; keeps nothing of the rules.  ERR_NOMEM; ERR_MISMATCH as card_hash_create. */
FD_MUSTCHECK enum err card_guard_create(const struct card_rules *r, struct card_guard **out,
                                        struct errmsg *e);
void card_guard_free(struct card_guard *g);

enum card_verdict { CARD_PASSES, CARD_HASHED, CARD_REFUSED };

/* Looks at a card; CARD_HASHED: *card is the token now, until the next call. */
enum card_verdict card_guard_card(struct card_guard *g, struct slice *card);
/* Whether another member's text may stay. */
bool card_guard_text(const struct card_guard *g, enum member m, struct slice text);

/* Below this many bytes a text is looked at in no way, so callers may leave the call out. */
#define CARD_GUARD_MIN 13

#endif
