/* The page: well-formed, self-contained, and nothing from outside in it unescaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/report.h"
#include "tests/support/random_model.h"
#include "tests/support/toy_past.h"

#define HOSTILE "\"><script>alert('1')</script>&<!--"

static struct past past;
static struct model *model[2];

static int begin(void **state)
{
    (void)state;
    toy_past(&past);
    model[0] = random_model(1);
    model[1] = random_model(2);
    return 0;
}

static int end(void **state)
{
    (void)state;
    model_free(model[0]);
    model_free(model[1]);
    past_done(&past);
    return 0;
}

static void measure(struct backtest *b, size_t sides, int64_t from_us, size_t resamples)
{
    const struct backtest_conf c = {.past = &past,
                                    .from_us = from_us,
                                    .to_us = TOY_PAST_FIRST_US + 30 * TIME_DAY,
                                    .input = "history " HOSTILE,
                                    .rates_version = random_model_params().rates_version,
                                    .budget = 20,
                                    .leave_out_known = true,
                                    .segment = SEGMENT_MCC,
                                    .evaluate = {.top_cards = 5, .resamples = resamples}};
    struct errmsg e = {""};
    backtest_init(b, &c);
    for (size_t s = 0; s < sides; s++) {
        assert_int_equal(backtest_replay(b, model[s], "model " HOSTILE, NULL, NULL, &e), ERR_OK);
    }
    assert_int_equal(backtest_measure(b, &e), ERR_OK);
}

static char *render(const struct backtest *b)
{
    char *text = NULL;
    size_t len = 0;
    struct errmsg e = {""};
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    assert_int_equal(report_render(b, f, &e), ERR_OK);
    fclose(f);
    assert_int_equal(strlen(text), len);
    return text;
}

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

/* Every element closed in order, every attribute quoted, every & a reference. */
static void assert_well_formed(const char *page)
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

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = strstr(text, what); p != NULL; p = strstr(p + 1, what)) {
        n++;
    }
    return n;
}

static void assert_self_contained(const char *page)
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

static void test_page_of_two_models(void **state)
{
    (void)state;
    struct backtest b;
    measure(&b, 2, TOY_PAST_FIRST_US + 15 * TIME_DAY, 20);
    char *page = render(&b);
    assert_well_formed(page);
    assert_self_contained(page);
    assert_int_equal(count(page, "<svg viewBox=\"0 0 640"), 5);
    assert_int_equal(count(page, "role=\"img\""), 5);
    assert_int_equal(count(page, "<table>"), 2 + 3 + 1); /* populations, segments, lineage */
    assert_non_null(strstr(page, "% in favour"));
    assert_non_null(strstr(page, "history &quot;&gt;&lt;script&gt;alert(&#39;1&#39;)"));
    assert_non_null(strstr(page, "model &quot;&gt;&lt;script&gt;alert(&#39;1&#39;)"));
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)model_hash(model[1]));
    assert_non_null(strstr(page, hash));
    free(page);
    backtest_done(&b);
}

static void test_page_of_one_model_shows_its_figures(void **state)
{
    (void)state;
    struct backtest b;
    char auc[32];
    measure(&b, 1, TOY_PAST_FIRST_US + 15 * TIME_DAY, 0);
    char *page = render(&b);
    assert_well_formed(page);
    assert_self_contained(page);
    snprintf(auc, sizeof auc, "<span class=\"v\">%.4f</span>",
             b.population[0].figures[0].value[FIGURE_AUC]);
    assert_non_null(strstr(page, auc));
    assert_non_null(strstr(page, "<th scope=\"row\">CP@5</th>"));
    assert_null(strstr(page, "<span class=\"of\">")); /* no resamples, no intervals */
    assert_null(strstr(page, "in favour"));
    free(page);
    backtest_done(&b);
}

static void test_page_of_nothing(void **state)
{
    (void)state;
    struct backtest b;
    measure(&b, 1, TOY_PAST_FIRST_US + 30 * TIME_DAY, 5);
    assert_int_equal(b.n, 0);
    char *page = render(&b);
    assert_well_formed(page);
    assert_self_contained(page);
    free(page);
    backtest_done(&b);
}

static void test_write_makes_the_file_or_says_why(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-report-XXXXXX";
    struct backtest b;
    struct errmsg e;
    uint8_t *file = NULL;
    size_t len = 0;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    measure(&b, 1, TOY_PAST_FIRST_US + 15 * TIME_DAY, 0);
    char *page = render(&b);
    assert_int_equal(report_write(&b, path, &e), ERR_OK);
    assert_int_equal(file_read(path, (size_t)16 << 20, &file, &len, &e), ERR_OK);
    assert_string_equal((char *)file, page);
    assert_int_not_equal(report_write(&b, "/tmp/no such folder/x.html", &e), ERR_OK);
    assert_non_null(strstr(e.text, "/tmp/no such folder/x.html"));
    unlink(path);
    free(file);
    free(page);
    backtest_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_of_two_models),
        cmocka_unit_test(test_page_of_one_model_shows_its_figures),
        cmocka_unit_test(test_page_of_nothing),
        cmocka_unit_test(test_write_makes_the_file_or_says_why),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
