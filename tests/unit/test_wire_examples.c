/* The examples of etc/wire/ through the program's own decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "daemon/decode.h"

#define FOLDER "etc/wire/examples/"

static enum dead_reason decode_example(struct decoder *d, const char *name, const char *json,
                                       size_t len)
{
    struct tx t;
    struct tx_strings s;
    struct label l;
    struct label_strings ls;
    struct decision decision;
    if (strncmp(name, "transaction", 11) == 0) {
        return decode_tx(d, json, len, NULL, 0, 0, -1, &t, &s);
    }
    if (strncmp(name, "label", 5) == 0) {
        return decode_label(d, json, len, 0, -1, &l, &ls);
    }
    if (strncmp(name, "decision", 8) == 0) {
        return decode_decision(d, json, len, &decision);
    }
    if (strncmp(name, "alert", 5) == 0) {
        return decode_alert(d, json, len, &decision, &t, &s);
    }
    return strcmp(name, "dead-letter.json") == 0 ? DEAD_NONE : DEAD_WRONG_TYPE; /* headers only */
}

static void test_decode_examples(void **state)
{
    struct rates *rates = NULL;
    struct decoder *d = NULL;
    struct errmsg e;
    int count = 0;
    (void)state;
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &d, &e), ERR_OK);
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[512];
        uint8_t *bytes = NULL;
        size_t len = 0;
        if (entry->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof path, FOLDER "%s", entry->d_name);
        assert_int_equal(file_read(path, WIRE_MESSAGE_MAX, &bytes, &len, &e), ERR_OK);
        enum dead_reason r = decode_example(d, entry->d_name, (const char *)bytes, len);
        free(bytes);
        if (r != DEAD_NONE) {
            fail_msg("%s: %s (%s)", entry->d_name, dead_reason_name(r), decode_detail(d));
        }
        count++;
    }
    assert_true(count >= 10);
    closedir(folder);
    decoder_free(d);
    rates_free(rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
