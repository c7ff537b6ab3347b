/* One open-addressing table (linear probing) over keys of field and identity; an entry's chain
 * holds whatever was said of its key, the newest first.  Most payments are on no list: a filter
 * (Bloom's, all bits of a key in one word: Putze, Sanders, Singler, 2007) of two bytes an identity
 * says so, one cache line a field, which was asked for beforehand (control_lists_prefetch). */
#include "daemon/control_lists.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define SLOTS_FIRST ((size_t)1024)
#define VALUES_MAX (UINT64_C(16) << 30) /* value_at counts in 4 bytes */

static const char *const KIND_NAMES[LIST_KINDS] = {"block", "allow", "watch"};
static const char *const FIELD_NAMES[LIST_FIELDS] = {"card",   "merchant", "terminal",
                                                     "device", "ip",       "country"};

struct slot {
    uint32_t tag;  /* the upper half of the key */
    uint32_t head; /* + 1: the newest entry; 0: the slot is free */
};

struct control_lists {
    uint64_t *filter; /* [filter_mask + 1]: a word for every four slots */
    size_t filter_mask;
    struct slot *slots; /* [mask + 1], at most half of them taken */
    size_t mask, taken;
    struct list_entry *entries;
    size_t count, room, live;
    size_t of_field[LIST_FIELDS]; /* entries; a field without any is not looked up */
    bool keep_values;
    char *values;
    size_t values_len, values_room;
};

const char *list_kind_name(enum list_kind k)
{
    return KIND_NAMES[k];
}

const char *list_field_name(enum list_field f)
{
    return FIELD_NAMES[f];
}

static int find_word(const char *const *words, int n, struct slice word)
{
    for (int i = 0; i < n; i++) {
        if (strlen(words[i]) == word.len && memcmp(words[i], word.at, word.len) == 0) {
            return i;
        }
    }
    return -1;
}

int list_kind_find(struct slice word)
{
    return find_word(KIND_NAMES, LIST_KINDS, word);
}

int list_field_find(struct slice word)
{
    return find_word(FIELD_NAMES, LIST_FIELDS, word);
}

enum err control_lists_create(bool keep_values, struct control_lists **out, struct errmsg *e)
{
    struct control_lists *l = calloc(1, sizeof *l);
    if (l == NULL || (l->slots = calloc(SLOTS_FIRST, sizeof *l->slots)) == NULL ||
        (l->filter = calloc(SLOTS_FIRST / 4, sizeof *l->filter)) == NULL) {
        control_lists_free(l);
        return err_set(e, ERR_NOMEM, "cannot make lists: no memory");
    }
    l->mask = SLOTS_FIRST - 1;
    l->filter_mask = SLOTS_FIRST / 4 - 1;
    l->keep_values = keep_values;
    *out = l;
    return ERR_OK;
}

void control_lists_free(struct control_lists *l)
{
    if (l != NULL) {
        free(l->filter);
        free(l->slots);
        free(l->entries);
        free(l->values);
        free(l);
    }
}

/* Identities are hashes already, so distinct constants keep the fields apart; a country is not. */
static inline uint64_t key_of(enum list_field f, uint64_t id)
{
    static const uint64_t SALT[LIST_FIELDS] = {
        0, UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xc2b2ae3d27d4eb4f), UINT64_C(0x165667b19e3779f9),
        UINT64_C(0x27d4eb2f165667c5)};
    return f == LIST_COUNTRY ? hash_pair(id, f) : id ^ SALT[f];
}

static inline uint64_t id_of(const struct tx *t, enum list_field f)
{
    switch (f) {
    case LIST_CARD:
        return t->card;
    case LIST_MERCHANT:
        return t->merchant;
    case LIST_TERMINAL:
        return t->terminal;
    case LIST_DEVICE:
        return t->device;
    case LIST_IP:
        return t->ip;
    case LIST_COUNTRY:
        return t->country;
    case LIST_FIELDS:
        break;
    }
    return 0;
}

static const struct list_entry *entry(const struct control_lists *l, uint32_t number)
{
    return &l->entries[number - 1];
}

/* The key's slot, or the free one where it belongs. */
static struct slot *find(const struct control_lists *l, uint64_t key)
{
    const uint32_t tag = (uint32_t)(key >> 32);
    for (size_t i = key & l->mask;; i = (i + 1) & l->mask) {
        struct slot *s = &l->slots[i];
        if (s->head == 0 || (s->tag == tag && entry(l, s->head)->key == key)) {
            return s;
        }
    }
}

