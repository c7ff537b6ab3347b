/* Charts: what comes from outside is escaped, what is outside an axis stays inside the frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/chart.h"

static char *text;
static size_t len;

static FILE *begin_text(void)
{
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    return f;
}

static void test_text_is_escaped(void **state)
{
    (void)state;
    FILE *f = begin_text();
    chart_text(f, "<b a=\"1\" b='2'>&amp;</b>\n\t\x7f\xc3\xa4");
    fclose(f);
    assert_string_equal(text,
                        "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;&lt;/b&gt;???\xc3\xa4");
    free(text);
}

static struct chart plain(FILE *f)
{
    return (struct chart){.f = f,
                          .id = "x",
                          .title = "a <title>",
                          .about = "what & how",
                          .x = {"x label", CHART_LINEAR, 0, 10, false, false},
                          .y = {"y label", CHART_LOG, 0.01, 1, true, false}};
}

static void assert_has(const char *want)
{
    if (strstr(text, want) == NULL) {
        fail_msg("no %s in %s", want, text);
    }
}

static void test_frame_has_titles_and_ticks(void **state)
{
    (void)state;
    FILE *f = begin_text();
    struct chart c = plain(f);
    chart_begin(&c);
    chart_end(&c);
    fclose(f);
    assert_has("role=\"img\" aria-labelledby=\"x-title x-about\"");
    assert_has("<title id=\"x-title\">a &lt;title&gt;</title>");
    assert_has("<desc id=\"x-about\">what &amp; how</desc>");
    assert_has(">10 %</text>");
    assert_has(">100 %</text>");
    assert_has(">4</text>"); /* steps of 2 */
    assert_has(">10</text>");
    assert_null(strstr(text, ">3</text>"));
    free(text);
}

/* The frame is 62..622 by 14..350. */
static void test_values_stay_inside_the_frame(void **state)
{
    (void)state;
    FILE *f = begin_text();
    struct chart c = plain(f);
    chart_point(&c, "p", 5, 0.1, 3);
    chart_point(&c, "p", -7, 0, 3);
    chart_point(&c, "p", INFINITY, 1e300, 3);
    chart_bar(&c, "r", 0, 20, 5);
    chart_range(&c, "l", 10, -INFINITY, 1);
    fclose(f);
    assert_string_equal(
        text, "<circle class=\"p\" cx=\"342.0\" cy=\"182.0\" r=\"3.0\"/>\n"
              "<circle class=\"p\" cx=\"62.0\" cy=\"350.0\" r=\"3.0\"/>\n"
              "<circle class=\"p\" cx=\"622.0\" cy=\"14.0\" r=\"3.0\"/>\n"
              "<rect class=\"r\" x=\"62.0\" y=\"14.0\" width=\"560.0\" height=\"336.0\"/>\n"
              "<line class=\"l\" x1=\"622.0\" x2=\"622.0\" y1=\"350.0\" y2=\"14.0\"/>\n");
    free(text);
}

static void test_what_is_not_a_number_is_left_out(void **state)
{
    (void)state;
    FILE *f = begin_text();
    struct chart c = plain(f);
    const double x[] = {0, NAN, 5, 10};
    const double y[] = {1, 1, NAN, 0.1};
    chart_point(&c, "p", NAN, 1, 3);
    chart_point(&c, "p", 1, NAN, 3);
    chart_bar(&c, "r", 0, 1, NAN);
    chart_range(&c, "l", 1, NAN, 1);
    chart_line(&c, "a", x, y, 4);
    fclose(f);
    assert_string_equal(text, "<path class=\"line a\" d=\"M62.0 14.0L622.0 182.0\"/>\n");
    free(text);
}

static void test_line_leaves_out_what_nobody_sees(void **state)
{
    (void)state;
    static double x[100001];
    static double y[100001];
    for (size_t i = 0; i <= 100000; i++) {
        x[i] = 10.0 * (double)i / 100000;
        y[i] = 0.5;
    }
    FILE *f = begin_text();
    struct chart c = plain(f);
    chart_line(&c, "a", x, y, 100001);
    fclose(f);
    assert_true(len < 1500 * 13); /* 560 units in steps of .4 */
    assert_has("M62.0 ");
    assert_has("L622.0 "); /* the last point is there */
    free(text);
}

static void test_logit_axis_is_symmetric(void **state)
{
    (void)state;
    FILE *f = begin_text();
    struct chart c = plain(f);
    c.x = (struct chart_axis){"p", CHART_LOGIT, 0.001, 0.999, true, false};
    chart_point(&c, "p", 0.5, 1, 3);
    chart_point(&c, "p", 1, 1, 3);
    chart_point(&c, "p", 0, 1, 3);
    fclose(f);
    assert_has("cx=\"342.0\"");
    assert_has("cx=\"622.0\"");
    assert_has("cx=\"62.0\"");
    free(text);
}

static void test_round_numbers(void **state)
{
    (void)state;
    static const double CASES[][3] = {{1, 1, 1},     {1.5, 1, 2},       {2, 2, 2},
                                      {3, 2, 5},     {7, 5, 10},        {0.03, .02, .05},
                                      {99, 50, 100}, {1200, 1000, 2000}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_true(fabs(chart_round_down(CASES[i][0]) - CASES[i][1]) < 1e-9);
        assert_true(fabs(chart_round_up(CASES[i][0]) - CASES[i][2]) < 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_escaped),
        cmocka_unit_test(test_frame_has_titles_and_ticks),
        cmocka_unit_test(test_values_stay_inside_the_frame),
        cmocka_unit_test(test_what_is_not_a_number_is_left_out),
        cmocka_unit_test(test_line_leaves_out_what_nobody_sees),
        cmocka_unit_test(test_logit_axis_is_symmetric),
        cmocka_unit_test(test_round_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
