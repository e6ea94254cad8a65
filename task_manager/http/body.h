/* body.h - what becomes of a request's body: nothing, a JSON text in memory, or bytes that
 * flow into the sink.
 *
 * All functions run on the byte-moving thread, before the handler has the exchange. Each
 * refuses by answering the exchange and returning false. */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "multipart.h"
#include "text.h"

enum { BODY_FIELDS_MAX = 16, BODY_FIELD_BYTES_MAX = 256, BODY_FORM_SLACK = 65536 };

struct exchange;

struct body {
    enum { BODY_IS_NONE, BODY_IS_TEXT, BODY_IS_RAW, BODY_IS_FORM } kind;
    int64_t limit;    /* bytes of the body, framing of a form included */
    int64_t received; /* bytes of it so far */
    struct buf text;  /* TEXT: the body. FORM: the field that is coming in */
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

/* Chooses by the route and the header, and begins the sink. */
bool body_begin(struct exchange *x);
bool body_feed(struct exchange *x, const char *bytes, size_t len);
/* The body is complete. */
bool body_end(struct exchange *x);
/* Frees everything; aborts the sink unless it was taken. */
void body_release(struct exchange *x);

#endif
