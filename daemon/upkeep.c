#include "daemon/upkeep.h"

#include "base/timefmt.h"
#include "storage/audit.h"
#include "storage/queue.h"

enum err upkeep_turn(struct upkeep *u, struct db *d, int64_t now_us, struct errmsg *e)
{
    int64_t chained = 0;
    if (now_us - u->done_us < TIME_S) {
        return ERR_OK;
    }
    u->done_us = now_us;
    enum err err = queue_tend(d, e);
    return err == ERR_OK ? audit_seal(d, false, &chained, e) : err;
}
