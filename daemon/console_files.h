/* The console's page: the files of daemon/console/, built into the program. */
#ifndef FD_DAEMON_CONSOLE_FILES_H
#define FD_DAEMON_CONSOLE_FILES_H

struct console_file {
    const char *path; /* as a browser asks for it */
    const char *type;
    const char *text; /* static, zero-terminated */
};

/* NULL: there is none. */
const struct console_file *console_file_find(const char *path);

#endif
