/* Training from PostgreSQL: the same payments that a CSV file gives, after they went as messages
 * through the sink; labels as `score` knew them; the registry; one training at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/cmd.h"
#include "daemon/feed.h"
#include "daemon/past.h"
#include "daemon/past_db.h"
#include "daemon/simulate.h"
#include "daemon/sink.h"
#include "daemon/verdicts.h"
#include "storage/payments.h"
#include "storage/registry.h"
#include "tests/support/capture.h"
#include "tests/support/database.h"

#define MATURITY (7 * TIME_DAY)
#define MESSAGES_MAX 40000

static struct database server;
static struct db *db;
static struct rates *rates;
static struct capture said;
static struct sim_conf world;
static int64_t until_us;
static char path[] = "/tmp/test_train_db_XXXXXX";

/* ---- a bus in memory that hands out what was put into it ---- */

struct stored {
    enum bus_topic topic;
    char *key, *value;
    size_t key_len, value_len;
};

static struct stored stored[MESSAGES_MAX];
static size_t stored_count, handed_out;
static int64_t offsets[TOPIC_COUNT];

static void keep(enum bus_topic topic, struct slice key, struct slice value)
{
    assert_true(stored_count < MESSAGES_MAX);
    struct stored *s = &stored[stored_count++];
    *s = (struct stored){topic, strndup(key.at, key.len), strndup(value.at, value.len), key.len,
                         value.len};
    assert_true(s->key != NULL && s->value != NULL);
}

static size_t poll_stored(void *self, struct bus_message *out, size_t max, int timeout_ms)
{
    size_t n = 0;
    (void)self;
    (void)timeout_ms;
    for (; n < max && handed_out < stored_count; n++, handed_out++) {
        const struct stored *s = &stored[handed_out];
        out[n] = (struct bus_message){.topic = s->topic,
                                      .partition = 0,
                                      .offset = offsets[s->topic]++,
                                      .timestamp_us = until_us + 365 * TIME_DAY,
                                      .key = s->key,
                                      .key_len = s->key_len,
                                      .value = s->value,
                                      .value_len = s->value_len};
    }
    return n;
}

static void release(void *self)
{
    (void)self;
}

static uint64_t wait_none(void *self, int timeout_ms)
{
    (void)self;
    (void)timeout_ms;
    return UINT64_MAX;
}

static void no_counters(void *self, struct bus_counters *out)
{
    (void)self;
    memset(out, 0, sizeof *out);
}

static const struct bus bus = {
    .poll = poll_stored, .release = release, .wait = wait_none, .counters = no_counters};

/* ---- the same history as CSV file and in PostgreSQL ---- */

static void write_csv(void)
{
    struct sim *sim = NULL;
    struct sim_tx row;
    struct errmsg e = {""};
    char text[SIM_ROW_MAX];
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    sim_conf_default(&world);
    world.cards = 150;
    world.merchants = 100;
    world.days = 70; /* over a change of month, and of year */
    world.start_us = INT64_C(20400) * TIME_DAY;
    world.fraud_share = .02;
    world.label_max_days = 30;
    until_us = world.start_us + 60 * TIME_DAY;
    database_must(sim_create(&world, &sim, &e), &e);
    fputs(sim_csv_header(), f);
    enum err err = ERR_OK;
    while ((err = sim_next(sim, &row, &e)) == ERR_OK) {
        fwrite(text, 1, sim_csv_row(&row, text), f);
    }
    assert_int_equal(err, ERR_END);
    sim_free(sim);
    assert_int_equal(fclose(f), 0);
}

/* Every payment as its message, and every label. */
static void make_messages(void)
{
    const struct feed_conf fc = {
        .path = path, .format = FEED_CSV, .rates = rates, .need_label = true};
    struct feature_params params;
    struct feed *feed = NULL;
    struct verdicts *verdicts = NULL;
    struct feed_item item;
    struct verdict label;
    struct errmsg e = {""};
    feature_params_default(&params);
    params.rates_version = rates_version(rates);
    database_must(feed_open(&fc, &feed, &e), &e);
    database_must(verdicts_create(&params, "simulator", &verdicts, &e), &e);
    enum err err = ERR_OK;
    while ((err = feed_next(feed, &item, &e)) == ERR_OK) {
        keep(TOPIC_TRANSACTIONS, item.strings.card, item.json);
        database_must(verdicts_see(verdicts, &item, &e), &e);
    }
    assert_int_equal(err, ERR_END);
    while (verdicts_next(verdicts, INT64_MAX, &label, &e) == ERR_OK) {
        keep(TOPIC_LABELS, label.card, label.json);
    }
    verdicts_free(verdicts);
    feed_close(feed);
}

