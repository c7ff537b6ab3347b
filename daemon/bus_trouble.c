#include "daemon/bus_trouble.h"

#include <inttypes.h>

#include "base/log.h"
#include "base/progress.h"

void bus_trouble_log(struct log_limit *quiet, bool fatal, const char *text)
{
    uint64_t held = 0;
    if (fatal || quiet == NULL || log_limit_pass(quiet, text, progress_now_us(), &held)) {
        char quoted[600];
        log_line(fatal ? FD_LOG_ERROR : FD_LOG_WARN, "kafka_trouble",
                 "fatal=%d not_shown=%" PRIu64 " detail=%s", fatal, held,
                 log_quote(quoted, sizeof quoted, text));
    }
}
