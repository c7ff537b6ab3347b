/* Claims a second: 8 connections take alerts one at a time from 100,000 open ones, each claim an
 * SQL transaction of its own with its audit row.  Against a throwaway PostgreSQL (fsync off). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/progress.h"
#include "base/timefmt.h"
#include "storage/queue.h"
#include "tests/support/database.h"

#define CLIENTS 8
#define SECONDS 5

struct client {
    struct db *db;
    long claims;
    int64_t until_us;
    int64_t slowest_us;
};

static void *claim(void *arg)
{
    struct client *c = arg;
    for (int64_t now = progress_now_us(); now < c->until_us;) {
        struct db_rows *rows = NULL;
        struct errmsg e = {""};
        database_must(queue_claim(c->db, "bench", 1, TIME_HOUR, &rows, &e), &e);
        c->claims += db_rows_count(rows);
        db_rows_free(rows);
        int64_t after = progress_now_us();
        c->slowest_us = after - now > c->slowest_us ? after - now : c->slowest_us;
        now = after;
    }
    return NULL;
}

int main(void)
{
    static struct client c[CLIENTS];
    struct database d;
    pthread_t thread[CLIENTS];
    long claims = 0;
    int64_t slowest = 0;
    database_start(&d);
    database_run(
        d.db, "INSERT INTO alerts (log, part, log_offset, event_time, tx_id, card, amount_minor, "
              "currency, exponent, amount_ref, score, outcome, model, body) "
              "SELECT 'log', 0, i, timestamptz '2026-04-02' + i * interval '1 s', 'tx' || i, "
              "'c' || i % 5000, i % 100000, 'EUR', 2, i % 100000, (i * 7919 % 1000) / 1000.0, "
              "'review', 'm', '{}' FROM generate_series(1, 100000) i; ANALYZE alerts");
    int64_t begin = progress_now_us();
    for (int i = 0; i < CLIENTS; i++) {
        c[i].db = database_connect(&d);
        c[i].until_us = begin + SECONDS * TIME_S;
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
    double seconds = (double)(progress_now_us() - begin) / 1e6;
    long taken = database_count(d.db, "SELECT count(DISTINCT object) FROM audit");
    printf("queue: %ld claims by %d connections in %.1f s: %.0f claims/s, slowest %.1f ms, "
           "twice %ld\n",
           claims, CLIENTS, seconds, (double)claims / seconds, (double)slowest / 1000,
           claims - taken);
    database_stop(&d);
    return claims == taken ? 0 : 1;
}
