/* journal: the bytes of entries.  Nothing is lost on the way, every damage is refused, and what is
 * accepted has one form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "daemon/journal.h"
#include "tests/support/feature_fixture.h"
#include "tests/support/journal_entries.h"

#define ROUNDS 400

static struct journal_entry *a, *b;
static uint8_t bytes[JOURNAL_BYTES_MAX], again[JOURNAL_BYTES_MAX];

static int make_room(void **state)
{
    (void)state;
    a = journal_entry_new();
    b = journal_entry_new();
    return 0;
}

static int free_room(void **state)
{
    (void)state;
    free(a);
    free(b);
    return 0;
}

static void expect_equal(const struct journal_entry *x, const struct journal_entry *y)
{
    assert_int_equal(x->kind, y->kind);
    assert_memory_equal(&x->writer, &y->writer, sizeof x->writer);
    assert_int_equal(x->seen, y->seen);
    assert_int_equal(x->partition, y->partition);
    assert_int_equal(x->first, y->first);
    assert_int_equal(x->labels_next, y->labels_next);
    assert_int_equal(x->notices_next, y->notices_next);
    assert_int_equal(x->part_count, y->part_count);
    assert_int_equal(x->run_count, y->run_count);
    assert_int_equal(x->tx_count, y->tx_count);
    assert_int_equal(x->message_count, y->message_count);
    for (size_t i = 0; i < x->part_count; i++) {
        assert_memory_equal(&x->parts[i], &y->parts[i], sizeof x->parts[i]);
    }
    for (size_t i = 0; i < x->run_count; i++) {
        assert_int_equal(x->runs[i].length, y->runs[i].length);
        assert_int_equal(x->runs[i].fate, y->runs[i].fate);
    }
    for (size_t i = 0; i < x->tx_count; i++) {
        assert_memory_equal(&x->tx[i], &y->tx[i], sizeof x->tx[i]);
    }
}

static void expect_round_trip(void)
{
    struct errmsg e = {""};
    size_t len = journal_encode(a, bytes);
    memset(b, 0xa5, sizeof *b);
    assert_int_equal(journal_decode(bytes, len, b, &e), ERR_OK);
    expect_equal(a, b);
    assert_int_equal(journal_encode(b, again), len);
    assert_memory_equal(again, bytes, len);
}

static void test_an_entry_comes_back(void **state)
{
    (void)state;
    struct rng g;
    size_t claims = 0, messages = 0;
    rng_init(&g, 1);
    for (int round = 0; round < ROUNDS; round++) {
        journal_random(&g, 1 + rng_below(&g, 40), 1 + rng_below(&g, 300), a);
        claims += a->kind == JOURNAL_CLAIM;
        messages += a->message_count;
        expect_round_trip();
    }
    assert_true(claims > 10 && messages > 1000);
}

/* A batch of two parts, short enough to read its bytes. */
static void small_batch(void)
{
    struct journal_writer w = journal_writer_number(7);
    struct tx t = {.id = 0x1111,
                   .card = 0x2222,
                   .terminal = 0x3333,
                   .event_us = 1000,
                   .amount_ref = 300,
                   .mcc = 5411,
                   .country = 'D' * 256 + 'E',
                   .type = TX_CASH};
    journal_batch(a, &w, 41, 5, 2);
    journal_part(a, 2, 100);
    assert_true(journal_add(a, 100, JOURNAL_DECIDED, &t));
    assert_true(journal_add(a, 103, JOURNAL_REPEAT, NULL));
    journal_part(a, 4, 0);
    t.terminal = 0;
    t.event_us = 998;
    assert_true(journal_add(a, 0, JOURNAL_DECIDED, &t));
    assert_true(journal_add(a, 1, JOURNAL_DEAD_LETTER, NULL));
}

