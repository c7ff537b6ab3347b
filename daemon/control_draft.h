/* Notices of controls being made, and what the verbs `lists` and `rules` do with them: sent by the
 * notices topic, with a row in the audit trail. */
#ifndef FD_DAEMON_CONTROL_DRAFT_H
#define FD_DAEMON_CONTROL_DRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/card_guard.h"
#include "daemon/control.h"
#include "daemon/deliver.h"

/* Texts of kind "control", each of at most NOTICE_PART_MAX bytes.  A plain value; zero before. */
struct control_draft {
    const char *by; /* borrowed */
    char why[CONTROL_WHY_MAX + 1];
    int64_t until_us;
    struct deliver_notice *notices; /* owned; their bytes are texts */
    char **texts;
    size_t count, room;
    uint64_t changes;
};

/* ERR_INVALID: by or why cannot be said in a notice, or holds a full card number. */
FD_MUSTCHECK enum err control_draft_init(struct control_draft *d, const char *by, const char *why,
                                         struct errmsg *e);
void control_draft_done(struct control_draft *d);

/* One change of a list; value may become a token by the guard.  ERR_INVALID says what is wrong. */
struct control_draft_entry {
    bool add;
    enum list_kind list;
    enum list_field field;
    struct slice value;
    int64_t expires_us;
    const char *why; /* NULL: the draft's */
};
FD_MUSTCHECK enum err control_draft_entry(struct control_draft *d, struct card_guard *g,
                                          const struct control_draft_entry *n, struct errmsg *e);
FD_MUSTCHECK enum err control_draft_mode(struct control_draft *d, enum control_mode mode,
                                         struct errmsg *e);

/* For the audit trail. */
struct control_deed {
    const char *who, *what, *object;
    uint64_t changes;
    bool urgent; /* done also where the database is away; said on standard error */
};

/* Sends notices by c's settings "brokers", "topics.notices", "timeout", and notes the deed in
 * "database": both or, where an error is returned, perhaps the notices only. */
FD_MUSTCHECK enum err control_send(const struct conf *c, const struct deliver_notice *notices,
                                   size_t n, const struct control_deed *deed, struct errmsg *e);

/* Everything that the notices topic says, up to its end now: what `score` knows.  Returns owned. */
FD_MUSTCHECK enum err control_read(const struct conf *c, struct controls **out, struct errmsg *e);

#endif
