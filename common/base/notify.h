/* notify.h - what a service manager (systemd, Type=notify) is told: ready, alive, stopping.
 *
 * One datagram each to the socket that NOTIFY_SOCKET names; without one every call does
 * nothing. Nothing blocks and nothing fails: a program's work does not depend on who watches
 * it. The state belongs to the process: call from one thread, after notify_open. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment,
 * so that no child speaks for us. Before there are other threads. */
void notify_open(void);

/* Tells lines such as "READY=1", printf style. */
void notify_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The program ends, and may take up to limit_ms from now. */
void notify_stopping(int64_t limit_ms);

/* When the next sign of life is due, on the monotonic clock; INT64_MAX: nobody waits for one.
 */
int64_t notify_due_ms(void);

/* To be called when notify_due_ms has passed: gives the sign of life, with `status` for people
 * to read (NULL: none), or withholds it when the program is not alive; the next one is due
 * after a third of the watchdog's patience either way. */
void notify_alive(bool is_alive, const char *status);

#endif
