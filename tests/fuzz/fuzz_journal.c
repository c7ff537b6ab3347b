/* Any bytes as a row of journal entries: each is refused with words, or it has exactly these bytes
 * and is applied to the order.  The first byte: whether the checksums are made to fit, so that what
 * lies behind them is reached; then each entry after its length in two bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "daemon/journal_order.h"
#include "tests/support/journal_entries.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_order(const struct journal_order *o)
{
    for (size_t i = 0; i < JOURNAL_PARTITIONS_MAX; i++) {
        const struct journal_turn *t = &o->turns[i];
        assert(t->next >= 0 && t->next <= JOURNAL_OFFSET_MAX + 1);
        assert(t->owned <= 1 && t->placed <= t->owned);
    }
    assert(o->labels_next >= 0 && o->notices_next >= 0);
}

static void try_entry(struct journal_order *o, struct journal_entry *entry, const uint8_t *p,
                      size_t len)
{
    static uint8_t again[JOURNAL_BYTES_MAX];
    static enum journal_verdict verdicts[JOURNAL_PARTS_MAX];
    struct errmsg e = {""};
    enum err err = journal_decode(p, len, entry, &e);
    if (err != ERR_OK) {
        assert((err == ERR_CORRUPT || err == ERR_MISMATCH) && e.text[0] != '\0');
        journal_order_pass(o, o->position);
        return;
    }
    assert(journal_encode(entry, again) == len && memcmp(again, p, len) == 0);
    journal_order_apply(o, o->position, entry, verdicts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct journal_entry *entry;
    struct journal_order *order = malloc(sizeof *order);
    assert(order != NULL);
    if (entry == NULL) {
        entry = journal_entry_new();
    }
    journal_order_init(order, len % 2 == 0 ? 0 : 2);
    for (size_t at = 1; at + 2 <= len;) {
        size_t n = get_u16(bytes + at);
        n = n < len - at - 2 ? n : len - at - 2;
        uint8_t *copy = malloc(n > 0 ? n : 1); /* from malloc: a read beyond is seen */
        assert(copy != NULL);
        memcpy(copy, bytes + at + 2, n);
        if (bytes[0] % 2 == 1) {
            journal_reseal(copy, n);
        }
        try_entry(order, entry, copy, n);
        free(copy);
        at += 2 + n;
    }
    check_order(order);
    free(order);
    return 0;
}
