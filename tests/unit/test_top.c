/* Pages of metrics read back, and the view of `fraudd top` made of them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/http.h"
#include "daemon/scrape.h"
#include "daemon/top_view.h"

static const char PAGE[] = "# HELP fraudd_alerts_total Alerts\n"
                           "# TYPE fraudd_alerts_total counter\n"
                           "fraudd_alerts_total 7\n"
                           "fraudd_alerts_totals 100\n"
                           "fraudd_build_info{revision=\"a} b\",x=\"1\"} 1\n"
                           "fraudd_left{partition=\"0\"} 2.5\n"
                           "fraudd_left{partition=\"1\"} -1\n"
                           "fraudd_alerts_total 3";

static void test_scrape_sum_takes_whole_names_and_all_pages(void **state)
{
    (void)state;
    assert_true(fabs(scrape_sum(PAGE, "fraudd_alerts_total", NULL, NULL) - 10) < 1e-12);
    assert_true(fabs(scrape_sum(PAGE, "fraudd_left", NULL, NULL) - 1.5) < 1e-12);
    assert_true(fabs(scrape_sum(PAGE, "fraudd_left", "partition", "1") + 1) < 1e-12);
    assert_true(fabs(scrape_min(PAGE, "fraudd_left") + 1) < 1e-12);
    assert_true(fabs(scrape_max(PAGE, "fraudd_left") - 2.5) < 1e-12);
    assert_int_equal(scrape_count(PAGE, "fraudd_left"), 2);
    assert_true(isnan(scrape_sum(PAGE, "fraudd_alerts", NULL, NULL)));
    assert_true(isnan(scrape_sum("", "fraudd_alerts_total", NULL, NULL)));
    assert_true(isnan(scrape_sum(PAGE, "fraudd_left", "partition", "2")));
}

static void test_scrape_label_reads_each_and_refuses_what_is_cut(void **state)
{
    struct scrape_sample s;
    const char *at = PAGE;
    const char *cut = "fraudd_left{partition=\"0";
    char out[16] = "";
    (void)state;
    assert_true(scrape_next(&at, "fraudd_build_info", &s));
    assert_true(scrape_label(&s, "revision", out, sizeof out));
    assert_string_equal(out, "a} b");
    assert_true(scrape_label(&s, "x", out, sizeof out));
    assert_string_equal(out, "1");
    assert_false(scrape_label(&s, "rev", out, sizeof out));
    assert_false(scrape_next(&cut, "fraudd_left", &s));
    s = (struct scrape_sample){.labels = "x=", .labels_len = 2};
    assert_false(scrape_label(&s, "x", out, sizeof out));
    s = (struct scrape_sample){.labels = "x=\"1", .labels_len = 4};
    assert_false(scrape_label(&s, "x", out, sizeof out));
}

static void test_scrape_quantile_of_what_came_between(void **state)
{
    static const char BEFORE[] = "h_bucket{le=\"1\"} 10\nh_bucket{le=\"2\"} 10\n"
                                 "h_bucket{le=\"+Inf\"} 10\n";
    static const char NOW[] = "h_bucket{le=\"1\"} 20\nh_bucket{le=\"2\"} 30\n"
                              "h_bucket{le=\"+Inf\"} 31\n";
    (void)state;
    /* 10 up to 1, 10 more up to 2, one above */
    assert_true(fabs(scrape_quantile(BEFORE, NOW, "h", 10.0 / 21) - 1) < 1e-9);
    assert_true(fabs(scrape_quantile(BEFORE, NOW, "h", 15.0 / 21) - 1.5) < 1e-9);
    assert_true(fabs(scrape_quantile(BEFORE, NOW, "h", 1) - 2) < 1e-9);
    assert_true(isnan(scrape_quantile(NOW, NOW, "h", .5)));
    assert_true(isnan(scrape_quantile("", "", "h", .5)));
}

static void page_handler(void *ctx, const struct http_request *r, struct http_reply *out)
{
    (void)r;
    out->status = 200;
    out->type = "text/plain";
    out->text = ctx;
    out->len = strlen(ctx);
}

