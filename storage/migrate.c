#include "storage/migrate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* The assembler puts the file's bytes into the read-only data; a zero ends them. */
#define EMBED(symbol, file)                                                                        \
    __asm__(".pushsection .rodata\n" #symbol ":\n.incbin \"" file "\"\n.byte 0\n.popsection\n");   \
    extern const char symbol[]

EMBED(sql_0001, "sql/0001_schema.sql");
EMBED(sql_0002, "sql/0002_queue.sql");
EMBED(sql_0003, "sql/0003_labels.sql");
EMBED(sql_0004, "sql/0004_models.sql");
EMBED(sql_0005, "sql/0005_history.sql");
EMBED(sql_0006, "sql/0006_cases.sql");
EMBED(sql_0007, "sql/0007_audit.sql");
EMBED(sql_0008, "sql/0008_console.sql");
EMBED(sql_0009, "sql/0009_roles.sql");
EMBED(sql_0011, "sql/0011_evidence.sql");
EMBED(sql_0012, "sql/0012_controls.sql");
EMBED(sql_0013, "sql/0013_shadow.sql");
EMBED(sql_0014, "sql/0014_promotion.sql");

struct file {
    int number;
    const char *name;
    const char *text;
};

static const struct file FILES[] = {
    {1, "0001_schema.sql", sql_0001},    {2, "0002_queue.sql", sql_0002},
    {3, "0003_labels.sql", sql_0003},    {4, "0004_models.sql", sql_0004},
    {5, "0005_history.sql", sql_0005},   {6, "0006_cases.sql", sql_0006},
    {7, "0007_audit.sql", sql_0007},     {8, "0008_console.sql", sql_0008},
    {9, "0009_roles.sql", sql_0009},     {11, "0011_evidence.sql", sql_0011},
    {12, "0012_controls.sql", sql_0012}, {13, "0013_shadow.sql", sql_0013},
    {14, "0014_promotion.sql", sql_0014}};
#define FILE_COUNT ((int)(sizeof FILES / sizeof *FILES))

/* "fraudd" in ASCII: the advisory lock that only migrations take */
#define LOCK "112641447388260"

static void checksum(const struct file *f, char out[20])
{
    snprintf(out, 20, "%016" PRIx64, hash_bytes(f->text, strlen(f->text), 0));
}

static enum err apply(struct db *d, const struct file *f, struct errmsg *e)
{
    char number[16];
    char sum[20];
    snprintf(number, sizeof number, "%d", f->number);
    checksum(f, sum);
    const char *const params[] = {number, f->name, sum};
    enum err err = db_script(d, "BEGIN", e);
    if (err == ERR_OK) {
        err = db_script(d, f->text, e);
    }
    if (err == ERR_OK) {
        err = db_exec(d, "INSERT INTO migrations (number, name, checksum) VALUES ($1, $2, $3)", 3,
                      params, NULL, e);
    }
    if (err == ERR_OK) {
        return db_script(d, "COMMIT", e);
    }
    /* a failure here changes nothing: the server rolls back by itself when the connection ends */
    enum err undone = db_script(d, "ROLLBACK", NULL);
    (void)undone;
    return err_prefix(e, err, "migration %s", f->name);
}

/* Checks what the database has against FILES; *out_done: files that are applied. */
static enum err compare(struct db *d, int *out_done, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err =
        db_exec(d, "SELECT number, checksum FROM migrations ORDER BY number", 0, NULL, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    int n = db_rows_count(rows);
    for (int i = 0; i < n && err == ERR_OK; i++) {
        char sum[20] = "";
        if (i >= FILE_COUNT) {
            err =
                err_set(e, ERR_MISMATCH,
                        "the database has migration %s, this program knows %d; use a newer fraudd",
                        db_rows_text(rows, i, 0), FILE_COUNT);
            break;
        }
        checksum(&FILES[i], sum);
        if (strcmp(sum, db_rows_text(rows, i, 1)) != 0) {
            err = err_set(e, ERR_MISMATCH,
                          "migration %s was applied with checksum %s, this program has %s; use the "
                          "fraudd that made this database",
                          FILES[i].name, db_rows_text(rows, i, 1), sum);
        }
    }
    *out_done = n;
    db_rows_free(rows);
    return err;
}

enum err migrate(struct db *d, int *out_applied, struct errmsg *e)
{
    int done = 0;
    int applied = 0;
    enum err err = db_script(d, "SELECT pg_advisory_lock(" LOCK ")", e);
    if (err == ERR_OK) {
        err = db_script(d,
                        "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, "
                        "name text NOT NULL, checksum text NOT NULL, "
                        "at timestamptz NOT NULL DEFAULT now())",
                        e);
    }
    if (err == ERR_OK) {
        err = compare(d, &done, e);
    }
    for (int i = done; i < FILE_COUNT && err == ERR_OK; i++) {
        err = apply(d, &FILES[i], e);
        applied += err == ERR_OK;
    }
    enum err unlocked = db_script(d, "SELECT pg_advisory_unlock(" LOCK ")", NULL);
    (void)unlocked; /* the end of the connection unlocks too */
    if (err == ERR_OK) {
        *out_applied = applied;
    }
    return err;
}

enum err migrate_check(struct db *d, struct errmsg *e)
{
    int done = 0;
    enum err err = compare(d, &done, e);
    if (err == ERR_OK && done < FILE_COUNT) {
        err = err_set(e, ERR_NOTFOUND,
                      "the database has %d of this program's %d migrations; run `fraudd migrate` "
                      "first",
                      done, FILE_COUNT);
    }
    return err;
}
