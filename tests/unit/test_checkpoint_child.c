/* Checkpoints written by a child to a real folder: what it sees, what it keeps of its owner, how it
 * ends. */
#include "base/checkpoint.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/support/memory_state.h"

#define PAGE 16384U

struct bench {
    struct memory_state state, back;
    struct checkpoint_conf conf;
    struct checkpoint *c;
    struct errmsg e;
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    memory_state_init(&b->state, 100 * PAGE + 77, 3 * PAGE, 100);
    memory_state_init(&b->back, 100 * PAGE + 77, 3 * PAGE, 100);
    memory_state_resize(&b->state, 0, 50 * PAGE + 5);
    memory_state_resize(&b->state, 1, 3 * PAGE);
    memory_state_resize(&b->state, 2, 9);
    b->conf = memory_state_conf(&DISK_REAL);
    b->conf.in_process = false;
}

static void bench_done(struct bench *b)
{
    checkpoint_free(b->c);
    memory_state_done(&b->state);
    memory_state_done(&b->back);
}

static void writer_open(struct bench *b)
{
    b->c = memory_state_writer(&b->state, &b->conf);
}

static uint8_t *cards(struct bench *b, size_t at)
{
    return (uint8_t *)b->state.areas[0].at + at;
}

static void assert_loads(struct bench *b, uint64_t wanted)
{
    uint64_t position = 0;
    if (memory_state_load(&b->back, &DISK_REAL, UINT64_MAX, &position, NULL, &b->e) != ERR_OK) {
        fail_msg("%s", b->e.text);
    }
    assert_int_equal(position, wanted);
}

/* ---- a disk that looks at what is in use while it writes ---- */

struct looking {
    struct disk disk;
    size_t most; /* bytes in use in the heap, seen at any write */
    int kill_at; /* this write is the child's end; 0: none */
};

static ssize_t looking_write(void *ctx, int handle, const void *bytes, size_t len)
{
    struct looking *l = ctx;
    size_t used = mallinfo2().uordblks;
    l->most = used > l->most ? used : l->most;
    if (l->kill_at > 0 && --l->kill_at == 0) {
        kill(getpid(), SIGKILL);
    }
    return DISK_REAL.write(NULL, handle, bytes, len);
}

static void looking_init(struct looking *l)
{
    *l = (struct looking){.disk = DISK_REAL};
    l->disk.ctx = l;
    l->disk.write = looking_write;
}

/* A folder of its own, which is the working folder: the fixture's paths are relative. */
struct folder {
    char before[512], path[64];
};

