#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/timefmt.h"

static const char *const NAMES[] = {"debug", "info", "warn", "error"};
/* syslog priorities, as the journal reads them from "<n>" */
static const int PRIORITY[] = {7, 6, 4, 3};

static _Atomic int threshold = FD_LOG_INFO;

void log_set_level(enum log_level level)
{
    threshold = (int)level;
}

int log_level_find(const char *name)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static size_t line_prefix(char *line, size_t size, enum log_level level)
{
    if (getenv("JOURNAL_STREAM") != NULL) {
        return (size_t)snprintf(line, size, "<%d>", PRIORITY[level]);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char when[TIME_TEXT_MAX];
    time_format(when, (int64_t)now.tv_sec * TIME_S + now.tv_nsec / 1000);
    return (size_t)snprintf(line, size, "ts=%s ", when);
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level < threshold) {
        return;
    }
    char line[2048];
    size_t room = sizeof line - 1; /* for the newline */
    size_t at = line_prefix(line, room, level);
    at += (size_t)snprintf(line + at, room - at, "level=%s event=%s ", NAMES[level], event);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line + at, room - at, fmt, args);
    va_end(args);
    at += n < 0 ? 0 : (size_t)n;
    if (at >= room) {
        at = room - 1;
    }
    for (size_t i = 0; i < at; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            line[i] = ' ';
        }
    }
    line[at++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, at);
    (void)written; /* nowhere to report that the report failed */
}

char *log_quote(char *out, size_t out_size, const char *text)
{
    size_t at = 0;
    if (out_size < 3) {
        return out;
    }
    out[at++] = '"';
    for (const char *p = text; *p != '\0' && at + 3 < out_size; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
        }
        out[at++] = c < ' ' || c == 0x7f ? ' ' : *p;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
