/* broker_impl.h - what an implementation of broker.h provides; for this room only.
 *
 * An implementation keeps a struct whose first member is a struct broker. The front in
 * broker.c has checked the arguments (use, counts, lengths) before it calls a method; the
 * contract of each method is that of the function of the same name in broker.h. */
#ifndef BROKER_IMPL_H
#define BROKER_IMPL_H

#include "broker.h"

struct broker_ops {
    const char *name;
    bool delivers;
    int (*publish)(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err);
    int (*pump)(struct broker *b, struct err *err);
    int (*consume)(struct broker *b, const char *const *queues, size_t count, uint16_t prefetch,
                   struct err *err);
    int (*pause)(struct broker *b, struct err *err);
    int (*next)(struct broker *b, int timeout_ms, int wake_fd, struct broker_delivery *ret,
                struct err *err);
    int (*fd)(const struct broker *b);
    int (*ack)(struct broker *b, uint64_t tag, struct err *err);
    bool (*is_up)(const struct broker *b);
    void (*close)(struct broker *b); /* frees b */
};

struct broker {
    const struct broker_ops *ops; /* set by the opener, never changes */
    enum broker_use use;
};

int broker_none_open(struct broker **ret, struct err *err);
int broker_rabbitmq_open(const char *url, const char *name, struct broker **ret,
                         struct err *err);

#endif
