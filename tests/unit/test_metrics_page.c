/* Metrics: the document is what the code prints, names follow Prometheus' rules, and the text can
 * be read by its parser. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/bus_metrics.h"
#include "daemon/metrics.h"

static struct metrics_page page;

static char *printed(void (*print)(FILE *f))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    print(f);
    fclose(f);
    return text;
}

static void render_page(FILE *f)
{
    metrics_render(&page, f);
}

static void test_document_equals_the_code(void **state)
{
    (void)state;
    char *text = printed(metrics_print_doc);
    uint8_t *file = NULL;
    size_t len = 0;
    if (getenv("WRITE_SAMPLES") != NULL) { /* renews the file after a change of metrics.def */
        assert_int_equal(file_write("etc/metrics.md", text, strlen(text), NULL), ERR_OK);
    }
    assert_int_equal(file_read("etc/metrics.md", 1 << 20, &file, &len, NULL), ERR_OK);
    assert_string_equal((char *)file, text);
    free(file);
    free(text);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static void test_names_follow_the_rules(void **state)
{
    (void)state;
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_info *m = &METRICS[i];
        assert_int_equal(strspn(m->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(m->name));
        assert_true(strncmp(m->name, "fraudd_", 7) == 0 || strncmp(m->name, "process_", 8) == 0);
        assert_int_equal(ends_with(m->name, "_total"), m->kind == METRIC_KIND_COUNTER);
        bool histogram = m->kind == METRIC_KIND_STAGES || m->kind == METRIC_KIND_DELAYS;
        assert_true(!histogram || ends_with(m->name, "_seconds"));
        assert_true(strlen(m->help) > 5 && strpbrk(m->help, "\n|\\") == NULL);
        assert_true(strcmp(m->who, "score") == 0 || strcmp(m->who, "sink") == 0 ||
                    strcmp(m->who, "console") == 0 || strcmp(m->who, "both") == 0);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(m->name, METRICS[k].name);
        }
    }
}

static void test_metrics_render_writes_values_and_labels(void **state)
{
    (void)state;
    metrics_clear(&page);
    metrics_put(&page, METRIC_LAG, -1);
    metrics_put(&page, METRIC_DEAD_LETTERS, 3, "not_json");
    metrics_put(&page, METRIC_DEAD_LETTERS, 9007199254740991.0, "odd\"\\\nname");
    metrics_put(&page, METRIC_THRESHOLD, .125, "7");
    metrics_put(&page, METRIC_THRESHOLD, (double)NAN, "8");
    metrics_put(&page, METRIC_MODEL, 1, "v1", "00", "11", "avx2");
    char *text = printed(render_page);
    assert_string_equal(
        text, "# HELP fraudd_kafka_lag Messages of our partitions not read yet; -1 "
              "unknown\n# TYPE fraudd_kafka_lag gauge\nfraudd_kafka_lag -1\n"
              "# HELP fraudd_dead_letters_total Messages that could not be read, by "
              "reason\n# TYPE fraudd_dead_letters_total counter\n"
              "fraudd_dead_letters_total{reason=\"not_json\"} 3\n"
              "fraudd_dead_letters_total{reason=\"odd\\\"\\\\\\nname\"} 9007199254740991\n"
              "# HELP fraudd_threshold_probability Probability in force from which a "
              "payment is an alert\n# TYPE fraudd_threshold_probability gauge\n"
              "fraudd_threshold_probability{partition=\"7\"} 0.125\n"
              "fraudd_threshold_probability{partition=\"8\"} NaN\n"
              "# HELP fraudd_model_info The model in force; always 1\n"
              "# TYPE fraudd_model_info gauge\n"
              "fraudd_model_info{version=\"v1\",hash=\"00\",schema=\"11\",kernel="
              "\"avx2\"} 1\n");
    free(text);
}

static void test_metrics_render_writes_histograms(void **state)
{
    (void)state;
    static struct latency h;
    latency_add(&h, 90);                        /* ns */
    latency_add_many(&h, UINT64_C(3000000), 2); /* 3 ms */
    latency_add(&h, UINT64_C(3600000000000));   /* an hour: beyond every bound */
    metrics_clear(&page);
    metrics_put_latency(&page, METRIC_STAGE_SECONDS, &h, "decode");
    metrics_put_latency(&page, METRIC_MESSAGE_SECONDS, &h);
    char *text = printed(render_page);
    static const char *const LINES[] = {
        "fraudd_stage_seconds_bucket{stage=\"decode\",le=\"1e-07\"} 1\n",
        "fraudd_stage_seconds_bucket{stage=\"decode\",le=\"0.0025\"} 1\n",
        "fraudd_stage_seconds_bucket{stage=\"decode\",le=\"0.005\"} 3\n",
        "fraudd_stage_seconds_bucket{stage=\"decode\",le=\"+Inf\"} 4\n",
        "fraudd_stage_seconds_count{stage=\"decode\"} 4\n",
        "fraudd_stage_seconds_sum{stage=\"decode\"} 3600.006\n",
        "fraudd_message_seconds_bucket{le=\"0.001\"} 1\n",
        "fraudd_message_seconds_bucket{le=\"60\"} 3\n",
        "fraudd_message_seconds_bucket{le=\"+Inf\"} 4\n",
        "fraudd_message_seconds_count 4\n",
        "# TYPE fraudd_message_seconds histogram\n"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        if (strstr(text, LINES[i]) == NULL) {
            fail_msg("no line %s in:\n%s", LINES[i], text);
        }
    }
    free(text);
}

static void test_metrics_put_counts_what_has_no_room(void **state)
{
    (void)state;
    metrics_clear(&page);
    /* what a process with every partition has, fits */
    for (int p = 0; p < 1024; p++) {
        char partition[12];
        snprintf(partition, sizeof partition, "%d", p);
        metrics_put(&page, METRIC_THRESHOLD, 1, partition);
        metrics_put(&page, METRIC_BUDGET_LEFT, 1, partition);
        metrics_put(&page, METRIC_SUPPRESSED, 1, partition);
        metrics_put(&page, METRIC_POSITION, 1, partition);
        metrics_put(&page, METRIC_COMMITTED, 1, partition);
    }
    const struct bus_counters c = {.consumed = 1};
    bus_metrics_fill(&c, true, &page);
    for (int i = 0; i < 200; i++) {
        metrics_put(&page, METRIC_DEAD_LETTERS, 1, "a_reason_with_a_long_name");
    }
    assert_int_equal(page.left_out, 0);
    for (int i = 0; i < METRICS_SAMPLES; i++) {
        metrics_put(&page, METRIC_LAG, 1);
    }
    assert_true(page.left_out > 0);
    assert_int_equal(page.samples, METRICS_SAMPLES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_equals_the_code),
        cmocka_unit_test(test_names_follow_the_rules),
        cmocka_unit_test(test_metrics_render_writes_values_and_labels),
        cmocka_unit_test(test_metrics_render_writes_histograms),
        cmocka_unit_test(test_metrics_put_counts_what_has_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
