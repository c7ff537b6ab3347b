/* The tokens file of the console as a table; and random secrets.  console_auth.h says what it is.
 */
#ifndef FD_DAEMON_CONSOLE_TOKENS_H
#define FD_DAEMON_CONSOLE_TOKENS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "daemon/console_auth.h"

#define CONSOLE_HASH 32

struct console_token {
    char who[CONSOLE_WHO_MAX + 1];
    enum console_role role;
    int64_t until_us;
    uint8_t hash[CONSOLE_HASH];
};

struct console_tokens {
    size_t count;
    struct console_token token[CONSOLE_TOKENS_MAX];
    /* the file as it was read */
    struct timespec changed;
    ino_t inode;
    off_t size;
};

/* Reads the file; out is untouched on failure. */
FD_MUSTCHECK enum err console_tokens_read(const char *path, struct console_tokens *out,
                                          struct errmsg *e);
/* Whether the file is another one than was read. */
bool console_tokens_changed(const struct console_tokens *t, const char *path);
/* NULL: none has this hash. */
const struct console_token *console_tokens_find(const struct console_tokens *t,
                                                const uint8_t hash[CONSOLE_HASH]);

void console_hash(const char *secret, uint8_t out[CONSOLE_HASH]);
/* ERR_IO: the system gives no random bytes. */
FD_MUSTCHECK enum err console_secret(char out[CONSOLE_SECRET_TEXT], struct errmsg *e);

#endif
