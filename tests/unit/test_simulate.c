/* The simulator: repeatable, in order, inside its bounds, and telling fraud as it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/timefmt.h"
#include "daemon/decode.h"
#include "daemon/simulate.h"

static struct sim_conf small_conf(void)
{
    struct sim_conf conf;
    sim_conf_default(&conf);
    conf.cards = 400;
    conf.merchants = 300;
    conf.days = 40;
    return conf;
}

static struct sim *create(const struct sim_conf *conf)
{
    struct sim *s = NULL;
    struct errmsg e;
    if (sim_create(conf, &s, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    return s;
}

static bool next(struct sim *s, struct sim_tx *t)
{
    struct errmsg e;
    enum err err = sim_next(s, t, &e);
    assert_true(err == ERR_OK || err == ERR_END);
    return err == ERR_OK;
}

/* Hash of the first `rows` rows as CSV. */
static uint64_t hash_rows(const struct sim_conf *conf, uint64_t rows)
{
    struct sim *s = create(conf);
    struct sim_tx t;
    char row[SIM_ROW_MAX];
    uint64_t h = hash_bytes(sim_csv_header(), strlen(sim_csv_header()), 0);
    uint64_t n = 0;
    for (; n < rows && next(s, &t); n++) {
        h = hash_bytes(row, sim_csv_row(&t, row), h);
    }
    assert_true(n == rows);
    sim_free(s);
    return h;
}

/* Small and full of fraud: every pattern, and the drift. */
static struct sim_conf crowded_conf(void)
{
    struct sim_conf conf = small_conf();
    conf.days = 70;
    conf.fraud_share = .04;
    conf.drift_us = conf.start_us + 30 * TIME_DAY;
    return conf;
}

/* The streams that SIMULATOR_VERSION names.  Where this fails, either a change of the rows was not
 * meant, or the version rises and the hashes are written anew. */
static void test_next_gives_the_frozen_rows(void **state)
{
    (void)state;
    struct sim_conf conf;
    sim_conf_default(&conf);
    conf.cards = 2000;
    conf.merchants = 800;
    struct sim_conf crowded = crowded_conf();
    uint64_t plain_hash = hash_rows(&conf, 20000);
    uint64_t crowded_hash = hash_rows(&crowded, 20000);
    print_message("rows %016llx, crowded rows %016llx\n", (unsigned long long)plain_hash,
                  (unsigned long long)crowded_hash);
    assert_int_equal(SIMULATOR_VERSION, 1);
    assert_true(plain_hash == UINT64_C(0x1c92f4e45f99d65d));
    assert_true(crowded_hash == UINT64_C(0xe1bced797fbe0ccb));
}

static void test_next_repeats_for_a_seed_and_differs_for_another(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    uint64_t h = hash_rows(&conf, 5000);
    assert_true(hash_rows(&conf, 5000) == h);
    conf.seed = 2;
    assert_true(hash_rows(&conf, 5000) != h);
}

static void check_row(const struct sim_conf *conf, const struct sim_tx *t)
{
    int64_t end_us = conf->start_us + (int64_t)conf->days * TIME_DAY;
    assert_true(t->event_us >= conf->start_us && t->event_us < end_us && t->event_us % 1000 == 0);
    assert_true(t->card > 0 && t->merchant > 0 && t->merchant <= conf->merchants);
    assert_true((t->type == TX_CHECK) == (t->amount_minor == 0));
    assert_true(t->amount_minor >= 0 && t->amount_minor < INT64_C(1000000000));
    assert_int_equal(strlen(t->currency), 3);
    assert_int_equal(strlen(t->country), 2);
    assert_true((t->channel == CHANNEL_POS || t->channel == CHANNEL_ATM) == (t->terminal != 0));
    assert_true(t->channel == CHANNEL_ECOMMERCE || t->device == 0);
    assert_true((t->type == TX_CASH) == (t->channel == CHANNEL_ATM));
    assert_true(!t->has_location || (abs(t->lat_e4) <= 900000 && abs(t->lon_e4) <= 1800000));
    assert_true((t->pattern == SIM_LEGITIMATE) == (t->label_us == 0));
    if (t->label_us != 0) {
        int64_t delay_us = t->label_us - t->event_us;
        assert_true(delay_us > 0 && delay_us <= conf->label_max_days * TIME_DAY);
    }
}