static void run_sink(void)
{
    struct sink *sink = NULL;
    struct sink_stats stats;
    struct errmsg e = {""};
    struct sink_conf sc = {.conninfo = server.server.conninfo,
                           .rates = rates,
                           .log = {"log-1", 5},
                           .max_future_us = 5 * TIME_MIN,
                           .batch_max = 1000};
    for (int i = 0; i < TOPIC_COUNT; i++) {
        static const char *const NAMES[TOPIC_COUNT] = {"transactions", "labels", "notices",
                                                       "decisions",    "alerts", "dead-letters"};
        sc.topic_name[i] = NAMES[i];
    }
    database_must(sink_create(&sc, &sink, &e), &e);
    sink_attach(sink, bus);
    while (sink_turn(sink) > 0) {
    }
    sink_stats(sink, &stats);
    assert_int_equal(stats.rows, stored_count);
    assert_int_equal(stats.rejected + stats.undecodable, 0);
    sink_free(sink);
}

static int start(void **state)
{
    (void)state;
    struct errmsg e = {""};
    int fd = mkstemp(path);
    if (fd < 0) {
        return -1;
    }
    close(fd);
    database_start(&server);
    db = server.db;
    setenv("FRAUDD_DATABASE", server.server.conninfo, 1);
    database_must(rates_create_default(&rates, &e), &e);
    write_csv();
    make_messages();
    run_sink();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (size_t i = 0; i < stored_count; i++) {
        free(stored[i].key);
        free(stored[i].value);
    }
    capture_done(&said);
    rates_free(rates);
    database_stop(&server);
    return unlink(path);
}

static void read_db(struct past *p, int64_t from_us, int64_t to_us)
{
    struct errmsg e = {""};
    memset(p, 0, sizeof *p);
    database_must(past_read_db(p, db, rates, from_us, to_us, MATURITY, &e), &e);
}

static void assert_same_tx(const struct tx *a, const struct tx *b)
{
    assert_true(a->id == b->id && a->card == b->card && a->merchant == b->merchant);
    assert_true(a->terminal == b->terminal && a->device == b->device && a->ip == b->ip);
    assert_true(a->event_us == b->event_us && a->amount_minor == b->amount_minor);
    assert_int_equal(a->amount_ref, b->amount_ref);
    assert_string_equal(a->currency, b->currency);
    assert_true(a->mcc == b->mcc && a->country == b->country && a->type == b->type);
    assert_true(a->channel == b->channel && a->entry == b->entry);
    assert_true(a->has_location == b->has_location && a->foreign_currency == b->foreign_currency);
    assert_memory_equal(&a->lat, &b->lat, sizeof a->lat);
    assert_memory_equal(&a->lon, &b->lon, sizeof a->lon);
}

static void test_the_past_is_that_of_the_file(void **state)
{
    (void)state;
    struct past csv = {0};
    struct past past;
    struct errmsg e = {""};
    size_t frauds = 0;
    database_must(past_read_csv(&csv, path, rates, until_us, MATURITY, true, &e), &e);
    read_db(&past, world.start_us, until_us);
    assert_true(csv.n > 3000);
    assert_int_equal(past.n, csv.n);
    for (size_t i = 0; i < csv.n; i++) {
        const struct past_row *a = &csv.rows[i];
        const struct past_row *b = &past.rows[i];
        assert_same_tx(&a->tx, &b->tx);
        assert_int_equal(a->id_len, b->id_len);
        assert_memory_equal(past_id(&csv, i), past_id(&past, i), a->id_len);
        assert_int_equal(a->fraud, b->fraud);
        assert_true(a->known_us == b->known_us);
        frauds += a->fraud;
    }
    assert_true(frauds > 20);
    past_done(&csv);
    past_done(&past);
}

static void test_bounds_are_kept_across_months(void **state)
{
    (void)state;
    struct past past;
    struct past part;
    size_t n = 0;
    const int64_t cut[] = {world.start_us, world.start_us + 9 * TIME_DAY + 12345678,
                           world.start_us + 45 * TIME_DAY, until_us};
    read_db(&past, cut[0], cut[3]);
    for (int i = 0; i < 3; i++) {
        read_db(&part, cut[i], cut[i + 1]);
        for (size_t k = 0; k < part.n; k++) {
            assert_true(part.rows[k].tx.id == past.rows[n + k].tx.id);
        }
        n += part.n;
        past_done(&part);
    }
    assert_int_equal(n, past.n);
    past_done(&past);
}

/* ---- what is known of a payment in the end ---- */

