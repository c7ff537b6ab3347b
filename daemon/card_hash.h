/* Keyed hashes in the place of card numbers: HMAC-SHA-256 (RFC 2104, FIPS 180-4; libcrypto).
 *
 * A hash without a key would not do: there are so few card numbers that all of them can be tried.
 *
 * The token is KEYNAME-HASH: 64 hexadecimal digits of the HMAC over the number's digits, behind the
 * key's name, "k" and the first 8 hexadecimal digits of the HMAC over the text "fraudd key name".
 * So a token tells which key made it, and whoever holds the key can make it:
 *   printf %s 4111111111111111 | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(cat FILE) */
#ifndef FD_DAEMON_CARD_HASH_H
#define FD_DAEMON_CARD_HASH_H

#include "base/err.h"
#include "daemon/wire.h"

#define CARD_KEY_NAME_MAX 16

struct card_key;

/* Reads a file of one line: 64 to 128 hexadecimal digits (32 to 64 bytes).  Returns owned.
 * ERR_NOTFOUND, ERR_IO; ERR_REFUSED it cannot be opened, or others than its owner may read it: it
 * must be the process's own user's without rights for group and others, or root's without write
 * and execution for the group and without any right for others (so systemd hands credentials out);
 * ERR_CORRUPT it is no such line.  No message shows the key. */
FD_MUSTCHECK enum err card_key_read(const char *path, struct card_key **out, struct errmsg *e);
void card_key_free(struct card_key *k); /* wipes it */

/* The key's name, as tokens have it.  Holds as long as the key. */
const char *card_key_name(const struct card_key *k);

/* Makes tokens; one thread each.  Remembers the latest few thousand, because each payment's is
 * wanted three times, in memory that is wiped at the end. */
struct card_hash;

/* Returns owned; keeps nothing of the key.  ERR_NOMEM; ERR_MISMATCH libcrypto has no HMAC-SHA-256.
 */
FD_MUSTCHECK enum err card_hash_create(const struct card_key *k, struct card_hash **out,
                                       struct errmsg *e);
void card_hash_free(struct card_hash *h);

/* The token of 13 to 19 digits, which do not begin with 0; holds until the next call. */
struct slice card_hash_token(struct card_hash *h, const char *digits, size_t n);

#endif
