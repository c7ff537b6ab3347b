/* Checkpoints: what is written comes back; chains, sizes, refusals. */
#include "base/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/faulty_disk.h"
#include "tests/support/memory_state.h"

#define PAGE 16384U

struct bench {
    struct faulty_disk disk;
    struct memory_state state, back;
    struct checkpoint_conf conf;
    struct checkpoint *c;
    struct errmsg e;
    uint64_t position; /* of the last load */
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    faulty_disk_init(&b->disk, 1);
    memory_state_init(&b->state, 100 * PAGE + 77, 3 * PAGE, 100);
    memory_state_init(&b->back, 100 * PAGE + 77, 3 * PAGE, 100);
    memory_state_resize(&b->state, 0, 50 * PAGE + 5);
    memory_state_resize(&b->state, 1, 3 * PAGE);
    memory_state_resize(&b->state, 2, 9);
    b->conf = memory_state_conf(&b->disk.disk);
}

static void bench_done(struct bench *b)
{
    checkpoint_free(b->c);
    memory_state_done(&b->state);
    memory_state_done(&b->back);
    faulty_disk_done(&b->disk);
}

static void writer_open(struct bench *b)
{
    checkpoint_free(b->c);
    b->c = memory_state_writer(&b->state, &b->conf);
}

static uint8_t *cards(struct bench *b, size_t at)
{
    return (uint8_t *)b->state.areas[0].at + at;
}

static enum err load(struct bench *b, uint64_t position_max)
{
    return memory_state_load(&b->back, b->conf.disk, position_max, &b->position, NULL, &b->e);
}

static void assert_loads(struct bench *b, uint64_t position_max, uint64_t position)
{
    enum err err = load(b, position_max);
    if (err != ERR_OK) {
        fail_msg("%s", b->e.text);
    }
    assert_int_equal(b->position, position);
}

static void test_load_gives_what_was_written(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    writer_open(&b);
    assert_int_equal(load(&b, UINT64_MAX), ERR_NOTFOUND);
    memset(cards(&b, PAGE - 3), 7, 10);
    struct checkpoint_result r = memory_state_written(&b.state, b.c, 5);
    assert_int_equal(r.kind, CHECKPOINT_FULL);
    assert_int_equal(r.pages, 51 + 3 + 1);
    assert_int_equal(r.pages_written, r.pages);
    memset(b.back.areas[2].at, 1, 100); /* what an area had in use goes */
    b.back.areas[2].bytes = 100;
    assert_loads(&b, UINT64_MAX, 5);
    bench_done(&b);
}

static void test_an_increment_has_the_pages_that_changed(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 1);
    struct checkpoint_result r = memory_state_written(&b.state, b.c, 2);
    assert_int_equal(r.kind, CHECKPOINT_INCREMENT);
    assert_int_equal(r.pages_written, 0);
    *cards(&b, 3 * PAGE) = 1;
    *cards(&b, 20 * PAGE - 1) = 1;
    *cards(&b, 50 * PAGE + 4) = 1;
    assert_int_equal(memory_state_written(&b.state, b.c, 3).pages_written, 3);
    *cards(&b, 3 * PAGE) = 0; /* as it was in the full one: a change all the same */
    assert_int_equal(memory_state_written(&b.state, b.c, 4).pages_written, 1);
    for (uint64_t i = 1; i <= 4; i++) {
        assert_loads(&b, i, i);
    }
    assert_loads(&b, UINT64_MAX, 4);
    assert_int_equal(load(&b, 0), ERR_NOTFOUND);
    bench_done(&b);
}

static void test_areas_grow_and_shrink_between(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        50 * PAGE + 5, 50 * PAGE + 4, 80 * PAGE, 100 * PAGE + 77, 0, 1, PAGE,
        PAGE - 1,      PAGE + 1,      0};
    struct bench b;
    bench_init(&b);
    b.conf.increments_max = 100;
    writer_open(&b);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memory_state_resize(&b.state, 0, sizes[i]);
        if (sizes[i] > 0) {
            *cards(&b, sizes[i] - 1) = 9;
        }
        (void)memory_state_written(&b.state, b.c, i);
        assert_loads(&b, UINT64_MAX, i);
    }
    /* a page that went and came back with the content it had is written anew */
    memory_state_resize(&b.state, 0, 2 * PAGE);
    *cards(&b, PAGE) = 3;
    (void)memory_state_written(&b.state, b.c, 20);
    memory_state_resize(&b.state, 0, 0);
    (void)memory_state_written(&b.state, b.c, 21);
    memory_state_resize(&b.state, 0, 2 * PAGE);
    *cards(&b, PAGE) = 3;
    assert_int_equal(memory_state_written(&b.state, b.c, 22).pages_written, 2);
    assert_loads(&b, UINT64_MAX, 22);
    bench_done(&b);
}

