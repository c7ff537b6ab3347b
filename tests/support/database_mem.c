#include "tests/support/database_mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "storage/db.h"

#define STAGED_MAX 1024
#define REFUSED_ONE_IN 40 /* rows that the database refuses, by their bytes */

struct staged {
    enum sink_table table;
    uint64_t key, line;
};

struct db {
    int number;
    bool in_transaction;
    struct database_rows work, savepoint[16];
    size_t savepoints;
    enum sink_table copies;
    char *line; /* of the COPY under way */
    size_t line_len;
    struct staged staged[STAGED_MAX];
    size_t staged_count;
    char sqlstate[8];
};

struct db_rows {
    int count;
    char text[24];
};

static struct database_mem *in_use;

/* Columns of the primary key; they come first. */
static const int KEY_COLUMNS[SINK_TABLES] = {4, 4, 3, 2};
static const char *const TABLES[SINK_TABLES] = {"transactions", "decisions", "alerts", "labels"};

uint64_t database_mem_key(enum sink_table t, const char *line, size_t len)
{
    size_t end = 0;
    for (int tabs = 0; end < len; end++) {
        tabs += line[end] == '\t';
        if (tabs == KEY_COLUMNS[t]) {
            break;
        }
    }
    return hash_bytes(line, end, (uint64_t)t + 1) | 1;
}

uint64_t database_mem_reject_key(const char *topic, int32_t partition, int64_t offset)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%s/%d/%lld", topic, partition, (long long)offset);
    return hash_bytes(text, (size_t)n, 77) | 1;
}

static size_t slot_of(const struct database_rows *r, uint64_t key)
{
    size_t s = key >> 8 & (DATABASE_MEM_ROWS - 1);
    while (r->key[s] != 0 && r->key[s] != key) {
        s = (s + 1) & (DATABASE_MEM_ROWS - 1);
    }
    return s;
}

bool database_mem_has(const struct database_rows *r, uint64_t key)
{
    return r->key[slot_of(r, key)] == key;
}

static void put(struct database_rows *r, uint64_t key, uint64_t line)
{
    size_t s = slot_of(r, key);
    assert(r->key[s] == 0 && r->count < DATABASE_MEM_ROWS / 2);
    r->key[s] = key;
    r->line[s] = line;
    r->count++;
}

void database_mem_use(struct database_mem *m)
{
    in_use = m;
    if (m != NULL) {
        memset(&m->durable, 0, sizeof m->durable);
        memset(m->durable.next, 0xff, sizeof m->durable.next);
    }
}

void database_mem_cut(struct database_mem *m)
{
    m->lost_before = m->connections;
}

/* ---- statements ---- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static enum err gone(struct db *d, struct errmsg *e)
{
    d->in_transaction = false;
    d->staged_count = 0;
    return err_set(e, ERR_UNAVAILABLE, "the connection is gone");
}

static enum err refuse(struct db *d, const char *sqlstate, struct errmsg *e)
{
    snprintf(d->sqlstate, sizeof d->sqlstate, "%s", sqlstate);
    return err_set(e, ERR_INVALID, "refused with %s", sqlstate);
}

static bool is_gone(const struct db *d)
{
    return d->number < in_use->lost_before;
}

/* What happens at this statement; true: it is not executed. */
static bool lost_before(struct db *d, bool *out_after)
{
    enum database_fate fate = in_use->fate != NULL ? in_use->fate(in_use->ctx) : FATE_NONE;
    *out_after = fate == FATE_LOST_AFTER;
    return is_gone(d) || fate == FATE_LOST_BEFORE;
}

/* The statement is done; perhaps nobody hears of it. */
static enum err ended(struct db *d, bool lost, enum err err, struct errmsg *e)
{
    if (lost || is_gone(d)) {
        d->number = -1;
        return gone(d, e);
    }
    return err;
}

static enum err lose(struct db *d, struct errmsg *e)
{
    d->number = -1;
    return gone(d, e);
}

static enum err insert_staged(struct db *d, const char *sql, struct errmsg *e)
{
    const bool passes = strstr(sql, "ON CONFLICT DO NOTHING") != NULL && !in_use->breaks.conflict;
    assert(d->in_transaction && strstr(sql, "; TRUNCATE staging_") != NULL);
    for (size_t i = 0; i < d->staged_count; i++) {
        const struct staged *s = &d->staged[i];
        if (s->line % REFUSED_ONE_IN == 0) {
            return refuse(d, "22001", e);
        }
        if (!database_mem_has(&d->work, s->key)) {
            put(&d->work, s->key, s->line);
        } else if (!passes) {
            return refuse(d, "23505", e);
        }
    }
    d->staged_count = 0;
    return ERR_OK;
}

