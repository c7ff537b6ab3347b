/* A past decision, derived again: the recorded order is executed as a restarted `score` does, from
 * the newest state in state.dir that is older than the decision, or else from the journal's
 * beginning, up to the decision's message; nothing is written to any log or folder.  One thread. */
#ifndef FD_DAEMON_EXPLAIN_H
#define FD_DAEMON_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "daemon/decision.h"
#include "daemon/encode.h"
#include "daemon/evidence.h"

/* The identity of a decision: "log/partition/offset". */
struct decision_id {
    char log[WIRE_LOG_MAX + 1];
    int32_t partition;
    int64_t offset;
};

/* false: the text is no identity. */
bool decision_id_parse(const char *text, struct decision_id *out);

enum emitted {
    EMITTED_NOTHING, /* the decisions topic does not hold it (any more) */
    EMITTED_SAME,    /* the same bytes */
    EMITTED_OTHER
};

struct explanation {
    bool dead; /* a dead letter, no decision: reason and detail are all there is */
    char reason[32], detail[192];
    struct decision decision; /* with its reasons, alert or not; slices lie in `text` */
    char text[WIRE_ID_MAX + WIRE_LOG_MAX + WIRE_MODEL_MAX + WIRE_CONTROL_MAX];
    int64_t state_from; /* journal entry before which the state was kept; 0: journal's beginning */
    bool has_x;         /* a repeat has none */
    float x[FEAT_DIM];
    struct positions at;
    uint64_t settings_hash;  /* in force */
    int64_t settings_notice; /* that told them; -1: none did: those given */
    char json[ENCODE_MAX];   /* the decision as it is sent */
    size_t json_len;
    enum emitted emitted;
    char emitted_json[ENCODE_MAX]; /* EMITTED_OTHER: as it was sent */
    size_t emitted_len;
};

/* Settings as those of `score`.  Shows what it reads on standard error where that takes long.
 * ERR_NOTFOUND the logs do not hold what it takes (which, is said); ERR_UNAVAILABLE no broker
 * answers; others as `score`'s start.  e may be NULL nowhere. */
FD_MUSTCHECK enum err explain_again(const struct conf *c, const struct decision_id *id,
                                    struct explanation *out, struct errmsg *e);

#endif
