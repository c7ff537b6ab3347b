/* Checkpoints on a disk that fails: every byte spoilt, every length cut, every operation the last.
 */
#include "base/checkpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/hash.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/memory_state.h"

#define FULL_1 "d/world.00000000000000000001.full"
#define INC_2 "d/world.00000000000000000002.inc"

struct bench {
    struct faulty_disk disk;
    struct memory_state state, back; /* what is written, what is read */
    struct checkpoint *c;
    struct pool *pool; /* reads */
    struct rng rng;
    struct errmsg e;
};

static void bench_init(struct bench *b, uint64_t seed, size_t cards, size_t sketch, size_t clock)
{
    memset(b, 0, sizeof *b);
    faulty_disk_init(&b->disk, seed);
    memory_state_init(&b->state, cards, sketch, clock);
    memory_state_init(&b->back, cards, sketch, clock);
    assert_int_equal(pool_create(3, &b->pool, &b->e), ERR_OK);
    b->back.pool = b->pool;
    rng_init(&b->rng, seed ^ 77);
    for (size_t i = 0; i < MEMORY_AREAS; i++) {
        memory_state_resize(&b->state, i, b->state.areas[i].bytes_max);
    }
    memory_state_change(&b->state, &b->rng);
}

static void writer_open(struct bench *b, uint32_t increments_max)
{
    struct checkpoint_conf conf = memory_state_conf(&b->disk.disk);
    conf.increments_max = increments_max;
    b->c = memory_state_writer(&b->state, &conf);
}

static void bench_done(struct bench *b)
{
    checkpoint_free(b->c);
    memory_state_done(&b->state);
    memory_state_done(&b->back);
    pool_free(b->pool);
    faulty_disk_done(&b->disk);
}

/* A full one at 1 and an increment at 2, small enough to spoil every byte. */
static void bench_pair(struct bench *b)
{
    bench_init(b, 1, 300, 200, 9);
    writer_open(b, 8);
    (void)memory_state_written(&b->state, b->c, 1);
    ((uint8_t *)b->state.areas[0].at)[7] ^= 1;
    assert_int_equal(memory_state_written(&b->state, b->c, 2).kind, CHECKPOINT_INCREMENT);
}

static uint8_t *copy_of(struct bench *b, const char *path, size_t *out_len)
{
    const uint8_t *bytes = faulty_disk_bytes(&b->disk, path, out_len);
    assert_non_null(bytes);
    uint8_t *copy = malloc(*out_len + 1);
    assert_non_null(copy);
    memcpy(copy, bytes, *out_len);
    return copy;
}

/* The increment is as it now lies there refused, and the full one used. */
static void assert_falls_back(struct bench *b, const char *words)
{
    struct memory_refused refused;
    uint64_t position = 0;
    assert_int_equal(
        memory_state_load(&b->back, &b->disk.disk, UINT64_MAX, &position, &refused, &b->e), ERR_OK);
    assert_int_equal(position, 1);
    assert_int_equal(refused.count, 1);
    assert_string_equal(refused.first, INC_2 + 2);
    assert_true(refused.why[0] != '\0');
    assert_non_null(strstr(refused.why, words));
}

/* Nothing is usable: the full one is refused, and the increment because of it. */
static void assert_none(struct bench *b, const char *words)
{
    struct memory_refused refused;
    uint64_t position = 0;
    assert_int_equal(
        memory_state_load(&b->back, &b->disk.disk, UINT64_MAX, &position, &refused, &b->e),
        ERR_CORRUPT);
    assert_int_equal(refused.count, 2);
    assert_string_equal(refused.first, FULL_1 + 2);
    assert_true(refused.why[0] != '\0');
    assert_non_null(strstr(refused.why, words));
}

static void spoil_every_byte(const char *path, void (*check)(struct bench *, const char *words))
{
    struct bench b;
    size_t len = 0;
    bench_pair(&b);
    uint8_t *good = copy_of(&b, path, &len);
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            good[i] ^= (uint8_t)(1 << bit);
            faulty_disk_put(&b.disk, path, good, len);
            check(&b, "");
            good[i] ^= (uint8_t)(1 << bit);
        }
        uint8_t was = good[i];
        good[i] = (uint8_t)~was;
        faulty_disk_put(&b.disk, path, good, len);
        check(&b, "");
        good[i] = was;
    }
    free(good);
    bench_done(&b);
}

