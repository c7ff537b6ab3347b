#include "base/err.h"

#include <stdio.h>
#include <string.h>

enum err err_set(struct errmsg *e, enum err code, const char *fmt, ...)
{
    if (e == NULL) {
        return code;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    return code;
}

enum err err_prefix(struct errmsg *e, enum err code, const char *fmt, ...)
{
    if (e == NULL) {
        return code;
    }
    struct errmsg old = *e;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    if (len >= 0 && (size_t)len < sizeof e->text) {
        size_t at = (size_t)len;
        size_t room = sizeof e->text - at - 1;
        size_t keep = strnlen(old.text, sizeof old.text);
        const char *parts[2] = {": ", old.text};
        size_t lens[2] = {2, keep};
        for (int i = 0; i < 2; i++) {
            size_t n = lens[i] < room ? lens[i] : room;
            memcpy(e->text + at, parts[i], n);
            at += n;
            room -= n;
        }
        e->text[at] = '\0';
    }
    return code;
}

const char *err_name(enum err code)
{
    switch (code) {
    case ERR_OK:
        return "ok";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOMEM:
        return "no-memory";
    case ERR_IO:
        return "io";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_MISMATCH:
        return "mismatch";
    case ERR_NOTFOUND:
        return "not-found";
    case ERR_REFUSED:
        return "refused";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_NUMERIC:
        return "numeric";
    case ERR_FULL:
        return "full";
    case ERR_END:
        return "end";
    }
    return "unknown";
}

int err_is_retriable(enum err code)
{
    return code == ERR_UNAVAILABLE || code == ERR_FULL;
}