static void folder_enter(struct folder *f)
{
    assert_non_null(getcwd(f->before, sizeof f->before));
    snprintf(f->path, sizeof f->path, "/tmp/fraudd-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(chdir(f->path), 0);
    assert_int_equal(mkdir("d", 0700), 0);
}

static void remove_one(void *arg, const char *name)
{
    char path[512];
    (void)arg;
    snprintf(path, sizeof path, "d/%s", name);
    unlink(path);
}

static void folder_leave(const struct folder *f)
{
    (void)DISK_REAL.list(NULL, "d", remove_one, NULL);
    assert_int_equal(rmdir("d"), 0);
    assert_int_equal(chdir(f->before), 0);
    assert_int_equal(rmdir(f->path), 0);
}

static void count_one(void *arg, const char *name)
{
    *(int *)arg += name[0] != '.';
}

static int files(void)
{
    int count = 0;
    assert_int_equal(DISK_REAL.list(NULL, "d", count_one, &count), 0);
    return count;
}

static void test_writing_takes_no_memory(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct looking look;
    struct checkpoint_result r;
    bench_init(&b);
    folder_enter(&folder);
    looking_init(&look);
    b.conf.disk = &look.disk;
    b.conf.in_process = true;
    b.conf.increments_max = 500;
    writer_open(&b);
    size_t before = mallinfo2().uordblks;
    /* zstd gives up memory that is too large for 128 small frames in a row: it must not here */
    for (uint64_t i = 1; i < 300; i++) {
        *cards(&b, 3 * PAGE) ^= 1;
        assert_int_equal(checkpoint_begin(b.c, i, b.state.areas, NULL, 0, &b.e), ERR_OK);
        assert_int_equal(checkpoint_wait(b.c, &r, &b.e), CHECKPOINT_DONE);
    }
    memset(cards(&b, 0), 5, 50 * PAGE);
    assert_int_equal(checkpoint_begin(b.c, 300, b.state.areas, NULL, 0, &b.e), ERR_OK);
    assert_int_equal(checkpoint_wait(b.c, &r, &b.e), CHECKPOINT_DONE);
    assert_true(look.most <= before);
    folder_leave(&folder);
    bench_done(&b);
}

static void test_a_child_writes_the_state_as_it_was(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct checkpoint_result r;
    bench_init(&b);
    folder_enter(&folder);
    b.conf.nice = 10;
    writer_open(&b);
    for (uint64_t i = 1; i <= 5; i++) {
        uint64_t hash = memory_state_hash(&b.state);
        assert_int_equal(checkpoint_begin(b.c, i, b.state.areas, &hash, sizeof hash, &b.e), ERR_OK);
        *cards(&b, i * PAGE) ^= 1; /* after the fork: of the next one */
        assert_int_equal(checkpoint_begin(b.c, i + 1, b.state.areas, NULL, 0, &b.e), ERR_REFUSED);
        assert_int_equal(checkpoint_wait(b.c, &r, &b.e), CHECKPOINT_DONE);
        assert_int_equal(r.pages_written, i == 1 ? 55 : 1);
        assert_int_equal(checkpoint_pid(b.c), 0);
        assert_loads(&b, i); /* compares with the hash before the change */
    }
    folder_leave(&folder);
    bench_done(&b);
}

static void test_a_child_that_is_killed_leaves_what_was_there(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct looking look;
    struct checkpoint_result r;
    bench_init(&b);
    folder_enter(&folder);
    looking_init(&look);
    b.conf.disk = &look.disk;
    writer_open(&b);
    (void)memory_state_written(&b.state, b.c, 1);
    for (int kill_at = 1; kill_at <= 4; kill_at++) { /* head, two blocks, end */
        *cards(&b, (size_t)kill_at * PAGE) ^= 1;
        *(uint8_t *)b.state.areas[1].at = (uint8_t)kill_at;
        look.kill_at = kill_at;
        assert_int_equal(memory_state_write(&b.state, b.c, 2, &r, &b.e), CHECKPOINT_FAILED);
        assert_int_equal(r.err, ERR_IO);
        assert_non_null(strstr(b.e.text, "ended by signal 9"));
        assert_int_equal(files(), 1);
        assert_loads(&b, 1);
    }
    /* the pages of the attempts are in no file: the next one has all that differ from 1 */
    look.kill_at = 0;
    assert_int_equal(memory_state_written(&b.state, b.c, 2).pages_written, 5);
    assert_loads(&b, 2);
    folder_leave(&folder);
    bench_done(&b);
}

static ssize_t stuck_write(void *ctx, int handle, const void *bytes, size_t len)
{
    (void)ctx, (void)handle, (void)bytes;
    pause();
    return (ssize_t)len;
}

static void test_poll_does_not_wait_and_free_ends_the_child(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct checkpoint_result r;
    struct disk stuck = DISK_REAL;
    stuck.write = stuck_write;
    bench_init(&b);
    folder_enter(&folder);
    b.conf.disk = &stuck;
    writer_open(&b);
    assert_int_equal(checkpoint_begin(b.c, 1, b.state.areas, NULL, 0, &b.e), ERR_OK);
    assert_int_equal(checkpoint_poll(b.c, &r, &b.e), CHECKPOINT_RUNNING);
    pid_t pid = checkpoint_pid(b.c);
    checkpoint_free(b.c);
    b.c = NULL;
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(files(), 0);
    folder_leave(&folder);
    bench_done(&b);
}

/* An open copy in the child would keep a connection alive that the owner has closed. */
static void test_a_child_keeps_no_file_of_the_owners(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct disk stuck = DISK_REAL;
    int ends[2];
    char byte;
    stuck.write = stuck_write;
    bench_init(&b);
    folder_enter(&folder);
    b.conf.disk = &stuck;
    writer_open(&b);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(checkpoint_begin(b.c, 1, b.state.areas, NULL, 0, &b.e), ERR_OK);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* the end, and no wait for the child */
    assert_true(kill(checkpoint_pid(b.c), 0) == 0);
    close(ends[0]);
    checkpoint_free(b.c);
    b.c = NULL;
    folder_leave(&folder);
    bench_done(&b);
}

static void note_signal(int number)
{
    (void)number;
}

/* The owner's handler would make SIGTERM a no-op in the child, which then outlives a shutdown. */
static void test_a_child_has_no_handler_of_the_owners(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct checkpoint_result r;
    struct disk stuck = DISK_REAL;
    stuck.write = stuck_write;
    bench_init(&b);
    folder_enter(&folder);
    b.conf.disk = &stuck;
    writer_open(&b);
    void (*before)(int) = signal(SIGTERM, note_signal);
    assert_int_equal(checkpoint_begin(b.c, 1, b.state.areas, NULL, 0, &b.e), ERR_OK);
    assert_int_equal(kill(checkpoint_pid(b.c), SIGTERM), 0);
    assert_int_equal(checkpoint_wait(b.c, &r, &b.e), CHECKPOINT_FAILED);
    assert_non_null(strstr(b.e.text, "ended by signal 15"));
    assert_int_equal(files(), 0);
    signal(SIGTERM, before);
    folder_leave(&folder);
    bench_done(&b);
}

static void test_a_child_tells_the_systems_words(void **state)
{
    (void)state;
    struct bench b;
    struct folder folder;
    struct checkpoint_result r;
    bench_init(&b);
    folder_enter(&folder);
    writer_open(&b);
    assert_int_equal(rmdir("d"), 0);
    assert_int_equal(memory_state_write(&b.state, b.c, 1, &r, &b.e), CHECKPOINT_FAILED);
    assert_int_equal(r.err, ERR_NOTFOUND);
    assert_non_null(
        strstr(b.e.text, "cannot create d/world.00000000000000000001.full.tmp: No such"));
    assert_int_equal(mkdir("d", 0700), 0);
    (void)memory_state_written(&b.state, b.c, 1);
    folder_leave(&folder);
    bench_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writing_takes_no_memory),
        cmocka_unit_test(test_a_child_writes_the_state_as_it_was),
        cmocka_unit_test(test_a_child_that_is_killed_leaves_what_was_there),
        cmocka_unit_test(test_poll_does_not_wait_and_free_ends_the_child),
        cmocka_unit_test(test_a_child_keeps_no_file_of_the_owners),
        cmocka_unit_test(test_a_child_has_no_handler_of_the_owners),
        cmocka_unit_test(test_a_child_tells_the_systems_words),
    };
    alarm(120); /* a child that does not end fails the tests and does not hang them */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