static void test_next_gives_rows_in_order_and_inside_their_bounds(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.label_max_days = 9;
    struct sim *s = create(&conf);
    struct sim_tx t;
    int64_t last_us = 0;
    uint64_t n = 0;
    while (next(s, &t)) {
        check_row(&conf, &t);
        assert_true(t.event_us >= last_us);
        assert_true(t.number == ++n);
        last_us = t.event_us;
    }
    assert_true(n > 10000);
    assert_false(next(s, &t)); /* and stays at its end */
    sim_free(s);
}

static void count_rows(const struct sim_conf *conf, uint64_t out_n[SIM_PATTERN_COUNT],
                       uint64_t out_type[5])
{
    struct sim *s = create(conf);
    struct sim_tx t;
    while (next(s, &t)) {
        out_n[t.pattern]++;
        out_type[t.type]++;
    }
    sim_free(s);
}

static void test_next_shows_every_type_and_pattern_at_the_wanted_share(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.cards = 1500;
    conf.days = 60;
    conf.fraud_share = .02;
    uint64_t n[SIM_PATTERN_COUNT] = {0}, type[5] = {0};
    count_rows(&conf, n, type);
    uint64_t frauds = 0;
    for (unsigned p = SIM_STOLEN; p < SIM_PATTERN_COUNT; p++) {
        assert_true(n[p] > 5);
        frauds += n[p];
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_true(type[i] > 5);
    }
    double share = (double)frauds / (double)(frauds + n[SIM_LEGITIMATE]);
    assert_true(share > .014 && share < .026);
}

static void test_next_without_fraud_gives_none(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.fraud_share = 0.0;
    uint64_t n[SIM_PATTERN_COUNT] = {0}, type[5] = {0};
    count_rows(&conf, n, type);
    for (unsigned p = SIM_STOLEN; p < SIM_PATTERN_COUNT; p++) {
        assert_true(n[p] == 0);
    }
}

static void test_next_meets_the_wanted_transactions(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.cards = 1000;
    const uint64_t wanted[] = {20000, 100000};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        conf.transactions = wanted[i];
        uint64_t n[SIM_PATTERN_COUNT] = {0}, type[5] = {0}, rows = 0;
        count_rows(&conf, n, type);
        for (unsigned t = 0; t < 5; t++) {
            rows += type[t];
        }
        assert_true(rows > wanted[i] / 100 * 85 && rows < wanted[i] / 100 * 115);
    }
}

static void test_drift_changes_the_mix(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.cards = 1500;
    conf.fraud_share = .02;
    uint64_t before[SIM_PATTERN_COUNT] = {0}, after[SIM_PATTERN_COUNT] = {0}, type[5];
    count_rows(&conf, before, type);
    conf.drift_us = conf.start_us + TIME_DAY;
    count_rows(&conf, after, type);
    assert_true(after[SIM_STOLEN] * 2 < before[SIM_STOLEN]);
    assert_true(after[SIM_TAKEOVER] * 4 > before[SIM_TAKEOVER] * 5);
}

/* Rows and frauds of the pattern before and after a time. */
static void count_around(const struct sim_conf *conf, enum sim_pattern p, int64_t at_us,
                         uint64_t out[2], uint64_t *out_others)
{
    struct sim *s = create(conf);
    struct sim_tx t;
    while (next(s, &t)) {
        out[t.event_us >= at_us] += t.pattern == p;
        *out_others += t.pattern != p && t.pattern != SIM_LEGITIMATE;
    }
    sim_free(s);
}

static void test_new_pattern_sets_in_on_its_day(void **state)
{
    (void)state;
    for (unsigned p = SIM_STOLEN; p < SIM_PATTERN_COUNT; p++) {
        struct sim_conf conf = small_conf();
        conf.cards = 1000;
        conf.fraud_share = .03;
        int64_t day_us = conf.start_us + 15 * TIME_DAY;
        uint64_t without[2] = {0}, with[2] = {0}, others[2] = {0};
        count_around(&conf, (enum sim_pattern)p, day_us, without, &others[0]);
        conf.new_pattern = (enum sim_pattern)p;
        conf.new_from_us = day_us;
        count_around(&conf, (enum sim_pattern)p, day_us, with, &others[1]);
        assert_true(without[0] > 5);
        assert_true(with[0] == 0 && with[1] > 5);
        assert_true(others[1] * 3 > others[0] * 2 && others[1] * 2 < others[0] * 3);
    }
}

