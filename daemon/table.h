/* Rows of the database as people and scripts want them: aligned columns on a terminal, else
 * tab-separated with a line of names, or JSON.  Values come from outside: on a terminal control
 * characters are shown as '?', so that no card number can move the cursor; tabs and line ends
 * inside tab-separated values are written as \t and \n. */
#ifndef FD_DAEMON_TABLE_H
#define FD_DAEMON_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "storage/db.h"

enum table_form { TABLE_ALIGNED, TABLE_TABS, TABLE_JSON };

/* The form for standard output. */
enum table_form table_form(bool json);

/* All rows.  JSON: one array of objects; columns of type json are written as they are. */
void table_print(FILE *f, const struct db_rows *r, enum table_form form);

/* One value with its name. */
struct table_field {
    const char *name;
    const char *text;                                              /* NULL: none */
    enum { TABLE_TEXT, TABLE_NUMBER, TABLE_BOOL, TABLE_RAW } kind; /* RAW: JSON as it is */
};

/* A line a field ("name value"), those without value left out.  JSON: an object, without its
 * closing brace where `more` follows. */
void table_print_fields(FILE *f, const struct table_field *fields, int n, enum table_form form,
                        bool more);
/* The fields of one row. */
void table_print_row(FILE *f, const struct db_rows *r, int row, enum table_form form, bool more);

/* A string as JSON, with its quotes. */
void table_print_json(FILE *f, const char *text);

#endif