static void test_scrape_fetch_adds_pages_and_names_what_is_none(void **state)
{
    char page[] = "fraudd_build_info 1\nx 2\n";
    char other[] = "<html>";
    char address[32];
    struct errmsg e = {""};
    struct http *http = NULL;
    struct http_plan plan = {.address = "127.0.0.1:0",
                             .connections = 4,
                             .threads = 1,
                             .handler = page_handler,
                             .ctx = page};
    char *text = NULL;
    size_t len = 0;
    (void)state;
    assert_int_equal(http_start(&plan, &http, &e), ERR_OK);
    snprintf(address, sizeof address, "localhost:%u", http_port(http));
    assert_int_equal(scrape_fetch(address, 2000, &text, &len, &e), ERR_OK);
    assert_int_equal(scrape_fetch(address, 2000, &text, &len, &e), ERR_OK);
    assert_true(fabs(scrape_sum(text, "x", NULL, NULL) - 4) < 1e-12);
    assert_int_equal(len, strlen(text));
    http_stop(http);
    assert_int_equal(scrape_fetch(address, 2000, &text, &len, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "does not answer"));
    plan.ctx = other;
    assert_int_equal(http_start(&plan, &http, &e), ERR_OK);
    snprintf(address, sizeof address, "[::ffff:127.0.0.1]:%u", http_port(http));
    assert_int_equal(scrape_fetch(address, 2000, &text, &len, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "has no page of ours"));
    http_stop(http);
    assert_int_equal(scrape_fetch("nowhere", 2000, &text, &len, &e), ERR_INVALID);
    assert_int_equal(scrape_fetch(":1", 2000, &text, &len, &e), ERR_INVALID);
    assert_int_equal(len, strlen(text)); /* failures left it */
    free(text);
}

static const char SCORE_BEFORE[] =
    "fraudd_ready 1\nprocess_start_time_seconds 1000\nfraudd_transactions_received_total 1000\n";
static const char SCORE_NOW[] =
    "fraudd_ready 1\nprocess_start_time_seconds 1000\nfraudd_transactions_received_total 3000\n"
    "fraudd_kafka_lag 12345\nfraudd_threshold_probability{partition=\"0\"} 0.25\n"
    "fraudd_threshold_probability{partition=\"1\"} 0.75\n"
    "fraudd_model_info{version=\"m1\",hash=\"h\",schema=\"s\",kernel=\"avx2\"} 1\n"
    "fraudd_model_data_until_seconds 0\nfraudd_diverged_total 2\n"
    "fraudd_shadow_info{version=\"m2\",hash=\"i\"} 1\nfraudd_shadow_since_seconds 0\n"
    "fraudd_shadow_decisions_total{alerts=\"both\"} 3\n"
    "fraudd_shadow_decisions_total{alerts=\"champion\"} 1\n"
    "fraudd_shadow_decisions_total{alerts=\"challenger\"} 2\n"
    "fraudd_shadow_decisions_total{alerts=\"neither\"} 94\nfraudd_shadow_score_shift -0.001\n"
    "fraudd_shadow_cards{cache=\"complete\"} 9\nfraudd_shadow_cards{cache=\"incomplete\"} 1\n";
static const char SINK_NOW[] = "fraudd_ready 0\nfraudd_sink_database_up 0\n";

static struct top_view a_view(void)
{
    struct top_view v = {.seconds = 2, .now_s = 4600, .every_s = 2, .columns = 80, .rows = 40};
    v.before.score = (struct top_reading){.text = SCORE_BEFORE, .answered = 1, .asked = 2};
    v.now.score = (struct top_reading){.text = SCORE_NOW, .answered = 1, .asked = 2};
    snprintf(v.now.score.silent, sizeof v.now.score.silent, "b:1 does not answer");
    v.before.sink = (struct top_reading){.text = "", .asked = 1};
    v.now.sink = (struct top_reading){.text = SINK_NOW, .answered = 1, .asked = 1};
    v.past_count = TOP_PAST;
    for (size_t i = 0; i < TOP_PAST; i++) {
        v.past[i] = (double)i;
    }
    return v;
}

