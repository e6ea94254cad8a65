#include "press.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

static uint32_t crc_add(uint32_t crc, const void *bytes, size_t len)
{
    return (uint32_t)crc32_z(crc, bytes, len);
}

static void *context_new(void)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();

    if (context)
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, PRESS_LEVEL);
    return context;
}

static int pack(void *context, struct page *page)
{
    size_t bound = ZSTD_compressBound(page->raw.len);

    buf_clear(&page->packed);
    if (!context || !buf_reserve(&page->packed, bound))
        return -E_NO_MEMORY;
    size_t len =
        ZSTD_compress2(context, page->packed.data, bound, page->raw.data, page->raw.len);
    if (ZSTD_isError(len))
        return -E_NO_MEMORY; /* with room for all, nothing else can go wrong */
    page->packed.len = len;
    page->facts.raw_bytes = page->raw.len;
    page->facts.packed_bytes = len;
    page->facts.crc = crc_add(0, page->packed.data, len);
    return 0;
}

/* With the lock held, which is let go meanwhile: packs the next page that nobody has begun. */
static void pack_next(struct press *p, void *context)
{
    struct page *page = &p->ring[p->begun++ % p->room];

    pthread_mutex_unlock(&p->lock);
    int rc = pack(context, page);
    pthread_mutex_lock(&p->lock);
    page->rc = rc;
    page->done = true;
}

static void *press_main(void *arg)
{
    struct press *p = arg;
    void *context = context_new();

    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (p->begun == p->submitted) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        pack_next(p, context);
        pthread_cond_signal(&p->finished);
    }
    pthread_mutex_unlock(&p->lock);
    ZSTD_freeCCtx(context);
    return NULL;
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory to compress pages");
}

static void start_threads(struct press *p, unsigned threads)
{
    size_t wanted = threads > PRESS_THREADS_MAX ? PRESS_THREADS_MAX : threads;

    p->threads = wanted > 1 ? calloc(wanted - 1, sizeof *p->threads) : NULL;
    while (p->threads && p->thread_count < wanted - 1 &&
           pthread_create(&p->threads[p->thread_count], NULL, press_main, p) == 0)
        p->thread_count++;
}

int press_init(struct press *p, unsigned threads,
               int (*take)(void *owner, const struct page *page, struct err *err),
               struct err *err)
{
    *p = (struct press){.take = take};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->finished, NULL);
    p->room = threads > 1
                  ? 2 * (size_t)(threads > PRESS_THREADS_MAX ? PRESS_THREADS_MAX : threads)
                  : 1;
    p->ring = calloc(p->room, sizeof *p->ring);
    p->context = context_new();
    if (!p->ring || !p->context)
        return no_memory(err);
    for (size_t i = 0; i < p->room; i++) {
        buf_init(&p->ring[i].raw);
        buf_init(&p->ring[i].packed);
    }
    start_threads(p, threads);
    return 0;
}

void press_release(struct press *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->thread_count; i++)
        pthread_join(p->threads[i], NULL);
    for (size_t i = 0; p->ring && i < p->room; i++) {
        buf_release(&p->ring[i].raw);
        buf_release(&p->ring[i].packed);
    }
    free(p->threads);
    free(p->ring);
    ZSTD_freeCCtx(p->context);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->finished);
}

/* The oldest page. Until it is done the owner packs others rather than wait. */
static int drain_one(struct press *p, struct err *err)
{
    struct page *page = &p->ring[p->drained % p->room];

    pthread_mutex_lock(&p->lock);
    while (!page->done) {
        if (p->begun < p->submitted)
            pack_next(p, p->context);
        else
            pthread_cond_wait(&p->finished, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    p->drained++;
    return page->rc ? no_memory(err) : p->take(page->owner, page, err);
}

int press_drain(struct press *p, struct err *err)
{
    int rc = 0;

    while (rc == 0 && p->drained < p->submitted)
        rc = drain_one(p, err);
    return rc;
}

int press_submit(struct press *p, void *owner, enum page_kind kind, uint32_t values,
                 struct buf *raw, struct err *err)
{
    int rc = 0;

    if (!buf_ok(raw))
        return no_memory(err);
    while (rc == 0 && p->submitted - p->drained >= p->room)
        rc = drain_one(p, err);
    if (rc)
        return rc;
    struct page *page = &p->ring[p->submitted % p->room];
    struct buf held = page->raw;
    page->raw = *raw;
    *raw = held;
    buf_clear(raw);
    page->facts = (struct page_facts){.kind = kind, .values = values};
    page->owner = owner;
    page->done = false;
    pthread_mutex_lock(&p->lock);
    p->submitted++;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return p->thread_count ? 0 : press_drain(p, err);
}

int stream_begin(struct stream *s, uint64_t raw_bytes,
                 int (*put)(void *owner, const void *bytes, size_t len, struct err *err),
                 void *owner, struct err *err)
{
    *s = (struct stream){
        .put = put, .owner = owner, .raw_bytes = raw_bytes, .room = ZSTD_CStreamOutSize()};
    s->context = context_new();
    s->out = malloc(s->room);
    if (!s->context || !s->out)
        return no_memory(err);
    ZSTD_CCtx_setPledgedSrcSize(s->context, raw_bytes);
    return 0;
}

int stream_add(struct stream *s, const void *bytes, size_t len, bool last, struct err *err)
{
    ZSTD_inBuffer in = {bytes, len, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {s->out, s->room, 0};
        left = ZSTD_compressStream2(s->context, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return no_memory(err);
        s->crc = crc_add(s->crc, s->out, out.pos);
        s->packed_bytes += out.pos;
        int rc = out.pos ? s->put(s->owner, s->out, out.pos, err) : 0;
        if (rc)
            return rc;
    } while (last ? left > 0 : in.pos < in.size);
    return 0;
}

void stream_release(struct stream *s)
{
    ZSTD_freeCCtx(s->context);
    free(s->out);
    *s = (struct stream){0};
}