/* Four bits of a word, by the upper half of the key; the word is by the lower. */
static inline uint64_t filter_bits(uint64_t key)
{
    return UINT64_C(1) << (key >> 58) | UINT64_C(1) << (key >> 52 & 63) |
           UINT64_C(1) << (key >> 46 & 63) | UINT64_C(1) << (key >> 40 & 63);
}

static inline bool may_hold(const struct control_lists *l, uint64_t key)
{
    const uint64_t bits = filter_bits(key);
    return (l->filter[key & l->filter_mask] & bits) == bits;
}

static enum err grow_slots(struct control_lists *l, struct errmsg *e)
{
    const size_t n = (l->mask + 1) * 2;
    struct slot *old = l->slots;
    struct slot *slots = calloc(n, sizeof *slots);
    uint64_t *filter = calloc(n / 4, sizeof *filter);
    if (slots == NULL || filter == NULL) {
        free(slots);
        free(filter);
        return err_set(e, ERR_NOMEM, "cannot hold lists of %zu identities: no memory", l->taken);
    }
    free(l->filter);
    l->slots = slots;
    l->mask = n - 1;
    l->filter = filter;
    l->filter_mask = n / 4 - 1;
    for (size_t i = 0; i < n / 2; i++) {
        if (old[i].head != 0) {
            const uint64_t key = entry(l, old[i].head)->key;
            *find(l, key) = old[i];
            filter[key & l->filter_mask] |= filter_bits(key);
        }
    }
    free(old);
    return ERR_OK;
}

static enum err make_room(struct control_lists *l, struct errmsg *e)
{
    if (l->count == LISTS_MAX) {
        return err_set(e, ERR_FULL,
                       "the lists hold %zu entries, those removed included; make the notices topic "
                       "anew with what is in force (`fraudd lists list`)",
                       LISTS_MAX);
    }
    if (l->count == l->room) {
        const size_t room = l->room > 0 ? l->room * 2 : 64;
        struct list_entry *grown = realloc(l->entries, room * sizeof *grown);
        if (grown == NULL) {
            return err_set(e, ERR_NOMEM, "cannot hold %zu list entries: no memory", room);
        }
        l->entries = grown;
        l->room = room;
    }
    return l->taken * 2 >= l->mask ? grow_slots(l, e) : ERR_OK;
}

static enum err keep_value(struct control_lists *l, struct list_entry *n, struct slice value,
                           struct errmsg *e)
{
    const size_t bytes = (value.len + 3) / 4 * 4;
    if (!l->keep_values) {
        return ERR_OK;
    }
    if (l->values_len + bytes > l->values_room) {
        const size_t room = (l->values_len + bytes) * 2;
        char *grown = room < VALUES_MAX ? realloc(l->values, room) : NULL;
        if (grown == NULL) {
            return err_set(e, ERR_NOMEM, "cannot hold %zu bytes of lists: no memory", room);
        }
        l->values = grown;
        l->values_room = room;
    }
    memcpy(l->values + l->values_len, value.at, value.len);
    n->value_at = (uint32_t)(l->values_len / 4);
    n->value_len = (uint8_t)value.len;
    l->values_len += bytes;
    return ERR_OK;
}

static enum err read_key(const struct list_change *c, uint64_t *out, struct errmsg *e)
{
    const struct slice v = c->value;
    if (v.len == 0 || v.len > WIRE_ID_MAX) {
        return err_set(e, ERR_INVALID, "a %s of %zu bytes cannot be on a list",
                       list_field_name(c->field), v.len);
    }
    if (c->field != LIST_COUNTRY) {
        *out = key_of(c->field, hash_id(v.at, v.len));
        return ERR_OK;
    }
    if (v.len != 2 || v.at[0] < 'A' || v.at[0] > 'Z' || v.at[1] < 'A' || v.at[1] > 'Z') {
        return err_set(e, ERR_INVALID, "\"%.*s\" is no country: two capital letters", (int)v.len,
                       v.at);
    }
    *out = key_of(c->field, (uint64_t)(unsigned char)v.at[0] * 256 + (unsigned char)v.at[1]);
    return ERR_OK;
}

enum err control_lists_check(const struct list_change *c, struct errmsg *e)
{
    uint64_t key = 0;
    return read_key(c, &key, e);
}

