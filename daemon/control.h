/* What people say about payments: allow, block and watch lists, rules, and the mode in which all
 * decisions are made.  They come by the notices topic and are in force, like a model, from the
 * journal's entry on that knows their notice.
 *
 * What decides, the first that applies:
 *   1. mode `kill`: everything is approved, nothing else is asked
 *   2. block list: declined
 *   3. allow list: approved
 *   4. rules: the first that holds, in the order of their file, sets the outcome; `review` leaves
 *      a model's decline as it is
 *   5. watch list: what would be approved is reviewed
 *   6. the model, by its threshold
 * Mode `observe` does all this, approves, and says what the outcome would have been.
 *
 * Invariants
 *  1. An answer is a function of what the notices below the position say, the payment, its columns
 *     and score, the model's outcome, and the stream's clock.
 *  2. Nothing that decisions depend on later changes by an answer: features, latents and thresholds
 *     are what they would be without controls; alerts by controls are not counted into the model's
 *     budget, and what a control approves was counted as the model decided it.
 *  3. Any position up to the notices taken can be gone to, back and forth.
 *
 * A notice of kind "control" is text of at most NOTICE_PART_MAX bytes, words apart by tabs:
 *   fraudd-control 1
 *   by      ada                 who says all that follows
 *   why     reported stolen     and why
 *   until   2026-05-01          expiry of entries that follow; "-": none
 *   add     block   card    c123
 *   remove  block   card    c123
 *   mode    observe             live, observe or kill
 * by and why must come before the first change.  A notice is taken whole or not at all.
 *
 * A notice of kind "rules" is a whole set in the place of the one before:
 *   fraudd-rules 1
 *   by      ada
 *   why     small amounts on new devices
 *                               an empty line; then the rules (daemon/rule_set.h)
 * One thread. */
#ifndef FD_DAEMON_CONTROL_H
#define FD_DAEMON_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "daemon/control_lists.h"
#include "daemon/rule_set.h"
#include "daemon/wire.h"
#include "features/tx.h"
#include "model/threshold.h"

#define CONTROL_RULE_SETS 64 /* sets kept, for positions gone back to; older ones are forgotten */
#define CONTROL_BY_MAX 64    /* bytes of an author */
#define CONTROL_WHY_MAX 100  /* bytes of a reason */
#define CONTROL_NAME_MAX 96  /* bytes of a control's name in decisions */
#define CONTROL_TEXT_MAX 160 /* of a reason's text, its zero included */

enum control_mode { CONTROL_LIVE = 0, CONTROL_OBSERVE, CONTROL_KILL, CONTROL_MODES };
const char *control_mode_name(enum control_mode m);

struct control_about {
    char by[CONTROL_BY_MAX + 1], why[CONTROL_WHY_MAX + 1];
};

struct controls;

/* keep_values: as control_lists_create. */
FD_MUSTCHECK enum err controls_create(bool keep_values, struct controls **out, struct errmsg *e);
void controls_free(struct controls *c);

/* Takes a notice of kind "control", in order of offsets.  ERR_CORRUPT names the line; ERR_FULL,
 * ERR_NOMEM. */
FD_MUSTCHECK enum err controls_take(struct controls *c, int64_t offset, const char *text,
                                    size_t len, struct errmsg *e);

/* The same of kind "rules".  ERR_INVALID as rule_set_create. */
FD_MUSTCHECK enum err controls_take_rules(struct controls *c, int64_t offset, const char *text,
                                          size_t len, struct errmsg *e);
/* The head of such a notice; out [CONTROL_HEAD_MAX]; returns its length. */
#define CONTROL_HEAD_MAX (CONTROL_BY_MAX + CONTROL_WHY_MAX + 40)
size_t controls_rules_head(const char *by, const char *why, char *out);

/* Decisions from now on know the notices below `position`.  ERR_NOMEM: as before. */
FD_MUSTCHECK enum err controls_at(struct controls *c, int64_t position, struct errmsg *e);

struct control_ask {
    const struct tx *tx;
    const float *x;     /* [FEAT_DIM] */
    double probability; /* the model's; NAN: not computed */
    int64_t clock_us;   /* of the stream */
    enum outcome model;
};

/* What decided. */
enum control_kind { CONTROL_NONE = 0, CONTROL_LIST, CONTROL_RULE, CONTROL_MODE, CONTROL_KINDS };

struct control_answer {
    enum outcome outcome;
    enum outcome would; /* the outcome but for mode `observe` */
    bool observed;      /* that mode is in force */
    enum control_kind by;
    enum list_kind list;
    const struct list_entry *entry; /* LIST: borrowed until the next notice or position */
    const struct rule *rule;        /* RULE: likewise */
};

void controls_judge(const struct controls *c, const struct control_ask *ask,
                    struct control_answer *out);
/* Has the memory of a payment's look-up fetched. */
void controls_prefetch(const struct controls *c, const struct tx *t);

/* Names what decided ("block/card@17": the list and the notice that said so) and says why, for
 * people.  by must not be NONE.  Both end with a zero. */
void controls_tell(const struct controls *c, const struct control_answer *a,
                   char name[CONTROL_NAME_MAX + 1], char text[CONTROL_TEXT_MAX]);

/* The rules in force, or NULL; who sent them and with which notice. */
const struct rule_set *controls_rules(const struct controls *c,
                                      const struct control_about **out_about, int64_t *out_notice);
/* For listing. */
const struct control_lists *controls_lists(const struct controls *c);
const struct control_about *controls_about(const struct controls *c, uint32_t about);
/* The mode in force; out_about may be NULL; NULL there: nobody set one. */
enum control_mode controls_mode(const struct controls *c, const struct control_about **out_about);

#endif
