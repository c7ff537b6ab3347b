#include "tests/support/score_phase.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timefmt.h"

const char *score_phase_name(enum score_phase p)
{
    static const char *const NAMES[PHASE_COUNT] = {
        "start",    "rebalance",       "catch-up", "claim", "between journal and decision",
        "deciding", "checkpoint write"};
    return NAMES[p];
}

static bool is_event(const char *line, const char *event)
{
    const char *at = strstr(line, " event=");
    size_t len = strlen(event);
    return at != NULL && strncmp(at + 7, event, len) == 0 && at[7 + len] == ' ';
}

static uint64_t partition_bit(const char *line)
{
    const char *at = strstr(line, " partition=");
    assert_non_null(at);
    long p = strtol(at + 11, NULL, 10);
    assert_in_range(p, 0, 63);
    return UINT64_C(1) << p;
}

static int64_t line_ms(const char *line)
{
    int64_t us = 0;
    assert_int_equal(strncmp(line, "ts=", 3), 0);
    assert_int_equal(time_parse(line + 3, strcspn(line + 3, " "), &us), ERR_OK);
    return us / 1000;
}

static void take_line(const char *line, struct score_life *l)
{
    if (is_event(line, "started")) {
        l->started = true;
    } else if (is_event(line, "partition_assigned")) {
        l->assigned |= partition_bit(line);
        l->claimed = 0;
        l->rebuild_ms = 0;
    } else if (is_event(line, "partition_revoked")) {
        l->assigned &= ~partition_bit(line);
        l->claimed &= l->assigned;
    } else if (is_event(line, "rebuild")) {
        l->claimed = 0;
        l->rebuild_ms = line_ms(line);
    } else if (is_event(line, "claim")) {
        l->claimed |= partition_bit(line);
    }
}

void score_life_read(const char *log, struct score_life *out)
{
    char line[2048];
    *out = (struct score_life){0};
    FILE *f = fopen(log, "r");
    if (f == NULL) {
        return; /* it has not come to open it */
    }
    while (fgets(line, sizeof line, f) != NULL && strchr(line, '\n') != NULL) {
        take_line(line, out);
    }
    fclose(f);
}

bool score_writes_checkpoint(pid_t pid)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        return false; /* it has just ended */
    }
    const bool has = fscanf(f, "%d", &child) == 1;
    fclose(f);
    return has;
}

/* Whether the process has journalled payments of one of its partitions since its rebuild. */
static bool goes_on(const struct score_life *l, const struct order_turn *turns, int partitions)
{
    for (int p = 0; p < partitions; p++) {
        const struct order_turn *t = &turns[p];
        uint64_t bit = UINT64_C(1) << p;
        if ((l->assigned & bit) != 0 && t->batch_ms > l->rebuild_ms &&
            ((l->claimed & bit) == 0 || t->batch > t->claim)) {
            return true;
        }
    }
    return false;
}

enum score_phase score_phase_of(const struct score_life *l, const struct order_turn *turns,
                                int partitions)
{
    if (!l->started) {
        return PHASE_START;
    }
    if (l->assigned == 0) {
        return PHASE_REBALANCE;
    }
    if (l->rebuild_ms == 0) {
        return PHASE_CATCH_UP;
    }
    if (!goes_on(l, turns, partitions)) {
        return l->claimed != 0 ? PHASE_CLAIM : PHASE_CATCH_UP;
    }
    for (int p = 0; p < partitions; p++) {
        if ((l->assigned >> p & 1) != 0 && turns[p].journalled_next > turns[p].decided_next) {
            return PHASE_BETWEEN;
        }
    }
    return PHASE_DECIDING;
}
