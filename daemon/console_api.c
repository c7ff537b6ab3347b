/* The console's JSON interface, one function a path. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "daemon/card_number.h"
#include "daemon/console_private.h"
#include "daemon/members.h"
#include "daemon/table.h"
#include "storage/console.h"
#include "storage/queue.h"

#define PAGE_ROWS 50
#define HISTORY_DAYS 60
#define HISTORY_ROWS 400

static enum err refuse(struct console_call *c, struct errmsg *e, const char *name)
{
    c->told = true;
    (void)err_set(e, ERR_INVALID, "%s is missing, too long or no text", name);
    return ERR_INVALID;
}

/* Printable UTF-8 of at most `max` bytes; *out NULL where it may be absent and is. */
static enum err check_text(struct console_call *c, const char *name, const char *text, size_t max,
                           bool required, const char **out, struct errmsg *e)
{
    if (text == NULL || text[0] == '\0') {
        *out = NULL;
        return required ? refuse(c, e, name) : ERR_OK;
    }
    size_t len = strlen(text);
    if (len > max || !members_utf8(text, len)) {
        return refuse(c, e, name);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return refuse(c, e, name);
        }
    }
    *out = text;
    return ERR_OK;
}

static enum err query_text(struct console_call *c, const char *name, bool required,
                           const char **out, struct errmsg *e)
{
    if (http_query_cut(c->request, name)) {
        return refuse(c, e, name);
    }
    return check_text(c, name, http_query(c->request, name), CONSOLE_ID_MAX, required, out, e);
}

/* A parameter of the body; room: at least max + 1 bytes. */
static enum err form_text(struct console_call *c, const char *name, bool required, char *room,
                          size_t max, const char **out, struct errmsg *e)
{
    const char *text = http_form(c->request, name, room, max + 1);
    if (text == NULL && http_form_has(c->request, name)) {
        return refuse(c, e, name);
    }
    return check_text(c, name, text, max, required, out, e);
}

static void put_rows(struct console_call *c, const char *name, const struct db_rows *rows)
{
    fprintf(c->out, "\"%s\":", name);
    table_print(c->out, rows, TABLE_JSON);
}

static void put_text(struct console_call *c, const char *name, const char *text)
{
    fprintf(c->out, "\"%s\":", name);
    table_print_json(c->out, text);
}

static enum err get_session(struct console_call *c, struct errmsg *e)
{
    char until[TIME_TEXT_MAX];
    (void)e;
    time_format(until, c->session->until_us);
    fputc('{', c->out);
    put_text(c, "who", c->session->who);
    fputc(',', c->out);
    put_text(c, "role", c->session->role == CONSOLE_ANALYST ? "analyst" : "viewer");
    fputc(',', c->out);
    put_text(c, "csrf", c->session->csrf);
    fputc(',', c->out);
    put_text(c, "until", until);
    fputs("}\n", c->out);
    return ERR_OK;
}

static enum err get_queue(struct console_call *c, struct errmsg *e)
{
    static const struct {
        const char *name;
        enum console_list list;
    } LISTS[] = {{"open", CONSOLE_OPEN},
                 {"mine", CONSOLE_CLAIMED},
                 {"claimed", CONSOLE_CLAIMED},
                 {"resolved", CONSOLE_RESOLVED},
                 {"find", CONSOLE_FOUND}};
    const char *list = NULL;
    struct console_page page = {.limit = PAGE_ROWS};
    struct db_rows *rows = NULL;
    size_t i = 0;
    enum err err = query_text(c, "list", true, &list, e);
    while (err == ERR_OK && i < 5 && strcmp(list, LISTS[i].name) != 0) {
        i++;
    }
    if (err == ERR_OK && i == 5) {
        err = refuse(c, e, "list");
    }
    if (err == ERR_OK) {
        page.list = LISTS[i].list;
        page.who = strcmp(list, "mine") == 0 ? c->session->who : NULL;
        err = query_text(c, "find", page.list == CONSOLE_FOUND, &page.find, e);
    }
    if (err == ERR_OK) {
        err = query_text(c, "key", false, &page.after_key, e);
    }
    if (err == ERR_OK) {
        err = query_text(c, "id", false, &page.after_id, e);
    }
    if (err == ERR_OK) {
        err = console_queue(c->db, &page, &rows, e);
    }
    if (err == ERR_OK) {
        fputc('{', c->out);
        put_rows(c, "alerts", rows);
        fprintf(c->out, ",\"more\":%s}\n", db_rows_count(rows) == PAGE_ROWS ? "true" : "false");
    }
    db_rows_free(rows);
    return err;
}

