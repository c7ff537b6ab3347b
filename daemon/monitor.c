#include "daemon/monitor.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/http.h"

#define CONNECTIONS 16U
#define FRESH 4U /* the page in the middle has not been read yet */

/* Pages 0 to 2: the loop owns `filling`, the server's thread `reading`, the third lies in the
 * middle.  Only the middle's number is shared. */
struct monitor {
    struct metrics_page page[3];
    unsigned filling;
    unsigned reading;
    _Atomic unsigned middle;
    _Atomic int64_t alive_us;
    int64_t stall_us;
    int64_t (*now_us)(void);
    double started_s; /* Unix time */
    struct http *http;
};

static const char TEXT[] = "text/plain; charset=utf-8";
static const char PROMETHEUS[] = "text/plain; version=0.0.4; charset=utf-8";

/* The latest page; server's thread. */
static struct metrics_page *latest(struct monitor *m)
{
    if ((atomic_load_explicit(&m->middle, memory_order_relaxed) & FRESH) != 0) {
        m->reading =
            atomic_exchange_explicit(&m->middle, m->reading, memory_order_acq_rel) & ~FRESH;
    }
    return &m->page[m->reading];
}

static double loop_age_s(struct monitor *m)
{
    return (double)(m->now_us() - atomic_load_explicit(&m->alive_us, memory_order_relaxed)) / 1e6;
}

static double resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        char line[128];
        char *end = NULL;
        if (fgets(line, sizeof line, f) != NULL) {
            (void)strtoul(line, &end, 10); /* the size; resident pages come second */
            pages = strtoul(end, NULL, 10);
        }
        fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
    double n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL) {
        n++;
    }
    if (d != NULL) {
        closedir(d);
    }
    return n > 3 ? n - 3 : 0; /* ".", ".." and the one just opened */
}

/* What is asked of the system at the time of the request. */
static void put_process(struct monitor *m, struct metrics_page *p)
{
    struct rusage u;
    metrics_put(p, METRIC_LOOP_AGE, loop_age_s(m));
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        metrics_put(p, METRIC_CPU_SECONDS,
                    (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                        (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    }
    metrics_put(p, METRIC_RESIDENT_BYTES, resident_bytes());
    metrics_put(p, METRIC_START_SECONDS, m->started_s);
    metrics_put(p, METRIC_OPEN_FDS, open_files());
}

static void reply_metrics(struct monitor *m, struct http_reply *out)
{
    struct metrics_page *p = latest(m);
    const size_t samples = p->samples;
    FILE *f = open_memstream(&out->body, &out->len);
    if (f == NULL) {
        out->status = 503;
        return;
    }
    put_process(m, p);
    metrics_render(p, f);
    p->samples = samples; /* the same page may be asked for again */
    fclose(f);
    out->status = 200;
    out->type = PROMETHEUS;
}

static void reply_text(struct http_reply *out, unsigned status, const char *fmt, ...)
    FD_PRINTF(3, 4);
static void reply_text(struct http_reply *out, unsigned status, const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    out->status = status;
    out->type = TEXT;
    out->body = strdup(line);
    out->len = out->body != NULL ? strlen(line) : 0;
}

static void handle(void *ctx, const struct http_request *r, struct http_reply *out)
{
    struct monitor *m = ctx;
    const char *path = r->path;
    if (strcmp(path, "/metrics") == 0) {
        reply_metrics(m, out);
    } else if (strcmp(path, "/healthz") == 0) {
        double age = loop_age_s(m);
        if (age * 1e6 <= (double)m->stall_us) {
            reply_text(out, 200, "ok: the loop turned %.1f s ago\n", age);
        } else {
            reply_text(out, 503, "stalled: the loop has not turned for %.1f s\n", age);
        }
    } else if (strcmp(path, "/readyz") == 0) {
        const struct metrics_page *p = latest(m);
        if (p->ready) {
            reply_text(out, 200, "ready\n");
        } else {
            reply_text(out, 503, "not ready: %s\n", p->why);
        }
    } else {
        reply_text(out, 404, "nothing here; ask /metrics, /healthz or /readyz\n");
    }
}

enum err monitor_create(const char *address, int64_t stall_us, int64_t (*now_us)(void),
                        struct monitor **out, struct errmsg *e)
{
    struct timespec now;
    struct monitor *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return err_set(e, ERR_NOMEM, "cannot serve status pages: no memory");
    }
    for (size_t i = 0; i < 3; i++) {
        metrics_clear(&m->page[i]);
        snprintf(m->page[i].why, sizeof m->page[i].why, "starting");
    }
    m->filling = 0;
    m->reading = 1;
    m->middle = 2;
    m->stall_us = stall_us;
    m->now_us = now_us;
    m->alive_us = now_us();
    clock_gettime(CLOCK_REALTIME, &now);
    m->started_s = (double)now.tv_sec;
    enum err err = ERR_OK;
    if (address[0] != '\0') {
        const struct http_plan plan = {
            .address = address, .connections = CONNECTIONS, .handler = handle, .ctx = m};
        err = http_start(&plan, &m->http, e);
    }
    if (err != ERR_OK) {
        monitor_free(m);
        return err;
    }
    *out = m;
    return ERR_OK;
}

void monitor_free(struct monitor *m)
{
    if (m != NULL) {
        http_stop(m->http);
        free(m);
    }
}

void monitor_alive(struct monitor *m)
{
    atomic_store_explicit(&m->alive_us, m->now_us(), memory_order_relaxed);
}

struct metrics_page *monitor_page(struct monitor *m)
{
    struct metrics_page *p = &m->page[m->filling];
    metrics_clear(p);
    return p;
}

void monitor_publish(struct monitor *m)
{
    m->filling =
        atomic_exchange_explicit(&m->middle, m->filling | FRESH, memory_order_acq_rel) & ~FRESH;
    http_end_late(m->http);
}

unsigned monitor_port(const struct monitor *m)
{
    return m->http != NULL ? http_port(m->http) : 0;
}
