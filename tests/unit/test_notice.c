/* How long a notice may be. */
#include "daemon/notice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PARTS (NOTICE_MODEL_MAX / NOTICE_PART_MAX)

static enum err count(void *self, const struct bus_record *r, struct errmsg *e)
{
    size_t *sent = self;
    (void)e;
    assert_true(r->value_len <= NOTICE_PART_MAX);
    ++*sent;
    return ERR_OK;
}

static void test_send_takes_the_longest_and_refuses_one_byte_more(void **state)
{
    struct errmsg e = {""};
    size_t sent = 0;
    uint8_t *bytes = calloc(1, NOTICE_MODEL_MAX + 1);
    (void)state;
    assert_non_null(bytes);
    assert_int_equal(notice_send_by(count, &sent, "model", bytes, NOTICE_MODEL_MAX, &e), ERR_OK);
    assert_int_equal(sent, PARTS);
    assert_int_equal(notice_send_by(count, &sent, "shadow", bytes, NOTICE_MODEL_MAX + 1, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "67108865 bytes"));
    assert_non_null(strstr(e.text, "--net.width"));
    assert_int_equal(notice_send_by(count, &sent, "rules", bytes, NOTICE_MODEL_MAX + 1, &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "take some of them out"));
    assert_int_equal(sent, PARTS);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_takes_the_longest_and_refuses_one_byte_more),
    };
    return cmocka_run_group_tests_name("notice", tests, NULL, NULL);
}
