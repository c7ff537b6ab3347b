/* What this program is: shown by --version, written into model files and decisions. */
#ifndef FD_DAEMON_VERSION_H
#define FD_DAEMON_VERSION_H

/* Raised with any change that may change a decision's bytes; a test with stored decisions holds it.
 */
#define FD_DECISION_REVISION 2

/* The source revision this binary was built from. */
const char *version_revision(void);

#endif
