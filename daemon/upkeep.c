#include "daemon/upkeep.h"

#include "base/timefmt.h"
#include "storage/queue.h"

enum err upkeep_turn(struct upkeep *u, struct db *d, int64_t now_us, struct errmsg *e)
{
    if (now_us - u->done_us < TIME_S) {
        return ERR_OK;
    }
    u->done_us = now_us;
    return queue_tend(d, e);
}
