/* `fraudd score` with a model of another feature schema: exit code 65 and one line with both
 * hashes, before any server is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/support/random_model.h"

#define OTHER_SCHEMA 0x0123456789abcdefU

static void test_score_refuses_a_model_of_another_schema(void **state)
{
    char path[64];
    char command[256];
    char line[1024];
    char told[1024] = "";
    struct errmsg e = {""};
    size_t len = 0;
    int lines = 0;
    (void)state;
    snprintf(path, sizeof path, "/tmp/fraudd-test-schema-%d.fraudd", (int)getpid());
    uint8_t *bytes = random_model_bytes(1, "other-1", OTHER_SCHEMA, &len);
    assert_int_equal(file_write(path, bytes, len, &e), ERR_OK);
    free(bytes);
    snprintf(command, sizeof command,
             "timeout 30 build/release/fraudd score --http.listen= --brokers=127.0.0.1:1 "
             "--model=%s 2>&1 </dev/null",
             path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "ts=", 3) != 0) { /* the log is another matter */
            memcpy(told, line, sizeof told);
            lines++;
        }
    }
    int status = pclose(f);
    unlink(path);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 65);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(told, "fraudd score: "));
    assert_non_null(strstr(told, "model other-1 was trained on feature schema 0123456789abcdef"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_score_refuses_a_model_of_another_schema)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
