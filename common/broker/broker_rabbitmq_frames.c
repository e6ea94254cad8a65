/* broker_rabbitmq_frames.c - turns the frames of one channel into events.
 *
 * Confirms and cancels are one method frame; a delivery or a return is a method frame, a
 * header frame and body frames (AMQP 0-9-1, section 4.2.6). All that the broker may say
 * without being asked is in the table of handlers; anything else ends the link. */
#include <string.h>

#include "broker_rabbitmq_amqp.h"

/* --- frames: each handler returns 1 when *ret is an event, 0 when more is to come ----------
 */

static int on_ack(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    const amqp_basic_ack_t *m = method;

    (void)l;
    *ret = (struct rabbit_event){.kind = RABBIT_CONFIRM,
                                 .number = m->delivery_tag,
                                 .multiple = m->multiple != 0,
                                 .taken = true};
    return 1;
}

static int on_nack(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    const amqp_basic_nack_t *m = method;

    (void)l;
    *ret = (struct rabbit_event){
        .kind = RABBIT_CONFIRM, .number = m->delivery_tag, .multiple = m->multiple != 0};
    return 1;
}

/* "segue.x" to "x"; false when it is no name of ours. */
static bool copy_queue(amqp_bytes_t from, char to[BROKER_QUEUE_MAX])
{
    const size_t prefix = sizeof RABBIT_QUEUE_PREFIX - 1;

    if (from.len <= prefix || from.len - prefix >= BROKER_QUEUE_MAX ||
        memcmp(from.bytes, RABBIT_QUEUE_PREFIX, prefix) != 0)
        return false;
    memcpy(to, (const char *)from.bytes + prefix, from.len - prefix);
    to[from.len - prefix] = '\0';
    return true;
}

static int on_cancel(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    const amqp_basic_cancel_t *m = method;

    (void)l;
    *ret = (struct rabbit_event){.kind = RABBIT_CANCEL};
    return copy_queue(m->consumer_tag, ret->queue) ? 1 : 0;
}

static int on_return(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    const amqp_basic_return_t *m = method;

    (void)ret;
    l->content = (struct rabbit_content){
        .open = true,
        .event = {.kind = RABBIT_RETURN, .taken = m->reply_code == AMQP_NO_ROUTE}};
    return 0;
}

static int on_deliver(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    const amqp_basic_deliver_t *m = method;
    struct rabbit_event *e = &l->content.event;

    (void)ret;
    l->content = (struct rabbit_content){.open = true, .event = {.kind = RABBIT_DELIVERY}};
    e->number = m->delivery_tag;
    e->unfit = !copy_queue(m->consumer_tag, e->queue);
    return 0;
}

static int on_blocked(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    (void)method, (void)ret;
    l->blocked = true;
    return 0;
}

static int on_unblocked(struct rabbit_link *l, const void *method, struct rabbit_event *ret)
{
    (void)method, (void)ret;
    l->blocked = false;
    return 0;
}

static const struct {
    amqp_method_number_t id;
    int (*handle)(struct rabbit_link *, const void *method, struct rabbit_event *ret);
} handlers[] = {
    {AMQP_BASIC_ACK_METHOD, on_ack},
    {AMQP_BASIC_NACK_METHOD, on_nack},
    {AMQP_BASIC_CANCEL_METHOD, on_cancel},
    {AMQP_BASIC_RETURN_METHOD, on_return},
    {AMQP_BASIC_DELIVER_METHOD, on_deliver},
    {AMQP_CONNECTION_BLOCKED_METHOD, on_blocked},
    {AMQP_CONNECTION_UNBLOCKED_METHOD, on_unblocked},
};

/* Closes of channel and connection end up here as the unexpected methods that they are. */
static int take_method(struct rabbit_link *l, const amqp_method_t *m, struct rabbit_event *ret,
                       struct err *err)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].id == m->id)
            return handlers[i].handle(l, m->decoded, ret);
    }
    return rabbit_link_lose_by_close(l, "the link", m, err);
}

static int finish_content(struct rabbit_link *l, struct rabbit_event *ret)
{
    struct rabbit_content *c = &l->content;

    if (c->body_left > 0)
        return 0;
    c->event.body[c->body_len] = '\0';
    if (strlen(c->event.body) != c->body_len) /* a NUL inside: no JSON of ours */
        c->event.unfit = true;
    *ret = c->event;
    c->open = false;
    return 1;
}

static uint64_t read_number(amqp_bytes_t text)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.len && i < 19; i++) {
        char c = ((const char *)text.bytes)[i];

        if (c < '0' || c > '9')
            return 0;
        n = n * 10 + (uint64_t)(c - '0');
    }
    return n;
}

static int take_header(struct rabbit_link *l, const amqp_frame_t *frame,
                       struct rabbit_event *ret, struct err *err)
{
    struct rabbit_content *c = &l->content;
    const amqp_basic_properties_t *p = frame->payload.properties.decoded;

    if (!c->open || c->has_header)
        return rabbit_link_lose(l, err, "a header frame came out of place");
    c->has_header = true;
    c->body_left = frame->payload.properties.body_size;
    if (c->event.kind == RABBIT_RETURN && (p->_flags & AMQP_BASIC_CORRELATION_ID_FLAG))
        c->event.number = read_number(p->correlation_id);
    if (c->body_left == 0 || c->body_left >= BROKER_BODY_MAX)
        c->event.unfit = true; /* too many bytes are read past, never kept */
    return finish_content(l, ret);
}

static int take_body(struct rabbit_link *l, const amqp_frame_t *frame, struct rabbit_event *ret,
                     struct err *err)
{
    struct rabbit_content *c = &l->content;
    amqp_bytes_t part = frame->payload.body_fragment;

    if (!c->open || !c->has_header || part.len > c->body_left)
        return rabbit_link_lose(l, err, "a body frame came out of place");
    c->body_left -= part.len;
    if (!c->event.unfit) {
        memcpy(c->event.body + c->body_len, part.bytes, part.len);
        c->body_len += part.len;
    }
    return finish_content(l, ret);
}

int rabbit_link_take_frame(struct rabbit_link *l, const amqp_frame_t *frame,
                           struct rabbit_event *ret, struct err *err)
{
    switch (frame->frame_type) {
    case AMQP_FRAME_METHOD:
        return take_method(l, &frame->payload.method, ret, err);
    case AMQP_FRAME_HEADER:
        return take_header(l, frame, ret, err);
    case AMQP_FRAME_BODY:
        return take_body(l, frame, ret, err);
    default:
        return 0; /* a heartbeat; 0.11 hands them out now and then */
    }
}