static void test_a_full_one_comes_after_so_many_increments(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.conf.increments_max = 2;
    writer_open(&b);
    for (uint64_t i = 0; i < 9; i++) {
        enum checkpoint_kind kind = memory_state_written(&b.state, b.c, 10 + i).kind;
        assert_int_equal(kind, i % 3 == 0 ? CHECKPOINT_FULL : CHECKPOINT_INCREMENT);
        /* this chain and the one before */
        assert_int_equal(faulty_disk_count(&b.disk, ".full"), i < 3 ? 1 : 2);
        assert_int_equal(faulty_disk_count(&b.disk, ".inc"), i % 3 + (i < 3 ? 0 : 2));
    }
    bench_done(&b);
}

static void test_a_full_one_comes_after_a_share_of_its_bytes(void **state)
{
    (void)state;
    struct bench b;
    struct rng rng;
    bench_init(&b);
    rng_init(&rng, 3);
    for (size_t i = 0; i < 50 * PAGE; i++) {
        *cards(&b, i) = (uint8_t)rng_next(&rng);
    }
    b.conf.increments_share = 0.5;
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 1);
    for (uint64_t i = 2; i <= 7; i++) { /* a tenth of the pages each */
        for (size_t page = 0; page < 5; page++) {
            *cards(&b, page * PAGE) ^= 1;
        }
        assert_int_equal(memory_state_written(&b.state, b.c, i).kind,
                         i < 7 ? CHECKPOINT_INCREMENT : CHECKPOINT_FULL);
    }
    bench_done(&b);
}

static void test_what_was_read_stays_until_two_full_ones_are_newer(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.conf.increments_max = 0;
    writer_open(&b);
    for (uint64_t i = 1; i <= 3; i++) {
        (void)memory_state_written(&b.state, b.c, i);
    }
    assert_int_equal(faulty_disk_count(&b.disk, ".full"), 2); /* 2, 3 */
    writer_open(&b);                                          /* knows of none */
    (void)memory_state_written(&b.state, b.c, 4);
    assert_int_equal(faulty_disk_count(&b.disk, ".full"), 3);
    b.conf.kept_from = 3; /* as if 3 were read */
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 5);
    assert_int_equal(faulty_disk_count(&b.disk, ".full"), 3); /* 3, 4, 5 */
    (void)memory_state_written(&b.state, b.c, 6);
    assert_int_equal(faulty_disk_count(&b.disk, ".full"), 2);
    bench_done(&b);
}

static void test_other_files_and_stems_are_left_alone(void **state)
{
    (void)state;
    static const char *const others[] = {
        "d/world2.00000000000000000001.full", "d/world.1.full",
        "d/world.00000000000000000001.fullx", "d/world2.00000000000000000001.full.tmp",
        "d/world.99999999999999999999.full",  "d/world"};
    struct bench b;
    bench_init(&b);
    size_t len;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        faulty_disk_put(&b.disk, others[i], "x", 1);
    }
    faulty_disk_put(&b.disk, "d/world.00000000000000000001.inc.tmp", "x", 1);
    b.conf.increments_max = 0;
    writer_open(&b);
    assert_null(faulty_disk_bytes(&b.disk, "d/world.00000000000000000001.inc.tmp", &len));
    for (uint64_t i = 5; i < 9; i++) {
        (void)memory_state_written(&b.state, b.c, i);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_non_null(faulty_disk_bytes(&b.disk, others[i], &len));
    }
    assert_loads(&b, UINT64_MAX, 8);
    bench_done(&b);
}

