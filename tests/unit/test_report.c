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
#include "tests/support/html.h"
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

static void test_page_of_two_models(void **state)
{
    (void)state;
    struct backtest b;
    measure(&b, 2, TOY_PAST_FIRST_US + 15 * TIME_DAY, 20);
    char *page = render(&b);
    html_assert_well_formed(page);
    html_assert_self_contained(page);
    assert_int_equal(html_count(page, "<svg viewBox=\"0 0 640"), 5);
    assert_int_equal(html_count(page, "role=\"img\""), 5);
    assert_int_equal(html_count(page, "<table>"), 2 + 3 + 1); /* populations, segments, lineage */
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
    html_assert_well_formed(page);
    html_assert_self_contained(page);
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
    html_assert_well_formed(page);
    html_assert_self_contained(page);
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