static enum err commit(struct db *d)
{
    assert(d->in_transaction);
    if (in_use->breaks.apart) {
        memcpy(d->work.next, in_use->durable.next, sizeof d->work.next);
    }
    in_use->durable = d->work;
    d->in_transaction = false;
    if (in_use->committed != NULL) {
        in_use->committed(in_use->ctx, &in_use->durable);
    }
    return ERR_OK;
}

static enum err script(struct db *d, const char *sql, struct errmsg *e)
{
    if (begins(sql, "CREATE TEMP TABLE IF NOT EXISTS staging_")) {
        return ERR_OK;
    }
    if (strcmp(sql, "BEGIN") == 0) {
        assert(!d->in_transaction);
        d->work = in_use->durable;
        d->savepoints = d->staged_count = 0;
        d->in_transaction = true;
        return ERR_OK;
    }
    if (strcmp(sql, "COMMIT") == 0) {
        return commit(d);
    }
    if (strcmp(sql, "ROLLBACK") == 0) {
        d->in_transaction = false;
        d->staged_count = 0;
        return ERR_OK;
    }
    if (strcmp(sql, "SAVEPOINT part") == 0) {
        assert(d->savepoints < sizeof d->savepoint / sizeof d->savepoint[0]);
        d->savepoint[d->savepoints++] = d->work;
        return ERR_OK;
    }
    if (strcmp(sql, "RELEASE SAVEPOINT part") == 0) {
        assert(d->savepoints > 0);
        d->savepoints--;
        return ERR_OK;
    }
    if (strcmp(sql, "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part") == 0) {
        assert(d->savepoints > 0);
        d->work = d->savepoint[--d->savepoints];
        d->staged_count = 0;
        return ERR_OK;
    }
    assert(begins(sql, "INSERT INTO "));
    return insert_staged(d, sql, e);
}

enum err database_mem_ask(struct db *d, struct errmsg *e)
{
    bool lost;
    return lost_before(d, &lost) ? lose(d, e) : ended(d, lost, ERR_OK, e);
}

/* A topic is named by its number in this database. */
static int64_t *position(struct database_rows *r, const char *const *params)
{
    const long topic = strtol(params[0], NULL, 10);
    const long partition = strtol(params[1], NULL, 10);
    assert(topic >= 0 && topic < TOPIC_COUNT && partition >= 0 && partition < BUS_MEM_PARTITIONS);
    return &r->next[topic][partition];
}

static struct db_rows *one_row(int count, int64_t number)
{
    struct db_rows *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->count = count;
    snprintf(r->text, sizeof r->text, "%lld", (long long)number);
    return r;
}

/* Writes a position; false: less is there than is known. */
static bool write_position(struct db *d, const char *const *params, bool over_known)
{
    struct database_rows *to = in_use->breaks.apart ? &in_use->durable : &d->work;
    int64_t *at = position(to, params);
    const int64_t next = strtoll(params[2], NULL, 10);
    if (over_known && !in_use->breaks.known && *at < strtoll(params[3], NULL, 10)) {
        return false;
    }
    *at = next > *at ? next : *at;
    return true;
}

static enum err statement(struct db *d, const char *sql, const char *const *params,
                          struct db_rows **rows)
{
    if (begins(sql, "SELECT ensure_partitions(")) {
        return ERR_OK;
    }
    if (begins(sql, "SELECT next_offset FROM sink_offsets")) {
        int64_t next = *position(&in_use->durable, params);
        *rows = one_row(next >= 0, next);
        return ERR_OK;
    }
    assert(d->in_transaction);
    if (begins(sql, "INSERT INTO sink_offsets")) {
        (void)write_position(d, params, false);
        return ERR_OK;
    }
    assert(begins(sql, "UPDATE sink_offsets") && strstr(sql, "next_offset >= $4") != NULL);
    *rows = one_row(write_position(d, params, true), 1);
    return ERR_OK;
}

/* ---- in the place of storage/db.h ---- */

enum err __wrap_db_open(const char *conninfo, struct db **out, struct errmsg *e);
void __wrap_db_close(struct db *d);
enum err __wrap_db_script(struct db *d, const char *sql, struct errmsg *e);
enum err __wrap_db_exec(struct db *d, const char *sql, int n, const char *const *params,
                        struct db_rows **rows, struct errmsg *e);
enum err __wrap_db_exec_bytes(struct db *d, const char *sql, int n, const char *const *params,
                              int bytes_at, const void *bytes, size_t len, struct errmsg *e);
