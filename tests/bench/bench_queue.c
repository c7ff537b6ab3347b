/* Claims a second until the queue is empty: 8 connections take cases one at a time from 100,000
 * open ones, each claim an SQL transaction of its own with its audit row, and no alert may be taken
 * twice or be left.  Beside them the upkeep that `fraudd sink` does, which chains the audit rows.
 * Against a throwaway PostgreSQL (fsync off); nobody vacuums on purpose.
 *
 *     bench_queue [ALERTS [ALERTS_OF_A_CARD [headless]]]
 *
 * headless: every claim looks for the most urgent case from the first index entry on, as if there
 * were no queue_head (sql/0006_cases.sql). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/upkeep.h"
#include "storage/audit.h"
#include "storage/queue.h"
#include "tests/support/database.h"

#define CLIENTS 8
#define TENTHS 10

static atomic_bool emptied;
static atomic_long taken; /* alerts, by all */
static long alerts = 100000;
static long per_card = 1;
static _Atomic int64_t tenth_us[TENTHS + 1]; /* when so many tenths were taken */
static atomic_uchar *times;                  /* [alerts]: how often each was ours */

struct client {
    struct db *db;
    long claims;
    int64_t slowest_us;
};

static void count(const char *alert)
{
    const char *slash = strrchr(alert, '/');
    atomic_fetch_add(&times[strtol(slash + 1, NULL, 10) - 1], 1);
    long n = atomic_fetch_add(&taken, 1) + 1;
    if (n % (alerts / TENTHS) == 0) {
        tenth_us[n / (alerts / TENTHS)] = progress_now_us();
    }
}

static void *claim(void *arg)
{
    struct client *c = arg;
    for (int n = 1; n > 0;) {
        struct db_rows *rows = NULL;
        struct errmsg e = {""};
        int64_t begin = progress_now_us();
        database_must(queue_claim(c->db, "bench", 1, TIME_HOUR, &rows, &e), &e);
        int64_t spent = progress_now_us() - begin;
        n = db_rows_count(rows);
        for (int i = 0; i < n; i++) {
            count(db_rows_text(rows, i, 0));
        }
        c->claims += n > 0;
        c->slowest_us = spent > c->slowest_us ? spent : c->slowest_us;
        db_rows_free(rows);
    }
    return NULL;
}

static void *keep_up(void *arg)
{
    struct db *db = arg;
    struct upkeep u = {0};
    struct errmsg e = {""};
    while (!emptied) {
        const struct timespec t = {0, 50 * 1000000};
        database_must(upkeep_turn(&u, db, progress_now_us(), &e), &e);
        nanosleep(&t, NULL);
    }
    return NULL;
}

static void fill(struct db *db)
{
    char all[24];
    char cards[24];
    struct errmsg e = {""};
    snprintf(all, sizeof all, "%ld", alerts);
    snprintf(cards, sizeof cards, "%ld", (alerts + per_card - 1) / per_card);
    const char *const params[] = {all, cards};
    database_must(
        db_exec(db,
                "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
                "currency, exponent, amount_ref, score, outcome, model, body) "
                "SELECT 'log', 0, i, timestamptz '2026-04-02' + i * interval '1 s', 'tx' || i, "
                "'c' || i % $2::bigint, i % 100000, 'EUR', 2, i % 100000, "
                "(i * 7919 % 1000) / 1000.0, 'review', 'm', '{}' "
                "FROM generate_series(1, $1::bigint) i",
                2, params, NULL, &e),
        &e);
    database_run(db, "ANALYZE alerts; ANALYZE cases");
}

/* Returns what is wrong. */
static long check(struct db *db, long claims)
{
    long wrong = 0;
    struct audit_report r;
    struct errmsg e = {""};
    for (long i = 0; i < alerts; i++) {
        wrong += times[i] != 1;
    }
    long audited =
        database_count(db, "SELECT count(DISTINCT object) FROM audit WHERE what = 'case claim'");
    printf("queue: alerts taken twice or never %ld, claims without their audit row %ld\n", wrong,
           claims - audited);
    int64_t begin = progress_now_us();
    database_must(audit_verify(db, NULL, 0, &r, &e), &e);
    printf("audit: %ld rows, chain %s, verified in %.1f s\n", (long)r.rows,
           r.finding == AUDIT_INTACT ? "intact" : "broken",
           (double)(progress_now_us() - begin) / 1e6);
    return wrong + (claims - audited) + (r.finding != AUDIT_INTACT);
}

int main(int argc, char **argv)
{
    static struct client c[CLIENTS];
    struct database d;
    pthread_t thread[CLIENTS];
    pthread_t upkeep;
    long claims = 0;
    int64_t slowest = 0;
    alerts = argc > 1 ? strtol(argv[1], NULL, 10) : alerts;
    per_card = argc > 2 ? strtol(argv[2], NULL, 10) : per_card;
    if (alerts < TENTHS || per_card < 1 || (times = calloc((size_t)alerts, 1)) == NULL) {
        return 64;
    }
    database_start(&d);
    fill(d.db);
    if (argc > 3 && strcmp(argv[3], "headless") == 0) {
        database_run(d.db, "CREATE OR REPLACE FUNCTION queue_lower(anew boolean) RETURNS void "
                           "LANGUAGE plpgsql AS 'BEGIN END'");
    }
    for (int i = 0; i < CLIENTS; i++) {
        c[i].db = database_connect(&d);
    }
    struct db *keeper = database_connect(&d);
    if (pthread_create(&upkeep, NULL, keep_up, keeper) != 0) {
        return 1;
    }
    tenth_us[0] = progress_now_us();
    for (int i = 0; i < CLIENTS; i++) {
        if (pthread_create(&thread[i], NULL, claim, &c[i]) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(thread[i], NULL);
        claims += c[i].claims;
        slowest = c[i].slowest_us > slowest ? c[i].slowest_us : slowest;
        db_close(c[i].db);
    }
    int64_t end_us = progress_now_us();
    emptied = true;
    pthread_join(upkeep, NULL);
    db_close(keeper);
    for (int i = 0; i < TENTHS; i++) {
        printf("queue: tenth %2d: %.0f claims/s\n", i + 1,
               (double)claims / TENTHS / ((double)(tenth_us[i + 1] - tenth_us[i]) / 1e6));
    }
    printf("queue: %ld alerts in %ld claims by %d connections in %.1f s: %.0f claims/s, slowest "
           "%.1f ms\n",
           (long)taken, claims, CLIENTS, (double)(end_us - tenth_us[0]) / 1e6,
           (double)claims / ((double)(end_us - tenth_us[0]) / 1e6), (double)slowest / 1000);
    long wrong = check(d.db, claims);
    database_stop(&d);
    free(times);
    return wrong == 0 ? 0 : 1;
}
