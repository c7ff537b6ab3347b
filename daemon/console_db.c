#include "daemon/console_db.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct console_dbs {
    const char *conninfo;
    int64_t statement_us;
    pthread_mutex_t lock;
    struct db *idle[CONSOLE_DBS]; /* NULL: not connected, or out */
    int out;
};

enum err console_dbs_create(const char *conninfo, int64_t statement_us, struct console_dbs **out,
                            struct errmsg *e)
{
    struct console_dbs *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return err_set(e, ERR_NOMEM, "cannot hold connections: no memory");
    }
    p->conninfo = conninfo;
    p->statement_us = statement_us;
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return ERR_OK;
}

void console_dbs_free(struct console_dbs *p)
{
    if (p == NULL) {
        return;
    }
    for (int i = 0; i < CONSOLE_DBS; i++) {
        db_close(p->idle[i]);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static enum err connect_anew(struct console_dbs *p, struct db **out, struct errmsg *e)
{
    struct db *d = NULL;
    enum err err = db_open(p->conninfo, &d, e);
    if (err == ERR_OK) {
        err = db_limit(d, p->statement_us, e);
    }
    if (err != ERR_OK) {
        db_close(d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

enum err console_db_take(struct console_dbs *p, struct db **out, struct errmsg *e)
{
    struct db *d = NULL;
    pthread_mutex_lock(&p->lock);
    bool room = p->out < CONSOLE_DBS;
    p->out += room;
    for (int i = 0; room && d == NULL && i < CONSOLE_DBS; i++) {
        d = p->idle[i];
        p->idle[i] = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    if (!room) {
        return err_set(e, ERR_FULL, "all connections to PostgreSQL are in use");
    }
    enum err err = d != NULL ? ERR_OK : connect_anew(p, &d, e);
    if (err != ERR_OK) {
        console_db_give(p, NULL, err);
        return err;
    }
    *out = d;
    return ERR_OK;
}

void console_db_give(struct console_dbs *p, struct db *d, enum err after)
{
    if (after == ERR_UNAVAILABLE) {
        db_close(d);
        d = NULL;
    }
    pthread_mutex_lock(&p->lock);
    p->out--;
    for (int i = 0; d != NULL && i < CONSOLE_DBS; i++) {
        if (p->idle[i] == NULL) {
            p->idle[i] = d;
            d = NULL;
        }
    }
    pthread_mutex_unlock(&p->lock);
    db_close(d);
}
