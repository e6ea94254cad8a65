/* json_write.h - JSON written straight into a buffer, for the messages that every task costs.
 *
 * A tree of jansson's takes some forty allocations for one attempt; this takes none but the
 * buffer's. The caller keeps to JSON's order: a member has a name, an element of an array
 * (and the outermost value) has NULL. Names are the program's own and need no escape. A text
 * that is not UTF-8, or no memory, makes json_out_take return NULL; until then every call may
 * be made. One thread at a time; nothing blocks. */
#ifndef CODEC_JSON_WRITE_H
#define CODEC_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct json_out {
    struct buf text;
    bool is_first; /* of its object or array: no comma goes before it */
    bool is_bad;   /* a text that JSON cannot hold */
};

void json_out_init(struct json_out *o);

void json_out_open(struct json_out *o, const char *name, char bracket); /* '{' or '[' */
void json_out_close(struct json_out *o, char bracket);                  /* '}' or ']' */
void json_out_string(struct json_out *o, const char *name, const char *text);
void json_out_int(struct json_out *o, const char *name, int64_t number);
void json_out_real(struct json_out *o, const char *name, double number);
void json_out_bool(struct json_out *o, const char *name, bool truth);
void json_out_null(struct json_out *o, const char *name);
/* `json` is JSON text already, of somebody who checked it. */
void json_out_raw(struct json_out *o, const char *name, const char *json);
/* The same of text that nobody has checked: what is no JSON makes the whole bad. */
void json_out_checked(struct json_out *o, const char *name, const char *json);

/* The text, to be freed; NULL when it is bad or memory was short. Releases o either way. */
char *json_out_take(struct json_out *o);

#endif
