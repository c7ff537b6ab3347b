#include "tests/support/edges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/bins.h"

void assert_edges_kept(const struct net_encoding *before, const struct net_encoding *after)
{
    assert_int_equal(before->columns, after->columns);
    assert_memory_equal(before->mean, after->mean, before->columns * sizeof(float));
    assert_memory_equal(before->inv_sd, after->inv_sd, before->columns * sizeof(float));
    for (uint32_t c = 0; c < before->columns; c++) {
        for (uint32_t i = 0; i < bins_edge_count(before, c); i++) {
            float edge = bins_edges(before, c)[i];
            uint32_t at = bins_find(after, c, edge);
            assert_true(at < bins_edge_count(after, c));
            assert_memory_equal(bins_edges(after, c) + at, &edge, sizeof edge);
        }
    }
}