static void test_load_finds_every_spoilt_byte_of_a_full_one(void **state)
{
    (void)state;
    spoil_every_byte(FULL_1, assert_none);
}

static void test_load_finds_every_spoilt_byte_of_an_increment(void **state)
{
    (void)state;
    spoil_every_byte(INC_2, assert_falls_back);
}

static void cut_everywhere(const char *path, void (*check)(struct bench *, const char *words))
{
    struct bench b;
    size_t len = 0;
    bench_pair(&b);
    uint8_t *good = copy_of(&b, path, &len);
    for (size_t cut = 0; cut < len; cut++) {
        faulty_disk_put(&b.disk, path, good, cut);
        check(&b, "ends too early");
    }
    good[len] = 0;
    faulty_disk_put(&b.disk, path, good, len + 1);
    check(&b, "goes on behind its end");
    free(good);
    bench_done(&b);
}

static void test_load_finds_every_length_that_is_not_the_files(void **state)
{
    (void)state;
    cut_everywhere(FULL_1, assert_none);
    cut_everywhere(INC_2, assert_falls_back);
}

static void test_load_refuses_what_builds_on_another_file(void **state)
{
    (void)state;
    struct bench b;
    struct memory_refused refused;
    uint64_t position = 0;
    size_t len = 0;
    bench_pair(&b);
    uint8_t *increment = copy_of(&b, INC_2, &len);
    /* another full one in the place of the first */
    checkpoint_free(b.c);
    writer_open(&b, 8);
    memory_state_change(&b.state, &b.rng);
    (void)memory_state_written(&b.state, b.c, 1);
    faulty_disk_put(&b.disk, INC_2, increment, len);
    assert_falls_back(&b, "builds on another file");
    /* and none */
    faulty_disk_remove(&b.disk, FULL_1);
    assert_int_equal(
        memory_state_load(&b.back, &b.disk.disk, UINT64_MAX, &position, &refused, &b.e),
        ERR_CORRUPT);
    assert_non_null(strstr(refused.why, "missing"));
    assert_non_null(strstr(b.e.text, "missing"));
    free(increment);
    bench_done(&b);
}

/* A table of page hashes that is not that of the files would show here: every checksum is right,
 * and the state is not the one that was written. */
static void test_load_refuses_a_state_that_is_not_the_writers(void **state)
{
    (void)state;
    enum { END = 28, STATE_AT = 12, SUM = 8 };
    struct bench b;
    size_t len = 0;
    bench_pair(&b);
    uint8_t *file = copy_of(&b, INC_2, &len);
    uint8_t *end = file + len - END;
    uint64_t seed;
    end[STATE_AT] ^= 1;
    memcpy(&seed, end - SUM, sizeof seed);
    uint64_t sum = hash_bytes(end, END - SUM, seed);
    memcpy(end + END - SUM, &sum, sizeof sum);
    faulty_disk_put(&b.disk, INC_2, file, len);
    assert_falls_back(&b, "does not give the state that was written");
    free(file);
    bench_done(&b);
}

static void test_load_takes_the_chain_before_when_the_newest_is_spoilt(void **state)
{
    (void)state;
    struct bench b;
    struct memory_refused refused;
    uint64_t position = 0;
    size_t len = 0;
    bench_init(&b, 3, 100000, 40000, 100);
    writer_open(&b, 1);
    for (uint64_t i = 1; i <= 6; i++) { /* full, increment, full, .. */
        (void)memory_state_written(&b.state, b.c, i);
        memory_state_change(&b.state, &b.rng);
    }
    assert_int_equal(faulty_disk_count(&b.disk, ".full"), 2);
    assert_int_equal(faulty_disk_count(&b.disk, ".inc"), 2);
    faulty_disk_bytes(&b.disk, "d/world.00000000000000000005.full", &len)[len / 2] ^= 4;
    assert_int_equal(
        memory_state_load(&b.back, &b.disk.disk, UINT64_MAX, &position, &refused, &b.e), ERR_OK);
    assert_int_equal(position, 4);
    assert_int_equal(refused.count, 2);
    bench_done(&b);
}

