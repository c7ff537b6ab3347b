/* Arrays in memory and in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scratch.h"

#define FOLDER "/var/tmp"

static void grow(struct scratch *s, struct scratch_array *a, size_t bytes)
{
    struct errmsg e = {""};
    enum err err = scratch_grow(s, a, bytes, &e);
    assert_string_equal(e.text, "");
    assert_int_equal(err, ERR_OK);
    assert_true(a->size_bytes >= bytes);
}

/* Grows the array to `bytes`, of which the first `filled` hold i % 251: these stay, others are
 * zero; then fills all. */
static void grow_and_check(struct scratch *s, struct scratch_array *a, size_t filled, size_t bytes)
{
    grow(s, a, bytes);
    uint8_t *p = a->base;
    for (size_t i = 0; i < bytes; i++) {
        if (p[i] != (i < filled ? i % 251 : 0)) {
            fail_msg("byte %zu of %zu is %u", i, bytes, p[i]);
        }
        p[i] = (uint8_t)(i % 251);
    }
}

static void test_grow_keeps_bytes_in_memory(void **state)
{
    (void)state;
    struct scratch s = {.folder = "/nonexistent", .memory_max_bytes = 10000000};
    struct scratch_array a = {0};
    grow_and_check(&s, &a, 0, 1);
    grow_and_check(&s, &a, 1, 5000);
    grow_and_check(&s, &a, 5000, 9000000);
    assert_int_equal(a.file, 0);
    assert_int_equal(s.memory_used_bytes, 9000000);
    scratch_free(&s, &a);
    assert_null(a.base);
    assert_int_equal(s.memory_used_bytes, 0);
}

static void test_grow_without_a_limit_stays_in_memory(void **state)
{
    (void)state;
    struct scratch_array a = {0};
    grow_and_check(NULL, &a, 0, 3000);
    grow_and_check(NULL, &a, 3000, 7000000);
    assert_int_equal(a.file, 0);
    scratch_free(NULL, &a);
}

static void test_grow_moves_to_a_file_what_memory_does_not_hold(void **state)
{
    (void)state;
    struct scratch s = {.folder = FOLDER, .memory_max_bytes = 10000};
    struct scratch_array a = {0};
    struct scratch_array b = {0};
    grow_and_check(&s, &b, 0, 4000);
    grow_and_check(&s, &a, 0, 6000);
    assert_int_equal(a.file, 0);
    grow_and_check(&s, &a, 6000, 6001);
    assert_int_not_equal(a.file, 0);
    assert_int_equal(s.memory_used_bytes, 4000);
    grow_and_check(&s, &a, 6001, 3000000);
    grow_and_check(&s, &b, 4000, 10000); /* in what the other gave back */
    assert_int_equal(b.file, 0);
    grow(&s, &a, 10); /* is as long already */
    assert_int_equal(((uint8_t *)a.base)[2999999], 2999999 % 251);
    scratch_free(&s, &a);
    scratch_free(&s, &b);
    assert_int_equal(s.memory_used_bytes, 0);
}

static void test_grow_names_the_folder_that_is_missing(void **state)
{
    (void)state;
    struct scratch s = {.folder = "/nonexistent/folder", .memory_max_bytes = 100};
    struct scratch_array a = {0};
    struct errmsg e = {""};
    grow_and_check(&s, &a, 0, 100);
    assert_int_equal(scratch_grow(&s, &a, 101, &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/nonexistent/folder"));
    assert_int_equal(s.memory_used_bytes, 100);
    assert_int_equal(((uint8_t *)a.base)[99], 99);
    scratch_free(&s, &a);
}

static void test_grow_finds_a_full_disk_and_leaves_the_array(void **state)
{
    (void)state;
    struct scratch s = {.folder = FOLDER, .memory_max_bytes = 100};
    const size_t more_than_a_disk = (size_t)1 << 56;
    struct scratch_array a = {0};
    struct errmsg e = {""};
    grow_and_check(&s, &a, 0, 100);
    assert_int_equal(scratch_grow(&s, &a, more_than_a_disk, &e), ERR_IO); /* from memory */
    assert_non_null(strstr(e.text, FOLDER));
    assert_int_equal(a.file, 0);
    grow_and_check(&s, &a, 100, 200);
    assert_int_equal(scratch_grow(&s, &a, more_than_a_disk, &e), ERR_IO); /* of the file */
    assert_int_equal(a.size_bytes, 200);
    assert_int_equal(((uint8_t *)a.base)[199], 199);
    scratch_free(&s, &a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grow_keeps_bytes_in_memory),
        cmocka_unit_test(test_grow_without_a_limit_stays_in_memory),
        cmocka_unit_test(test_grow_moves_to_a_file_what_memory_does_not_hold),
        cmocka_unit_test(test_grow_names_the_folder_that_is_missing),
        cmocka_unit_test(test_grow_finds_a_full_disk_and_leaves_the_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
