/* The same bytes of every decision whatever the C library finds in the CPU: a process that is told
 * there is neither FMA nor AVX2 decides the same messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <inttypes.h>
#include <unistd.h>

#include "base/hash.h"
#include "tests/support/scorer.h"

#define TUNABLES "glibc.cpu.hwcaps=-FMA,-FMA4,-AVX2"

static uint64_t hash_log(const struct bus_mem *m, enum bus_topic topic, uint64_t hash)
{
    for (int32_t p = 0; p < BUS_MEM_PARTITIONS; p++) {
        for (size_t i = 0; i < bus_mem_size(m, topic, p); i++) {
            const struct mem_record *r = bus_mem_record(m, topic, p, i);
            hash = hash_bytes(r->value, r->value_len, hash);
            for (size_t h = 0; h < r->header_count; h++) { /* the columns, of a third of them */
                hash = hash_bytes(r->headers[h].value, r->headers[h].len, hash);
            }
        }
    }
    return hash;
}

static uint64_t decide_all(void)
{
    struct bus_mem *m = scorer_undisturbed(20);
    uint64_t hash = hash_log(m, TOPIC_DECISIONS, hash_log(m, TOPIC_ALERTS, 0));
    bus_mem_free(m);
    return hash;
}

/* What this program prints as a child with these tunables. */
static uint64_t decide_with(const char *tunables)
{
    char self[400];
    char command[600];
    uint64_t hash = 0;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(command, sizeof command, "GLIBC_TUNABLES=%s CPU_CHILD=1 '%s'", tunables, self);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%" SCNx64, &hash), 1);
    assert_int_equal(pclose(f), 0);
    return hash;
}

static void test_the_c_library_does_not_matter(void **state)
{
    (void)state;
    const uint64_t here = decide_all();
    assert_int_equal(decide_with(""), here);
    assert_int_equal(decide_with(TUNABLES), here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_c_library_does_not_matter)};
    if (getenv("CPU_CHILD") != NULL) {
        (void)scorer_setup(NULL);
        printf("%016" PRIx64 "\n", decide_all());
        return scorer_teardown(NULL);
    }
    return cmocka_run_group_tests(tests, scorer_setup, scorer_teardown);
}
