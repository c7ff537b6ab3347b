/* Rows of a CSV history: the handbook's columns, all columns, and what is refused. */
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
#include "base/hash.h"
#include "daemon/decode.h"
#include "daemon/encode.h"
#include "daemon/row_csv.h"

static char path[] = "/tmp/fraudd-test-row-XXXXXX";
static struct rates *rates;

static int setup(void **state)
{
    struct errmsg e;
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    rates_free(rates);
    return 0;
}

static enum err start(struct row_csv *r, const char *text, bool need_label, struct errmsg *e)
{
    struct csv *csv = NULL;
    assert_int_equal(file_write(path, text, strlen(text), e), ERR_OK);
    assert_int_equal(csv_open(path, &csv, e), ERR_OK);
    enum err code = row_csv_init(r, csv, rates, need_label, e);
    if (code != ERR_OK) {
        csv_close(csv);
    }
    return code;
}

static void test_row_csv_handbook(void **state)
{
    struct row_csv r;
    struct row row;
    struct errmsg e;
    (void)state;
    assert_int_equal(start(&r,
                           "tx_id,ts,card_id,terminal_id,amount,fraud\n"
                           "0,1522540831,596,3156,57.16,0\n"
                           "1,1522540930.5,4961,3412,81.5,1\n",
                           true, &e),
                     ERR_OK);
    assert_int_equal(row_csv_next(&r, &row, &e), ERR_OK);
    assert_true(row.tx.id == hash_id("0", 1) && row.tx.card == hash_id("596", 3));
    assert_true(row.tx.terminal == hash_id("3156", 4) && row.tx.merchant == 0);
    assert_int_equal(row.tx.event_us, INT64_C(1522540831000000));
    assert_int_equal(row.tx.amount_minor, 5716);
    assert_int_equal(row.tx.amount_ref, 5716);
    assert_string_equal(row.tx.currency, "EUR");
    assert_true(row.has_label && !row.fraud && row.label_us == 0);
    assert_true(row.tx.type == TX_PURCHASE && row.tx.channel == CHANNEL_MISSING);
    assert_int_equal(row_csv_next(&r, &row, &e), ERR_OK);
    assert_int_equal(row.tx.event_us, INT64_C(1522540930500000));
    assert_true(row.fraud && row.tx.amount_minor == 8150);
    assert_int_equal(row_csv_next(&r, &row, &e), ERR_END);
    csv_close(r.csv);
}

#define ALL                                                                                        \
    "label_ts,lon,lat,ip,device_id,entry,channel,country,mcc,terminal_id,merchant_id,currency,"    \
    "type,fraud,amount,card_id,ts,tx_id,pattern\n"
#define ROW                                                                                        \
    "2026-04-09,-13.25,52.5,10.0.0.1,d,chip,atm,DE,0742,x9,m1,USD,cash,1,57.16,c1,"                \
    "2026-04-01T12:30:05.123Z,t1,stolen\n"

/* The same payment from CSV and from JSON is the same value. */
static void test_row_csv_equals_json(void **state)
{
    struct row_csv r;
    struct row row;
    struct errmsg e;
    struct decoder *d = NULL;
    struct tx t;
    struct tx_strings s;
    char json[ENCODE_MAX];
    size_t len = 0;
    (void)state;
    assert_int_equal(start(&r, ALL ROW, true, &e), ERR_OK);
    assert_int_equal(row_csv_next(&r, &row, &e), ERR_OK);
    assert_true(row.has_label && row.fraud);
    assert_int_equal(row.label_us, INT64_C(1775692800000000));
    assert_int_equal(row.tx.mcc, 742);
    assert_int_equal(encode_tx(&row.tx, &row.strings, json, sizeof json, &len), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &d, &e), ERR_OK);
    assert_int_equal(decode_tx(d, json, len, "c1", 2, 0, -1, &t, &s), DEAD_NONE);
    assert_memory_equal(&t, &row.tx, sizeof t);
    decoder_free(d);
    csv_close(r.csv);
}

static void test_row_csv_header_required(void **state)
{
    struct row_csv r;
    struct errmsg e;
    (void)state;
    assert_int_equal(start(&r, "tx_id,ts,card_id,fraud\n", true, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "\"amount\""));
    assert_int_equal(start(&r, "tx_id,ts,card_id,amount\n", true, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "\"fraud\""));
    assert_int_equal(start(&r, "tx_id,ts,card_id,amount\n", false, &e), ERR_OK);
    csv_close(r.csv);
}

