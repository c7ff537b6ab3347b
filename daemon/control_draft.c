#include "daemon/control_draft.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/timefmt.h"
#include "daemon/bus.h"
#include "daemon/card_number.h"
#include "daemon/notice.h"
#include "daemon/settings.h"
#include "storage/audit.h"

#define AUDIT_TEXT_MAX 8192 /* a longer notice is in the topic only; the audit has its hash */
#define LINE_MAX_BYTES (CONTROL_WHY_MAX + CONTROL_BY_MAX + WIRE_ID_MAX + 2 * TIME_TEXT_MAX + 64)

/* ---- drafts ---- */

static enum err check_text(const char *name, const char *text, size_t max, struct errmsg *e)
{
    const size_t len = text != NULL ? strlen(text) : 0;
    bool good = len > 0 && len <= max && members_utf8(text, len);
    for (size_t i = 0; i < len && good; i++) {
        good = (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
    }
    if (!good) {
        return err_set(e, ERR_INVALID, "--%s needs 1 to %zu bytes of text on one line", name, max);
    }
    if (card_number_in((struct slice){text, len})) {
        return err_set(e, ERR_INVALID, "--%s holds a full card number", name);
    }
    return ERR_OK;
}

enum err control_draft_init(struct control_draft *d, const char *by, const char *why,
                            struct errmsg *e)
{
    *d = (struct control_draft){.by = by, .until_us = LISTS_FOREVER};
    enum err err = check_text("as", by, CONTROL_BY_MAX, e);
    if (err == ERR_OK) {
        err = check_text("why", why, CONTROL_WHY_MAX, e);
    }
    if (err == ERR_OK) {
        memcpy(d->why, why, strlen(why) + 1);
    }
    return err;
}

void control_draft_done(struct control_draft *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->texts[i]);
    }
    free(d->notices);
    free(d->texts);
    d->notices = NULL;
    d->texts = NULL;
    d->count = d->room = 0;
}

/* Room for one more; false: no memory. */
static bool grow(struct control_draft *d)
{
    if (d->count < d->room) {
        return true;
    }
    const size_t room = d->room > 0 ? d->room * 2 : 4;
    struct deliver_notice *notices = realloc(d->notices, room * sizeof *notices);
    if (notices == NULL) {
        return false;
    }
    d->notices = notices;
    char **texts = realloc(d->texts, room * sizeof *texts);
    if (texts == NULL) {
        return false;
    }
    d->texts = texts;
    d->room = room;
    return true;
}

static enum err begin_notice(struct control_draft *d, struct errmsg *e)
{
    char *bytes = grow(d) ? malloc(NOTICE_PART_MAX) : NULL;
    if (bytes == NULL) {
        return err_set(e, ERR_NOMEM, "cannot make a notice: no memory");
    }
    const int n =
        snprintf(bytes, NOTICE_PART_MAX, "fraudd-control 1\nby\t%s\nwhy\t%s\n", d->by, d->why);
    d->texts[d->count] = bytes;
    d->notices[d->count++] = (struct deliver_notice){"control", (const uint8_t *)bytes, (size_t)n};
    d->until_us = LISTS_FOREVER;
    return ERR_OK;
}

/* Begins another notice where the last one has no room for one more change. */
static enum err make_room(struct control_draft *d, struct errmsg *e)
{
    if (d->count > 0 && d->notices[d->count - 1].len + 3 * LINE_MAX_BYTES <= NOTICE_PART_MAX) {
        return ERR_OK;
    }
    return begin_notice(d, e);
}

static void add_line(struct control_draft *d, const char *fmt, ...) FD_PRINTF(2, 3);
static void add_line(struct control_draft *d, const char *fmt, ...)
{
    struct deliver_notice *n = &d->notices[d->count - 1];
    va_list args;
    va_start(args, fmt);
    n->len +=
        (size_t)vsnprintf(d->texts[d->count - 1] + n->len, NOTICE_PART_MAX - n->len, fmt, args);
    va_end(args);
}

