#include "daemon/table.h"

#include <string.h>
#include <unistd.h>

#define COLUMNS_MAX 64
#define WIDTH_MAX 60 /* a longer value pushes its row's further columns to the right */

enum table_form table_form(bool json)
{
    return json ? TABLE_JSON : isatty(STDOUT_FILENO) ? TABLE_ALIGNED : TABLE_TABS;
}

/* C1 control characters are c2 80 .. c2 9f in UTF-8; some terminals obey them like ESC. */
static bool is_c1(const char *p)
{
    return (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0;
}

void table_print_json(FILE *f, const char *text)
{
    fputc('"', f);
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(f, "\\u%04x", c);
        } else if (is_c1(p)) {
            fprintf(f, "\\u%04x", (unsigned char)*++p);
        } else {
            fputc(c, f);
        }
    }
    fputc('"', f);
}

/* Characters of UTF-8 text: every byte that does not continue one. */
static int width_of(const char *text)
{
    int width = 0;
    for (const char *p = text; *p != '\0'; p++) {
        width += ((unsigned char)*p & 0xc0) != 0x80;
    }
    return width;
}

/* Control characters as '?'. */
static void print_visible(FILE *f, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        bool c1 = is_c1(p);
        fputc(c < 0x20 || c == 0x7f || c1 ? '?' : c, f);
        p += c1;
    }
}

static void print_escaped(FILE *f, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        const char *escape = *p == '\t'   ? "\\t"
                             : *p == '\n' ? "\\n"
                             : *p == '\r' ? "\\r"
                             : *p == '\\' ? "\\\\"
                                          : NULL;
        if (escape != NULL) {
            fputs(escape, f);
        } else {
            fputc(*p, f);
        }
    }
}

static const char *value(const struct db_rows *r, int row, int column)
{
    const char *text = db_rows_text(r, row, column);
    return text != NULL ? text : "";
}

static struct table_field field_of(const struct db_rows *r, int row, int column)
{
    struct table_field f = {db_rows_name(r, column), db_rows_text(r, row, column), TABLE_TEXT};
    if (db_rows_is_number(r, column)) {
        f.kind = TABLE_NUMBER;
    } else if (db_rows_is_bool(r, column)) {
        f.kind = TABLE_BOOL;
    } else if (db_rows_is_json(r, column)) {
        f.kind = TABLE_RAW;
    }
    return f;
}

static void print_member(FILE *f, const struct table_field *m)
{
    table_print_json(f, m->name);
    fputs(": ", f);
    if (m->text == NULL) {
        fputs("null", f);
    } else if (m->kind == TABLE_BOOL) {
        fputs(m->text[0] == 't' ? "true" : "false", f);
    } else if (m->kind == TABLE_RAW ||
               (m->kind == TABLE_NUMBER && strchr("-0123456789", m->text[0]) != NULL)) {
        fputs(m->text, f); /* NaN and Infinity are no JSON numbers */
    } else {
        table_print_json(f, m->text);
    }
}

static void print_object(FILE *f, const struct db_rows *r, int row)
{
    fputc('{', f);
    for (int c = 0; c < db_rows_columns(r); c++) {
        struct table_field m = field_of(r, row, c);
        fputs(c > 0 ? ", " : "", f);
        print_member(f, &m);
    }
}

static void print_array(FILE *f, const struct db_rows *r)
{
    fputc('[', f);
    for (int i = 0; i < db_rows_count(r); i++) {
        fputs(i > 0 ? ",\n " : "", f);
        print_object(f, r, i);
        fputc('}', f);
    }
    fputs("]\n", f);
}

static void print_tabs(FILE *f, const struct db_rows *r)
{
    for (int i = -1; i < db_rows_count(r); i++) {
        for (int c = 0; c < db_rows_columns(r); c++) {
            fputs(c > 0 ? "\t" : "", f);
            print_escaped(f, i < 0 ? db_rows_name(r, c) : value(r, i, c));
        }
        fputc('\n', f);
    }
}

static int column_width(const struct db_rows *r, int column)
{
    int width = width_of(db_rows_name(r, column));
    for (int i = 0; i < db_rows_count(r); i++) {
        int w = width_of(value(r, i, column));
        width = w > width ? w : width;
    }
    return width < WIDTH_MAX ? width : WIDTH_MAX;
}

/* A cell with the blanks that bring it to its width; numbers to the right, none after the last. */
static void print_cell(FILE *f, const char *text, int width, bool right, bool last)
{
    int blanks = width - width_of(text);
    if (right && blanks > 0) {
        fprintf(f, "%*s", blanks, "");
    }
    print_visible(f, text);
    if (!last) {
        fprintf(f, "%*s", right || blanks < 0 ? 2 : blanks + 2, "");
    }
}

static void print_aligned(FILE *f, const struct db_rows *r)
{
    int width[COLUMNS_MAX];
    int columns = db_rows_columns(r) < COLUMNS_MAX ? db_rows_columns(r) : COLUMNS_MAX;
    for (int c = 0; c < columns; c++) {
        width[c] = column_width(r, c);
    }
    for (int i = -1; i < db_rows_count(r); i++) {
        for (int c = 0; c < columns; c++) {
            print_cell(f, i < 0 ? db_rows_name(r, c) : value(r, i, c), width[c],
                       db_rows_is_number(r, c), c + 1 == columns);
        }
        fputc('\n', f);
    }
}

void table_print(FILE *f, const struct db_rows *r, enum table_form form)
{
    switch (form) {
    case TABLE_ALIGNED:
        print_aligned(f, r);
        break;
    case TABLE_TABS:
        print_tabs(f, r);
        break;
    case TABLE_JSON:
        print_array(f, r);
        break;
    }
}

static void print_line(FILE *f, const struct table_field *m, int width, enum table_form form)
{
    if (form == TABLE_TABS) {
        fprintf(f, "%s\t", m->name);
        print_escaped(f, m->text);
    } else {
        fprintf(f, "%-*s  ", width, m->name);
        print_visible(f, m->text);
    }
    fputc('\n', f);
}

void table_print_fields(FILE *f, const struct table_field *fields, int n, enum table_form form,
                        bool more)
{
    int width = 0;
    for (int i = 0; i < n; i++) {
        int w = width_of(fields[i].name);
        width = w > width ? w : width;
    }
    fputs(form == TABLE_JSON ? "{" : "", f);
    for (int i = 0; i < n; i++) {
        if (form == TABLE_JSON) {
            fputs(i > 0 ? ", " : "", f);
            print_member(f, &fields[i]);
        } else if (fields[i].text != NULL) {
            print_line(f, &fields[i], width, form);
        }
    }
    fputs(form == TABLE_JSON && !more ? "}\n" : "", f);
}

void table_print_row(FILE *f, const struct db_rows *r, int row, enum table_form form, bool more)
{
    struct table_field fields[COLUMNS_MAX];
    int n = db_rows_columns(r) < COLUMNS_MAX ? db_rows_columns(r) : COLUMNS_MAX;
    for (int c = 0; c < n; c++) {
        fields[c] = field_of(r, row, c);
    }
    table_print_fields(f, fields, n, form, more);
}
