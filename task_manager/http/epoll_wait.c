/* epoll_wait.c - stands before the C library's epoll_wait, for libmicrohttpd.
 *
 * Its event loop (0.9.75, MHD_epoll) has an array of 128 events. When a wait fills it exactly,
 * the loop takes it that there may be more and waits again, with the same timeout as before,
 * ahead of working on the 128 it has: with nothing more to come they lie until the next event
 * on that thread, or until a connection times out. Asked for one event fewer the array is
 * never full; what does not fit comes with the next wait. */
#include <stddef.h>
#include <sys/epoll.h>

int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
    return epoll_pwait(epfd, events, maxevents > 1 ? maxevents - 1 : maxevents, timeout, NULL);
}