static enum err get_alert(struct console_call *c, struct errmsg *e)
{
    const char *id = NULL;
    struct db_rows *fields = NULL;
    struct db_rows *reasons = NULL;
    struct db_rows *history = NULL;
    struct db_rows *payments = NULL;
    enum err err = query_text(c, "id", true, &id, e);
    if (err == ERR_OK) {
        err = queue_show(c->db, id, &fields, &reasons, &history, e);
    }
    if (err == ERR_OK) {
        err = console_payments(c->db, id, HISTORY_DAYS, HISTORY_ROWS, &payments, e);
    }
    if (err == ERR_OK) {
        fputs("{\"alert\":", c->out);
        table_print_row(c->out, fields, 0, TABLE_JSON, false);
        fputc(',', c->out);
        put_rows(c, "reasons", reasons);
        fputc(',', c->out);
        put_rows(c, "history", history);
        fputc(',', c->out);
        put_rows(c, "payments", payments);
        fputs("}\n", c->out);
    }
    db_rows_free(fields);
    db_rows_free(reasons);
    db_rows_free(history);
    db_rows_free(payments);
    return err;
}

static enum err get_today(struct console_call *c, struct errmsg *e)
{
    struct db_rows *today = NULL;
    struct db_rows *models = NULL;
    enum err err = console_today(c->db, c->conf->day_offset_us, &today, e);
    if (err == ERR_OK) {
        err = console_models(c->db, c->conf->day_offset_us, &models, e);
    }
    if (err == ERR_OK) {
        fprintf(c->out, "{\"budget\":%" PRId64 ",\"today\":", c->conf->budget);
        table_print_row(c->out, today, 0, TABLE_JSON, false);
        fputc(',', c->out);
        put_rows(c, "models", models);
        fputs("}\n", c->out);
    }
    db_rows_free(today);
    db_rows_free(models);
    return err;
}

static enum err post_claim(struct console_call *c, struct errmsg *e)
{
    char room[CONSOLE_ID_MAX + 1];
    const char *id = NULL;
    struct db_rows *rows = NULL;
    enum err err = form_text(c, "id", false, room, CONSOLE_ID_MAX, &id, e);
    if (err == ERR_OK) {
        err = id != NULL ? queue_claim_one(c->db, id, c->session->who, c->conf->lease_us, &rows, e)
                         : queue_claim(c->db, c->session->who, 1, c->conf->lease_us, &rows, e);
    }
    if (err == ERR_OK) {
        fputc('{', c->out);
        put_rows(c, "alerts", rows);
        fputs("}\n", c->out);
    }
    db_rows_free(rows);
    return err;
}

static enum err post_release(struct console_call *c, struct errmsg *e)
{
    char room[CONSOLE_ID_MAX + 1];
    const char *id = NULL;
    enum err err = form_text(c, "id", true, room, CONSOLE_ID_MAX, &id, e);
    if (err == ERR_OK) {
        err = queue_release(c->db, id, c->session->who, e);
    }
    if (err == ERR_OK) {
        fputs("{}\n", c->out);
    }
    return err;
}

static enum err post_resolve(struct console_call *c, struct errmsg *e)
{
    char id_room[CONSOLE_ID_MAX + 1];
    char verdict_room[16];
    char change_room[8];
    char note_room[CONSOLE_NOTE_MAX + 1];
    const char *id = NULL;
    const char *verdict = NULL;
    const char *change = NULL;
    const char *note = NULL;
    enum err err = form_text(c, "id", true, id_room, CONSOLE_ID_MAX, &id, e);
    if (err == ERR_OK) {
        err = form_text(c, "verdict", true, verdict_room, sizeof verdict_room - 1, &verdict, e);
    }
    if (err == ERR_OK) {
        err = form_text(c, "change", true, change_room, sizeof change_room - 1, &change, e);
    }
    if (err == ERR_OK) {
        err = form_text(c, "note", false, note_room, CONSOLE_NOTE_MAX, &note, e);
    }
    if (err == ERR_OK && note != NULL && card_number_in((struct slice){note, strlen(note)})) {
        c->told = true;
        err = err_set(e, ERR_INVALID, "the note holds a full card number; its last four digits do");
    }
    if (err == ERR_OK && strcmp(verdict, "fraud") != 0 && strcmp(verdict, "legitimate") != 0 &&
        strcmp(verdict, "unsure") != 0) {
        err = refuse(c, e, "verdict");
    }
    if (err == ERR_OK) {
        err =
            queue_resolve(c->db, id, c->session->who, verdict, note, strcmp(change, "yes") == 0, e);
    }
    if (err == ERR_OK) {
        fputs("{}\n", c->out);
    }
    return err;
}

const struct console_route *console_route_find(const char *path, bool change)
{
    static const struct console_route ROUTES[] = {
        {"/api/session", false, false, get_session}, {"/api/queue", false, false, get_queue},
        {"/api/alert", false, false, get_alert},     {"/api/today", false, false, get_today},
        {"/api/claim", true, true, post_claim},      {"/api/release", true, true, post_release},
        {"/api/resolve", true, true, post_resolve},
    };
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES; i++) {
        if (ROUTES[i].change == change && strcmp(path, ROUTES[i].path) == 0) {
            return &ROUTES[i];
        }
    }
    return NULL;
}