static void test_row_csv_bad_values(void **state)
{
    static const struct {
        const char *from, *to, *says; /* says NULL: accepted */
    } CASES[] = {{"t1,", "t1,", NULL},
                 {",t1,", ",,", "tx_id"},
                 {",c1,", ",,", "card_id"},
                 {",c1,", ",\xff\xfe,", "card_id"},
                 {"57.16", "", "amount"},
                 {"57.16", "-1", "amount"},
                 {"57.16", "nan", "amount"},
                 {"57.16", "1e3", "amount"},
                 {"57.16", "57.16x", "amount"},
                 {"57.16", "57.165", NULL}, /* rounded: history files carry the noise of floats */
                 {"57.16", "10000000000000.01", "amount"},
                 {"USD", "XXQ", "currency"},
                 {"USD", "", NULL},
                 {"2026-04-01T12:30:05.123Z", "1900-01-01", "ts"},
                 {"2026-04-01T12:30:05.123Z", "2100-01-01", "ts"},
                 {"2026-04-01T12:30:05.123Z", "", "ts"},
                 {"2026-04-09", "2026-03-31", "label_ts"},
                 {"2026-04-09", "soon", "label_ts"},
                 {"2026-04-09", "", NULL},
                 {"cash,1", "cash,2", "fraud"},
                 {"cash,1", "cash,", NULL},
                 {"cash", "gift", "type"},
                 {"cash", "", NULL},
                 {"atm", "fax", "channel"},
                 {"chip", "gold", "entry"},
                 {"DE", "de", "country"},
                 {"DE", "", NULL},
                 {"0742", "07421", "mcc"},
                 {"0742", "07a1", "mcc"},
                 {"52.5", "90.01", "lat"},
                 {"52.5", "-90", NULL},
                 {"52.5", "", "lat"},
                 {"52.5", "5.2.5", "lat"},
                 {"52.5", "-", "lat"},
                 {"-13.25", "181", "lon"},
                 {"-13.25", "1.0000000000000000001", "lon"}};
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[1024];
        struct row_csv r;
        struct row row;
        struct errmsg e = {""};
        const char *at = strstr(ROW, CASES[i].from);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%s%.*s%s%s%s", ALL, (int)(at - ROW), ROW, CASES[i].to,
                       at + strlen(CASES[i].from), ROW);
        assert_int_equal(start(&r, text, true, &e), ERR_OK);
        memset(&row, 0x5a, sizeof row);
        struct row before = row;
        enum err code = row_csv_next(&r, &row, &e);
        bool good = CASES[i].says == NULL
                        ? code == ERR_OK
                        : code == ERR_CORRUPT && strstr(e.text, CASES[i].says) != NULL &&
                              strstr(e.text, "line 2") != NULL &&
                              memcmp(&row, &before, sizeof row) == 0;
        if (!good) {
            fail_msg("%s -> %s: %s", CASES[i].from, CASES[i].to, e.text);
        }
        assert_int_equal(row_csv_next(&r, &row, &e), ERR_OK); /* goes on after a bad row */
        csv_close(r.csv);
    }
}

static void test_row_csv_long_identity(void **state)
{
    char id[WIRE_ID_MAX + 2];
    char text[1024];
    (void)state;
    for (size_t n = WIRE_ID_MAX; n <= WIRE_ID_MAX + 1; n++) {
        struct row_csv r;
        struct row row;
        struct errmsg e;
        memset(id, 'x', n);
        id[n] = '\0';
        (void)snprintf(text, sizeof text, "tx_id,ts,card_id,amount\n1,1522540831,%s,1\n", id);
        assert_int_equal(start(&r, text, false, &e), ERR_OK);
        assert_int_equal(row_csv_next(&r, &row, &e), n == WIRE_ID_MAX ? ERR_OK : ERR_CORRUPT);
        csv_close(r.csv);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_csv_handbook),        cmocka_unit_test(test_row_csv_equals_json),
        cmocka_unit_test(test_row_csv_header_required), cmocka_unit_test(test_row_csv_bad_values),
        cmocka_unit_test(test_row_csv_long_identity),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
