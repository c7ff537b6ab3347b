/* CSV written by rows: what is read back, quotes, a buffer that overflows, a full device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/rng.h"
#include "daemon/csv_out.h"

static char path[] = "/tmp/fraudd-csv-out-XXXXXX";

static int begin(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_rows_are_written_as_they_are(void **state)
{
    (void)state;
    struct csv_out *c = NULL;
    struct errmsg e;
    uint8_t *text = NULL;
    size_t len = 0;
    assert_int_equal(csv_out_open(path, &c, &e), ERR_OK);
    csv_out_text(c, "tx_id", 5);
    csv_out_text(c, "a,\"b\"\nc", 7);
    csv_out_end_row(c);
    csv_out_text(c, "", 0);
    csv_out_real(c, -0.25F);
    csv_out_real(c, 1e-12F);
    csv_out_real(c, 3e12F);
    csv_out_real(c, NAN);
    csv_out_end_row(c);
    assert_int_equal(csv_out_close(c, &e), ERR_OK);
    assert_int_equal(file_read(path, 4096, &text, &len, &e), ERR_OK);
    assert_string_equal((char *)text,
                        "tx_id,\"a,\"\"b\"\"\nc\"\n,-0.25,9.99999996e-13,3.00000005e+12,nan\n");
    free(text);
}

/* More than the buffer holds; every float comes back. */
static void test_many_rows_come_back(void **state)
{
    (void)state;
    enum { ROWS = 30000, COLUMNS = 8 };
    struct csv_out *out = NULL;
    struct csv *in = NULL;
    struct errmsg e;
    struct rng rng;
    const struct csv_field *field = NULL;
    assert_int_equal(csv_out_open(path, &out, &e), ERR_OK);
    for (int i = 0; i < COLUMNS; i++) {
        csv_out_text(out, "abcdefgh" + i, 1);
    }
    csv_out_end_row(out);
    rng_init(&rng, 1);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        csv_out_real(out, (float)rng_normal(&rng));
        if (i % COLUMNS == COLUMNS - 1) {
            csv_out_end_row(out);
        }
    }
    assert_int_equal(csv_out_close(out, &e), ERR_OK);
    assert_int_equal(csv_open(path, &in, &e), ERR_OK);
    rng_init(&rng, 1);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(csv_next(in, &field, &e), ERR_OK);
        for (int k = 0; k < COLUMNS; k++) {
            float want = (float)rng_normal(&rng);
            float got = strtof(field[k].p, NULL);
            assert_memory_equal(&want, &got, sizeof want);
        }
    }
    assert_int_equal(csv_next(in, &field, &e), ERR_END);
    csv_close(in);
}

static void test_failures_name_the_file(void **state)
{
    (void)state;
    struct csv_out *c = NULL;
    struct errmsg e;
    assert_int_equal(csv_out_open("/tmp/no such folder/x.csv", &c, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/tmp/no such folder/x.csv"));
    assert_int_equal(csv_out_open("/dev/full", &c, &e), ERR_OK);
    csv_out_text(c, "x", 1);
    csv_out_end_row(c);
    assert_int_equal(csv_out_close(c, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/dev/full"));
    assert_int_equal(csv_out_close(NULL, &e), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_written_as_they_are),
        cmocka_unit_test(test_many_rows_come_back),
        cmocka_unit_test(test_failures_name_the_file),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
