/* A model and its training state from file or registry, and what there is to say about them. */
#ifndef FD_DAEMON_MODEL_VIEW_H
#define FD_DAEMON_MODEL_VIEW_H

#include <stdio.h>

#include "base/err.h"
#include "daemon/table.h"
#include "model/model.h"
#include "storage/registry.h"

struct model_view {
    struct registry_bytes bytes;
    struct model *model;
};

/* `path`, and path + ".state" where that exists. */
FD_MUSTCHECK enum err model_view_file(const char *path, struct model_view *out, struct errmsg *e);
/* A version of the registry. */
FD_MUSTCHECK enum err model_view_registry(struct db *d, const char *version, struct model_view *out,
                                          struct errmsg *e);
void model_view_done(struct model_view *v);

/* ERR_MISMATCH this program's columns are not those the model was trained on. */
FD_MUSTCHECK enum err model_view_check_schema(const struct model_view *v, struct errmsg *e);

/* Lineage, measures, sizes, columns without variance.  row: of registry_row, or NULL for a file. */
void model_view_print(FILE *f, const struct model_view *v, const struct db_rows *row,
                      enum table_form form);

#endif