/* Of two processes' files each gives what it has; areas that nobody asks for are passed over. */
static void test_a_part_is_read_from_where_it_is(void **state)
{
    (void)state;
    struct bench b;
    struct checkpoint_loaded l;
    bool found[2];
    bench_init(&b);
    writer_open(&b);
    memset(cards(&b, PAGE - 3), 7, 10);
    (void)memory_state_written(&b.state, b.c, 5);
    memset(cards(&b, 9 * PAGE), 8, 3);
    (void)memory_state_written(&b.state, b.c, 7);
    uint8_t elsewhere[100] = {42};
    struct area asked[2] = {b.back.areas[0], {"lane", elsewhere, 1, sizeof elsewhere}};
    struct checkpoint_source from = {
        .disk = b.conf.disk, .dir = "d", .stem = "world", .position_max = 7, .found = found};
    assert_int_equal(checkpoint_look(&from, asked, 2, &b.e), ERR_OK);
    assert_true(found[0] && !found[1]);
    assert_int_equal(checkpoint_load(&from, asked, 2, &l, &b.e), ERR_OK);
    assert_true(found[0] && !found[1]);
    assert_int_equal(l.position, 7);
    assert_int_equal(asked[0].bytes, b.state.areas[0].bytes);
    assert_memory_equal(asked[0].at, b.state.areas[0].at, asked[0].bytes);
    assert_true(asked[1].bytes == 1 && elsewhere[0] == 42);
    from.position_max = 6; /* exactly that, not the one before */
    assert_int_equal(checkpoint_load(&from, asked, 2, &l, &b.e), ERR_NOTFOUND);
    from.position_max = 7;
    asked[0].bytes_max = PAGE;
    assert_int_equal(checkpoint_load(&from, asked, 2, &l, &b.e), ERR_MISMATCH);
    bench_done(&b);
}

static void test_a_damaged_part_is_refused(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 5);
    size_t len;
    const char *name = "d/world.00000000000000000005.full";
    for (size_t at = 0;; at += 1 + at / 7) {
        uint8_t *bytes = faulty_disk_bytes(&b.disk, name, &len);
        if (at >= len) {
            break;
        }
        struct checkpoint_loaded l;
        bool found[1];
        struct area clock[1] = {b.back.areas[2]}; /* its pages are a small part of the file */
        const struct checkpoint_source from = {
            .disk = b.conf.disk, .dir = "d", .stem = "world", .position_max = 5, .found = found};
        bytes[at] ^= 0x10;
        assert_int_not_equal(checkpoint_load(&from, clock, 1, &l, &b.e), ERR_OK);
        bytes[at] ^= 0x10;
        assert_int_equal(checkpoint_load(&from, clock, 1, &l, &b.e), ERR_OK);
    }
    bench_done(&b);
}