/* Other bytes are another version: entries of today must be read for as long as they are kept. */
static void test_the_bytes_stay(void **state)
{
    (void)state;
    static const uint8_t CLAIM[] = {'f',  'd',  'j',  1,    1,                      /* */
                                    7,    0,    0,    0,    0,    0,    0,    0,    /* writer */
                                    0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* */
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* seen -1 */
                                    3,    0,    0,    0,                            /* partition */
                                    0x39, 0x30, 0,    0,    0,    0,    0,    0}; /* first 12345 */
    static const uint8_t BATCH[] = {
        'f',  'd',  'j',  1,    2,                         /* */
        7,    0,    0,    0,    0,    0,    0,    0,       /* writer */
        0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,    /* */
        41,   0,    0,    0,    0,    0,    0,    0,       /* seen */
        5,    0,    0,    0,    0,    0,    0,    0,       /* labels_next */
        2,    0,    0,    0,    0,    0,    0,    0,       /* notices_next */
        2,    0,                                           /* parts */
        2,    100,  3,    5,    8,    7,                   /* decided, 2 absent, repeat */
        1,    0,    2,    5,    6,                         /* decided, dead letter */
        0x12, 0x11, 0x11, 0,    0,    0,    0,    0,    0, /* cash, terminal; id */
        0x22, 0x22, 0,    0,    0,    0,    0,    0,       /* card */
        0x33, 0x33, 0,    0,    0,    0,    0,    0,       /* terminal */
        0xd0, 0x0f, 0xac, 0x02, 0x23, 0x15, 0x45, 0x44,    /* +1000 us, 300, 5411, DE */
        0x10, 0x11, 0x11, 0,    0,    0,    0,    0,    0, /* */
        0x22, 0x22, 0,    0,    0,    0,    0,    0,       /* */
        3,    0xac, 0x02, 0x23, 0x15, 0x45, 0x44};         /* -2 us */
    struct journal_writer w = journal_writer_number(7);
    journal_claim(a, &w, -1, 3, 12345);
    assert_int_equal(journal_encode(a, bytes), sizeof CLAIM + JOURNAL_SUM_BYTES);
    assert_int_equal(sizeof CLAIM + JOURNAL_SUM_BYTES, JOURNAL_CLAIM_BYTES);
    assert_memory_equal(bytes, CLAIM, sizeof CLAIM);
    small_batch();
    assert_int_equal(journal_encode(a, bytes), sizeof BATCH + JOURNAL_SUM_BYTES);
    assert_memory_equal(bytes, BATCH, sizeof BATCH);
    expect_round_trip();
}

static void expect_refused(const uint8_t *p, size_t len)
{
    struct errmsg e = {""};
    assert_int_equal(journal_decode(p, len, b, &e), ERR_CORRUPT);
    assert_string_not_equal(e.text, "");
}

static void test_every_corrupted_byte_is_refused(void **state)
{
    (void)state;
    small_batch();
    size_t len = journal_encode(a, bytes);
    for (size_t i = 0; i < len; i++) {
        for (unsigned change = 1; change < 256; change++) {
            bytes[i] = (uint8_t)(bytes[i] ^ change);
            expect_refused(bytes, len);
            bytes[i] = (uint8_t)(bytes[i] ^ change);
        }
    }
    for (size_t cut = 0; cut < len; cut++) {
        expect_refused(bytes, cut);
    }
    bytes[len] = 0;
    expect_refused(bytes, len + 1);
    assert_int_equal(journal_decode(bytes, len, b, NULL), ERR_OK);
}

/* What a wrong program could write: it is refused, or means exactly those bytes. */
static void test_what_is_accepted_has_one_form(void **state)
{
    (void)state;
    size_t accepted = 0, refused = 0;
    small_batch();
    size_t len = journal_encode(a, bytes);
    for (size_t i = 0; i < len - JOURNAL_SUM_BYTES; i++) {
        for (unsigned change = 1; change < 256; change++) {
            bytes[i] = (uint8_t)(bytes[i] ^ change);
            journal_reseal(bytes, len);
            if (journal_decode(bytes, len, b, NULL) == ERR_OK) {
                accepted++;
                assert_int_equal(journal_encode(b, again), len);
                assert_memory_equal(again, bytes, len);
            } else {
                refused++;
            }
            bytes[i] = (uint8_t)(bytes[i] ^ change);
        }
    }
    assert_true(accepted > 10000 && refused > 5000);
}

static void test_a_newer_program_is_told_apart_from_damage(void **state)
{
    (void)state;
    struct errmsg e = {""};
    small_batch();
    size_t len = journal_encode(a, bytes);
    bytes[3] = JOURNAL_VERSION + 1;
    expect_refused(bytes, len);
    journal_reseal(bytes, len);
    assert_int_equal(journal_decode(bytes, len, b, &e), ERR_MISMATCH);
    assert_non_null(strstr(e.text, "version 2"));
    bytes[3] = JOURNAL_VERSION;
    bytes[4] = 3;
    journal_reseal(bytes, len);
    assert_int_equal(journal_decode(bytes, len, b, &e), ERR_MISMATCH);
}

