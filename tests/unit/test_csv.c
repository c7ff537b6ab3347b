/* CSV: quotes, compression by magic bytes, and rows that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "base/csv.h"
#include "base/file.h"

static char path[] = "/tmp/fraudd-test-csv-XXXXXX";

static void put(const void *bytes, size_t len)
{
    struct errmsg e;
    assert_int_equal(file_write(path, bytes, len, &e), ERR_OK);
}

static void test_csv_quotes_and_blank_lines(void **state)
{
    (void)state;
    static const char TEXT[] = "\xef\xbb\xbf"
                               "a,\"b b\",c\r\n\r\n1,\"x,\"\"y\"\"\nz\",\n4,,\"\"\n";
    put(TEXT, sizeof TEXT - 1);
    struct csv *c = NULL;
    struct errmsg e;
    const struct csv_field *f = NULL;
    assert_int_equal(csv_open(path, &c, &e), ERR_OK);
    assert_int_equal(csv_column(c, "b b"), 1);
    assert_int_equal(csv_column(c, "d"), -1);
    assert_int_equal(csv_next(c, &f, &e), ERR_OK);
    assert_string_equal(f[1].p, "x,\"y\"\nz");
    assert_int_equal(f[2].len, 0);
    assert_int_equal(csv_line(c), 3);
    assert_int_equal(csv_next(c, &f, &e), ERR_OK);
    assert_string_equal(f[0].p, "4");
    assert_int_equal(csv_line(c), 5);
    assert_int_equal(csv_next(c, &f, &e), ERR_END);
    csv_close(c);
}

static void test_csv_refuses_ragged_and_endless_rows(void **state)
{
    (void)state;
    struct csv *c = NULL;
    struct errmsg e;
    const struct csv_field *f = NULL;
    put("a,b\n1\n", 6);
    assert_int_equal(csv_open(path, &c, &e), ERR_OK);
    assert_int_equal(csv_next(c, &f, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "line 2"));
    csv_close(c);
    size_t n = CSV_ROW_MAX * 6;
    char *big = malloc(n);
    memset(big, 'x', n);
    memcpy(big, "a\n\"", 3);
    put(big, n);
    free(big);
    assert_int_equal(csv_open(path, &c, &e), ERR_OK);
    assert_int_equal(csv_next(c, &f, &e), ERR_CORRUPT);
    csv_close(c);
    put("", 0);
    assert_int_equal(csv_open(path, &c, &e), ERR_CORRUPT);
}

/* About 2 MB of rows, so that several refills of every buffer happen. */
static char *many_rows(size_t *out_len, uint32_t rows)
{
    char *text = malloc((size_t)rows * 24 + 16);
    size_t at = (size_t)sprintf(text, "n,square\n");
    for (uint32_t i = 0; i < rows; i++) {
        at += (size_t)sprintf(text + at, "%u,%u\n", i, i * 7U);
    }
    *out_len = at;
    return text;
}

static void check_many_rows(uint32_t rows)
{
    struct csv *c = NULL;
    struct errmsg e;
    const struct csv_field *f = NULL;
    assert_int_equal(csv_open(path, &c, &e), ERR_OK);
    for (uint32_t i = 0; i < rows; i++) {
        assert_int_equal(csv_next(c, &f, &e), ERR_OK);
        assert_int_equal(strtoul(f[0].p, NULL, 10), i);
        assert_int_equal(strtoul(f[1].p, NULL, 10), i * 7U);
    }
    assert_int_equal(csv_next(c, &f, &e), ERR_END);
    csv_close(c);
}

static void test_csv_reads_every_compression(void **state)
{
    (void)state;
    const uint32_t rows = 120000;
    size_t len = 0;
    char *text = many_rows(&len, rows);
    put(text, len);
    check_many_rows(rows);
    size_t room = len + len / 2 + 1024;
    uint8_t *packed = malloc(room);
    size_t n = ZSTD_compress(packed, room, text, len, 3);
    put(packed, n);
    check_many_rows(rows);
    size_t at = 0;
    assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text, len,
                                             packed, &at, room),
                     LZMA_OK);
    put(packed, at);
    check_many_rows(rows);
    gzFile g = gzopen(path, "wb1");
    assert_int_equal(gzwrite(g, text, (unsigned)len), (int)len);
    gzclose(g);
    check_many_rows(rows);
    free(packed);
    free(text);
}

static void test_csv_notices_a_cut_file(void **state)
{
    (void)state;
    size_t len = 0;
    char *text = many_rows(&len, 50000);
    size_t room = len + 1024;
    uint8_t *packed = malloc(room);
    size_t n = ZSTD_compress(packed, room, text, len, 3);
    put(packed, n / 2);
    struct csv *c = NULL;
    struct errmsg e;
    const struct csv_field *f = NULL;
    assert_int_equal(csv_open(path, &c, &e), ERR_OK);
    enum err err = ERR_OK;
    while (err == ERR_OK) {
        err = csv_next(c, &f, &e);
    }
    assert_int_equal(err, ERR_CORRUPT);
    csv_close(c);
    free(packed);
    free(text);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_quotes_and_blank_lines),
        cmocka_unit_test(test_csv_refuses_ragged_and_endless_rows),
        cmocka_unit_test(test_csv_reads_every_compression),
        cmocka_unit_test(test_csv_notices_a_cut_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
