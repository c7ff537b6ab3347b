#include "daemon/table.h"

#include <string.h>
#include <unistd.h>

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

static void print_member(FILE *f, const struct db_rows *r, int row, int column)
{
    const char *text = db_rows_text(r, row, column);
    table_print_json(f, db_rows_name(r, column));
    fputs(": ", f);
    if (text == NULL) {
        fputs("null", f);
    } else if (db_rows_is_bool(r, column)) {
        fputs(text[0] == 't' ? "true" : "false", f);
    } else if (db_rows_is_json(r, column) ||
               (db_rows_is_number(r, column) && strchr("-0123456789", text[0]) != NULL)) {
        fputs(text, f); /* NaN and Infinity are no JSON numbers */
    } else {
        table_print_json(f, text);
    }
}

static void print_object(FILE *f, const struct db_rows *r, int row)
{
    fputc('{', f);
    for (int c = 0; c < db_rows_columns(r); c++) {
        fputs(c > 0 ? ", " : "", f);
        print_member(f, r, row, c);
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
    int width[64];
    int columns = db_rows_columns(r) < 64 ? db_rows_columns(r) : 64;
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

void table_print_row(FILE *f, const struct db_rows *r, int row, enum table_form form, bool more)
{
    int width = 0;
    if (form == TABLE_JSON) {
        print_object(f, r, row);
        fputs(more ? "" : "}\n", f);
        return;
    }
    for (int c = 0; c < db_rows_columns(r); c++) {
        int w = width_of(db_rows_name(r, c));
        width = w > width ? w : width;
    }
    for (int c = 0; c < db_rows_columns(r); c++) {
        const char *text = db_rows_text(r, row, c);
        if (text == NULL) {
            continue;
        }
        if (form == TABLE_TABS) {
            fprintf(f, "%s\t", db_rows_name(r, c));
            print_escaped(f, text);
        } else {
            fprintf(f, "%-*s  ", width, db_rows_name(r, c));
            print_visible(f, text);
        }
        fputc('\n', f);
    }
}