/* Places in the bytes of small_batch. */
enum {
    AT_SEEN = 21,
    AT_LABELS = 29,
    AT_PARTS = 45,
    AT_PARTITION = 47,
    AT_RUNS = 49,
    AT_RUN = 50,
    AT_LAST_RUN = 57,
    AT_FLAGS = 58,
    AT_ID = 59,
    AT_CARD = 67,
    AT_TERMINAL = 75
};

static void expect_change_refused(size_t at, const char *to, size_t n)
{
    uint8_t changed[256];
    small_batch();
    size_t len = journal_encode(a, bytes);
    memcpy(changed, bytes, len);
    memcpy(changed + at, to, n);
    journal_reseal(changed, len);
    expect_refused(changed, len);
}

static void test_each_bound_holds_behind_the_checksum(void **state)
{
    (void)state;
    expect_change_refused(AT_SEEN, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8);   /* -2 */
    expect_change_refused(AT_LABELS, "\xff\xff\xff\xff\xff\xff\xff\xff", 8); /* -1 */
    expect_change_refused(AT_LABELS, "\0\0\0\0\0\0\0\x20", 8);               /* 2^61 */
    expect_change_refused(AT_PARTS, "\x01\x04", 2);                          /* 1025 parts */
    expect_change_refused(AT_PARTS, "\x01", 1);                              /* one too few */
    expect_change_refused(AT_PARTS, "\x03", 1);                              /* one too many */
    expect_change_refused(AT_PARTITION, "\x80\x08", 2);                      /* partition 1024 */
    expect_change_refused(AT_RUNS, "\0", 1);                                 /* no run */
    expect_change_refused(AT_RUN, "\x01", 1);                                /* of no length */
    expect_change_refused(AT_RUN, "\x04", 1);                                /* two gaps in a row */
    expect_change_refused(AT_LAST_RUN, "\x04", 1);                           /* ends with a gap */
    expect_change_refused(AT_FLAGS, "\x52", 1);                              /* no such type */
    expect_change_refused(AT_ID, "\0\0", 2);
    expect_change_refused(AT_CARD, "\0\0", 2);
    expect_change_refused(AT_TERMINAL, "\0\0", 2); /* there, and missing */
}

static void test_a_number_has_one_length(void **state)
{
    (void)state;
    struct journal_writer w = journal_writer_number(7);
    static const uint8_t LONG[] = {0, 0xe4, 0x00, 1, 6}; /* first 100 in two bytes */
    journal_batch(a, &w, 0, 0, 0);
    journal_part(a, 0, 100);
    assert_true(journal_add(a, 100, JOURNAL_DEAD_LETTER, NULL));
    size_t len = journal_encode(a, bytes) + 1;
    memcpy(bytes + AT_PARTITION, LONG, sizeof LONG);
    assert_int_equal(AT_PARTITION + sizeof LONG + JOURNAL_SUM_BYTES, len);
    journal_reseal(bytes, len);
    expect_refused(bytes, len);
}

/* As many partitions, messages, gaps and long numbers as there can be. */
static void largest_batch(void)
{
    struct journal_writer w = journal_writer_number(UINT64_MAX);
    int64_t step = 3;
    struct tx t = {.id = 1,
                   .card = 1,
                   .merchant = 1,
                   .terminal = 1,
                   .device = 1,
                   .ip = 1,
                   .amount_ref = UINT32_MAX,
                   .mcc = UINT16_MAX,
                   .country = UINT16_MAX,
                   .type = TX_CHECK};
    journal_batch(a, &w, JOURNAL_OFFSET_MAX, JOURNAL_OFFSET_MAX, JOURNAL_OFFSET_MAX);
    for (int32_t p = 0; p < JOURNAL_PARTITIONS_MAX; p++) {
        int64_t first = JOURNAL_OFFSET_MAX - step * (JOURNAL_MESSAGES_MAX / JOURNAL_PARTITIONS_MAX);
        journal_part(a, p, first);
        for (int64_t i = 1; i <= JOURNAL_MESSAGES_MAX / JOURNAL_PARTITIONS_MAX; i++) {
            t.event_us = t.event_us < 0 ? INT64_MAX : INT64_MIN;
            assert_true(journal_add(a, first + step * i, JOURNAL_DECIDED, &t));
        }
    }
}

