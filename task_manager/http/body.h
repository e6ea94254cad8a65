/* body.h - what becomes of a request's body: nothing, a JSON text in memory, or bytes that
 * flow into the sink.
 *
 * All functions run on the byte-moving thread, before the handler has the exchange. Each
 * refuses by answering the exchange and returning false. */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "multipart.h"
#include "text.h"

enum {
    BODY_FIELDS_MAX = 16,
    BODY_FIELD_BYTES_MAX = 256,
    BODY_FORM_SLACK = 65536,
    BODY_BATCH_FACTOR = 16, /* HTTP_BODY_BATCH: times the JSON limit */
    BODY_FREE_BYTES = 4096, /* memory of a body that is not counted */
    BODY_BUDGET_BYTES = 64 * 1024 * 1024
};

/* The memory of all JSON bodies of a server, from their first byte to their reply. It is
 * taken as bytes come, not by what a client announces. Small bodies are not counted (the
 * limit of connections bounds them), so a heartbeat gets through whatever else is sent. */
struct body_budget {
    atomic_llong used;
    int64_t limit;
};

struct exchange;

struct body {
    enum { BODY_IS_NONE, BODY_IS_TEXT, BODY_IS_RAW, BODY_IS_FORM } kind;
    int64_t limit;    /* bytes of the body, framing of a form included */
    int64_t received; /* bytes of it so far */
    struct buf text;  /* TEXT: the body. FORM: the field that is coming in */
    int64_t charged;  /* what text takes of the budget */
    void *sink;       /* RAW and FORM: from sink.begin, until the handler takes it */
    uint64_t sunk;    /* bytes written to the sink */
    char filename[TEXT_NAME_MAX];
    bool is_taken;
    struct body_form {
        struct multipart parser;
        bool in_file, is_unnamed; /* is_unnamed: the file's name was empty */
        int files;
        char *names[BODY_FIELDS_MAX], *values[BODY_FIELDS_MAX];
        size_t fields;
    } * form;
};

/* Room for BODY_BUDGET_BYTES, or for one body of the batch limit if that is more. */
void body_budget_init(struct body_budget *b, int64_t max_json_bytes);

/* Chooses by the route and the header, and begins the sink. */
bool body_begin(struct exchange *x);
bool body_feed(struct exchange *x, const char *bytes, size_t len);
/* The body is complete. */
bool body_end(struct exchange *x);
/* Frees everything; aborts the sink unless it was taken. */
void body_release(struct exchange *x);

#endif
