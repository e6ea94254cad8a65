/* broker.c - the front: picks an implementation by URL and checks what callers promise, so
 * that no implementation has to. */
#include "broker.h"

#include <assert.h>
#include <string.h>

#include "broker_impl.h"

static void assert_complete(const struct broker_ops *ops)
{
    assert(ops && ops->name);
    assert(ops->publish && ops->pump);
    assert(ops->consume && ops->pause && ops->next && ops->fd && ops->ack);
    assert(ops->is_up && ops->close);
}

int broker_open(const char *url, enum broker_use use, const char *name, struct broker **ret,
                struct err *err)
{
    int rc;

    if (!url || url[0] == '\0')
        rc = broker_none_open(ret, err);
    else
        rc = broker_rabbitmq_open(url, name, ret, err);
    if (rc != 0)
        return rc;
    assert_complete((*ret)->ops);
    (*ret)->use = use;
    return 0;
}

void broker_close(struct broker *b)
{
    if (b)
        b->ops->close(b);
}

bool broker_delivers(const struct broker *b)
{
    return b->ops->delivers;
}

bool broker_is_up(const struct broker *b)
{
    return b->ops->is_up(b);
}

static bool is_name(const char *queue)
{
    size_t len = strnlen(queue, BROKER_QUEUE_MAX);

    return len > 0 && len < BROKER_QUEUE_MAX;
}

int broker_publish(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err)
{
    assert(b->use == BROKER_PUBLISH);
    assert(count <= BROKER_BATCH_MAX && timeout_ms >= 0);
    for (size_t i = 0; i < count; i++) {
        assert(is_name(messages[i].queue));
        assert(memchr(messages[i].id, '\0', sizeof messages[i].id));
        assert(memchr(messages[i].body, '\0', sizeof messages[i].body));
    }
    memset(ret_confirmed, 0, count * sizeof *ret_confirmed);
    return b->ops->publish(b, messages, count, timeout_ms, ret_confirmed, err);
}

int broker_pump(struct broker *b, struct err *err)
{
    assert(b->use == BROKER_PUBLISH);
    return b->ops->pump(b, err);
}

int broker_consume(struct broker *b, const char *const *queues, size_t count, uint16_t prefetch,
                   struct err *err)
{
    assert(b->use == BROKER_CONSUME);
    assert(count > 0 && count <= BROKER_CONSUME_MAX && prefetch > 0);
    for (size_t i = 0; i < count; i++)
        assert(is_name(queues[i]));
    return b->ops->consume(b, queues, count, prefetch, err);
}

int broker_pause(struct broker *b, struct err *err)
{
    assert(b->use == BROKER_CONSUME);
    return b->ops->pause(b, err);
}

int broker_next(struct broker *b, int timeout_ms, int wake_fd, struct broker_delivery *ret,
                struct err *err)
{
    assert(b->use == BROKER_CONSUME && timeout_ms >= 0);
    return b->ops->next(b, timeout_ms, wake_fd, ret, err);
}

int broker_fd(const struct broker *b)
{
    assert(b->use == BROKER_CONSUME);
    return b->ops->fd(b);
}

int broker_ack(struct broker *b, uint64_t tag, struct err *err)
{
    assert(b->use == BROKER_CONSUME);
    return b->ops->ack(b, tag, err);
}
