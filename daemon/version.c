#include "daemon/version.h"

#ifndef FD_REVISION
#define FD_REVISION "unknown"
#endif

const char *version_revision(void)
{
    return FD_REVISION;
}
