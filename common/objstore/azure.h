/* azure.h - calls to Azure Blob Storage: signed, counted, tried again. Private to this room.
 *
 * What may work later (no connection, a cut one, 408, 429, 500, 502, 503, 504) is tried again
 * after a growing pause, or after the pause that Retry-After asks for, up to half a minute
 * each; it ends after AZURE_TRIES tries or about AZURE_PATIENCE_MS. Any thread, as often at
 * once as AZURE_CALLS_MAX; whoever comes later waits. Blocks on the network. */
#ifndef OBJSTORE_AZURE_H
#define OBJSTORE_AZURE_H

#include "azure_sign.h"
#include "http_client.h"

enum {
    AZURE_TRIES = 6,
    AZURE_PATIENCE_MS = 120000,
    AZURE_CALLS_MAX = 32,
    AZURE_CODE_MAX = 64,
    AZURE_ANSWER_MAX = 16 << 20
};

struct azure;

int azure_open(const char *connection, struct azure **ret, struct err *err);
void azure_close(struct azure *a); /* NULL is fine */

struct azure_request {
    const char *method;
    const char *container;            /* NULL: the account itself */
    const char *blob;                 /* escaped for the URL; NULL: the container itself */
    const struct azure_pair *query;   /* ended by a NULL name; NULL: none */
    const struct azure_pair *headers; /* the same; with those of pairs that have a NULL value
                                         left out */
    const void *body;
    size_t body_len;
    int tries;      /* 0: AZURE_TRIES */
    int timeout_ms; /* of one try; 0: a minute */
};

/* 0 for every answer that is no passing trouble; the caller looks at its status. -E_REFUSED for
 * 401 and 403, -E_UNAVAILABLE or -E_TIMEOUT when it was tried in vain, which leaves open
 * whether the request was carried out. *ret is to be released with http_answer_release in every
 * case; *ret_repeated (may be NULL): an earlier try of this call may have been carried out. */
int azure_call(struct azure *a, const struct azure_request *request, struct http_answer *ret,
               bool *ret_repeated, struct err *err);

/* The error code that Azure gave, such as "BlobNotFound"; "" without one. */
void azure_code(const struct http_answer *a, char ret_code[AZURE_CODE_MAX]);
bool azure_code_is(const struct http_answer *a, const char *code);

/* The error for an answer that its caller has no use for: -E_NOT_FOUND for a missing container
 * or blob, -E_REFUSED for another 4xx, else -E_UNAVAILABLE. */
int azure_unexpected(const struct azure_request *request, const struct http_answer *a,
                     struct err *err);

#endif