/* Whoever names a pattern gets the same bytes again; a day before all rows changes none of them
 * (those without the option are frozen above). */
static void test_new_pattern_repeats_for_a_seed(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.fraud_share = .03;
    uint64_t plain = hash_rows(&conf, 8000);
    conf.new_pattern = SIM_TESTING;
    conf.new_from_us = conf.start_us;
    assert_true(hash_rows(&conf, 8000) == plain);
    conf.new_from_us = conf.start_us + 15 * TIME_DAY;
    uint64_t late = hash_rows(&conf, 8000);
    assert_true(late != plain);
    assert_true(hash_rows(&conf, 8000) == late);
    conf.seed = 2;
    assert_true(hash_rows(&conf, 8000) != late);
}

static void test_pattern_find_reads_every_name(void **state)
{
    (void)state;
    for (unsigned p = SIM_STOLEN; p < SIM_PATTERN_COUNT; p++) {
        assert_true(sim_pattern_find(sim_pattern_name((enum sim_pattern)p)) == p);
    }
    assert_true(sim_pattern_find("") == SIM_LEGITIMATE);
    assert_true(sim_pattern_find("Mule") == SIM_LEGITIMATE);
}

static void test_create_refuses_what_is_out_of_bounds(void **state)
{
    (void)state;
    struct sim_conf bad[13];
    for (size_t i = 0; i < 13; i++) {
        sim_conf_default(&bad[i]);
    }
    bad[0].cards = 9;
    bad[1].cards = 2000001;
    bad[2].merchants = 99;
    bad[3].merchants = 1000001;
    bad[4].days = 0;
    bad[5].days = 3661;
    bad[6].start_us++;
    bad[7].start_us = INT64_C(4102444800000000) - 179 * TIME_DAY;
    bad[8].fraud_share = .0501;
    bad[9].label_max_days = 0;
    bad[10].label_max_days = 366;
    bad[11].transactions = UINT64_C(30) * 5000 * 180 + 10;
    bad[12].new_pattern = SIM_PATTERN_COUNT;
    for (size_t i = 0; i < 13; i++) {
        struct sim *s = NULL;
        struct errmsg e = {""};
        assert_int_equal(sim_create(&bad[i], &s, &e), ERR_INVALID);
        assert_null(s);
        assert_true(e.text[0] != '\0');
    }
}

static void test_create_runs_the_smallest_world(void **state)
{
    (void)state;
    struct sim_conf conf = small_conf();
    conf.cards = 10;
    conf.merchants = 100;
    conf.fraud_share = .05;
    uint64_t n[SIM_PATTERN_COUNT] = {0}, type[5] = {0};
    count_rows(&conf, n, type);
    assert_true(n[SIM_LEGITIMATE] > 50);
    sim_free(NULL);
}

static struct sim_tx sample_row(void)
{
    struct sim_tx t = {.number = 42,
                       .event_us = INT64_C(1767225600000000) + 3723004000,
                       .label_us = INT64_C(1767225600000000) + TIME_DAY,
                       .amount_minor = 105,
                       .device = 7,
                       .card = 3,
                       .merchant = 9,
                       .ip = 0x1f000102,
                       .lat_e4 = -5,
                       .lon_e4 = 1234567,
                       .mcc = 742,
                       .channel = CHANNEL_ECOMMERCE,
                       .entry = ENTRY_MANUAL,
                       .pattern = SIM_MULE,
                       .minor_digits = 2,
                       .has_location = true,
                       .currency = "EUR",
                       .country = "DE"};
    return t;
}

static void test_csv_row_writes_every_column(void **state)
{
    (void)state;
    struct sim_tx t = sample_row();
    char row[SIM_ROW_MAX];
    size_t len = sim_csv_row(&t, row);
    assert_int_equal(len, strlen(row));
    char *device = strstr(row, ",manual,d");
    assert_non_null(device);
    memset(device + 9, 'x', 12);
    assert_string_equal(row, "t000000042,2026-01-01T01:02:03.004Z,c0000003,purchase,1.05,EUR,"
                             "m000009,,0742,DE,ecommerce,manual,dxxxxxxxxxxxx,31.0.1.2,-0.0005,"
                             "123.4567,1,2026-01-02T00:00:00.000Z,mule\n");
}

