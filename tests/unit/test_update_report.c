/* The page of an update: well-formed, self-contained, of one that passed and of one that did not.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/update_report.h"
#include "tests/support/html.h"

static struct update_outcome passed_update(void)
{
    struct update_outcome u = {.parent = "20260101-<b>&",
                               .learnt = {.version = "20260108-fedcba98"},
                               .news = 4321,
                               .news_frauds = 21,
                               .epochs = 1,
                               .training_s = 12.3};
    u.gate = (struct gate_report){.payments = 2000,
                                  .frauds = 17,
                                  .auc = .9125,
                                  .ap = .7654,
                                  .brier = .0034,
                                  .measured = true,
                                  .passed = true};
    for (int i = 0; i < GATE_COUNT; i++) {
        u.gate.row[i] = (struct gate_row){
            .value = 1, .served = .77, .made = .7654, .measured = true, .passed = true};
    }
    for (size_t k = 0; k < SCORE_BANDS; k++) {
        u.drift.share[0][k] = u.drift.share[1][k] = 1.0 / SCORE_BANDS;
    }
    for (int g = 1; g < GROUP_COUNT; g++) {
        u.drift.group[g] = .05;
    }
    u.drift.group[0] = (double)NAN;
    u.drift.column[FEAT_card_age] = 3.5;
    u.drift.top[0] = FEAT_card_age;
    return u;
}

static char *render(const struct update_outcome *u)
{
    char *text = NULL;
    size_t len = 0;
    struct errmsg e = {""};
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    assert_int_equal(update_report_render(u, .25, f, &e), ERR_OK);
    fclose(f);
    html_assert_well_formed(text);
    html_assert_self_contained(text);
    return text;
}

static void test_page_of_an_update_that_passed(void **state)
{
    (void)state;
    struct update_outcome u = passed_update();
    char *page = render(&u);
    assert_non_null(strstr(page, "Update of 20260101-&lt;b&gt;&amp;: 20260108-fedcba98"));
    assert_int_equal(html_count(page, "<td>passed</td>"), GATE_COUNT);
    assert_int_equal(html_count(page, "missed"), 0);
    assert_non_null(strstr(page, "0.7654 (0.7700)"));
    assert_non_null(strstr(page, "seconds, training</th><td>12.3</td>"));
    assert_non_null(strstr(page, "1 columns have moved further than 0.25 (update.drift)"));
    assert_non_null(strstr(page, "card_age</th><td>3.500</td>"));
    assert_int_equal(html_count(page, "role=\"img\""), 1);
    free(page);
}

static void test_page_of_an_update_that_was_stopped(void **state)
{
    (void)state;
    struct update_outcome u = passed_update();
    u.gate.passed = u.gate.measured = false;
    u.gate.auc = u.gate.ap = u.gate.brier = (double)NAN;
    for (int i = 0; i < GATE_LABELS; i++) {
        u.gate.row[i] =
            (struct gate_row){.value = (double)NAN, .served = (double)NAN, .made = (double)NAN};
    }
    struct gate_row *row = &u.gate.row[GATE_LABEL_GROUP];
    *row = (struct gate_row){.value = .25, .served = 12, .made = 3, .measured = true};
    snprintf(row->where, sizeof row->where, "sealed payments, mcc <i>");
    u.gate.bound[GATE_LABEL_GROUP] = .6;
    char *page = render(&u);
    assert_non_null(strstr(page, "stopped by the gate</h1>"));
    assert_non_null(strstr(page, "Their labels are not believed, so nothing was learnt."));
    assert_non_null(strstr(page, "is 0.2500, at least 0.6 is asked by gate.label-group: 0.3500 too "
                                 "little."));
    assert_non_null(strstr(page, "mcc &lt;i&gt;</td>"));
    assert_int_equal(html_count(page, "<td>not measured</td>"), GATE_LABELS);
    assert_int_equal(html_count(page, "<strong>missed</strong>"), 1);
    free(page);
}

static void test_write_makes_the_file_or_says_why(void **state)
{
    (void)state;
    char path[] = "/tmp/fraudd-update-XXXXXX";
    struct update_outcome u = passed_update();
    struct errmsg e = {""};
    uint8_t *file = NULL;
    size_t len = 0;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    char *page = render(&u);
    assert_int_equal(update_report_write(&u, .25, path, &e), ERR_OK);
    assert_int_equal(file_read(path, (size_t)1 << 20, &file, &len, &e), ERR_OK);
    assert_string_equal((char *)file, page);
    assert_int_not_equal(update_report_write(&u, .25, "/tmp/no such folder/x.html", &e), ERR_OK);
    assert_non_null(strstr(e.text, "/tmp/no such folder/x.html"));
    unlink(path);
    free(file);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_of_an_update_that_passed),
        cmocka_unit_test(test_page_of_an_update_that_was_stopped),
        cmocka_unit_test(test_write_makes_the_file_or_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
