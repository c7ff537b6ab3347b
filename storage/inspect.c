#include "storage/inspect.h"

#include <stdio.h>
#include <string.h>

/* Making the monthly partitions needs the owner's rights, the staging tables TEMP. */
static const char PRIVILEGES[] =
    "WITH need (object, privilege) AS (VALUES "
    "('transactions', 'SELECT'), ('transactions', 'INSERT'), "
    "('decisions', 'SELECT'), ('decisions', 'INSERT'), "
    "('alerts', 'SELECT'), ('alerts', 'INSERT'), ('alerts', 'UPDATE'), "
    "('labels', 'SELECT'), ('labels', 'INSERT'), "
    "('label_outbox', 'SELECT'), ('label_outbox', 'INSERT'), ('label_outbox', 'DELETE'), "
    "('models', 'SELECT'), ('models', 'INSERT'), ('models', 'UPDATE'), "
    "('sink_offsets', 'SELECT'), ('sink_offsets', 'INSERT'), ('sink_offsets', 'UPDATE'), "
    "('rejects', 'INSERT'), ('audit', 'INSERT')) "
    "SELECT privilege || ' on table ' || object, "
    "format('GRANT %s ON %s TO %I', privilege, object, current_user) "
    "FROM need WHERE NOT has_table_privilege(object, privilege) "
    "UNION ALL "
    "SELECT 'TEMP on database ' || current_database(), "
    "format('GRANT TEMP ON DATABASE %I TO %I', current_database(), current_user) "
    "WHERE NOT has_database_privilege(current_database(), 'TEMP') "
    "UNION ALL "
    "SELECT 'CREATE on schema ' || current_schema(), "
    "format('GRANT CREATE ON SCHEMA %I TO %I', current_schema(), current_user) "
    "WHERE NOT has_schema_privilege(current_schema(), 'CREATE') "
    "UNION ALL "
    "SELECT 'ownership of table ' || relname || ' (to make monthly partitions)', "
    "format('ALTER TABLE %I OWNER TO %I', relname, current_user) "
    "FROM pg_class WHERE oid IN ('transactions'::regclass, 'decisions'::regclass) "
    "AND NOT pg_has_role(relowner, 'USAGE')";

enum err inspect_privileges(struct db *d, struct db_rows **out, struct errmsg *e)
{
    return db_exec(d, PRIVILEGES, 0, NULL, out, e);
}

enum err inspect_server(struct db *d, char *out, size_t size, struct errmsg *e)
{
    struct db_rows *rows = NULL;
    enum err err = db_exec(d,
                           "SELECT current_setting('server_version'), current_database(), "
                           "current_user, current_setting('server_encoding')",
                           0, NULL, &rows, e);
    if (err != ERR_OK) {
        return err;
    }
    const char *encoding = db_rows_text(rows, 0, 3);
    if (strcmp(encoding, "UTF8") != 0) {
        err = err_set(e, ERR_INVALID,
                      "database \"%s\" has encoding %s, must have UTF8; make it anew: createdb "
                      "--encoding=UTF8 --template=template0 %s",
                      db_rows_text(rows, 0, 1), encoding, db_rows_text(rows, 0, 1));
    } else {
        snprintf(out, size, "PostgreSQL %s, database \"%s\", user \"%s\"", db_rows_text(rows, 0, 0),
                 db_rows_text(rows, 0, 1), db_rows_text(rows, 0, 2));
    }
    db_rows_free(rows);
    return err;
}
