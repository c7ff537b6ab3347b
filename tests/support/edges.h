/* What an update may do to the bins of a model. */
#ifndef FD_TESTS_SUPPORT_EDGES_H
#define FD_TESTS_SUPPORT_EDGES_H

#include "model/net.h"

/* Fails the test unless every edge and constant of `before` is one of `after`. */
void assert_edges_kept(const struct net_encoding *before, const struct net_encoding *after);

#endif