/* full, increment, increment, full, each of another state; hash[i] is what was written at i + 1.
 * Returns how many were reported durable. */
static uint64_t write_sequence(struct bench *b, uint64_t *hash)
{
    struct checkpoint_result result;
    uint64_t durable = 0;
    struct checkpoint_conf conf = memory_state_conf(&b->disk.disk);
    conf.increments_max = 2;
    if (checkpoint_create(&conf, b->state.areas, MEMORY_AREAS, &b->c, &b->e) != ERR_OK) {
        return 0;
    }
    for (uint64_t i = 1; i <= 4; i++) {
        memory_state_change(&b->state, &b->rng);
        hash[i - 1] = memory_state_hash(&b->state);
        if (memory_state_write(&b->state, b->c, i, &result, &b->e) != CHECKPOINT_DONE) {
            break;
        }
        durable = i;
    }
    return durable;
}

static void assert_survives(struct bench *b, const uint64_t *hash, uint64_t durable)
{
    uint64_t position = 0;
    enum err err = memory_state_load(&b->back, &b->disk.disk, UINT64_MAX, &position, NULL, &b->e);
    if (err != ERR_OK) {
        assert_int_equal(durable, 0);
        return;
    }
    assert_true(position >= durable && position <= durable + 1);
    assert_true(memory_state_hash(&b->back) == hash[position - 1]);
}

/* Then the service goes on: the leftovers are swept and a new full one is what is read next. */
static void assert_goes_on(struct bench *b)
{
    uint64_t position = 0;
    checkpoint_free(b->c);
    writer_open(b, 2);
    assert_int_equal(faulty_disk_count(&b->disk, ".tmp"), 0);
    (void)memory_state_written(&b->state, b->c, 9);
    assert_int_equal(memory_state_load(&b->back, &b->disk.disk, UINT64_MAX, &position, NULL, &b->e),
                     ERR_OK);
    assert_int_equal(position, 9);
}

static void test_a_crash_at_any_operation_leaves_a_written_state(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        bool reached = true;
        for (uint64_t crash_at = 1; reached; crash_at++) {
            struct bench b;
            uint64_t hash[4];
            bench_init(&b, seed, 90000, 40000, 100);
            b.disk.crash_at = crash_at;
            b.disk.short_writes = seed % 2 == 1;
            uint64_t durable = write_sequence(&b, hash);
            reached = b.disk.crashed;
            assert_true(reached || durable == 4);
            faulty_disk_restart(&b.disk);
            assert_survives(&b, hash, durable);
            assert_goes_on(&b);
            bench_done(&b);
        }
    }
}

static void fail_every_operation(int errnum, const char *words)
{
    for (uint64_t fail_at = 2;; fail_at++) { /* 1: the list of checkpoint_create */
        struct bench b;
        uint64_t hash[6];
        bench_init(&b, fail_at, 90000, 40000, 100);
        b.disk.fail_at = fail_at;
        b.disk.fail_errno = errnum;
        uint64_t durable = write_sequence(&b, hash);
        bool reached = b.disk.operations >= fail_at;
        if (durable < 4) {
            assert_non_null(strstr(b.e.text, words));
            assert_non_null(strstr(b.e.text, "cannot "));
            assert_int_equal(faulty_disk_count(&b.disk, ".tmp"), 0);
            assert_survives(&b, hash, durable);
            /* the same writer goes on, at the same position, with the same or another state */
            memory_state_change(&b.state, &b.rng);
            (void)memory_state_written(&b.state, b.c, durable + 1);
            memory_state_change(&b.state, &b.rng);
            (void)memory_state_written(&b.state, b.c, durable + 2);
            hash[durable + 1] = memory_state_hash(&b.state);
            assert_survives(&b, hash, durable + 2);
        }
        bench_done(&b);
        if (!reached) {
            assert_int_equal(durable, 4);
            return;
        }
    }
}

