#include "daemon/check.h"
#include "daemon/journal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/cmd.h"
#include "daemon/encode.h"
#include "daemon/notice.h"
#include "daemon/settings.h"
#include "daemon/wire.h"

#define DAY_MS INT64_C(86400000)
#define FOR_EVER (-1)
#define FRAME_BYTES 4096 /* keys, headers and a batch's own fields, generously */

static void line(struct check *c, const char *what, const char *fmt, va_list args)
{
    fprintf(c->out, "%-7s ", what);
    vfprintf(c->out, fmt, args);
    fputc('\n', c->out);
}

void check_ok(struct check *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line(c, "ok", fmt, args);
    va_end(args);
}

void check_wrong(struct check *c, int code, const char *fmt, ...)
{
    va_list args;
    c->code = c->code == 0 ? code : c->code;
    va_start(args, fmt);
    line(c, "wrong", fmt, args);
    va_end(args);
}

void check_remedy(struct check *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line(c, "remedy", fmt, args);
    va_end(args);
}

/* What a topic must be. */
struct wanted {
    int32_t partitions;    /* 0: as many as there are */
    const char *why;       /* the number of partitions */
    int64_t retention_ms;  /* at least; FOR_EVER */
    int64_t made_ms;       /* retention to make it with */
    bool all_bytes;        /* retention.bytes must not cut it short */
    int64_t message_bytes; /* max.message.bytes, at least */
    const char *why_kept;
};

static struct wanted wanted_of(const struct conf *conf, enum bus_topic t,
                               const struct bus_topic_facts *facts)
{
    const int64_t warm_ms = conf_int(conf, "warm.days") * DAY_MS;
    const int64_t message = (int64_t)WIRE_MESSAGE_MAX + FRAME_BYTES;
    const int32_t transactions = facts[TOPIC_TRANSACTIONS].exists
                                     ? facts[TOPIC_TRANSACTIONS].partitions
                                     : (int32_t)conf_int(conf, "partitions");
    switch (t) {
    case TOPIC_TRANSACTIONS:
        return (struct wanted){(int32_t)conf_int(conf, "partitions"),
                               "the setting partitions says",
                               warm_ms,
                               warm_ms,
                               true,
                               message,
                               "a partition is learnt from warm.days of it"};
    case TOPIC_LABELS:
        return (struct wanted){
            1, "must be", warm_ms, FOR_EVER, true, message, "it is read whole at every start"};
    case TOPIC_NOTICES:
        return (struct wanted){1,
                               "must be",
                               FOR_EVER,
                               FOR_EVER,
                               true,
                               (int64_t)NOTICE_PART_MAX + FRAME_BYTES,
                               "the model in force is read from it at every start"};
    case TOPIC_DECISIONS:
        return (struct wanted){transactions,
                               "transactions has",
                               DAY_MS,
                               7 * DAY_MS,
                               false,
                               (int64_t)ENCODE_MAX + FRAME_BYTES,
                               "the database may be away for so long"};
    case TOPIC_ALERTS:
        return (struct wanted){0,
                               "",
                               DAY_MS,
                               7 * DAY_MS,
                               false,
                               (int64_t)ENCODE_MAX + FRAME_BYTES,
                               "the database may be away for so long"};
    case TOPIC_DEAD_LETTERS:
        return (struct wanted){0,
                               "",
                               DAY_MS,
                               7 * DAY_MS,
                               false,
                               message, /* longer ones are cut */
                               "somebody must look at them"};
    case TOPIC_JOURNAL:
        return (struct wanted){1,
                               "must be",
                               warm_ms,
                               warm_ms,
                               true,
                               (int64_t)JOURNAL_BYTES_MAX + FRAME_BYTES,
                               "a start repeats warm.days of it"};
    case TOPIC_COUNT:
        break;
    }
    return (struct wanted){0};
}

/* A judgement under way: one topic. */
struct topic {
    struct check *check;
    const struct conf *conf;
    const char *name;
    const struct bus_topic_facts *facts;
    struct wanted wanted;
    char tool[512]; /* " --bootstrap-server .." of the commands */
    bool wrong;
};

static enum err note_security(void *ctx, const char *name, const char *value, struct errmsg *e)
{
    bool *found = ctx;
    (void)value;
    (void)e;
    *found |= strncmp(name, "security.", 9) == 0 || strncmp(name, "sasl.", 5) == 0;
    return ERR_OK;
}

static void set_tool(struct topic *t)
{
    bool secured = false;
    enum err err = conf_visit_passed(t->conf, note_security, &secured, NULL);
    (void)err; /* the visit refuses nothing */
    snprintf(t->tool, sizeof t->tool, "--bootstrap-server '%.400s'%s",
             conf_text(t->conf, "brokers"), secured ? " --command-config client.properties" : "");
}

static void tell_wrong(struct topic *t, int code, const char *fmt, ...) FD_PRINTF(3, 4);
static void tell_wrong(struct topic *t, int code, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    check_wrong(t->check, code, "topic %s: %s", t->name, text);
    t->wrong = true;
}

static void remedy_create(struct topic *t, int32_t partitions)
{
    check_remedy(t->check,
                 "kafka-topics.sh %s --create --topic '%s' --partitions %" PRId32
                 " --config cleanup.policy=delete --config retention.ms=%" PRId64
                 " --config max.message.bytes=%d",
                 t->tool, t->name, partitions, t->wanted.made_ms, BUS_MESSAGE_BYTES);
}

