/* Random journal entries, and entries as bytes whose checksum fits whatever was done to them. */
#ifndef FD_TESTS_SUPPORT_JOURNAL_ENTRIES_H
#define FD_TESTS_SUPPORT_JOURNAL_ENTRIES_H

#include "base/rng.h"
#include "daemon/journal.h"

/* Each call a new object; aborts without memory.  Freed by the caller. */
struct journal_entry *journal_entry_new(void);

struct journal_writer journal_writer_number(uint64_t n);

/* A payment with every combination of missing places, any time and amount. */
struct tx journal_random_tx(struct rng *g);

/* A claim, or a batch of up to parts_max parts with up to messages_max messages in all. */
void journal_random(struct rng *g, size_t parts_max, size_t messages_max, struct journal_entry *e);

/* Makes the checksum at the end of an entry's bytes fit. */
void journal_reseal(uint8_t *bytes, size_t len);

#endif
