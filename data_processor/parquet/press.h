/* press.h - compresses pages, on several threads, and gives them back in the order in which
 * they came.
 *
 * One thread (the owner) submits and drains; the threads in here only compress. A page that is
 * done waits in its place in the ring until its turn. */
#ifndef PARQUET_PRESS_H
#define PARQUET_PRESS_H

#include <pthread.h>

#include "buf.h"
#include "err.h"
#include "meta.h"

enum { PRESS_LEVEL = 3, PRESS_THREADS_MAX = 64 };

struct page {
    struct page_facts facts;
    struct buf raw, packed;
    void *owner; /* of press_submit */
    bool done;
    int rc; /* of the compression */
};

struct press {
    int (*take)(void *owner, const struct page *page, struct err *err);
    struct page *ring;
    size_t room;
    pthread_t *threads;
    size_t thread_count;
    void *context;        /* of the owner's own compression */
    pthread_mutex_t lock; /* guards all below, and `done` and `rc` of the pages */
    pthread_cond_t work, finished;
    uint64_t submitted, begun, drained; /* pages */
    bool stop;
};

/* `take` gets each finished page in the order of press_submit, in the owner's thread. Fewer
 * threads than wanted are no error. Release after any outcome. */
int press_init(struct press *p, unsigned threads,
               int (*take)(void *owner, const struct page *page, struct err *err),
               struct err *err);
void press_release(struct press *p);

/* Hands a page over: `raw` is taken and what comes back in it is empty. May take others first.
 */
int press_submit(struct press *p, void *owner, enum page_kind kind, uint32_t values,
                 struct buf *raw, struct err *err);

/* Until all that was submitted has been taken. */
int press_drain(struct press *p, struct err *err);

/* One page that is larger than memory, by the owner's thread: begin, pieces, end. The pieces
 * must be cut alike for the result to be. What comes out goes to `put`. */
struct stream {
    void *context;
    char *out;
    size_t room;
    uint32_t crc;
    uint64_t raw_bytes, packed_bytes;
    int (*put)(void *owner, const void *bytes, size_t len, struct err *err);
    void *owner;
};

int stream_begin(struct stream *s, uint64_t raw_bytes,
                 int (*put)(void *owner, const void *bytes, size_t len, struct err *err),
                 void *owner, struct err *err);
int stream_add(struct stream *s, const void *bytes, size_t len, bool last, struct err *err);
void stream_release(struct stream *s);

#endif
