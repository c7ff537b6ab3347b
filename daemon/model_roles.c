#include "daemon/model_roles.h"

#include "daemon/deliver.h"
#include "daemon/model_view.h"
#include "daemon/models.h"

/* Commits what the brokers know by now. */
static enum err commit_sent(struct db *db, const char *version, struct errmsg *e)
{
    enum err err = registry_commit(db, e);
    return err == ERR_OK ? err
                         : err_prefix(e, err,
                                      "model %s was sent, but the registry does not say so yet (do "
                                      "this again)",
                                      version);
}

enum err roles_install(const struct roles *r, const char *version, const char *kind,
                       struct errmsg *e)
{
    struct model_view v = {0};
    enum err err = model_view_registry(r->db, version, &v, e);
    if (err == ERR_OK) {
        err = model_view_check_schema(&v, e);
    }
    if (err == ERR_OK) {
        err = deliver_model(r->conf, kind, v.bytes.model, v.bytes.model_len, r->timeout_us, e);
    }
    if (err == ERR_OK) {
        err = commit_sent(r->db, version, e);
    }
    model_view_done(&v);
    return err;
}

enum err roles_shadow(const struct roles *r, const char *version, char before[32], struct errmsg *e)
{
    enum err err = registry_begin(r->db, e);
    if (err != ERR_OK) {
        return err;
    }
    err = registry_shadow(r->db, version, r->who, before, e);
    if (err == ERR_OK) {
        err = roles_install(r, version, "shadow", e);
    }
    if (err != ERR_OK) {
        registry_undo(r->db);
    }
    return err;
}

static enum err send_end(const struct roles *r, const char *version, struct errmsg *e)
{
    struct model_view v = {0};
    char text[MODELS_END_MAX];
    enum err err = model_view_registry(r->db, version, &v, e);
    if (err == ERR_OK) {
        const size_t len = models_write_end(model_hash(v.model), -1, text);
        const struct deliver_notice n = {"shadow-end", (const uint8_t *)text, len};
        err = deliver_notices(r->conf, &n, 1, r->timeout_us, e);
    }
    model_view_done(&v);
    return err == ERR_OK ? commit_sent(r->db, version, e) : err;
}

enum err roles_unshadow(const struct roles *r, const char *version, struct errmsg *e)
{
    enum err err = registry_begin(r->db, e);
    if (err != ERR_OK) {
        return err;
    }
    err = registry_unshadow(r->db, version, r->who, e);
    if (err == ERR_OK) {
        err = send_end(r, version, e);
    }
    if (err != ERR_OK) {
        registry_undo(r->db);
    }
    return err;
}