static void test_a_failing_operation_is_told_and_harms_nothing(void **state)
{
    (void)state;
    fail_every_operation(EIO, "Input/output error");
    fail_every_operation(ENOSPC, "No space left on device; the disk is full: make room");
}

static void test_a_full_disk_is_told_and_the_old_one_stays(void **state)
{
    (void)state;
    for (uint64_t room = 0; room < 3000; room += 101) {
        struct bench b;
        struct checkpoint_result result;
        uint64_t position = 0;
        bench_init(&b, room, 90000, 40000, 100);
        writer_open(&b, 0);
        (void)memory_state_written(&b.state, b.c, 1);
        memory_state_change(&b.state, &b.rng);
        b.disk.room = room;
        assert_int_equal(memory_state_write(&b.state, b.c, 2, &result, &b.e), CHECKPOINT_FAILED);
        assert_int_equal(result.err, ERR_IO);
        assert_non_null(strstr(b.e.text, "make room"));
        assert_int_equal(faulty_disk_count(&b.disk, ".tmp"), 0);
        assert_int_equal(
            memory_state_load(&b.back, &b.disk.disk, UINT64_MAX, &position, NULL, &b.e), ERR_OK);
        assert_int_equal(position, 1);
        bench_done(&b);
    }
}

/* A life: random changes, faults, crashes, restarts that load and go on. */
static void live(uint64_t seed)
{
    enum { STEPS = 30 };
    struct bench b;
    struct checkpoint_result result;
    uint64_t hash[STEPS + 1] = {0};
    uint64_t durable = 0;
    bench_init(&b, seed, 200000, 50000, 1000);
    writer_open(&b, (uint32_t)rng_below(&b.rng, 4));
    for (uint64_t step = 1; step <= STEPS; step++) {
        if (rng_below(&b.rng, 3) == 0) {
            b.disk.crash_at = b.disk.operations + 1 + rng_below(&b.rng, 14);
        }
        if (rng_below(&b.rng, 4) == 0) {
            b.disk.fail_at = b.disk.operations + 1 + rng_below(&b.rng, 14);
            b.disk.fail_errno = EIO;
        }
        memory_state_change(&b.state, &b.rng);
        hash[step] = memory_state_hash(&b.state);
        if (memory_state_write(&b.state, b.c, step, &result, &b.e) == CHECKPOINT_DONE) {
            durable = step;
        }
        if (!b.disk.crashed && rng_below(&b.rng, 6) != 0) {
            continue;
        }
        uint64_t position = 0;
        faulty_disk_restart(&b.disk);
        enum err err = memory_state_load(&b.back, &b.disk.disk, UINT64_MAX, &position, NULL, &b.e);
        assert_true(err == ERR_OK || durable == 0);
        assert_true(position >= durable);
        assert_true(err != ERR_OK || memory_state_hash(&b.back) == hash[position]);
        checkpoint_free(b.c);
        writer_open(&b, (uint32_t)rng_below(&b.rng, 4));
    }
    bench_done(&b);
}

static void test_random_lives_never_lose_what_was_durable(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        live(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_finds_every_spoilt_byte_of_a_full_one),
        cmocka_unit_test(test_load_finds_every_spoilt_byte_of_an_increment),
        cmocka_unit_test(test_load_finds_every_length_that_is_not_the_files),
        cmocka_unit_test(test_load_refuses_what_builds_on_another_file),
        cmocka_unit_test(test_load_refuses_a_state_that_is_not_the_writers),
        cmocka_unit_test(test_load_takes_the_chain_before_when_the_newest_is_spoilt),
        cmocka_unit_test(test_a_crash_at_any_operation_leaves_a_written_state),
        cmocka_unit_test(test_a_failing_operation_is_told_and_harms_nothing),
        cmocka_unit_test(test_a_full_disk_is_told_and_the_old_one_stays),
        cmocka_unit_test(test_random_lives_never_lose_what_was_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