/* A payment x<i> on day `day` of another year, its labels as "verdict day, ..", and what is read.
 */
struct known_case {
    const char *labels[4];
    bool has, fraud;
    int known_day; /* after the payment; -1: at its maturity */
};

static void add_payment(int i, bool declined, bool repeated)
{
    char sql[900];
    snprintf(
        sql, sizeof sql,
        "INSERT INTO transactions (event_time, log, part, log_offset, tx_id, card, type, "
        "amount_minor, currency, exponent, amount_ref) VALUES (timestamptz '2020-03-01' + %d * "
        "interval '1 s', 'x', 0, %d, E'x\\t%d', 'card', 'purchase', 5, 'EUR', 2, 5);"
        "INSERT INTO decisions SELECT event_time, log, part, log_offset, tx_id, .5, .4, "
        "'approve', 'm', 's', 1, %s, 1 FROM transactions WHERE log = 'x' AND log_offset = %d",
        i, i, i, repeated ? "true" : "false", i);
    database_run(db, sql);
    if (declined) {
        snprintf(
            sql, sizeof sql,
            "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
            "currency, exponent, amount_ref, outcome, model, body) SELECT log, part, "
            "log_offset, event_time, tx_id, card, 5, 'EUR', 2, 5, 'decline', 'm', '{}' "
            "FROM transactions WHERE log = 'x' AND log_offset = %d",
            i);
        database_run(db, sql);
    }
}

static void add_label(int i, int number, const char *label)
{
    char sql[400];
    char verdict[16];
    int day = 0;
    assert_int_equal(sscanf(label, "%15s %d", verdict, &day), 2);
    snprintf(sql, sizeof sql,
             "INSERT INTO labels VALUES ('s', %d, E'x\\t%d', '%s', timestamptz '2020-03-01' + %d * "
             "interval '1 s', timestamptz '2020-03-01' + %d * interval '1 s' + %d * "
             "interval '1 day', 'card', '{}')",
             100 * i + number, i, verdict, i, i, day);
    database_run(db, sql);
}

static void test_labels_are_known_as_score_knew_them(void **state)
{
    (void)state;
    static const struct known_case CASES[] = {
        {{NULL}, true, false, -1},
        {{"fraud 3", NULL}, true, true, 3},
        {{"fraud 3", "fraud 9", NULL}, true, true, 3},
        {{"fraud 9", "fraud 3", NULL}, true, true, 3}, /* the later number was known earlier */
        {{"legitimate 2", NULL}, true, false, 2},
        {{"fraud 3", "legitimate 5", NULL}, true, false, 5},
        {{"fraud 3", "withdrawn 5", NULL}, true, false, -1},
        {{"fraud 3", "withdrawn 5", "fraud 8", NULL}, true, true, 8},
        {{"legitimate 2", "fraud 40", "fraud 50", NULL}, true, true, 40},
        {{"legitimate 4", "fraud 4", NULL}, true, false, 4}, /* at once: see the order below */
    };
    const int n = (int)(sizeof CASES / sizeof *CASES);
    int64_t from = 0;
    struct past past;
    assert_int_equal(time_parse("2020-03-01", 10, &from), ERR_OK);
    for (int i = 0; i < n; i++) {
        add_payment(i, false, false);
        for (int k = 0; CASES[i].labels[k] != NULL; k++) {
            /* the last case: its fraud has the lower number */
            add_label(i, i == n - 1 ? 9 - k : k, CASES[i].labels[k]);
        }
    }
    read_db(&past, from, from + TIME_DAY);
    assert_int_equal(past.n, n);
    for (int i = 0; i < n; i++) {
        const struct past_row *r = &past.rows[i];
        int64_t after = r->known_us - r->tx.event_us;
        assert_int_equal(r->fraud, CASES[i].fraud);
        assert_true(after == (CASES[i].known_day < 0 ? MATURITY : CASES[i].known_day * TIME_DAY));
        assert_true(past_id(&past, (size_t)i)[1] == '\t'); /* through COPY's escapes */
    }
    past_done(&past);
    database_run(db, "DELETE FROM transactions WHERE log = 'x'; DELETE FROM labels WHERE source = "
                     "'s'; DELETE FROM decisions; DELETE FROM alerts");
}

