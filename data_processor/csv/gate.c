#include "gate.h"

void gate_init(struct gate *g)
{
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->moved, NULL);
    g->inside = 0;
    atomic_init(&g->shut, false);
}

void gate_release(struct gate *g)
{
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->moved);
}

/* With the lock held. */
static void go_in(struct gate *g)
{
    while (gate_is_shut(g))
        pthread_cond_wait(&g->moved, &g->lock);
    g->inside++;
}

static void go_out(struct gate *g)
{
    g->inside--;
    if (gate_is_shut(g))
        pthread_cond_broadcast(&g->moved);
}

void gate_enter(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    go_in(g);
    pthread_mutex_unlock(&g->lock);
}

void gate_leave(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    go_out(g);
    pthread_mutex_unlock(&g->lock);
}

void gate_pass(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    go_out(g);
    go_in(g);
    pthread_mutex_unlock(&g->lock);
}

bool gate_shut(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    bool mine = !gate_is_shut(g);
    if (mine) {
        atomic_store_explicit(&g->shut, true, memory_order_relaxed);
        while (g->inside > 1)
            pthread_cond_wait(&g->moved, &g->lock);
    } else {
        go_out(g);
        go_in(g);
    }
    pthread_mutex_unlock(&g->lock);
    return mine;
}

void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    atomic_store_explicit(&g->shut, false, memory_order_relaxed);
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}
