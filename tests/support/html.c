#include "tests/support/html.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* One attribute; returns what follows it. */
static const char *attribute(const char *p)
{
    size_t name = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
    assert_true(name > 0);
    p += name;
    assert_true(p[0] == '=' && p[1] == '"');
    p += 2 + strcspn(p + 2, "\"<&");
    while (*p == '&') {
        p += strcspn(p, ";");
        p += strcspn(p, "\"<&");
    }
    assert_int_equal(*p, '"');
    return p + 1;
}

/* A reference such as "&amp;"; returns what follows it. */
static const char *reference(const char *p)
{
    static const char *const KNOWN[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        if (strncmp(p, KNOWN[i], strlen(KNOWN[i])) == 0) {
            return p + strlen(KNOWN[i]);
        }
    }
    fail_msg("a bare & before %.30s", p);
    return p;
}

void html_assert_well_formed(const char *page)
{
    static const char DOCTYPE[] = "<!DOCTYPE html>";
    const char *open[64];
    size_t length[64];
    size_t depth = 0;
    assert_true(strncmp(page, DOCTYPE, strlen(DOCTYPE)) == 0);
    for (const char *p = page + strlen(DOCTYPE); *p != '\0';) {
        if (*p == '&') {
            p = reference(p);
            continue;
        }
        if (*p++ != '<') {
            continue;
        }
        bool closing = *p == '/';
        p += closing;
        size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789");
        assert_true(n > 0);
        const char *name = p;
        for (p += n; *p == ' ';) {
            p = attribute(p + 1);
        }
        bool empty = *p == '/';
        p += empty;
        assert_int_equal(*p, '>');
        if (closing) {
            assert_true(depth > 0 && length[depth - 1] == n);
            assert_memory_equal(open[depth - 1], name, n);
            depth--;
        } else if (!empty) {
            assert_true(depth < 64);
            open[depth] = name;
            length[depth++] = n;
        }
    }
    assert_int_equal(depth, 0);
}

size_t html_count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(text, what); p != NULL; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

void html_assert_self_contained(const char *page)
{
    static const char *const NOT[] = {"http:",   "https:", "src=", "href=", "url(",  "@import",
                                      "<script", "<link",  "nan",  "inf\"", "onload"};
    for (size_t i = 0; i < sizeof NOT / sizeof *NOT; i++) {
        if (strstr(page, NOT[i]) != NULL) {
            fail_msg("%s in the page", NOT[i]);
        }
    }
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_non_null(strstr(page, "prefers-color-scheme:dark"));
}