static void test_the_largest_batch_fits_and_one_more_does_not(void **state)
{
    (void)state;
    largest_batch();
    assert_int_equal(a->run_count, JOURNAL_RUNS_MAX);
    assert_int_equal(a->parts[JOURNAL_PARTITIONS_MAX - 1].last, JOURNAL_OFFSET_MAX);
    expect_round_trip();
    struct journal_writer w = journal_writer_number(1);
    journal_batch(a, &w, 0, 0, 0);
    journal_part(a, 0, 0);
    for (int64_t i = 0; i < JOURNAL_MESSAGES_MAX; i++) {
        assert_true(journal_add(a, i, JOURNAL_REPEAT, NULL));
    }
    assert_false(journal_add(a, JOURNAL_MESSAGES_MAX, JOURNAL_REPEAT, NULL));
    expect_round_trip();
    /* the same with one message more, as bytes */
    size_t len = journal_encode(a, bytes);
    uint64_t run = ((uint64_t)JOURNAL_MESSAGES_MAX + 1) << 2 | JOURNAL_REPEAT;
    bytes[AT_RUN] = (uint8_t)(run | 0x80);
    bytes[AT_RUN + 1] = (uint8_t)(run >> 7 | 0x80);
    bytes[AT_RUN + 2] = (uint8_t)(run >> 14);
    journal_reseal(bytes, len);
    expect_refused(bytes, len);
}

static void test_only_what_the_world_reads_is_kept(void **state)
{
    (void)state;
    struct journal_writer w = journal_writer_number(1);
    struct tx t = {.id = 1,
                   .card = 2,
                   .amount_minor = 3,
                   .currency = "EUR",
                   .channel = CHANNEL_POS,
                   .entry = ENTRY_CHIP,
                   .has_location = true,
                   .lat = 1,
                   .lon = 2};
    journal_batch(a, &w, 0, 0, 0);
    journal_part(a, 0, 0);
    assert_true(journal_add(a, 0, JOURNAL_DECIDED, &t));
    expect_round_trip();
    assert_int_equal(b->tx[0].card, 2);
    assert_int_equal(b->tx[0].amount_minor, 0);
}

static uint64_t world_hash(const struct feat_world *w)
{
    struct area areas[FEAT_AREAS_MAX];
    uint64_t h = 0;
    size_t n = feat_world_areas(w, areas);
    for (size_t i = 0; i < n; i++) {
        h = hash_bytes(areas[i].at, areas[i].bytes, h);
    }
    return h;
}

/* Whoever reads the journal has the world of whoever decided the payments. */
static void test_the_world_needs_no_more(void **state)
{
    (void)state;
    struct journal_writer w = journal_writer_number(1);
    struct stream_conf conf = fixture_stream(5);
    struct fixture_limits limits = fixture_limits();
    struct feature_params params;
    struct stream stream;
    feature_params_default(&params);
    stream_create(&stream, &conf);
    struct fixture decided = fixture_create(&params, &limits);
    struct fixture follows = fixture_create(&params, &limits);
    for (size_t i = 0; i < conf.events;) {
        journal_batch(a, &w, 0, 0, 0);
        journal_part(a, 0, (int64_t)i);
        for (; i < conf.events && a->message_count < 100; i++) {
            float x[FEAT_DIM];
            struct feat_facts facts;
            feat_extract(decided.s, &stream.tx[i], x, &facts);
            assert_true(journal_add(a, (int64_t)i, JOURNAL_DECIDED, &stream.tx[i]));
        }
        expect_round_trip();
        for (size_t t = 0; t < b->tx_count; t++) {
            feat_world_follow(follows.w, &b->tx[t]);
        }
        assert_true(world_hash(follows.w) == world_hash(decided.w));
    }
    fixture_free(&decided);
    fixture_free(&follows);
    stream_done(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_comes_back),
        cmocka_unit_test(test_the_bytes_stay),
        cmocka_unit_test(test_every_corrupted_byte_is_refused),
        cmocka_unit_test(test_what_is_accepted_has_one_form),
        cmocka_unit_test(test_a_newer_program_is_told_apart_from_damage),
        cmocka_unit_test(test_each_bound_holds_behind_the_checksum),
        cmocka_unit_test(test_a_number_has_one_length),
        cmocka_unit_test(test_the_largest_batch_fits_and_one_more_does_not),
        cmocka_unit_test(test_only_what_the_world_reads_is_kept),
        cmocka_unit_test(test_the_world_needs_no_more),
    };
    return cmocka_run_group_tests(tests, make_room, free_room);
}
