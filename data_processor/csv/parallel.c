#include "parallel.h"

#include <pthread.h>

#include "plan.h"

struct hand {
    void (*fn)(void *arg, size_t me);
    void *arg;
    size_t me;
    pthread_t id;
};

static void *hand_main(void *arg)
{
    struct hand *h = arg;

    h->fn(h->arg, h->me);
    return NULL;
}

static void run_together(size_t threads, void (*fn)(void *arg, size_t me), void *arg)
{
    struct hand hands[THREADS_MAX];
    size_t started = 0;

    while (started + 1 < threads && started + 1 < THREADS_MAX) {
        struct hand *h = &hands[started];
        *h = (struct hand){.fn = fn, .arg = arg, .me = started + 1};
        if (pthread_create(&h->id, NULL, hand_main, h) != 0)
            break;
        started++;
    }
    fn(arg, 0);
    for (size_t i = 0; i < started; i++)
        pthread_join(hands[i].id, NULL);
}

/* Alone it does not pay for the list of the others. */
void parallel_run(size_t threads, void (*fn)(void *arg, size_t me), void *arg)
{
    if (threads > 1)
        run_together(threads, fn, arg);
    else
        fn(arg, 0);
}
