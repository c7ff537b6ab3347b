#include "base/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/timefmt.h"

int64_t progress_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * TIME_S + t.tv_nsec / 1000;
}

void progress_begin(struct progress *p, const char *job, double total)
{
    *p = (struct progress){.job = job, .total = total, .terminal = isatty(STDERR_FILENO) == 1};
    p->started_us = p->shown_us = progress_now_us();
}

static void show(struct progress *p, double done, const char *detail, int64_t now_us)
{
    double seconds = (double)(now_us - p->started_us) / 1e6;
    double rate = seconds > 0 ? done / seconds : 0;
    double left = rate > 0 && p->total > done ? (p->total - done) / rate : 0;
    double percent = p->total > 0 ? 100 * done / p->total : 0;
    p->shown = true;
    p->shown_us = now_us;
    if (p->terminal) {
        fprintf(stderr, "\r\033[K%s: %.0f%%, %.0f/s, %.0f s left%s%s", p->job, percent, rate, left,
                detail != NULL ? ", " : "", detail != NULL ? detail : "");
    } else {
        log_line(FD_LOG_INFO, "progress", "job=\"%s\" percent=%.1f rate_per_s=%.0f left_s=%.0f%s%s",
                 p->job, percent, rate, left, detail != NULL ? " " : "",
                 detail != NULL ? detail : "");
    }
}

void progress_update(struct progress *p, double done, const char *detail)
{
    int64_t now = progress_now_us();
    int64_t every = p->terminal ? TIME_S / 5 : 10 * TIME_S;
    if (now - p->shown_us >= every) {
        show(p, done, detail, now);
    }
}

void progress_end(struct progress *p, double done)
{
    if (p->shown) {
        show(p, done, NULL, progress_now_us());
        if (p->terminal) {
            fputc('\n', stderr);
        }
    }
}