static void test_create_refuses(void **state)
{
    (void)state;
    struct bench b;
    struct checkpoint *c = NULL;
    bench_init(&b);
    struct area *a = b.state.areas;
    struct checkpoint_conf conf = b.conf;
    conf.stem = "../world";
    assert_int_equal(checkpoint_create(&conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    conf.stem = "";
    assert_int_equal(checkpoint_create(&conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    conf = b.conf;
    conf.increments_share = 0;
    assert_int_equal(checkpoint_create(&conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    conf = b.conf;
    conf.increments_max = CHECKPOINT_CHAIN_MAX;
    assert_int_equal(checkpoint_create(&conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    assert_int_equal(checkpoint_create(&b.conf, a, 0, &c, &b.e), ERR_INVALID);
    assert_int_equal(checkpoint_create(&b.conf, a, CHECKPOINT_AREAS_MAX + 1, &c, &b.e),
                     ERR_INVALID);
    a[1].name = a[0].name;
    assert_int_equal(checkpoint_create(&b.conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    a[1].name = "a name of forty-eight bytes is one byte too long";
    assert_int_equal(checkpoint_create(&b.conf, a, MEMORY_AREAS, &c, &b.e), ERR_INVALID);
    a[1].name = "sketch";
    conf = b.conf;
    conf.disk = &DISK_REAL;
    conf.dir = "/nonexistent/folder";
    assert_int_equal(checkpoint_create(&conf, a, MEMORY_AREAS, &c, &b.e), ERR_NOTFOUND);
    assert_non_null(strstr(b.e.text, "/nonexistent/folder"));
    assert_null(c);
    bench_done(&b);
}

static void test_begin_refuses(void **state)
{
    (void)state;
    static const char header[CHECKPOINT_HEADER_MAX + 1];
    struct bench b;
    bench_init(&b);
    writer_open(&b);
    struct area *a = b.state.areas;
    assert_int_equal(checkpoint_begin(b.c, 1, a, header, sizeof header, &b.e), ERR_INVALID);
    a[0].bytes = a[0].bytes_max + 1;
    assert_int_equal(checkpoint_begin(b.c, 1, a, NULL, 0, &b.e), ERR_INVALID);
    a[0].bytes = 0;
    a[1].bytes_max--;
    assert_int_equal(checkpoint_begin(b.c, 1, a, NULL, 0, &b.e), ERR_INVALID);
    a[1].bytes_max++;
    assert_int_equal(checkpoint_begin(b.c, 1, a, header, CHECKPOINT_HEADER_MAX, &b.e), ERR_OK);
    assert_int_equal(checkpoint_begin(b.c, 2, a, NULL, 0, &b.e), ERR_REFUSED); /* not polled */
    struct checkpoint_result r;
    assert_int_equal(checkpoint_poll(b.c, &r, &b.e), CHECKPOINT_DONE);
    assert_int_equal(checkpoint_poll(b.c, &r, &b.e), CHECKPOINT_IDLE);
    assert_int_equal(checkpoint_begin(b.c, 1, a, NULL, 0, &b.e), ERR_INVALID);
    bench_done(&b);
}

static void assert_mismatch(struct bench *b, const struct area *areas, size_t count,
                            const char *words)
{
    struct area copy[MEMORY_AREAS + 1];
    struct checkpoint_loaded loaded;
    struct checkpoint_source from = {
        .disk = b->conf.disk, .dir = "d", .stem = "world", .position_max = UINT64_MAX};
    memcpy(copy, areas, count * sizeof *copy);
    assert_int_equal(checkpoint_load(&from, copy, count, &loaded, &b->e), ERR_MISMATCH);
    assert_non_null(strstr(b->e.text, words));
    assert_non_null(strstr(b->e.text, "world.00000000000000000002.inc"));
    assert_memory_equal(copy, areas, count * sizeof *copy);
}

static void test_load_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct bench b;
    struct area other[MEMORY_AREAS + 1];
    bench_init(&b);
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 1);
    (void)memory_state_written(&b.state, b.c, 2);
    memcpy(other, b.back.areas, sizeof b.back.areas);
    other[MEMORY_AREAS] = (struct area){.name = "new", .at = &b, .bytes = 0, .bytes_max = 1};
    assert_mismatch(&b, other, MEMORY_AREAS + 1, "areas");
    assert_mismatch(&b, other, MEMORY_AREAS - 1, "areas");
    other[1].name = "sketches";
    assert_mismatch(&b, other, MEMORY_AREAS, "does not know");
    other[1].name = "sketch";
    other[1].bytes_max = 3 * PAGE - 1;
    assert_mismatch(&b, other, MEMORY_AREAS, "raise the limit");
    /* another order and larger limits do fit */
    struct area swapped[MEMORY_AREAS] = {b.back.areas[2], b.back.areas[0], b.back.areas[1]};
    struct checkpoint_source from = {
        .disk = b.conf.disk, .dir = "d", .stem = "world", .position_max = UINT64_MAX};
    struct checkpoint_loaded loaded;
    assert_int_equal(checkpoint_load(&from, swapped, MEMORY_AREAS, &loaded, &b.e), ERR_OK);
    assert_int_equal(swapped[1].bytes, b.state.areas[0].bytes);
    assert_memory_equal(swapped[1].at, b.state.areas[0].at, swapped[1].bytes_max);
    assert_int_equal(loaded.full_position, 1);
    assert_int_equal(loaded.files, 2);
    bench_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_gives_what_was_written),
        cmocka_unit_test(test_an_increment_has_the_pages_that_changed),
        cmocka_unit_test(test_areas_grow_and_shrink_between),
        cmocka_unit_test(test_a_full_one_comes_after_so_many_increments),
        cmocka_unit_test(test_a_full_one_comes_after_a_share_of_its_bytes),
        cmocka_unit_test(test_what_was_read_stays_until_two_full_ones_are_newer),
        cmocka_unit_test(test_other_files_and_stems_are_left_alone),
        cmocka_unit_test(test_a_part_is_read_from_where_it_is),
        cmocka_unit_test(test_a_damaged_part_is_refused),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_begin_refuses),
        cmocka_unit_test(test_load_refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