static void draw(const struct top_view *v, char *out, size_t size)
{
    FILE *f = fmemopen(out, size, "w");
    assert_non_null(f);
    top_draw(v, f);
    fclose(f);
}

static void test_top_draw_shows_rates_and_what_is_wrong(void **state)
{
    char text[16384];
    struct top_view v = a_view();
    (void)state;
    draw(&v, text, sizeof text);
    assert_non_null(strstr(text, "payments/s      1000 "));
    assert_non_null(strstr(text, "lag             12.3 k"));
    assert_non_null(strstr(text, "threshold       0.5000    lowest 0.2500, highest 0.7500"));
    assert_non_null(strstr(text, "SCORE  1 of 2 answer, 1 ready, up 60 min"));
    assert_non_null(strstr(text, "SCORE  b:1 does not answer"));
    assert_non_null(strstr(text, "model           m1 (avx2 kernel)"));
    assert_non_null(strstr(text, "in shadow       m2 for 77 min, 90.00 % of the cards complete"));
    assert_non_null(
        strstr(text, "compared        100       would alert 5, champion 4, alike 50 %"));
    assert_non_null(strstr(text, "2 payments decided otherwise than recorded"));
    assert_non_null(strstr(text, "database        away"));
    assert_null(strstr(text, "\033[31m")); /* no colour was asked for */
    v.color = true;
    draw(&v, text, sizeof text);
    assert_non_null(strstr(text, "\033[31mSCORE  b:1 does not answer"));
}

/* Columns of the widest line, and lines, escapes aside. */
static void measure(const char *text, int *out_columns, int *out_rows)
{
    int column = 0;
    *out_columns = 0;
    *out_rows = 1;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\033') {
            p += strcspn(p, "HJKmhl");
        } else if (*p == '\n') {
            ++*out_rows;
            column = 0;
        } else if (*p != '\r' && ((unsigned char)*p & 0xC0U) != 0x80U) {
            column++;
            *out_columns = column > *out_columns ? column : *out_columns;
        }
    }
}

static void test_top_draw_stays_in_any_terminal(void **state)
{
    char text[32768];
    int columns = 0;
    int rows = 0;
    (void)state;
    for (int size = 1; size < 200; size += 7) {
        for (int utf8 = 0; utf8 < 2; utf8++) {
            struct top_view v = a_view();
            v.columns = size;
            v.rows = 1 + size / 5;
            v.color = true;
            v.utf8 = utf8 == 1;
            draw(&v, text, sizeof text);
            measure(text, &columns, &rows);
            assert_true(columns <= v.columns);
            assert_true(rows <= v.rows);
        }
    }
}

static void test_top_print_has_no_escapes_and_counts_a_restart_from_zero(void **state)
{
    char text[4096];
    struct top_view v = a_view();
    (void)state;
    v.before.score.text = SCORE_NOW;
    v.now.score.text = "fraudd_ready 1\nfraudd_transactions_received_total 50\n";
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_non_null(f);
    top_print(&v, f);
    fclose(f);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "score 1/2 ready, payments/s 25, lag -,"));
    assert_non_null(strstr(text, "\nscore b:1 does not answer\n"));
    assert_non_null(strstr(text, "\nsink 0/1 ready, rows/s -,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scrape_sum_takes_whole_names_and_all_pages),
        cmocka_unit_test(test_scrape_label_reads_each_and_refuses_what_is_cut),
        cmocka_unit_test(test_scrape_quantile_of_what_came_between),
        cmocka_unit_test(test_scrape_fetch_adds_pages_and_names_what_is_none),
        cmocka_unit_test(test_top_draw_shows_rates_and_what_is_wrong),
        cmocka_unit_test(test_top_draw_stays_in_any_terminal),
        cmocka_unit_test(test_top_print_has_no_escapes_and_counts_a_restart_from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