/* What card numbers become. */
static enum err guard_value(struct card_guard *g, enum list_field field, struct slice *value,
                            struct errmsg *e)
{
    static const enum member MEMBER[LIST_FIELDS] = {MEMBER_CARD,   MEMBER_MERCHANT, MEMBER_TERMINAL,
                                                    MEMBER_DEVICE, MEMBER_IP,       MEMBER_COUNTRY};
    if (field == LIST_CARD) {
        if (card_guard_card(g, value) == CARD_REFUSED) {
            return err_set(e, ERR_INVALID,
                           "a full card number; see the setting card.numbers (payments with one "
                           "are refused, too)");
        }
    } else if (!card_guard_text(g, MEMBER[field], *value)) {
        return err_set(e, ERR_INVALID, "a %s with a full card number in it; see card.digits",
                       list_field_name(field));
    }
    return ERR_OK;
}

static void say_until(struct control_draft *d, int64_t expires_us)
{
    char time[TIME_TEXT_MAX] = "-";
    if (expires_us == d->until_us) {
        return;
    }
    if (expires_us != LISTS_FOREVER) {
        (void)time_format(time, expires_us);
    }
    add_line(d, "until\t%s\n", time);
    d->until_us = expires_us;
}

enum err control_draft_entry(struct control_draft *d, struct card_guard *g,
                             const struct control_draft_entry *n, struct errmsg *e)
{
    struct list_change change = {.list = n->list, .field = n->field, .value = n->value};
    enum err err = guard_value(g, n->field, &change.value, e);
    if (err == ERR_OK) {
        err = control_lists_check(&change, e);
    }
    if (err == ERR_OK && n->why != NULL) {
        err = check_text("why", n->why, CONTROL_WHY_MAX, e);
    }
    if (err == ERR_OK) {
        err = make_room(d, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (n->why != NULL && strcmp(n->why, d->why) != 0) {
        memcpy(d->why, n->why, strlen(n->why) + 1);
        add_line(d, "why\t%s\n", d->why);
    }
    if (n->add) {
        say_until(d, n->expires_us);
    }
    add_line(d, "%s\t%s\t%s\t%.*s\n", n->add ? "add" : "remove", list_kind_name(n->list),
             list_field_name(n->field), (int)change.value.len, change.value.at);
    d->changes++;
    return ERR_OK;
}

enum err control_draft_mode(struct control_draft *d, enum control_mode mode, struct errmsg *e)
{
    enum err err = make_room(d, e);
    if (err == ERR_OK) {
        add_line(d, "mode\t%s\n", control_mode_name(mode));
        d->changes++;
    }
    return err;
}

/* ---- sending ---- */

/* Opens the database and notes the deed in a transaction that stays open.  *out NULL: it is away,
 * and the deed is urgent. */
static enum err note(const struct conf *c, const struct deliver_notice *notices, size_t n,
                     const struct control_deed *deed, struct db **out, struct errmsg *e)
{
    struct db *db = NULL;
    char text[AUDIT_TEXT_MAX + 1];
    struct audit_notice row = {
        .who = deed->who, .what = deed->what, .object = deed->object, .changes = deed->changes};
    for (size_t i = 0; i < n; i++) {
        row.hash = hash_bytes(notices[i].bytes, notices[i].len, row.hash);
    }
    if (n == 1 && notices->len <= AUDIT_TEXT_MAX) {
        memcpy(text, notices->bytes, notices->len);
        text[notices->len] = '\0';
        row.text = text;
    }
    enum err err = db_open(conf_text(c, "database"), &db, e);
    if (err == ERR_OK) {
        err = db_script(db, "BEGIN", e);
    }
    if (err == ERR_OK) {
        err = audit_note(db, &row, e);
    }
    if (err == ERR_OK) {
        *out = db;
        return ERR_OK;
    }
    db_close(db);
    if (!deed->urgent) {
        return err_prefix(e, err, "nothing was sent, because it could not be noted in the audit");
    }
    fprintf(stderr, "the audit does not have it: %s\n", e->text);
    return ERR_OK;
}

enum err control_send(const struct conf *c, const struct deliver_notice *notices, size_t n,
                      const struct control_deed *deed, struct errmsg *e)
{
    struct db *db = NULL;
    enum err err = note(c, notices, n, deed, &db, e);
    if (err == ERR_OK) {
        err = deliver_notices(c, notices, n, conf_duration_us(c, "timeout"), e);
    }
    if (err == ERR_OK && db != NULL) {
        err = db_script(db, "COMMIT", e);
        if (err != ERR_OK) {
            err = err_prefix(e, err, "it was sent, but the audit does not have it (do it again)");
        }
    }
    db_close(db); /* what was not committed is undone */
    return err;
}

/* ---- reading ---- */

#define READ_MAX 256
#define READ_SILENCE_US (30 * TIME_S)

struct reader {
    struct controls *controls;
    struct notice_reader rules;
    bool begun, failed;
    int64_t next, high;
    char trouble[200];
};

static int64_t on_assigned(void *ctx, enum bus_topic topic, int32_t partition, int64_t committed,
                           int64_t low, int64_t high)
{
    struct reader *r = ctx;
    (void)topic;
    (void)partition;
    (void)committed;
    r->begun = true;
    r->next = low;
    r->high = high;
    return low;
}

static void on_trouble(void *ctx, bool fatal, const char *text)
{
    struct reader *r = ctx;
    r->failed |= fatal;
    snprintf(r->trouble, sizeof r->trouble, "%s", text);
}

static void take(struct reader *r, const struct bus_message *m)
{
    struct errmsg e = {""};
    char quoted[600];
    const uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = ERR_OK;
    if (notice_is(m, "control")) {
        err = controls_take(r->controls, m->offset, m->value, m->value_len, &e);
    } else if ((err = notice_take(&r->rules, "rules", m, &bytes, &len, &e)) == ERR_END) {
        err = controls_take_rules(r->controls, m->offset, (const char *)bytes, len, &e);
    }
    if (err != ERR_OK) {
        log_line(FD_LOG_WARN, "notice_refused", "offset=%" PRId64 " detail=%s", m->offset,
                 log_quote(quoted, sizeof quoted, e.text));
    }
    r->next = m->offset + 1;
}

static enum err read_all(struct reader *r, struct bus *bus, struct errmsg *e)
{
    static struct bus_message messages[READ_MAX];
    int64_t heard_us = progress_now_us();
    while (!r->begun || r->next < r->high) {
        const size_t n = bus->poll(bus->self, messages, READ_MAX, 200);
        for (size_t i = 0; i < n; i++) {
            take(r, &messages[i]);
        }
        bus->release(bus->self);
        heard_us = n > 0 ? progress_now_us() : heard_us;
        if (r->failed || progress_now_us() - heard_us > READ_SILENCE_US) {
            return err_set(e, ERR_UNAVAILABLE, "the notices topic could not be read: %s",
                           r->trouble[0] != '\0' ? r->trouble : "no broker answers");
        }
    }
    return controls_at(r->controls, r->high, e);
}

enum err control_read(const struct conf *c, struct controls **out, struct errmsg *e)
{
    struct reader r = {.controls = NULL};
    struct bus bus = {0};
    const struct bus_events events = {.ctx = &r, .assigned = on_assigned, .trouble = on_trouble};
    const struct bus_plan plan = {
        .client = "fraudd-controls",
        .whole_topic = {[TOPIC_NOTICES] = true},
        .topic_name = {[TOPIC_NOTICES] = settings_topic(c, TOPIC_NOTICES)}};
    enum err err = controls_create(true, &r.controls, e);
    if (err == ERR_OK) {
        err = bus_kafka_open(c, &plan, &events, &bus, e);
    }
    if (err == ERR_OK) {
        err = read_all(&r, &bus, e);
        bus.close(bus.self);
    }
    notice_done(&r.rules);
    if (err != ERR_OK) {
        controls_free(r.controls);
        return err;
    }
    *out = r.controls;
    return ERR_OK;
}