static void test_csv_row_leaves_missing_fields_empty(void **state)
{
    (void)state;
    struct sim_tx t = sample_row();
    char row[SIM_ROW_MAX];
    t.pattern = SIM_LEGITIMATE;
    t.label_us = 0;
    t.device = 0;
    t.ip = 0;
    t.has_location = false;
    t.minor_digits = 0;
    sim_csv_row(&t, row);
    assert_string_equal(row, "t000000042,2026-01-01T01:02:03.004Z,c0000003,purchase,105,EUR,"
                             "m000009,,0742,DE,ecommerce,manual,,,,,0,,\n");
}

static void test_json_row_is_the_wire_format_without_label(void **state)
{
    (void)state;
    struct sim_tx t = sample_row();
    char row[SIM_ROW_MAX];
    t.device = 0;
    t.terminal = 5;
    sim_json_row(&t, row);
    assert_string_equal(
        row, "{\"id\":\"t000000042\",\"ts\":\"2026-01-01T01:02:03.004Z\",\"card\":\"c0000003\","
             "\"type\":\"purchase\",\"amount\":\"1.05\",\"currency\":\"EUR\",\"merchant\":"
             "\"m000009\",\"terminal\":\"t000005\",\"mcc\":\"0742\",\"country\":\"DE\","
             "\"channel\":\"ecommerce\",\"entry\":\"manual\",\"ip\":\"31.0.1.2\",\"lat\":-0.0005,"
             "\"lon\":123.4567}\n");
}

/* The daemon's own reader accepts every row, and reads what was meant. */
static void test_json_row_is_read_by_decode(void **state)
{
    (void)state;
    struct rates *rates = NULL;
    struct decoder *decoder = NULL;
    struct errmsg e;
    assert_int_equal(rates_create_default(&rates, &e), ERR_OK);
    assert_int_equal(decoder_create(rates, WIRE_MESSAGE_MAX, &decoder, &e), ERR_OK);
    struct sim_conf conf = crowded_conf();
    struct sim *s = create(&conf);
    struct sim_tx t;
    char row[SIM_ROW_MAX], card[SIM_ID_MAX];
    for (int n = 0; n < 5000 && next(s, &t); n++) {
        struct tx tx;
        struct tx_strings strings;
        size_t len = sim_json_row(&t, row) - 1; /* a message has no newline */
        sim_card_id(t.card, card);
        enum dead_reason r =
            decode_tx(decoder, row, len, card, strlen(card), t.event_us, 0, &tx, &strings);
        if (r != DEAD_NONE) {
            fail_msg("%s: %s: %s", row, dead_reason_name(r), decode_detail(decoder));
        }
        assert_true(tx.event_us == t.event_us && tx.amount_minor == t.amount_minor);
        assert_true(tx.type == t.type && tx.channel == t.channel && tx.entry == t.entry);
        assert_true(tx.mcc == t.mcc && tx.has_location == t.has_location);
        assert_true((tx.device != 0) == (t.device != 0) && (tx.ip != 0) == (t.ip != 0));
        assert_memory_equal(tx.currency, t.currency, 4);
    }
    sim_free(s);
    decoder_free(decoder);
    rates_free(rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_gives_the_frozen_rows),
        cmocka_unit_test(test_next_repeats_for_a_seed_and_differs_for_another),
        cmocka_unit_test(test_next_gives_rows_in_order_and_inside_their_bounds),
        cmocka_unit_test(test_next_shows_every_type_and_pattern_at_the_wanted_share),
        cmocka_unit_test(test_next_without_fraud_gives_none),
        cmocka_unit_test(test_next_meets_the_wanted_transactions),
        cmocka_unit_test(test_drift_changes_the_mix),
        cmocka_unit_test(test_new_pattern_sets_in_on_its_day),
        cmocka_unit_test(test_new_pattern_repeats_for_a_seed),
        cmocka_unit_test(test_pattern_find_reads_every_name),
        cmocka_unit_test(test_create_refuses_what_is_out_of_bounds),
        cmocka_unit_test(test_create_runs_the_smallest_world),
        cmocka_unit_test(test_csv_row_writes_every_column),
        cmocka_unit_test(test_csv_row_leaves_missing_fields_empty),
        cmocka_unit_test(test_json_row_is_the_wire_format_without_label),
        cmocka_unit_test(test_json_row_is_read_by_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
