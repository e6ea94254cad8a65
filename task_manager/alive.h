/* alive.h - would a restart help? What the service manager's watchdog is told by. */
#ifndef TASK_MANAGER_ALIVE_H
#define TASK_MANAGER_ALIVE_H

#include <stdbool.h>
#include <stdint.h>

/* Gives the sign of life that is due, or withholds it: /healthz is asked for at `address`
 * ("0.0.0.0:5000"), as a client would. A database or disk that is away is no reason, since the
 * program that starts anew has none either. Nor is it a crowd of connections that leaves no
 * room for this one, as long as requests are being answered. Takes up to 2 s. Main
 * thread only: that it gets here is part of the sign. */
void alive_tell(const char *address);

/* Milliseconds until the next sign is due; -1: nobody waits for one. */
int64_t alive_wait_ms(void);

#endif
