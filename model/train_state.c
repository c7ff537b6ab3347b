/* Training states (model_format.h): FP32 parameters beside a model, for its next update. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "model/format_private.h"
#include "model/model_format.h"

enum err train_state_pack(const struct train_result *r, uint64_t model_hash, uint8_t **out,
                          size_t *out_len_bytes, struct errmsg *e)
{
    struct net_layout layout;
    struct frame_out f;
    enum err err = net_layout_init(&layout, &r->shape, e);
    if (err == ERR_OK) {
        err = format_check_encoding(&r->encoding, &r->shape, e);
    }
    if (err != ERR_OK) {
        return err;
    }
    frame_begin(&f, FORMAT_STATE_MAGIC, FORMAT_STATE_VERSION);
    format_put_shape(&f, &r->shape);
    format_put_encoding(&f, &r->encoding, &r->shape);
    frame_section(&f, "PARM");
    frame_put_u64(&f, model_hash);
    frame_put_floats(&f, r->params, layout.total);
    frame_put_floats(&f, r->raw_params, layout.total);
    frame_put_floats(&f, r->balance, (size_t)r->shape.layers * r->shape.experts);
    frame_put_floats(&f, r->fisher, layout.total);
    const double reals[] = {r->calibration[0], r->calibration[1], r->calibration[2], r->holdout_auc,
                            r->holdout_ap,     r->holdout_brier,  r->fisher_rows};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        frame_put_double(&f, reals[i]);
    }
    frame_put_u64(&f, r->rows_fit);
    frame_put_u64(&f, r->frauds_fit);
    frame_put_u64(&f, r->rows_hash);
    frame_put_u64(&f, (uint64_t)r->learnt_until_us);
    frame_put_u32(&f, &r->epochs_done, 1);
    return frame_end(&f, out, out_len_bytes, e);
}

static bool take_figures(struct frame_in *in, struct train_result *r)
{
    double *const reals[] = {&r->calibration[0], &r->calibration[1], &r->calibration[2],
                             &r->holdout_auc,    &r->holdout_ap,     &r->holdout_brier,
                             &r->fisher_rows};
    uint64_t learnt_until = 0;
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        if (!frame_take_double(in, reals[i])) {
            return false;
        }
    }
    bool ok = frame_take_u64(in, &r->rows_fit) && frame_take_u64(in, &r->frauds_fit) &&
              frame_take_u64(in, &r->rows_hash) && frame_take_u64(in, &learnt_until) &&
              frame_take_u32(in, &r->epochs_done, 1);
    r->learnt_until_us = (int64_t)learnt_until;
    return ok;
}

/* Whoever wrote it: no weight may be pushed away from its anchor. */
static bool fisher_good(const struct train_result *r, size_t total)
{
    for (size_t i = 0; i < total; i++) {
        if (r->fisher[i] < 0) {
            return false;
        }
    }
    return r->fisher_rows >= 1 && r->fisher_rows < 1e18;
}

static enum err take_params(struct frame_in *file, const struct net_layout *layout,
                            struct train_result *r, uint64_t *model_hash, struct errmsg *e)
{
    struct frame_in in;
    size_t balance = (size_t)r->shape.layers * r->shape.experts;
    size_t bytes = (3 * layout->total + balance) * sizeof(float);
    size_t figures = (1 + 7 + 4) * sizeof(uint64_t) + sizeof(uint32_t);
    if (!frame_next(file, "PARM", &in) || in.left != bytes + figures || file->left != 0) {
        return err_set(e, ERR_CORRUPT, "the section of the parameters has the wrong length");
    }
    r->params = malloc(layout->total * sizeof *r->params);
    r->raw_params = malloc(layout->total * sizeof *r->raw_params);
    r->balance = malloc(balance * sizeof *r->balance);
    r->fisher = malloc(layout->total * sizeof *r->fisher);
    if (r->params == NULL || r->raw_params == NULL || r->balance == NULL || r->fisher == NULL) {
        return err_set(e, ERR_NOMEM, "no memory to load the training state");
    }
    if (!frame_take_u64(&in, model_hash) ||
        !frame_take_floats(&in, r->params, layout->total, FLT_MAX) ||
        !frame_take_floats(&in, r->raw_params, layout->total, FLT_MAX) ||
        !frame_take_floats(&in, r->balance, balance, FLT_MAX) ||
        !frame_take_floats(&in, r->fisher, layout->total, FLT_MAX) || !take_figures(&in, r)) {
        return err_set(e, ERR_CORRUPT, "a parameter of the training state is not finite");
    }
    if (!fisher_good(r, layout->total)) {
        return err_set(e, ERR_CORRUPT, "the Fisher information of the training state is no sum");
    }
    return ERR_OK;
}

enum err train_state_load(const void *bytes, size_t len_bytes, struct train_result *out,
                          uint64_t *out_model_hash, struct errmsg *e)
{
    struct frame_in file;
    struct net_layout layout;
    struct train_result r = {0};
    uint64_t model_hash = 0;
    enum err err = frame_open(bytes, len_bytes, FORMAT_STATE_MAGIC, FORMAT_STATE_VERSION,
                              FORMAT_STATE_SECTIONS, "training state", &file, e);
    if (err == ERR_OK && !format_take_shape(&file, &r.shape)) {
        err = err_set(e, ERR_CORRUPT, "the section of the network's sizes is damaged");
    }
    if (err == ERR_OK) {
        err = net_layout_init(&layout, &r.shape, e);
        err = err == ERR_OK ? ERR_OK : ERR_CORRUPT;
    }
    if (err == ERR_OK) {
        err = format_take_encoding(&file, &r.shape, &r.encoding, e);
    }
    if (err == ERR_OK) {
        err = take_params(&file, &layout, &r, &model_hash, e);
    }
    if (err != ERR_OK) {
        train_result_done(&r);
        return err;
    }
    *out = r;
    *out_model_hash = model_hash;
    return ERR_OK;
}
