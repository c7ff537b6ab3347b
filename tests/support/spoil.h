/* Wrong labels in a stretch of a history, of the kinds that the gate of an update must stop. */
#ifndef FD_TESTS_SUPPORT_SPOIL_H
#define FD_TESTS_SUPPORT_SPOIL_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/past.h"

enum spoil {
    SPOIL_FLIP,  /* a tenth of all labels turned round */
    SPOIL_SWAP,  /* a tenth of the frauds labelled legitimate, as many others labelled fraud */
    SPOIL_GROUP, /* all frauds of a tenth of the merchants (or terminals) labelled legitimate */
    SPOIL_KINDS
};

extern const char *const SPOIL_NAME[SPOIL_KINDS];

/* Changes rows with from_us <= event time < to_us; which, by the seed.  Returns how many. */
size_t spoil_labels(struct past *p, enum spoil kind, int64_t from_us, int64_t to_us, uint64_t seed);

#endif
