/* Checks of the HTML pages that the program writes. */
#ifndef FD_TESTS_SUPPORT_HTML_H
#define FD_TESTS_SUPPORT_HTML_H

#include <stddef.h>

/* Every element closed in order, every attribute quoted, every & a reference. */
void html_assert_well_formed(const char *page);
/* Nothing is loaded or run, numbers are numbers, dark is known. */
void html_assert_self_contained(const char *page);
size_t html_count(const char *text, const char *what);

#endif