static void test_declined_payments_are_unknown_and_repeats_left_out(void **state)
{
    (void)state;
    int64_t from = 0;
    struct past past;
    assert_int_equal(time_parse("2020-03-01", 10, &from), ERR_OK);
    add_payment(0, true, false);
    add_payment(1, true, false);
    add_label(1, 1, "fraud 3");
    add_payment(2, false, true);
    read_db(&past, from, from + TIME_DAY);
    assert_int_equal(past.n, 2);
    assert_true(past.rows[0].known_us == INT64_MAX && !past.rows[0].fraud);
    assert_true(past.rows[1].fraud && past.rows[1].known_us < INT64_MAX);
    past_done(&past);
    database_run(db, "DELETE FROM transactions WHERE log = 'x'; DELETE FROM labels WHERE source = "
                     "'s'; DELETE FROM decisions; DELETE FROM alerts");
}

/* `fraudd outcomes` on stored decisions: a missed bound is told, fails the verb, is in the audit.
 */
static void test_decisions_are_judged_by_verdicts(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) { /* each with probability .5, frauds not alerted */
        add_payment(i, i == 7, i == 6);
        if (i < 2) {
            add_label(i, 1, "fraud 3");
        }
    }
    assert_int_equal(capture_run(&said, cmd_outcomes,
                                 "outcomes --from 2020-03-01 --to 2020-03-02 --outcomes.frauds 2 "
                                 "--as ada"),
                     EXIT_FAILED);
    assert_non_null(strstr(said.out, "model m: 6 payments of 1 cards, 2 frauds, 3.0 expected; 0 "
                                     "alerts, 0 of them frauds\n"));
    assert_non_null(strstr(said.out, "  MISSED: share of the fraud value found is 0.0000; "
                                     "outcomes.value asks for at least 0.2\n"));
    assert_non_null(strstr(said.out, "left out: 1 declined without a verdict"));
    assert_int_equal(
        database_count(db,
                       "SELECT count(*) FROM audit WHERE who = 'ada' AND what = 'outcomes missed' "
                       "AND object = 'm' AND detail ->> 'words' LIKE '%outcomes.value%'"),
        1);
    database_run(db, "DELETE FROM transactions WHERE log = 'x'; DELETE FROM labels WHERE source = "
                     "'s'; DELETE FROM decisions; DELETE FROM alerts");
}

static void test_a_currency_without_rate_is_refused(void **state)
{
    (void)state;
    int64_t from = 0;
    struct past past = {0};
    struct errmsg e = {""};
    assert_int_equal(time_parse("2020-03-01", 10, &from), ERR_OK);
    add_payment(0, false, false);
    database_run(db, "UPDATE transactions SET currency = 'XXX' WHERE log = 'x'");
    assert_int_equal(past_read_db(&past, db, rates, from, from + TIME_DAY, MATURITY, &e),
                     ERR_MISMATCH);
    assert_non_null(strstr(e.text, "\"XXX\", which is not in the exchange-rate table"));
    past_done(&past);
    database_run(db, "DELETE FROM transactions WHERE log = 'x'; DELETE FROM decisions");
    read_db(&past, from, from + TIME_DAY); /* the connection is fit for more */
    past_done(&past);
}

/* ---- the verb ---- */

static void test_train_gives_the_model_of_the_file_and_registers_it(void **state)
{
    (void)state;
    char until[TIME_TEXT_MAX];
    char line[400];
    char out[80];
    char file[90];
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct registry_bytes kept;
    struct errmsg e = {""};
    snprintf(out, sizeof out, "%s.fraudd", path);
    time_format(until, until_us);
    snprintf(line, sizeof line,
             "train --input %s --until %s --out %s --epochs 1 --threads 2 --seed 5", path, until,
             out);
    if (capture_run(&said, cmd_train, line) != EXIT_OK) {
        fail_msg("%s", said.err);
    }
    snprintf(line, sizeof line,
             "train --until %s --epochs 1 --threads 2 --train.seed 5 --train.days 60 --as ada",
             until);
    if (capture_run(&said, cmd_train, line) != EXIT_OK) {
        fail_msg("%s", said.err);
    }
    assert_non_null(strstr(said.out, " is a candidate in the registry\n`fraudd model promote "));
    char *version = database_text(db, "SELECT version FROM models WHERE state = 'candidate'");
    database_must(registry_read(db, version, &kept, &e), &e);
    assert_int_equal(file_read(out, 1 << 28, &bytes, &len, NULL), ERR_OK);
    assert_int_equal(len, kept.model_len);
    assert_memory_equal(bytes, kept.model, len);
    free(bytes);
    snprintf(file, sizeof file, "%s.state", out);
    assert_int_equal(file_read(file, 1 << 28, &bytes, &len, NULL), ERR_OK);
    assert_int_equal(len, kept.state_len);
    assert_memory_equal(bytes, kept.state, len);
    free(bytes);
    free(version);
    registry_bytes_done(&kept);
    assert_int_equal(unlink(out) | unlink(file), 0);
}

