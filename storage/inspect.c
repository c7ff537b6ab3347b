#include "storage/inspect.h"

#include <stdio.h>
#include <string.h>

/* mine: the roles of sql/0009_roles.sql that the user has; need: what they are granted. */
#define NEED                                                                                       \
    "WITH mine AS (SELECT rolname AS role FROM pg_roles WHERE rolname IN (SELECT role FROM "       \
    "role_grants) AND pg_has_role(oid, 'USAGE')), "                                                \
    "need AS (SELECT DISTINCT kind, object, privilege, split_part(privilege, ' ', 1) AS verb, "    \
    "privilege LIKE '% (%' AS columns FROM role_grants JOIN mine USING (role)) "

static const char LACKS[] =
    NEED "SELECT privilege || ' on ' || kind || ' ' || object, "
         "format('GRANT %s ON %s %s TO %I', privilege, kind, object, current_user) FROM need "
         "WHERE NOT CASE WHEN kind = 'function' THEN has_function_privilege(object, 'EXECUTE') "
         "WHEN columns THEN has_any_column_privilege(object, verb) "
         "ELSE has_table_privilege(object, verb) END "
         "UNION ALL "
         "SELECT 'TEMP on database ' || current_database(), "
         "format('GRANT TEMP ON DATABASE %I TO %I', current_database(), current_user) "
         "WHERE NOT has_database_privilege(current_database(), 'TEMP') "
         "ORDER BY 1";

static const char SUPERFLUOUS[] =
    NEED "SELECT verb || ' on table ' || relname, "
         "format('REVOKE %s ON %I FROM %I, PUBLIC', verb, relname, current_user) "
         "FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', "
         "'TRUNCATE']) verb "
         "WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition "
         "AND relowner = (SELECT relowner FROM pg_class WHERE oid = 'alerts'::regclass) "
         "AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'alerts'::regclass) "
         "AND has_table_privilege(c.oid, verb) AND NOT EXISTS (SELECT FROM need n "
         "WHERE n.kind = 'table' AND n.verb = verb.verb AND NOT n.columns "
         "AND to_regclass(n.object) = c.oid) "
         "UNION ALL "
         "SELECT 'attribute ' || attribute, "
         "format('ALTER ROLE %I NO%s', current_user, attribute) "
         "FROM pg_roles, unnest(ARRAY['CREATEROLE', 'BYPASSRLS']) attribute "
         "WHERE rolname = current_user "
         "AND CASE attribute WHEN 'CREATEROLE' THEN rolcreaterole ELSE rolbypassrls END "
         "ORDER BY 1";

/* Who owns the tables has every privilege on them; so has a superuser. */
static const char ROLES[] =
    "SELECT pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'alerts'::regclass), 'USAGE'), "
    "(SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles "
    "WHERE starts_with(rolname, 'fraudd_') AND pg_has_role(oid, 'USAGE')), "
    "format('GRANT fraudd_sink TO %I', current_user)";

enum err inspect_lacks(struct db *d, struct db_rows **out, struct errmsg *e)
{
    return db_exec(d, LACKS, 0, NULL, out, e);
}

enum err inspect_superfluous(struct db *d, struct db_rows **out, struct errmsg *e)
{
    return db_exec(d, SUPERFLUOUS, 0, NULL, out, e);
}

enum err inspect_roles(struct db *d, struct db_rows **out, struct errmsg *e)
{
    return db_exec(d, ROLES, 0, NULL, out, e);
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
