/* Our own schema of a format, known without a registry: as if it had been asked before. */
#ifndef FD_TESTS_SUPPORT_KEPT_SCHEMAS_H
#define FD_TESTS_SUPPORT_KEPT_SCHEMAS_H

#include "daemon/schemas.h"

#define KEPT_SCHEMA 1 /* its id */

/* Returns owned; ends the program with a line where that cannot be.  Not FORMAT_JSON. */
struct schemas *kept_schemas(enum wire_format f);

#endif
