/* fixture.h - an HTTP server in this process with small routes for tests.
 *
 *   GET /ping            "pong"
 *   GET /items/{id}      the id; PUT and DELETE too
 *   GET /query           the parameter q; 404 without
 *   GET /base            the base URL
 *   GET /err/{code}      reply_err with that code
 *   POST /echo           the JSON body; /batch the same with the batch limit
 *   POST /upload         {"size":…,"hash":…,"filename":…,"note":…}
 *   GET /slow            answers when fixture_let_go was called; /worker/slow the same in the
 *                        lane of workers
 *   GET /worker/ping     "pong" from the lane of workers; /now from the byte-moving thread
 *   GET /stall           the same from the byte-moving thread, which it stops until then
 *   GET /probe           "pong" from the lane of health checks
 *   GET /park            is parked, for fixture_take_parked; POST /hold the same with a body
 *                        of the batch limit
 *   GET /file            fixture.file */
#ifndef TEST_HTTP_FIXTURE_H
#define TEST_HTTP_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server.h"

enum { PARKED_MAX = 512 };

struct fixture {
    struct http_options options;
    struct http_server *server;
    const char *address;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool released;
    int slow; /* handlers inside /slow */
    struct exchange *parked[PARKED_MAX];
    int parked_count;
    char file_path[64];
    uint64_t file_size;
    atomic_int begun, aborted, taken;
    atomic_llong written;
    atomic_int fail_begin, fail_write; /* E_* code, 0: none */
    atomic_llong fail_write_after;
};

/* Fills in options that suit tests; change them, then fixture_start. */
void fixture_init(struct fixture *f);
void fixture_start(struct fixture *f);
/* Stops (once) and frees. */
void fixture_release(struct fixture *f);

void fixture_make_file(struct fixture *f, uint64_t size);
void fixture_let_go(struct fixture *f);     /* /slow may answer */
void fixture_hold_again(struct fixture *f); /* /slow waits again */
void fixture_wait_slow(struct fixture *f, int count);
void fixture_wait_parked(struct fixture *f, int count);
/* Takes the parked exchange that came first. */
struct exchange *fixture_take_parked(struct fixture *f);
/* Waits until the counter is at least value. */
void wait_for(atomic_int *counter, int value);

/* What /upload says the hash of these bytes is; start with HASH_START. */
#define HASH_START UINT64_C(14695981039346656037)
uint64_t hash_more(uint64_t hash, const char *bytes, size_t len);

#endif
