/* Any bytes as a settings file: it is refused with words, or every value that it gives is inside
 * its option's bounds.  Files named by @include are left alone: whoever writes the settings file
 * may name others. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses some bytes of a text in a file that it refuses. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig\n";
}

static void check_values(const struct conf *c)
{
    for (const struct conf_option *o = SETTINGS; o->name != NULL; o++) {
        if (o->type != CONF_REAL && o->type != CONF_INT) {
            continue;
        }
        double v = o->type == CONF_REAL ? conf_real(c, o->name) : (double)conf_int(c, o->name);
        assert(isfinite(v));
        assert(o->low >= o->high || !conf_given(c, o->name) || (v >= o->low && v <= o->high));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const struct conf_option *const tables[] = {SETTINGS, NULL};
    static char path[64];
    static int file = -1;
    struct conf *c = NULL;
    struct errmsg e = {""};
    if (file < 0) {
        file = memfd_create("settings", 0);
        assert(file >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    if (memmem(bytes, len, "@include", 8) != NULL) {
        return 0;
    }
    if (ftruncate(file, 0) != 0 || pwrite(file, bytes, len, 0) != (ssize_t)len) {
        abort();
    }
    enum err err = conf_create(tables, "kafka.", &c, &e);
    assert(err == ERR_OK);
    err = conf_read_file(c, path, &e);
    if (err == ERR_OK) {
        check_values(c);
        err = settings_check(c, NULL, &e);
    }
    assert(err == ERR_OK || e.text[0] != '\0');
    conf_free(c);
    return 0;
}
