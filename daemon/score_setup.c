#include "daemon/score_setup.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/timefmt.h"
#include "daemon/notice.h"

#define MODEL_MAX_BYTES ((size_t)256 << 20)
#define POLL_MS 100 /* a message ends the wait at once; only commits and signals wait so long */

enum err score_setup_model_bytes(const struct conf *c, uint8_t **out, size_t *out_len,
                                 struct errmsg *e)
{
    const char *path = conf_text(c, "model");
    if (path == NULL || path[0] == '\0') {
        return err_set(e, ERR_INVALID,
                       "no model is named; give --model FILE or model = \"FILE\"; in the settings "
                       "(`fraudd train` makes one)");
    }
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = file_read(path, MODEL_MAX_BYTES, &bytes, &len, e);
    if (err != ERR_OK) {
        return err;
    }
    if (notice_fits("model", len, e) != ERR_OK) {
        free(bytes);
        (void)err_prefix(e, ERR_INVALID, "cannot use model %s", path);
        return ERR_INVALID;
    }
    *out = bytes;
    *out_len = len;
    return ERR_OK;
}

enum err score_setup_model(const struct conf *c, struct model **out, struct errmsg *e)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum err err = score_setup_model_bytes(c, &bytes, &len, e);
    if (err != ERR_OK) {
        return err;
    }
    err = model_load(bytes, len, out, e);
    free(bytes);
    return err == ERR_OK ? err : err_prefix(e, err, "model %s", conf_text(c, "model"));
}

struct threshold_conf score_setup_rules(const struct conf *c)
{
    double decline = conf_real(c, "decline.probability");
    return (struct threshold_conf){
        .budget = (double)conf_int(c, "alert.budget") / (double)conf_int(c, "partitions"),
        .burst = 1.5,
        .day_offset_us = conf_duration_us(c, "alert.day-offset"),
        .floor = conf_real(c, "alert.floor"),
        .decline = decline >= 1 ? 2 : decline, /* above every probability */
        .decline_cost = conf_real(c, "decline.cost")};
}

struct bounds score_setup_bounds(const struct conf *c)
{
    return (struct bounds){score_setup_rules(c), conf_duration_us(c, "max-future")};
}

struct score_conf score_setup_conf(const struct conf *c, const struct model *m,
                                   const struct rates *rates, const struct card_rules *cards,
                                   int64_t (*wall_us)(void))
{
    struct score_conf s = {.batch_max = (size_t)conf_int(c, "score.batch"),
                           .poll_ms = POLL_MS,
                           .warm_us = conf_int(c, "warm.days") * TIME_DAY,
                           .wall_us = wall_us,
                           .rollback_keep_us = conf_duration_us(c, "rollback.keep")};
    const struct model_lineage *l = model_lineage(m);
    s.pipeline = (struct pipeline_conf){
        .model = m,
        .rates = rates,
        .cards = cards,
        .params = {l->maturity_us, l->blame_ratio, l->blame_tail, rates_version(rates)},
        .threshold = score_setup_rules(c),
        .log = {conf_text(c, "log"), strlen(conf_text(c, "log"))},
        .max_future_us = conf_duration_us(c, "max-future"),
        .message_max = WIRE_MESSAGE_MAX,
        .evidence_share = conf_real(c, "explain.sample")};
    feat_limits_default(&s.pipeline.limits);
    s.pipeline.limits.card_max = (size_t)conf_int(c, "state.cards");
    s.pipeline.inputs = (size_t)conf_int(c, "state.inputs");
    feat_world_limits_default(&s.world);
    s.world.place_max = 4 * (size_t)conf_int(c, "state.terminals");
    return s;
}
