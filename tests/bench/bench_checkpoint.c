/* Speed of checkpoints of MIB (512) MiB of state-like memory in a folder (first argument, or
 * $TMPDIR): full, increments of which 1, 10 and 100 % of the pages changed, how long the owner
 * stands still, and loading.  Bytes are of memory, not of files.
 *
 * State-like: records of 64 bytes with a number, a time, two amounts and some flags, an eighth of
 * them empty.  A file's sync is in the time, so the disk is as well. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/checkpoint.h"
#include "base/progress.h"
#include "base/region.h"
#include "base/rng.h"

#define PAGE 16384U

struct record {
    uint64_t card;
    int64_t time_us;
    uint32_t amount, usual;
    float sketch[8];
    uint16_t flags[4];
};
_Static_assert(sizeof(struct record) == 64, "as in the state");

static void die(const struct errmsg *e)
{
    fprintf(stderr, "bench_checkpoint: %s\n", e->text);
    exit(1);
}

static void touch(struct record *r, size_t i, struct rng *rng)
{
    r->card = i;
    r->time_us = 1700000000000000 + (int64_t)rng_below(rng, 8640000000000U);
    r->amount = (uint32_t)rng_below(rng, 100000);
    r->usual = (uint32_t)rng_below(rng, 100000);
    for (size_t k = 0; k < 8; k++) {
        r->sketch[k] = rng_below(rng, 2) == 0 ? 0 : (float)rng_uniform(rng);
    }
    r->flags[0] = (uint16_t)rng_below(rng, 16);
}

/* CPU time of this process, or of its children that have ended: on a machine with other work it
 * says more than the time that passed. */
static double cpu_s(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double seconds_since(int64_t begin)
{
    return (double)(progress_now_us() - begin) / 1e6;
}

/* One checkpoint in a child. */
static void write_one(struct checkpoint *c, const struct area *a, uint64_t position,
                      const char *what)
{
    struct checkpoint_result r;
    struct errmsg e;
    double mib = (double)a->bytes / (1 << 20);
    double cpu = cpu_s(RUSAGE_CHILDREN);
    int64_t begin = progress_now_us();
    if (checkpoint_begin(c, position, a, NULL, 0, &e) != ERR_OK) {
        die(&e);
    }
    double stopped = seconds_since(begin);
    if (checkpoint_wait(c, &r, &e) != CHECKPOINT_DONE) {
        die(&e);
    }
    double all = seconds_since(begin);
    cpu = cpu_s(RUSAGE_CHILDREN) - cpu;
    printf("checkpoint: %-16s %6.2f s (%.2f s CPU), %5.0f MiB/s, %7.1f MiB in the file, %" PRIu64
           " of %" PRIu64 " pages, owner stopped %.1f ms\n",
           what, all, cpu, mib / all, (double)r.file_bytes / (1 << 20), r.pages_written, r.pages,
           stopped * 1e3);
}

static void change(const struct area *a, size_t percent, struct rng *rng)
{
    struct record *records = a->at;
    size_t in_page = PAGE / sizeof *records;
    for (size_t page = 0; page < a->bytes / PAGE; page++) {
        if (page % 100 < percent) {
            size_t i = page * in_page + (size_t)rng_below(rng, in_page);
            touch(&records[i], i, rng);
        }
    }
}

static void load(const char *dir, struct area *a)
{
    struct checkpoint_source from = {
        .disk = &DISK_REAL, .dir = dir, .stem = "bench", .position_max = UINT64_MAX};
    struct checkpoint_loaded loaded;
    struct errmsg e;
    double cpu = cpu_s(RUSAGE_SELF);
    int64_t begin = progress_now_us();
    if (checkpoint_load(&from, a, 1, &loaded, &e) != ERR_OK) {
        die(&e);
    }
    double all = seconds_since(begin);
    printf("checkpoint: load of %u files %.2f s (%.2f s CPU), %.0f MiB/s\n", loaded.files, all,
           cpu_s(RUSAGE_SELF) - cpu, (double)a->bytes / (1 << 20) / all);
}

static void remove_one(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    unlink(path);
}

int main(int argc, char **argv)
{
    const char *parent = argc > 1 ? argv[1] : getenv("TMPDIR");
    const char *mib = getenv("MIB");
    size_t bytes = (size_t)(mib != NULL ? strtoul(mib, NULL, 10) : 512) << 20;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/bench-checkpoint-XXXXXX", parent != NULL ? parent : "/tmp");
    struct area a = {"records", region_array(bytes, 1), bytes, bytes};
    struct area back = {"records", region_array(bytes, 1), 0, bytes};
    struct checkpoint_conf conf = {.disk = &DISK_REAL,
                                   .dir = dir,
                                   .stem = "bench",
                                   .increments_max = 100,
                                   .increments_share = 100,
                                   .nice = 10};
    struct checkpoint *c = NULL;
    struct errmsg e;
    struct rng rng;
    rng_init(&rng, 1);
    if (a.at == NULL || back.at == NULL || mkdtemp(dir) == NULL) {
        return 1;
    }
    for (size_t i = 0; i < bytes / sizeof(struct record); i++) {
        if (i % 8 != 0) {
            touch((struct record *)a.at + i, i, &rng);
        }
    }
    if (checkpoint_create(&conf, &a, 1, &c, &e) != ERR_OK) {
        die(&e);
    }
    write_one(c, &a, 1, "full");
    load(dir, &back);
    change(&a, 1, &rng);
    write_one(c, &a, 2, "1 % changed");
    change(&a, 10, &rng);
    write_one(c, &a, 3, "10 % changed");
    change(&a, 100, &rng);
    write_one(c, &a, 4, "100 % changed");
    load(dir, &back);
    int same = memcmp(a.at, back.at, bytes) == 0;
    checkpoint_free(c);
    (void)DISK_REAL.list(NULL, dir, remove_one, dir);
    rmdir(dir);
    region_array_free(a.at, bytes, 1);
    region_array_free(back.at, bytes, 1);
    return same ? 0 : 1;
}