/* Trains anew with another seed than the champion's; more: further options. */
static void train_another(const char *more)
{
    char until[TIME_TEXT_MAX];
    char line[400];
    time_format(until, until_us);
    snprintf(line, sizeof line,
             "train --full --until %s --epochs 1 --threads 2 --seed 6 --train.days 60 --as ada %s",
             until, more);
    if (capture_run(&said, cmd_train, line) != EXIT_OK) {
        fail_msg("%s", said.err);
    }
}

/* A broker inside this process, with a topic for notices. */
static rd_kafka_t *start_broker(char brokers[64])
{
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", why, sizeof why),
                     RD_KAFKA_CONF_OK);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(rk);
    rd_kafka_mock_cluster_t *mock = rd_kafka_handle_mock_cluster(rk);
    assert_int_equal(rd_kafka_mock_topic_create(mock, "notices", 1, 1), 0);
    snprintf(brokers, 64, "%s", rd_kafka_mock_cluster_bootstraps(mock));
    return rk;
}

/* After the test above, whose candidate becomes champion. */
static void test_train_puts_its_candidate_into_shadow_once(void **state)
{
    (void)state;
    static const char IN_SHADOW[] = "SELECT count(*) FROM audit WHERE what = 'model shadow'";
    char brokers[64];
    char more[96];
    database_run(db, "SELECT model_promote(version, 'ada') FROM models");
    train_another("");
    assert_non_null(strstr(said.out,
                           " is a candidate in the registry\nthe settings name no brokers "
                           "to tell of it; `fraudd model shadow "));
    rd_kafka_t *broker = start_broker(brokers);
    snprintf(more, sizeof more, "--brokers %s --update.shadow=false", brokers);
    train_another(more); /* as after a kill: the model is there, and is no other one */
    assert_non_null(strstr(said.out, " is in the registry already\nupdate.shadow is false; "));
    assert_int_equal(database_count(db, IN_SHADOW), 0);
    snprintf(more, sizeof more, "--brokers %s", brokers);
    train_another(more);
    assert_non_null(strstr(said.out, " is in shadow; `fraudd model promote "));
    train_another(more);
    assert_null(strstr(said.out, "shadow"));
    assert_int_equal(database_count(db, IN_SHADOW), 1);
    assert_int_equal(database_count(db, "SELECT count(*) FROM models WHERE state = 'challenger' "
                                        "AND shadowed IS NOT NULL"),
                     1);
    database_run(db,
                 "SELECT model_unshadow(version, 'ada') FROM models WHERE state = 'challenger'");
    train_another(more); /* somebody took it out of shadow: it stays out */
    assert_int_equal(database_count(db, IN_SHADOW), 1);
    rd_kafka_destroy(broker);
}

static void test_train_refuses_a_second_run(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct db *first = database_connect(&server);
    database_must(payments_lock(first, &e), &e);
    assert_int_equal(capture_run(&said, cmd_train, "train"), EXIT_REFUSED);
    assert_non_null(strstr(said.err, "fraudd train: another training is running (PostgreSQL "
                                     "session "));
    assert_non_null(strstr(said.err, " of fraudd, since 20"));
    db_close(first);
}

static void test_train_says_what_is_missing(void **state)
{
    (void)state;
    assert_int_equal(capture_run(&said, cmd_train, "train --input x.csv"), EXIT_USAGE);
    assert_string_equal(said.err,
                        "fraudd train: --input needs --until too; --help shows an example\n");
    assert_int_equal(capture_run(&said, cmd_train, "train --input x.csv --until 2026-01-01"),
                     EXIT_USAGE);
    assert_string_equal(said.err,
                        "fraudd train: --input needs --out too; --help shows an example\n");
    assert_int_equal(capture_run(&said, cmd_train, "train --until 2019-01-01"), EXIT_DATA);
    assert_non_null(strstr(said.err, "0 payments before the end date"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_past_is_that_of_the_file),
        cmocka_unit_test(test_bounds_are_kept_across_months),
        cmocka_unit_test(test_labels_are_known_as_score_knew_them),
        cmocka_unit_test(test_declined_payments_are_unknown_and_repeats_left_out),
        cmocka_unit_test(test_decisions_are_judged_by_verdicts),
        cmocka_unit_test(test_a_currency_without_rate_is_refused),
        cmocka_unit_test(test_train_gives_the_model_of_the_file_and_registers_it),
        cmocka_unit_test(test_train_puts_its_candidate_into_shadow_once),
        cmocka_unit_test(test_train_refuses_a_second_run),
        cmocka_unit_test(test_train_says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