/* The entry of the chain that is of this list and not removed yet, or NULL. */
static struct list_entry *open_entry(struct control_lists *l, const struct slot *s,
                                     enum list_kind list)
{
    for (uint32_t n = s->head; n != 0; n = l->entries[n - 1].older) {
        struct list_entry *one = &l->entries[n - 1];
        if (one->list == list && one->until == INT64_MAX) {
            return one;
        }
    }
    return NULL;
}

enum err control_lists_add(struct control_lists *l, const struct list_change *c, struct errmsg *e)
{
    struct list_entry n = {.from = c->offset,
                           .until = INT64_MAX,
                           .expires_us = c->expires_us,
                           .about = c->about,
                           .list = (uint8_t)c->list,
                           .field = (uint8_t)c->field};
    enum err err = read_key(c, &n.key, e);
    if (err == ERR_OK) {
        err = make_room(l, e);
    }
    if (err == ERR_OK) {
        err = keep_value(l, &n, c->value, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct slot *s = find(l, n.key);
    struct list_entry *before = open_entry(l, s, c->list);
    if (before != NULL) {
        before->until = c->offset;
        l->live--;
    }
    l->taken += s->head == 0;
    l->filter[n.key & l->filter_mask] |= filter_bits(n.key);
    n.older = s->head;
    if (s->head != 0) {
        const struct list_entry *top = entry(l, s->head);
        n.lists_older = (uint8_t)(top->lists_older | 1U << top->list);
    }
    l->entries[l->count++] = n;
    *s = (struct slot){(uint32_t)(n.key >> 32), (uint32_t)l->count};
    l->of_field[c->field]++;
    l->live++;
    return ERR_OK;
}

enum err control_lists_remove(struct control_lists *l, const struct list_change *c, bool *out_was,
                              struct errmsg *e)
{
    uint64_t key = 0;
    enum err err = read_key(c, &key, e);
    if (err != ERR_OK) {
        return err;
    }
    struct list_entry *open = open_entry(l, find(l, key), c->list);
    *out_was = open != NULL;
    if (open != NULL) {
        open->until = c->offset;
        l->live--;
    }
    return ERR_OK;
}

/* Of each list the entry of one chain that is in force.  However often a key was added and removed,
 * what is older than the answer is not walked through. */
static void find_in_chain(const struct control_lists *l, uint32_t head, int64_t position,
                          int64_t clock_us, const struct list_entry *out[LIST_KINDS])
{
    unsigned settled = 0;
    for (uint32_t n = head; n != 0;) {
        const struct list_entry *one = entry(l, n);
        if (one->from < position && one->until >= position) {
            settled |= 1U << one->list;
            if (clock_us < one->expires_us && out[one->list] == NULL) {
                out[one->list] = one;
            }
        }
        n = (one->lists_older & ~settled) != 0 ? one->older : 0;
    }
}

void control_lists_find(const struct control_lists *l, const struct tx *t, int64_t position,
                        int64_t clock_us, const struct list_entry *out[LIST_KINDS])
{
    for (int i = 0; i < LIST_KINDS; i++) {
        out[i] = NULL;
    }
    for (enum list_field f = 0; f < LIST_FIELDS; f++) {
        const uint64_t id = l->of_field[f] > 0 ? id_of(t, f) : 0;
        if (id == 0) {
            continue;
        }
        const uint64_t key = key_of(f, id);
        if (may_hold(l, key)) {
            find_in_chain(l, find(l, key)->head, position, clock_us, out);
        }
    }
}

void control_lists_prefetch(const struct control_lists *l, const struct tx *t)
{
    for (enum list_field f = 0; f < LIST_FIELDS; f++) {
        const uint64_t id = l->of_field[f] > 0 ? id_of(t, f) : 0;
        if (id != 0) {
            __builtin_prefetch(&l->filter[key_of(f, id) & l->filter_mask]);
        }
    }
}

size_t control_lists_count(const struct control_lists *l)
{
    return l->count;
}

const struct list_entry *control_lists_at(const struct control_lists *l, size_t at)
{
    assert(at < l->count);
    return &l->entries[at];
}

struct slice control_lists_value(const struct control_lists *l, const struct list_entry *e)
{
    return (struct slice){l->values + (size_t)e->value_at * 4, e->value_len};
}

size_t control_lists_live(const struct control_lists *l)
{
    return l->live;
}
