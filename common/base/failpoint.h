/* failpoint.h - named places at which a test makes a daemon die, stop or fail.
 *
 * The places are listed in failpoint.def and marked in the code by one line each:
 *
 *     FAILPOINT(claim_committed);                           may kill or stop the process
 *     rc = FAILPOINT_ERR(claim_written, -E_IO, err);        may return that error as well
 *
 * A test arms them by the environment, several separated by commas:
 *
 *     FAILPOINT=name:kill|stop|error[:nth]   at the nth time the place is passed, or the first
 *     FAILPOINT_DIR=DIR                      leaves DIR/name, with the process's id in it,
 *                                            before it strikes; a place whose file is there
 *                                            does not strike again, in no process
 *
 * kill is SIGKILL and stop SIGSTOP, both to the whole process. A FAILPOINT that cannot be
 * understood ends the program with exit code 2 and a list of all places. Any thread.
 *
 * Only in builds with -DSEGUE_FAILPOINTS=ON (all presets but release). Without it both macros
 * are nothing, and no name of a place is in the program (scripts/check_failpoints.sh). */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#ifdef SEGUE_FAILPOINTS

#include <stdbool.h>

#include "err.h"

enum failpoint {
#define F(name, where, can_fail, text) FAILPOINT_##name,
#include "failpoint.def"
#undef F
    FAILPOINT__COUNT
};

/* True when the place is to fail now; does not return from a kill. */
bool failpoint_strikes(enum failpoint place);
/* `code` with a sentence when it is, else 0. */
int failpoint_err(enum failpoint place, int code, struct err *err);

#define FAILPOINT(name)                ((void)failpoint_strikes(FAILPOINT_##name))
#define FAILPOINT_ERR(name, code, err) failpoint_err(FAILPOINT_##name, code, err)

#else

#define FAILPOINT(name)                ((void)0)
#define FAILPOINT_ERR(name, code, err) 0

#endif
#endif