const char *__wrap_db_sqlstate(const struct db *d);
int __wrap_db_rows_count(const struct db_rows *r);
const char *__wrap_db_rows_text(const struct db_rows *r, int row, int column);
void __wrap_db_rows_free(struct db_rows *r);
enum err __wrap_db_copy_begin(struct db *d, const char *sql, struct errmsg *e);
enum err __wrap_db_copy_put(struct db *d, const char *bytes, size_t len, struct errmsg *e);
enum err __wrap_db_copy_end(struct db *d, struct errmsg *e);

enum err __wrap_db_open(const char *conninfo, struct db **out, struct errmsg *e)
{
    (void)conninfo;
    enum database_fate fate = in_use->fate != NULL ? in_use->fate(in_use->ctx) : FATE_NONE;
    if (in_use->away || fate != FATE_NONE) {
        return err_set(e, ERR_UNAVAILABLE, "no server answers");
    }
    struct db *d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->number = in_use->connections++;
    *out = d;
    return ERR_OK;
}

void __wrap_db_close(struct db *d)
{
    if (d != NULL) {
        free(d->line);
        free(d);
    }
}

enum err __wrap_db_script(struct db *d, const char *sql, struct errmsg *e)
{
    bool lost;
    return lost_before(d, &lost) ? lose(d, e) : ended(d, lost, script(d, sql, e), e);
}

enum err __wrap_db_exec(struct db *d, const char *sql, int n, const char *const *params,
                        struct db_rows **rows, struct errmsg *e)
{
    bool lost;
    struct db_rows *made = NULL;
    (void)n;
    if (lost_before(d, &lost)) {
        return lose(d, e);
    }
    enum err err = ended(d, lost, statement(d, sql, params, &made), e);
    if (err == ERR_OK && rows != NULL) {
        *rows = made;
    } else {
        free(made);
    }
    return err;
}

enum err __wrap_db_exec_bytes(struct db *d, const char *sql, int n, const char *const *params,
                              int bytes_at, const void *bytes, size_t len, struct errmsg *e)
{
    bool lost;
    (void)n;
    (void)bytes_at;
    assert(begins(sql, "INSERT INTO rejects"));
    if (lost_before(d, &lost)) {
        return lose(d, e);
    }
    uint64_t key = database_mem_reject_key(params[0], (int32_t)strtol(params[1], NULL, 10),
                                           strtoll(params[2], NULL, 10));
    if (!database_mem_has(&d->work, key)) {
        put(&d->work, key, hash_bytes(bytes, len, 0));
        d->work.rejected++;
    }
    return ended(d, lost, ERR_OK, e);
}

const char *__wrap_db_sqlstate(const struct db *d)
{
    return d->sqlstate;
}

int __wrap_db_rows_count(const struct db_rows *r)
{
    return r->count;
}

const char *__wrap_db_rows_text(const struct db_rows *r, int row, int column)
{
    assert(row < r->count && column == 0);
    return r->text;
}

void __wrap_db_rows_free(struct db_rows *r)
{
    free(r);
}

enum err __wrap_db_copy_begin(struct db *d, const char *sql, struct errmsg *e)
{
    bool lost;
    int t = 0;
    assert(begins(sql, "COPY staging_"));
    while (t < SINK_TABLES && !begins(sql + strlen("COPY staging_"), TABLES[t])) {
        t++;
    }
    assert(t < SINK_TABLES && d->in_transaction && d->staged_count == 0);
    d->copies = (enum sink_table)t;
    d->line_len = 0;
    return lost_before(d, &lost) ? lose(d, e) : ended(d, lost, ERR_OK, e);
}

enum err __wrap_db_copy_put(struct db *d, const char *bytes, size_t len, struct errmsg *e)
{
    (void)e;
    if (len == 1 && bytes[0] == '\n') {
        assert(d->staged_count < STAGED_MAX);
        d->staged[d->staged_count++] =
            (struct staged){d->copies, database_mem_key(d->copies, d->line, d->line_len),
                            hash_bytes(d->line, d->line_len, 0)};
        d->line_len = 0;
        return ERR_OK;
    }
    d->line = realloc(d->line, d->line_len + len + 1);
    assert(d->line != NULL);
    memcpy(d->line + d->line_len, bytes, len);
    d->line_len += len;
    return ERR_OK;
}

enum err __wrap_db_copy_end(struct db *d, struct errmsg *e)
{
    bool lost;
    return lost_before(d, &lost) ? lose(d, e) : ended(d, lost, ERR_OK, e);
}