static void remedy_config(struct topic *t, const char *name, int64_t value)
{
    check_remedy(t->check,
                 "kafka-configs.sh %s --alter --entity-type topics --entity-name '%s' --add-config "
                 "%s=%" PRId64,
                 t->tool, t->name, name, value);
}

static void judge_partitions(struct topic *t, enum bus_topic topic)
{
    const int32_t have = t->facts->partitions;
    const int32_t want = t->wanted.partitions;
    if (want == 0 || have == want) {
        return;
    }
    tell_wrong(t, EXIT_FAILED, "%" PRId32 " partition%s, %s %" PRId32, have, have == 1 ? "" : "s",
               t->wanted.why, want);
    if (topic == TOPIC_TRANSACTIONS) { /* cards would move to other partitions */
        check_remedy(t->check, "set partitions = %" PRId32 "; (in force: %s)", have,
                     conf_where(t->conf, "partitions"));
    } else if (have < want) {
        check_remedy(t->check, "kafka-topics.sh %s --alter --topic '%s' --partitions %" PRId32,
                     t->tool, t->name, want);
    } else { /* a topic cannot lose partitions */
        check_remedy(t->check,
                     "kafka-topics.sh %s --delete --topic '%s' # its messages are lost; then:",
                     t->tool, t->name);
        remedy_create(t, want);
    }
}

static void judge_cleanup(struct topic *t)
{
    if (t->facts->cleanup[0] != '\0' && strcmp(t->facts->cleanup, "delete") != 0) {
        tell_wrong(t, EXIT_FAILED, "cleanup.policy=%s loses messages by key, must be delete",
                   t->facts->cleanup);
        check_remedy(t->check,
                     "kafka-configs.sh %s --alter --entity-type topics --entity-name '%s' "
                     "--add-config cleanup.policy=delete",
                     t->tool, t->name);
    }
}

static void judge_retention(struct topic *t)
{
    const int64_t have = t->facts->retention_ms;
    const int64_t want = t->wanted.retention_ms;
    bool known = have != INT64_MIN;
    if (known && have >= 0 && (want == FOR_EVER || have < want)) {
        char least[48] = "for ever (-1)";
        if (want != FOR_EVER) {
            snprintf(least, sizeof least, "at least %" PRId64 " ms", want);
        }
        tell_wrong(t, EXIT_FAILED, "retention.ms=%" PRId64 ", must be %s: %s", have, least,
                   t->wanted.why_kept);
        remedy_config(t, "retention.ms", t->wanted.made_ms);
    }
    if (t->wanted.all_bytes && t->facts->retention_bytes >= 0) {
        tell_wrong(t, EXIT_FAILED, "retention.bytes=%" PRId64 " cuts it short, must be -1: %s",
                   t->facts->retention_bytes, t->wanted.why_kept);
        remedy_config(t, "retention.bytes", -1);
    }
}

static void judge_messages(struct topic *t)
{
    if (t->facts->bytes_max < t->wanted.message_bytes) {
        tell_wrong(t, EXIT_FAILED, "max.message.bytes=%" PRId64 ", must be at least %" PRId64,
                   t->facts->bytes_max, t->wanted.message_bytes);
        remedy_config(t, "max.message.bytes", BUS_MESSAGE_BYTES);
    }
    if (t->facts->in_sync_min > t->facts->replicas) {
        tell_wrong(t, EXIT_FAILED,
                   "min.insync.replicas=%" PRId64 " with %" PRId32
                   " replica%s: nothing can be written",
                   t->facts->in_sync_min, t->facts->replicas, t->facts->replicas == 1 ? "" : "s");
        remedy_config(t, "min.insync.replicas", t->facts->replicas);
    }
}

static void tell_good(struct topic *t)
{
    char kept[64] = "retention not told";
    if (t->facts->retention_ms >= 0) {
        snprintf(kept, sizeof kept, "kept %.3g days",
                 (double)t->facts->retention_ms / (double)DAY_MS);
    } else if (t->facts->retention_ms != INT64_MIN) {
        snprintf(kept, sizeof kept, "kept for ever");
    }
    check_ok(t->check, "topic %s: %" PRId32 " partition%s, %s, %" PRId32 " replica%s", t->name,
             t->facts->partitions, t->facts->partitions == 1 ? "" : "s", kept, t->facts->replicas,
             t->facts->replicas == 1 ? " (a broker that is lost loses it)" : "s");
}

void check_topics(struct check *c, const struct conf *conf, const struct bus_topic_facts *facts)
{
    for (unsigned i = 0; i < TOPIC_COUNT; i++) {
        struct topic t = {.check = c,
                          .conf = conf,
                          .name = settings_topic(conf, (enum bus_topic)i),
                          .facts = &facts[i],
                          .wanted = wanted_of(conf, (enum bus_topic)i, facts)};
        set_tool(&t);
        if (!facts[i].exists) {
            tell_wrong(&t, EXIT_NO_INPUT, "does not exist (setting %s)",
                       settings_topic_option((enum bus_topic)i));
            remedy_create(&t, t.wanted.partitions > 0 ? t.wanted.partitions : 1);
            continue;
        }
        judge_partitions(&t, (enum bus_topic)i);
        judge_cleanup(&t);
        judge_retention(&t);
        judge_messages(&t);
        if (!t.wrong) {
            tell_good(&t);
        }
    }
}
