/* broker_none.c - no broker: publishing always succeeds and wakes nobody, nothing is ever
 * delivered. Workers find their work by polling over HTTP. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "broker_impl.h"

static int none_publish(struct broker *b, const struct broker_message *messages, size_t count,
                        int timeout_ms, bool *ret_confirmed, struct err *err)
{
    (void)b, (void)messages, (void)timeout_ms, (void)err;
    for (size_t i = 0; i < count; i++)
        ret_confirmed[i] = true;
    return 0;
}

static int none_pump(struct broker *b, struct err *err)
{
    (void)b, (void)err;
    return 0;
}

static int none_consume(struct broker *b, const char *const *queues, size_t count,
                        uint16_t prefetch, struct err *err)
{
    (void)b, (void)queues, (void)count, (void)prefetch, (void)err;
    return 0;
}

static int none_pause(struct broker *b, struct err *err)
{
    (void)b, (void)err;
    return 0;
}

static int none_next(struct broker *b, int timeout_ms, int wake_fd, struct broker_delivery *ret,
                     struct err *err)
{
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN}; /* poll skips an fd of -1 */

    (void)b, (void)ret;
    if (poll(&wake, 1, timeout_ms) < 0 && errno != EINTR)
        return err_set_errno(err, -E_UNAVAILABLE, errno, "cannot wait");
    return 0;
}

static int none_ack(struct broker *b, uint64_t tag, struct err *err)
{
    (void)b, (void)tag, (void)err;
    return 0;
}

static int none_fd(const struct broker *b)
{
    (void)b;
    return -1;
}

static bool none_is_up(const struct broker *b)
{
    (void)b;
    return true;
}

static void none_close(struct broker *b)
{
    free(b);
}

static const struct broker_ops none_ops = {
    .name = "none",
    .delivers = false,
    .publish = none_publish,
    .pump = none_pump,
    .consume = none_consume,
    .pause = none_pause,
    .next = none_next,
    .fd = none_fd,
    .ack = none_ack,
    .is_up = none_is_up,
    .close = none_close,
};

int broker_none_open(struct broker **ret, struct err *err)
{
    struct broker *b = calloc(1, sizeof *b);

    if (!b)
        return err_set(err, -E_NO_MEMORY, "no memory for a broker");
    b->ops = &none_ops;
    *ret = b;
    return 0;
}
